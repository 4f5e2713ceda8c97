//! What a command prints on one of several servers, until the output of all servers is put together.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::proto::MetricFamily;
use quick_junit::TestSuite;
use serde_json::Value;

use crate::model::ServerName;

/// The data of a command on one server.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The server.
    pub(crate) server: ServerName,
    parts: Mutex<GatheredParts>,
}

#[derive(Debug, Default)]
struct GatheredParts {
    parts: Vec<Part>,
    run: Option<i64>,
    unmatched: Option<Unmatched>,
}

/// The regular expressions of `--match` that match no tenant of a server.
#[derive(Debug, Clone)]
pub(crate) struct Unmatched {
    pub(crate) regexes: Vec<String>,
    /// The number of tenants of the server.
    pub(crate) tenants: usize,
}

/// Something that a command prints to standard output, or writes to a file.
#[derive(Debug)]
pub(crate) enum Part {
    /// A JSON document.
    Json(Value),
    /// JSON documents, each on one line.
    JsonLines(Vec<String>),
    /// Lines that are safe to print.
    Lines(Vec<String>),
    /// A table, or CSV.
    Table { head: Vec<String>, rows: Vec<Vec<String>>, form: TableForm },
    /// A JUnit report, and the file that it goes to; `-` is standard output.
    Junit(Box<TestSuite>, PathBuf),
    /// Metrics, and the file that they go to; by default, standard output.
    Metrics(Vec<MetricFamily>, Option<PathBuf>),
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableForm {
    Drawn,
    Csv,
}

impl Gathered {
    pub(crate) fn new(server: ServerName) -> Self {
        Self { server, parts: Mutex::default() }
    }

    pub(super) fn push(&self, part: Part) {
        self.parts().parts.push(part);
    }

    /// Keeps a JUnit report.
    pub(crate) fn push_junit(&self, suite: TestSuite, path: PathBuf) {
        self.push(Part::Junit(Box::new(suite), path));
    }

    /// Keeps metrics.
    pub(crate) fn push_metrics(&self, families: Vec<MetricFamily>, path: Option<PathBuf>) {
        self.push(Part::Metrics(families, path));
    }

    /// Keeps the id of the run on the server.
    pub(crate) fn set_run(&self, run: i64) {
        self.parts().run = Some(run);
    }

    /// The id of the run on the server.
    pub(crate) fn run(&self) -> Option<i64> {
        self.parts().run
    }

    /// Keeps which regular expressions match none of the server's tenants.
    pub(crate) fn set_unmatched(&self, regexes: &[&str], tenants: usize) {
        let regexes = regexes.iter().map(|&regex| regex.to_owned()).collect();
        self.parts().unmatched = Some(Unmatched { regexes, tenants });
    }

    /// Which regular expressions match none of the server's tenants; `None` if tenants were not selected.
    pub(crate) fn unmatched(&self) -> Option<Unmatched> {
        self.parts().unmatched.clone()
    }

    /// Takes what was gathered.
    pub(crate) fn take(&self) -> Vec<Part> {
        std::mem::take(&mut self.parts().parts)
    }

    fn parts(&self) -> MutexGuard<'_, GatheredParts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
