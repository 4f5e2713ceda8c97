//! `browse`: the fleet in a terminal. Nothing is changed.

mod draw;
mod listing;
mod reader;
mod state;
mod terminal;

use std::io::{self, IsTerminal as _};

use anyhow::Result;

use self::listing::Page;
use self::reader::PageReader;
use self::state::{Browser, KeyRequest};
use self::terminal::{Screen, Waited};
use super::rows;
use crate::cli::compare::CompareOptions;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::settings::ReadOptions;

/// Browse the fleet in the terminal
///
/// Shows the tenants with state, version, pending migrations, size and findings, and of each tenant the tables with their first rows, the
/// runs and the findings. Reads what is shown when it is opened, and changes nothing. F1 shows the keys.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    comparing: CompareOptions,

    #[command(flatten)]
    options: ReadOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let hint = format!("in scripts, use '{}' or '{}'", context.command("list"), context.command("stats"));
        return Err(Usage::with_hint("no-terminal", "browse needs a terminal", hint).into());
    }
    let source = args.comparing.source(context)?;
    let (tenancy, mut db) = context.comparing(&args.options, None)?;
    rows::require_schemas(&mut db, "browse")?;
    db.require_tracker(&tenancy)?;
    let mut reader = PageReader::new(db, tenancy, source);
    // Errors of the first page end the command.
    let mut browser = Browser::new(reader.read(&Page::Fleet)?);
    let mut screen = Screen::open()?;
    screen.draw(&browser)?;
    loop {
        let request = match screen.wait()? {
            Waited::Interrupted => return Ok(Exit::Interrupted),
            Waited::Resized => {
                screen.redraw(&browser)?;
                continue;
            }
            Waited::Key(key) => {
                let before = browser.top().page.clone();
                let request = browser.key(key);
                if browser.top().page != before {
                    screen.redraw(&browser)?;
                }
                request
            }
        };
        match request {
            None => {
                screen.draw(&browser)?;
                continue;
            }
            Some(KeyRequest::Quit) => return Ok(Exit::Done),
            Some(KeyRequest::Interrupt) => return Ok(Exit::Interrupted),
            Some(KeyRequest::Open(page)) => {
                browser.message = Some("reading …".to_owned());
                screen.draw(&browser)?;
                browser.show(reader.read(&page));
            }
            Some(KeyRequest::Check(tenant)) => {
                browser.message = Some(format!("checking {tenant} …"));
                screen.draw(&browser)?;
                browser.checked(&tenant, reader.findings(&tenant));
            }
        }
        screen.redraw(&browser)?;
    }
}
