//! The binary at a terminal with typed input.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{grantpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Tenantry;
use super::capture::Capture;
use super::output::Hidden;

/// A program whose three streams are a terminal, of 100 columns unless a test sets another width.
///
/// On Linux it is also the controlling terminal, so that a typed Ctrl-C interrupts. `TERM` is not set, so that there
/// are no colors and no progress bar unless a test sets it.
pub struct Terminal {
    child: Child,
    command: String,
    keyboard: File,
    screen: Capture,
    hidden: Hidden,
    /// The end of the last expected output.
    seen: usize,
    _command: Tenantry,
}

impl Terminal {
    /// Starts a command in a new terminal.
    #[track_caller]
    pub fn spawn(command: Tenantry) -> Self {
        Self::spawn_in(command, 100)
    }

    /// Starts a command in a new terminal of this width.
    #[track_caller]
    pub fn spawn_in(mut command: Tenantry, columns: u16) -> Self {
        let (ours, theirs) = open(columns).expect("a pseudo-terminal");
        let stream = || Stdio::from(theirs.try_clone().expect("a copy of the descriptor"));
        // The child must make the terminal its controlling one before it executes the program.
        let wrapper: &[&str] = if cfg!(target_os = "linux") { &["setsid", "--ctty"] } else { &["env"] };
        let line = command.line();
        let child = command
            .command(Some(wrapper))
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {} {line}: {error}", wrapper.join(" ")));
        Self {
            child,
            command: line,
            keyboard: ours.try_clone().expect("a copy of the descriptor"),
            screen: Capture::of(ours),
            hidden: command.take_hidden(),
            seen: 0,
            _command: command,
        }
    }

    /// Waits until a text appears after the last expected one.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> &mut Self {
        let seen = self.seen;
        let place = self.screen.wait(|bytes| {
            let new = bytes.get(seen..)?;
            let place = new.windows(text.len().max(1)).position(|window| window == text.as_bytes())?;
            Some(seen + place + text.len())
        });
        self.seen =
            place.unwrap_or_else(|why| panic!("`{}` did not show `{text}` ({why:?}):\n{}", self.command, self.text()));
        self
    }

    /// Types a text and presses Enter.
    #[track_caller]
    pub fn type_line(&mut self, text: &str) -> &mut Self {
        self.type_text(&format!("{text}\r"))
    }

    /// Types a text without Enter: `\u{3}` is Ctrl-C, `\u{4}` is Ctrl-D.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) -> &mut Self {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal takes what is typed");
        self
    }

    /// Sends a signal to the program, which the wrapper has become.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        // It has not been waited for, so the id is still valid.
        kill_process(Pid::from_child(&self.child), signal).expect("the process can be signalled");
    }

    /// Waits for the end. Returns the contents of the screen, including typed text and with placeholders, and the exit
    /// status, which is `None` after a signal.
    #[track_caller]
    pub fn wait(&mut self) -> (String, Option<i32>) {
        if self.screen.wait_for_end().is_err() {
            let said = self.text();
            let _ = self.child.kill();
            panic!("`{}` does not end:\n{said}", self.command);
        }
        let status = self.child.wait().expect("the process can be waited for");
        (self.hidden.apply(&self.text()), status.code())
    }

    /// A terminal ends lines by carriage return and line feed.
    fn text(&self) -> String {
        self.screen.text().replace("\r\n", "\n")
    }
}

/// The contents of a terminal, and the exit status of its program.
pub struct Screen {
    shown: String,
    code: Option<i32>,
}

impl Screen {
    /// Waits for the end of the program.
    #[track_caller]
    pub fn of(terminal: &mut Terminal) -> Self {
        let (shown, code) = terminal.wait();
        Self { shown, code }
    }

    /// All of it as one text.
    pub fn snapshot(&self) -> String {
        let code = self.code.map_or("by a signal".to_owned(), |code| code.to_string());
        format!("{}--- exit {code}", self.shown)
    }

    /// Asserts the exit status, and shows the screen if it differs.
    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.shown);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new terminal: the end of the test, and the end of the program.
fn open(columns: u16) -> std::io::Result<(File, OwnedFd)> {
    let options = || {
        let mut options = File::options();
        // Neither end may become the controlling terminal of the tests.
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
        options
    };
    // Opened by std and not by `openpt`, because std does not pass the descriptor to children of other tests.
    let ours = options().open("/dev/ptmx")?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = options().open(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())))?;
    tcsetwinsize(&theirs, Winsize { ws_row: 30, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((ours, theirs.into()))
}
