//! The real binary, in an environment that contains only what a test sets.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

pub use rustix::process::Signal;

use super::Output;
use super::capture::Capture;
use super::output::Hidden;

/// The variable that names the tenant migrations.
const MIGRATIONS: &str = "TENANTRY_TENANT_MIGRATIONS";

/// A command line.
///
/// Of the test's environment, it sees only the locations of programs and temporary files. `HOME` and the working folder
/// are new and empty, so that it finds no `.env` and no settings of the user.
pub struct Tenantry {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<String>,
    work: Option<PathBuf>,
    hidden: Hidden,
    places: TempDir,
}

/// A running command.
pub struct Running {
    child: Child,
    command: String,
    stdout: Capture,
    stderr: Capture,
    hidden: Hidden,
    _places: TempDir,
}

impl Tenantry {
    /// The command line without a database and without arguments. The tenant migrations are those of this repository.
    pub fn new() -> Self {
        Self::of_program(env!("CARGO_BIN_EXE_tenantry")).with_migrations()
    }

    /// With the tenant migrations of this repository.
    pub fn with_migrations(self) -> Self {
        let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/tenant");
        self.env(MIGRATIONS, migrations).hide(migrations, "MIGRATIONS")
    }

    /// Without tenant migrations other than those of its working folder.
    pub fn without_migrations(self) -> Self {
        self.env_remove(MIGRATIONS)
    }

    /// Another program in the same environment.
    pub fn of_program(program: impl Into<OsString>) -> Self {
        let places = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "work"] {
            std::fs::create_dir(places.path().join(name)).expect("a folder");
        }
        let (home, work) = (places.path().join("home"), places.path().join("work"));
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            work: None,
            hidden: Hidden::default(),
            places,
        }
        .env("XDG_CONFIG_HOME", home.join(".config"))
        .env("XDG_CACHE_HOME", home.join(".cache"))
        .env("XDG_DATA_HOME", home.join(".local/share"))
        .env("XDG_STATE_HOME", home.join(".local/state"))
        .env("HOME", &home)
        .hide(home.to_string_lossy(), "HOME")
        .hide(work.to_string_lossy(), "FOLDER")
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes a variable, such as the `DATABASE_URL` of a command of a database.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self
    }

    /// Sets its standard input, which is otherwise empty.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Sets its working folder.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.work = Some(folder.into());
        self
    }

    /// Makes snapshots show a placeholder for a text that differs between runs.
    pub fn hide(mut self, text: impl Into<String>, placeholder: &'static str) -> Self {
        self.hidden.add(text, placeholder);
        self
    }

    /// Runs it and waits for its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let input = self.stdin.take();
        let mut command = self.command(None);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", self.line()));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // In a thread, because the program may end without reading all of it.
            thread::spawn(move || stdin.write_all(input.as_bytes()));
        }
        Running {
            stdout: Capture::of(child.stdout.take().expect("a pipe")),
            stderr: Capture::of(child.stderr.take().expect("a pipe")),
            child,
            command: self.line(),
            hidden: self.hidden,
            _places: self.places,
        }
    }

    /// The command, without its streams; through `wrapper` if set, a program that runs its arguments.
    pub(super) fn command(&self, wrapper: Option<&[&str]>) -> Command {
        // The locations of programs, libraries and temporary files, and of coverage data.
        const KEPT: [&str; 5] = ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LLVM_PROFILE_FILE"];
        let mut words = wrapper.unwrap_or_default().iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).args(&self.args).env_clear();
        command.envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.work.clone().unwrap_or_else(|| self.places.path().join("work")));
        // Its own process group: an interrupt at the keyboard is for the tests.
        if wrapper.is_none() {
            command.process_group(0);
        }
        command
    }

    /// The texts that snapshots hide.
    pub(super) fn take_hidden(&mut self) -> Hidden {
        std::mem::take(&mut self.hidden)
    }

    /// The words of the command, for messages.
    pub(super) fn line(&self) -> String {
        let words: Vec<_> = [&self.program].into_iter().chain(&self.args).map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        // It has not been waited for, so the id is still valid.
        kill_process(Pid::from_child(&self.child), signal).expect("the process can be signalled");
    }

    /// Whether it is still running: its output is open.
    pub fn is_running(&self) -> bool {
        !self.stdout.has_ended()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a line on stderr that contains a text, and returns the line.
    #[track_caller]
    pub fn wait_for_stderr_line(&self, text: &str) -> String {
        self.wait_for_line(&self.stderr, "stderr", text)
    }

    /// Waits for a line on stdout that contains a text, and returns the line.
    #[track_caller]
    pub fn wait_for_stdout_line(&self, text: &str) -> String {
        self.wait_for_line(&self.stdout, "stdout", text)
    }

    /// Waits until it ends and all holders of its output have closed it.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        for stream in [&self.stdout, &self.stderr] {
            if stream.wait_for_end().is_err() {
                let said = self.said();
                self.signal(Signal::KILL);
                panic!("`{}`, or a program it started, does not end:\n{said}", self.command);
            }
        }
        let status = self.child.wait().expect("the process can be waited for");
        Output {
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            code: status.code(),
            command: std::mem::take(&mut self.command),
            hidden: std::mem::take(&mut self.hidden),
        }
    }

    #[track_caller]
    fn wait_for_line(&self, stream: &Capture, name: &str, text: &str) -> String {
        let line = stream.wait(|bytes| {
            let said = String::from_utf8_lossy(bytes);
            said.split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .find(|line| line.contains(text))
                .map(|line| line.trim_end().to_owned())
        });
        line.unwrap_or_else(|why| {
            panic!("no line with `{text}` on {name} of `{}` ({why:?}):\n{}", self.command, self.said())
        })
    }

    fn said(&self) -> String {
        format!("{}\n--- stderr\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no process behind. After `wait`, this has no effect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
