//! Draws a page.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::listing::{ListedRow, Listing, Page};
use super::state::Browser;
use crate::cli::output::thousands;

/// The width of the widest column.
const WIDEST: usize = 40;

/// Draws the page on top: its title, its rows, and the keys or a message.
pub(super) fn draw(frame: &mut Frame<'_>, browser: &Browser) {
    let listing = browser.top();
    let [title, body, status] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let shown = listing.shown();
    frame.render_widget(Paragraph::new(title_of(listing, shown.len())).style(bold()), title);
    let cursor = listing.cursor(shown.len());
    // One line is for the head.
    let height = usize::from(body.height.saturating_sub(1)).max(1);
    let first = (cursor + 1).saturating_sub(height);
    let visible: Vec<&ListedRow> = shown.into_iter().skip(first).take(height).collect();
    let widths = widths(&listing.head, &visible);
    let rows = visible.iter().enumerate().map(|(at, row)| {
        let style = if first + at == cursor { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        TableRow::new(row.cells.iter().map(|cell| Cell::new(cell.as_str()))).style(style)
    });
    let head = TableRow::new(listing.head.iter().map(|title| Cell::new(title.to_uppercase()))).style(bold());
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(2), body);
    frame.render_widget(Paragraph::new(status_of(browser)), status);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn widths(head: &[String], rows: &[&ListedRow]) -> Vec<Constraint> {
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at)).chain(head.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default().min(WIDEST)
    };
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or_default().max(head.len());
    (0..columns).map(|at| Constraint::Length(u16::try_from(widest(at)).unwrap_or(u16::MAX))).collect()
}

fn title_of(listing: &Listing, shown: usize) -> String {
    let what = match &listing.page {
        Page::Fleet => "tenants".to_owned(),
        Page::Tables(tenant) => format!("{tenant}: tables"),
        Page::Runs(tenant) => format!("{tenant}: runs"),
        Page::Findings(tenant) => format!("{tenant}: findings"),
        Page::Rows(tenant, table) => format!("{tenant}.{table}: first rows"),
        Page::Help => "keys".to_owned(),
    };
    let what = crate::text::one_line(&what).into_owned();
    let count = match shown == listing.len() {
        true => thousands(shown),
        false => format!("{} of {}", thousands(shown), thousands(listing.len())),
    };
    let note = listing.note.as_ref().map_or_else(String::new, |note| format!("  {note}"));
    format!("{what} ({count}){note}")
}

fn status_of(browser: &Browser) -> String {
    let filter = &browser.top().filter;
    match &browser.message {
        Some(message) => message.clone(),
        None if browser.is_filtering => format!("filter: {filter}_"),
        None if !filter.is_empty() => format!("filter: {filter}   Esc removes it"),
        None => "Enter open  Tab next  / filter  c check  r reload  Esc back  F1 keys  q quit".to_owned(),
    }
}
