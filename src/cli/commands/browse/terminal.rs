//! The terminal, which has its former state again after the command has ended, whatever ends it.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};

use super::draw::draw;
use super::state::Browser;
use crate::cli::interrupt;
use crate::database::Stop;

/// How often a signal is looked for.
const TICK: Duration = Duration::from_millis(100);

/// The terminal as a screen.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    stop: Stop,
}

/// What ended a pause.
pub(super) enum Waited {
    /// A key.
    Key(KeyEvent),
    /// The size of the terminal changed.
    Resized,
    /// A signal.
    Interrupted,
}

impl Screen {
    /// Opens the screen. A panic restores the terminal, too.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(super) fn open() -> io::Result<Self> {
        let stop = interrupt::graceful_with(ratatui::restore);
        Ok(Self { terminal: ratatui::try_init()?, stop })
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, browser: &Browser) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, browser)).map(|_| ())
    }

    /// Draws everything, for another page.
    pub(super) fn redraw(&mut self, browser: &Browser) -> io::Result<()> {
        // `Terminal::clear` asks the terminal for the place of the cursor, which not every terminal answers.
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal.swap_buffers();
        self.draw(browser)
    }

    /// Waits for a key or a signal.
    pub(super) fn wait(&mut self) -> io::Result<Waited> {
        loop {
            if self.stop.is_requested() {
                return Ok(Waited::Interrupted);
            }
            if !event::poll(TICK)? {
                if is_closed() {
                    return Ok(Waited::Interrupted);
                }
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Waited::Key(key)),
                Event::Resize(..) => return Ok(Waited::Resized),
                _ => {}
            }
        }
    }
}

/// Whether the terminal was closed. No signal may show it, and no event does.
fn is_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = io::stdin();
    let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
    let polled = poll(&mut terminal, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
