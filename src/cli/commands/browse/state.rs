//! What keys do. Reading and drawing are elsewhere.

use anyhow::Result;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::listing::{Listing, Page};
use crate::model::TenantName;
use crate::text;

/// The rows that a page key moves by.
const PAGE: isize = 20;

/// The keys, for the page that lists them.
const KEYS: [(&str, &str); 9] = [
    ("Up, Down, Page Up, Page Down, Home, End", "move the cursor"),
    ("Enter", "open the tenant or the table"),
    ("Tab", "show the tables, runs or findings of the tenant"),
    ("/", "filter the rows; Enter ends the input, Esc removes the filter"),
    ("c", "check the tenant under the cursor for findings"),
    ("r", "read the page again"),
    ("Esc, Backspace", "go back"),
    ("F1, ?", "show the keys"),
    ("q, Ctrl-C", "quit"),
];

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyRequest {
    /// Read a page and show it.
    Open(Page),
    /// Check a tenant.
    Check(TenantName),
    /// End the command.
    Quit,
    /// End the command as a signal would.
    Interrupt,
}

/// The open pages.
pub(super) struct Browser {
    /// The fleet, and the pages that were opened from it.
    pages: Vec<Listing>,
    /// Whether keys change the filter.
    pub(super) is_filtering: bool,
    /// An error, or what is being done.
    pub(super) message: Option<String>,
}

impl Browser {
    pub(super) fn new(fleet: Listing) -> Self {
        Self { pages: vec![fleet], is_filtering: false, message: None }
    }

    /// The page that is shown.
    pub(super) fn top(&self) -> &Listing {
        self.pages.last().expect("the fleet")
    }

    fn top_mut(&mut self) -> &mut Listing {
        self.pages.last_mut().expect("the fleet")
    }

    /// Shows a page that was read, or why it could not be.
    pub(super) fn show(&mut self, read: Result<Listing>) {
        self.message = None;
        match read {
            Err(error) => self.message = Some(shown(&error)),
            Ok(listing) => {
                let is_same = self.top().page == listing.page;
                if is_same || is_sibling(&self.top().page, &listing.page) {
                    let earlier = self.pages.pop();
                    let listing = match earlier {
                        Some(earlier) if is_same => listing.like(&earlier),
                        _ => listing,
                    };
                    self.pages.push(listing);
                } else {
                    self.pages.push(listing);
                }
            }
        }
    }

    /// Shows in the list of tenants what a check has found.
    pub(super) fn checked(&mut self, tenant: &TenantName, found: Result<Listing>) {
        self.message = None;
        let cell = match &found {
            Err(error) => {
                self.message = Some(shown(error));
                "?".to_owned()
            }
            Ok(listing) => listing.note.clone().unwrap_or_default(),
        };
        self.pages[0].set_last(tenant.as_str(), &cell);
    }

    /// Reacts to a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<KeyRequest> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(KeyRequest::Interrupt);
        }
        if self.is_filtering {
            self.filter_key(key.code);
            return None;
        }
        self.message = None;
        match key.code {
            KeyCode::Char('q') => return Some(KeyRequest::Quit),
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Char('?') | KeyCode::F(1) => self.help(),
            KeyCode::Char('r') => {
                return (self.top().page != Page::Help).then(|| KeyRequest::Open(self.top().page.clone()));
            }
            KeyCode::Char('c') => return self.tenant().map(KeyRequest::Check),
            KeyCode::Up | KeyCode::Char('k') => self.top_mut().step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.top_mut().step(1),
            KeyCode::PageUp => self.top_mut().step(-PAGE),
            KeyCode::PageDown => self.top_mut().step(PAGE),
            KeyCode::Home => self.top_mut().step(isize::MIN),
            KeyCode::End => self.top_mut().step(isize::MAX),
            KeyCode::Enter => return self.enter().map(KeyRequest::Open),
            KeyCode::Tab => return self.next_tab().map(KeyRequest::Open),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            _ => {}
        }
        None
    }

    fn filter_key(&mut self, key: KeyCode) {
        let top = self.pages.last_mut().expect("the fleet");
        match key {
            KeyCode::Enter => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                top.filter.clear();
            }
            KeyCode::Backspace => _ = top.filter.pop(),
            KeyCode::Char(character) => top.filter.push(character),
            _ => {}
        }
    }

    /// Removes the filter, or else closes the page.
    fn back(&mut self) {
        if !self.top().filter.is_empty() {
            self.top_mut().filter.clear();
        } else if self.pages.len() > 1 {
            self.pages.pop();
        }
    }

    fn help(&mut self) {
        if self.top().page != Page::Help {
            let rows = KEYS.iter().map(|(key, what)| vec![(*key).to_owned(), (*what).to_owned()]).collect();
            self.pages.push(Listing::new(Page::Help, ["key", "what it does"], rows));
        }
    }

    /// The tenant of the page, or under the cursor.
    fn tenant(&self) -> Option<TenantName> {
        match &self.top().page {
            Page::Fleet => self.top().selected()?.parse().ok(),
            Page::Tables(tenant) | Page::Runs(tenant) | Page::Findings(tenant) | Page::Rows(tenant, _) => {
                Some(tenant.clone())
            }
            Page::Help => None,
        }
    }

    fn enter(&self) -> Option<Page> {
        match &self.top().page {
            Page::Fleet => self.tenant().map(Page::Tables),
            Page::Tables(tenant) => Some(Page::Rows(tenant.clone(), self.top().selected()?)),
            Page::Runs(_) | Page::Findings(_) | Page::Rows(..) | Page::Help => None,
        }
    }

    fn next_tab(&self) -> Option<Page> {
        match &self.top().page {
            Page::Tables(tenant) => Some(Page::Runs(tenant.clone())),
            Page::Runs(tenant) => Some(Page::Findings(tenant.clone())),
            Page::Findings(tenant) => Some(Page::Tables(tenant.clone())),
            Page::Fleet | Page::Rows(..) | Page::Help => None,
        }
    }
}

