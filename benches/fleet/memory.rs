//! Peak memory, measured in a process that does nothing else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tenantry::operations::migrate::MigratePlan;
use tenantry::{Fleet, health};

use crate::sets::Sets;
use crate::world::World;
use crate::{Args, ours};

/// The goal, in MB.
const GOAL: f64 = 64.0;

/// Runs a separate process that reads, plans and checks a fleet, and reports its peak. The tenants have no tables, so
/// that the check reports a finding for each: no check keeps more in memory.
pub fn measure(world: &World, sets: &Sets, args: &Args) -> Result<String> {
    let database = world.light_database(&sets.full, args.memory, args.jobs)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["--bench", "--memory-of", database.url()])
        .output()
        .context("the process to be measured does not start")?;
    ensure!(output.status.success(), "the measured process failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let [tenants, findings, peak]: [&str; 3] = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .context("the measured process printed something else")?;
    ensure!(tenants == args.memory.to_string() && findings == tenants, "{tenants} tenants, {findings} findings");
    Ok(match peak.parse::<f64>() {
        Ok(kibibytes) => {
            let megabytes = kibibytes * 1024.0 / 1e6;
            let verdict = if megabytes < GOAL { "met" } else { "missed" };
            format!(
                "peak memory of list, plan and health check with {tenants} tenants and as many findings: \
                 {megabytes:.1} MB, goal under {GOAL} MB: {verdict}"
            )
        }
        Err(_) => "peak memory: not available on this system".to_owned(),
    })
}

/// The work of that process.
pub fn measure_this_process(url: &str) -> Result<()> {
    let sets = Sets::load()?;
    let set = sets.full.tenant_migrations();
    let mut db = ours::connect(url, 1)?;
    let plan = MigratePlan::of(Fleet::read(db.connection(), set)?, set, |_| true);
    let health = health::check(&mut db, &sets.full, &health::CheckOptions::default(), |_| true)?;
    let drifted = health.drift.groups.iter().filter(|group| !group.differences.is_empty());
    let findings: usize = drifted.map(|group| group.members.len()).sum();
    println!("{} {} {}", plan.up_to_date.len(), findings, peak().unwrap_or("unknown".to_owned()));
    Ok(())
}

/// The peak memory of this process, in KiB.
fn peak() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().to_owned())
}
