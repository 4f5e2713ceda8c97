//! The progress of a run over a fleet: a bar on a terminal, elsewhere a line every ten seconds.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::interrupt;
use super::output::{Output, Verbosity, count, terminal_width, thousands};
use crate::error::TenantError;
use crate::run::{LockWait, Observer};

/// Shows a run.
pub(crate) struct Progress {
    output: Output,
    /// `created`, `migrated`, `dropped`.
    verb: &'static str,
    bar: ProgressBar,
    total: usize,
    done: usize,
    failed: usize,
    next_line: Instant,
    /// A remark on what an aborted run may leave of a tenant.
    left_by_abort: &'static str,
    /// How to resume the run.
    resumed_by: String,
}

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs of fewer tenants than this have no progress bar.
const SMALL: usize = 5;

impl Progress {
    pub(crate) fn new(output: &Output, verb: &'static str) -> Self {
        let next_line = Instant::now() + LINE_EVERY;
        Self {
            output: output.clone(),
            verb,
            bar: ProgressBar::hidden(),
            total: 0,
            done: 0,
            failed: 0,
            next_line,
            left_by_abort: "",
            resumed_by: "repeat the command to resume".to_owned(),
        }
    }

    /// Sets how to resume the run, if not by the same command.
    pub(crate) fn resumed_by(mut self, instruction: impl Into<String>) -> Self {
        self.resumed_by = instruction.into();
        self
    }

    /// Sets what an aborted run may leave of a tenant.
    pub(crate) fn leaving(mut self, left_by_abort: &'static str) -> Self {
        self.left_by_abort = left_by_abort;
        self
    }

    /// The message for a process that exits before the run has ended.
    fn abort_message(&self) -> String {
        let left = self.total.saturating_sub(self.done + self.failed);
        let how = self.left_by_abort;
        format!(
            "aborted: {} {}, {} failed, {} not confirmed; each running tenant is committed or rolled back atomically{how}; {}",
            count(self.done, "tenant"),
            self.verb,
            thousands(self.failed),
            thousands(left),
            self.resumed_by
        )
    }

    fn step(&mut self) {
        self.bar.inc(1);
        interrupt::set_exit_message(Some(self.abort_message()));
        if self.failed > 0 {
            self.bar.set_message(format!(", {} failed", thousands(self.failed)));
        }
        let shows_lines = self.bar.is_hidden() && self.output.verbosity() == Verbosity::Normal;
        if shows_lines && Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_EVERY;
            self.output.status(format_args!(
                "{} of {} {}, {} failed",
                thousands(self.done),
                count(self.total, "tenant"),
                self.verb,
                thousands(self.failed)
            ));
        }
    }
}

impl Observer for Progress {
    fn begin(&mut self, tenants: usize) {
        self.total = tenants;
        interrupt::set_exit_message(Some(self.abort_message()));
        let shows_bar = self.output.verbosity() > Verbosity::Quiet && tenants >= SMALL && io::stderr().is_terminal();
        if shows_bar {
            let style = format!("{{bar:{}}} {{pos}}/{{len}} tenants, {{rate}}, {{eta}} left{{msg}}", bar_width());
            self.bar = ProgressBar::with_draw_target(Some(tenants as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(&style).expect("the template is well formed");
            self.bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                // A line that is too long is cut; there is no other failure.
                let _ = out.write_str(&rate(state.per_sec()));
            }));
            self.bar.enable_steady_tick(Duration::from_millis(250));
        }
    }

    fn done(&mut self, tenant: &str, took: Duration) {
        self.done += 1;
        if self.output.verbosity() == Verbosity::Verbose {
            let line = format!("{} {tenant} in {}", self.verb, milliseconds(took));
            self.bar.suspend(|| self.output.detail(format_args!("{line}")));
        }
        self.step();
    }

    fn failed(&mut self, tenant: &str, error: &TenantError) {
        self.failed += 1;
        if self.output.verbosity() == Verbosity::Verbose {
            self.bar.suspend(|| self.output.detail(format_args!("failed {tenant}: {}", error.code())));
        }
        self.step();
    }

    fn away(&mut self, patience: Duration) {
        let line = format!(
            "{} of {} {}; lost connection to the server, waiting for it for up to {}",
            thousands(self.done),
            count(self.total, "tenant"),
            self.verb,
            humantime::format_duration(patience)
        );
        self.bar.suspend(|| self.output.status(line));
    }

    fn back(&mut self) {
        self.bar.suspend(|| self.output.status("reconnected to the server"));
    }

    fn waiting(&mut self, wait: &LockWait) {
        self.bar.suspend(|| self.output.status(wait));
    }

    fn pause(&mut self, time: Duration) {
        let line = format!(
            "{} of {} {}; pausing for {} before the next batch",
            thousands(self.done),
            count(self.total, "tenant"),
            self.verb,
            humantime::format_duration(time)
        );
        self.bar.suspend(|| self.output.status(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        interrupt::set_exit_message(None);
    }
}

/// The width of the bar: a line of a narrow terminal has room for the numbers, too.
fn bar_width() -> u16 {
    const NUMBERS: u16 = 50;
    terminal_width(&io::stderr()).map_or(30, |columns| columns.saturating_sub(NUMBERS).clamp(5, 30))
}

/// `0.4/s`, `12/s`.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}/s") } else { format!("{per_second:.0}/s") }
}

/// `12 ms`, `1.2 s`.
pub(crate) fn milliseconds(time: Duration) -> String {
    match time.as_millis() {
        millis @ ..1_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