/// Whether a page replaces another one of the same tenant.
fn is_sibling(one: &Page, other: &Page) -> bool {
    let tenant_of = |page: &Page| match page {
        Page::Tables(tenant) | Page::Runs(tenant) | Page::Findings(tenant) => Some(tenant.clone()),
        Page::Fleet | Page::Rows(..) | Page::Help => None,
    };
    tenant_of(one).is_some() && tenant_of(one) == tenant_of(other)
}

/// An error in one line.
fn shown(error: &anyhow::Error) -> String {
    format!("error: {}", text::one_line(&format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Browser {
        let row = |name: &str| vec![name.to_owned(), "active".to_owned(), "-".to_owned()];
        Browser::new(Listing::new(Page::Fleet, ["tenant", "state", "findings"], vec![row("acme"), row("globex")]))
    }

    fn press(browser: &mut Browser, keys: &[KeyCode]) -> Option<KeyRequest> {
        keys.iter().fold(None, |_, key| browser.key((*key).into()))
    }

    #[test]
    fn keys_move_filter_and_open() {
        let mut browser = fleet();
        assert_eq!(press(&mut browser, &[KeyCode::Down, KeyCode::Down]), None);
        assert_eq!(browser.top().selected().as_deref(), Some("globex"));
        let typed = ['/', 'C', 'm'].map(KeyCode::Char);
        assert_eq!(press(&mut browser, &typed), None);
        assert_eq!(browser.top().selected().as_deref(), Some("acme"));
        press(&mut browser, &[KeyCode::Enter]);
        let acme: TenantName = "acme".parse().unwrap();
        assert_eq!(press(&mut browser, &[KeyCode::Enter]), Some(KeyRequest::Open(Page::Tables(acme.clone()))));
        browser.show(Ok(Listing::new(Page::Tables(acme.clone()), ["table"], vec![vec!["users".to_owned()]])));
        assert_eq!(press(&mut browser, &[KeyCode::Tab]), Some(KeyRequest::Open(Page::Runs(acme.clone()))));
        browser.show(Ok(Listing::new(Page::Runs(acme), ["run"], Vec::new())));
        assert_eq!((press(&mut browser, &[KeyCode::Enter]), browser.pages.len()), (None, 2));
        press(&mut browser, &[KeyCode::Esc]);
        assert_eq!((browser.pages.len(), browser.top().shown().len()), (1, 1));
        press(&mut browser, &[KeyCode::Esc]);
        assert_eq!((browser.top().shown().len(), press(&mut browser, &[KeyCode::Esc])), (2, None));
        assert_eq!(press(&mut browser, &[KeyCode::Char('q')]), Some(KeyRequest::Quit));
    }

    #[test]
    fn errors_and_checks_are_shown() {
        let mut browser = fleet();
        browser.show(Err(anyhow::anyhow!("bad\u{1b}[2J")));
        assert_eq!(browser.message.as_deref(), Some("error: bad\\u{1b}[2J"));
        let acme: TenantName = "acme".parse().unwrap();
        let found = Listing::new(Page::Findings(acme.clone()), ["finding"], vec![vec!["x".to_owned()]]);
        browser.checked(&acme, Ok(found.with_note("1 finding")));
        assert_eq!(browser.top().shown()[0].cells[2], "1 finding");
    }
}
