//! A rollout over a slow link, which shows the number of round trips.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::proxy::Proxy;
use crate::report::{Goal, Report};
use crate::sets::Sets;
use crate::world::{self, World};
use crate::{Args, floor, ours};

/// The delay of the link in each direction.
const DELAY: Duration = Duration::from_millis(10);

/// Rolls out one migration, ours and the floor in turns, and reports the time of the round trips alone.
pub fn measure(world: &World, sets: &Sets, args: &Args, report: &mut Report) -> Result<String> {
    let (jobs, tenants) = (args.jobs, args.link);
    let all = world::names(tenants);
    let proxy = Proxy::with_delay(world.server(), DELAY);
    let mut summary = String::new();
    for round in 0..args.rounds {
        let mine = world.database("link_ours", &sets.transactional)?;
        let bare = world.database("link_floor", &sets.transactional)?;
        for database in [&mine, &bare] {
            ours::create(database.url(), jobs, &sets.transactional, &all)?;
        }
        let next = &sets.transactional_next;
        let messages = ours::messages(bare.url(), next)?;
        let timed = world.pair(
            round,
            || {
                proxy.reset();
                ours::roll_out(&proxy.url(mine.name()), jobs, next, tenants)?;
                if round == 0 {
                    let (sent, alone) = (proxy.messages(), tenants.div_ceil(jobs));
                    let trips = 2.0 * DELAY.as_secs_f64() * alone as f64;
                    write!(
                        summary,
                        "over a link with {} ms each way: {sent} messages for {tenants} tenants with {jobs} connections; \
                         {alone} round trips after one another are {trips:.3} s",
                        DELAY.as_millis()
                    )?;
                }
                Ok(())
            },
            || floor::send(&proxy.url(bare.name()), jobs, &messages),
        )?;
        report.add("roll out over a slow link", tenants, Goal::AtMost(1.25), timed);
        ours::expect_up_to_date(bare.url(), next, tenants).context("the floor of the slow link")?;
    }
    Ok(summary)
}
