//! What a page shows: a table with a cursor and a filter.

use crate::model::TenantName;
use crate::text;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// The tenants.
    Fleet,
    /// The tables of a tenant.
    Tables(TenantName),
    /// The runs that changed a tenant, or failed to.
    Runs(TenantName),
    /// The findings and differences of a tenant.
    Findings(TenantName),
    /// The first rows of a table.
    Rows(TenantName, String),
    /// The keys.
    Help,
}

/// The contents of a page.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) page: Page,
    pub(super) head: Vec<String>,
    /// The rows. The first cell of a row identifies it.
    rows: Vec<ListedRow>,
    /// A remark.
    pub(super) note: Option<String>,
    pub(super) filter: String,
    /// The position among the rows that match the filter.
    cursor: usize,
}

/// A row.
#[derive(Debug)]
pub(super) struct ListedRow {
    /// The unchanged text of the first cell.
    pub(super) key: String,
    /// The cells, safe to print.
    pub(super) cells: Vec<String>,
}

impl Listing {
    /// Cells may be foreign text.
    pub(super) fn new<H: Into<String>>(page: Page, head: impl IntoIterator<Item = H>, rows: Vec<Vec<String>>) -> Self {
        let row = |cells: Vec<String>| ListedRow {
            key: cells.first().cloned().unwrap_or_default(),
            cells: cells.iter().map(|cell| text::one_line(cell).into_owned()).collect(),
        };
        let head = head.into_iter().map(|title| text::one_line(&title.into()).into_owned()).collect();
        Self { page, head, rows: rows.into_iter().map(row).collect(), note: None, filter: String::new(), cursor: 0 }
    }

    pub(super) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(text::one_line(&note.into()).into_owned()), ..self }
    }

    /// The rows that match the filter.
    pub(super) fn shown(&self) -> Vec<&ListedRow> {
        let filter = self.filter.to_lowercase();
        let matches = |row: &&ListedRow| row.cells.iter().any(|cell| cell.to_lowercase().contains(&filter));
        self.rows.iter().filter(matches).collect()
    }

    /// The number of all rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The position of the cursor among `shown` rows.
    pub(super) fn cursor(&self, shown: usize) -> usize {
        self.cursor.min(shown.saturating_sub(1))
    }

    /// The key of the row under the cursor.
    pub(super) fn selected(&self) -> Option<String> {
        let shown = self.shown();
        shown.get(self.cursor(shown.len())).map(|row| row.key.clone())
    }

    /// Moves the cursor by a number of rows.
    pub(super) fn step(&mut self, by: isize) {
        let shown = self.shown().len();
        self.cursor = self.cursor(shown).saturating_add_signed(by).min(shown.saturating_sub(1));
    }

    /// Continues at the place of an earlier reading of the same page.
    pub(super) fn like(self, earlier: &Self) -> Self {
        Self { filter: earlier.filter.clone(), cursor: earlier.cursor, ..self }
    }

    /// Replaces the last cell of the row with this key.
    pub(super) fn set_last(&mut self, key: &str, cell: &str) {
        let row = self.rows.iter_mut().find(|row| row.key == key);
        if let Some(last) = row.and_then(|row| row.cells.last_mut()) {
            *last = text::one_line(cell).into_owned();
        }
    }
}
