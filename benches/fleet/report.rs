//! The table.

use std::fmt;
use std::time::Duration;

/// The times of one side in one turn.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The time that passed.
    pub elapsed: Duration,
    /// The processor time of this program and of the server, if the system reports it.
    pub processor: Option<Duration>,
}

/// The times of the two sides in one turn.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The times of the library.
    pub ours: Times,
    /// The times of the floor.
    pub floor: Times,
}

impl Pair {
    /// The ratio of the elapsed times.
    fn ratio(&self) -> f64 {
        self.ours.elapsed.as_secs_f64() / self.floor.elapsed.as_secs_f64()
    }

    /// The ratio of the processor times, which other programs on the machine hardly affect.
    fn processor_ratio(&self) -> Option<f64> {
        Some(self.ours.processor?.as_secs_f64() / self.floor.processor?.as_secs_f64())
    }
}

/// The goal for a ratio.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At most this ratio.
    AtMost(f64),
    /// No goal.
    None,
}

/// The measurements by operation.
#[derive(Debug, Default)]
pub struct Report(Vec<Row>);

#[derive(Debug)]
struct Row {
    operation: &'static str,
    tenants: usize,
    goal: Goal,
    pairs: Vec<Pair>,
}

impl Report {
    /// Adds a turn of an operation on a number of tenants.
    pub fn add(&mut self, operation: &'static str, tenants: usize, goal: Goal, pair: Pair) {
        match self.0.iter_mut().find(|row| row.operation == operation && row.tenants == tenants) {
            Some(row) => row.pairs.push(pair),
            None => self.0.push(Row { operation, tenants, goal, pairs: vec![pair] }),
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 10] {
        let ours = median(self.pairs.iter().map(|pair| pair.ours.elapsed.as_secs_f64()));
        let floor = median(self.pairs.iter().map(|pair| pair.floor.elapsed.as_secs_f64()));
        let ratios = || self.pairs.iter().map(Pair::ratio);
        let processor = median(self.pairs.iter().filter_map(Pair::processor_ratio));
        let ratio = median(ratios());
        let (least, most) = ratios().fold((f64::MAX, 0.0), |(least, most), ratio| (ratio.min(least), ratio.max(most)));
        let (goal, verdict) = match self.goal {
            Goal::AtMost(goal) => (format!("{goal:.2}"), if ratio <= goal { "met" } else { "missed" }),
            Goal::None => ("-".to_owned(), "-"),
        };
        [
            self.operation.to_owned(),
            self.tenants.to_string(),
            format!("{ours:.3}"),
            format!("{floor:.3}"),
            format!("{ratio:.2}"),
            format!("{least:.2}-{most:.2}"),
            if processor.is_nan() { "-".to_owned() } else { format!("{processor:.2}") },
            goal,
            verdict.to_owned(),
            format!("{:.0}", self.tenants as f64 / ours),
        ]
    }
}

const HEAD: [&str; 10] =
    ["operation", "tenants", "ours (s)", "floor (s)", "ratio", "from-to", "cpu ratio", "goal", "verdict", "tenants/s"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let widths: Vec<usize> =
            (0..HEAD.len()).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0)).collect();
        for line in lines {
            let [operation, numbers @ ..] = line;
            write!(f, "{operation:<width$}", width = widths[0])?;
            for (number, width) in numbers.iter().zip(&widths[1..]) {
                write!(f, "  {number:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The median.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
