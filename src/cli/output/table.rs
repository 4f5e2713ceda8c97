//! Tables: as wide as their cells where no terminal limits them, wrapped to the width of a terminal, or one record below the
//! other where even wrapped cells do not fit.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::text;

/// The space between columns.
const GAP: u16 = 2;

/// Cells up to this width are not wrapped, and others not to less: names, versions and times stay on one line.
const LEAST: u16 = 20;

/// The variable with the width of the terminal, which takes precedence over what the terminal reports.
const VARIABLE: &str = "COLUMNS";

/// How wide a table may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MaxWidth {
    /// That of the terminal.
    Columns(u16),
    /// As wide as the cells: a row is a line.
    Unlimited,
}

impl MaxWidth {
    pub(super) fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        terminal_width(stream).map_or(Self::Unlimited, Self::Columns)
    }
}

/// The width of the terminal of a stream; `None` if it is none, or reports none.
pub(crate) fn terminal_width(stream: &(impl IsTerminal + AsFd)) -> Option<u16> {
    if !stream.is_terminal() {
        return None;
    }
    let given = env::var(VARIABLE).ok().and_then(|columns| columns.parse().ok());
    let reported = || rustix::termios::tcgetwinsize(stream).ok().map(|size| size.ws_col);
    let is_width = |columns: &u16| *columns > 0;
    given.filter(is_width).or_else(reported).filter(is_width)
}

/// The head of a drawn table, which records do not have, and the lines below.
pub(super) struct DrawnTable {
    pub(super) head: Option<String>,
    pub(super) rest: String,
}

/// Draws a table.
pub(super) fn draw(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>, max_width: MaxWidth) -> DrawnTable {
    let head: Vec<String> = head.iter().map(|cell| cell.to_uppercase()).collect();
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| text::one_line(cell).into_owned()).collect()).collect();
    let mut table = empty();
    table.set_header(&head);
    table.add_rows(&rows);
    pad(&mut table);
    if let MaxWidth::Columns(columns) = max_width {
        let natural = table.column_max_content_widths();
        match wrapped(&natural, &longest_words(&head, &rows), columns) {
            Some(widths) => limit(&mut table, &widths),
            None => return DrawnTable { head: None, rest: records(&head, &rows, columns) },
        }
    }
    let drawn = text_of(&table);
    let (first, rest) = drawn.split_once('\n').unwrap_or((&drawn, ""));
    DrawnTable { head: Some(first.to_owned()), rest: rest.to_owned() }
}

/// The widths of the columns that fit; `None` if a column would be too narrow. The widest column is wrapped first.
fn wrapped(natural: &[u16], longest_words: &[u16], columns: u16) -> Option<Vec<u16>> {
    let gaps = GAP * u16::try_from(natural.len().saturating_sub(1)).unwrap_or(u16::MAX);
    let least = |index: usize| natural[index].min(longest_words[index].max(LEAST));
    let mut widths = natural.to_vec();
    while widths.iter().map(|width| u32::from(*width)).sum::<u32>() + u32::from(gaps) > u32::from(columns) {
        let candidates = (0..widths.len()).filter(|index| widths[*index] > least(*index));
        let widest = candidates.max_by_key(|index| widths[*index])?;
        widths[widest] -= 1;
    }
    Some(widths)
}

/// The width of the longest word in each column.
fn longest_words(head: &[String], rows: &[Vec<String>]) -> Vec<u16> {
    let words = |cell: &String| cell.split(' ').collect::<Vec<_>>().join("\n");
    let mut table = empty();
    table.set_header(head.iter().map(words));
    table.add_rows(rows.iter().map(|row| row.iter().map(words)));
    table.column_max_content_widths()
}

/// Each row as lines with a title and a value. Empty cells are omitted.
fn records(head: &[String], rows: &[Vec<String>], columns: u16) -> String {
    let titles = head.iter().map(|title| title.chars().count()).max().unwrap_or_default();
    let titles = u16::try_from(titles).unwrap_or(u16::MAX);
    let record = |row: &Vec<String>| {
        let mut table = empty();
        table.add_rows(head.iter().zip(row).filter(|(_, cell)| !cell.is_empty()).map(|(title, cell)| [title, cell]));
        pad(&mut table);
        limit(&mut table, &[titles, columns.saturating_sub(titles + GAP).max(LEAST)]);
        text_of(&table)
    };
    rows.iter().map(record).collect::<Vec<_>>().join("\n\n")
}

fn empty() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn pad(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
}

/// Wraps the cells of each column to a width.
fn limit(table: &mut Table, widths: &[u16]) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(widths.iter().map(|width| width + GAP).sum());
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + GAP)));
    }
}

fn text_of(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(head: &[&str], rows: &[&[&str]], columns: u16) -> String {
        let rows = rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect());
        let DrawnTable { head, rest } = draw(head, rows, MaxWidth::Columns(columns));
        head.map_or(String::new(), |head| head + "\n") + &rest
    }

    #[test]
    fn table_that_fits_is_not_wrapped() {
        assert_eq!(drawn(&["a", "b"], &[&["x", "y z"], &["xxx", ""]], 8), "A    B\nx    y z\nxxx");
    }

    #[test]
    fn widest_column_is_wrapped_between_words() {
        let long = "one two three four five six";
        assert_eq!(drawn(&["a", "b"], &[&["x y", long]], 30), "A    B\nx y  one two three four five\n     six");
    }

    #[test]
    fn table_that_does_not_fit_becomes_records() {
        let word = "a-word-that-cannot-be-wrapped";
        let rows: &[&[&str]] = &[&["x", word, "one two three four five"], &["y", word, ""]];
        let expected = "ONE    x\nTWO    a-word-that-cannot-be-wrapped\nTHREE  one two three four five\n\n\
                        ONE    y\nTWO    a-word-that-cannot-be-wrapped";
        assert_eq!(drawn(&["one", "two", "three"], rows, 40), expected);
        assert!(drawn(&["one", "two", "three"], rows, 27).contains("one two three four\n       five"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let cells = ["acme", "index.missing", "structural", "index tasks.tasks_user_id_idx is missing", "tenantry x y"];
        for columns in 40..160 {
            let text = drawn(&["tenant", "code", "level", "finding", "fix"], &[&cells], columns);
            let longest = text.lines().map(str::len).max();
            assert!(longest <= Some(usize::from(columns)), "{columns}:\n{text}");
            assert!(
                cells.iter().flat_map(|cell| cell.split(' ')).all(|word| text.contains(word)),
                "{columns}:\n{text}"
            );
        }
    }
}
