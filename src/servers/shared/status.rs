//! The state of the replication of shared tables, and its problems.

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use super::detach::remains;
use super::link::{Endpoint, ReplicationLink};
use super::state::{self, SlotState, SubscriptionState, slot, subscription};
use super::tables::{ShareDirection, SharedTable, names};
use super::verify::stale;
use crate::error::Error;
use crate::servers::{Directory, FleetServer};

/// The kind of a problem of shared tables. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SharedFindingKind {
    /// A server could not be checked.
    NotChecked,
    /// A server does not follow, or does not publish, all shared tables.
    NotFollowing,
    /// A slot does not exist any more, or its WAL has been removed.
    SlotLost,
    /// The subscriber of a slot is far behind, so that the publisher keeps WAL for it.
    SlotBehind,
    /// A slot or a subscription of no server of the fleet.
    SlotOrphan,
    /// A subscription cannot connect, or cannot apply a change.
    SubscriptionError,
    /// A subscription is disabled.
    SubscriptionDisabled,
    /// The rows of two servers differ.
    SharedStale,
}

impl SharedFindingKind {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotChecked => "shared.not-checked",
            Self::NotFollowing => "shared.not-following",
            Self::SlotLost => "slot.lost",
            Self::SlotBehind => "slot.behind",
            Self::SlotOrphan => "slot.orphan",
            Self::SubscriptionError => "subscription.error",
            Self::SubscriptionDisabled => "subscription.disabled",
            Self::SharedStale => "shared.stale",
        }
    }
}

/// A problem of shared tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFinding {
    /// The server.
    pub server: String,
    /// Its kind.
    pub kind: SharedFindingKind,
    /// The problem, in one line.
    pub message: String,
}

/// The replication in one direction between the registry and a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// The server that is not the registry.
    pub server: String,
    /// Who publishes.
    pub direction: ShareDirection,
    /// The number of tables that are followed.
    pub tables: usize,
    /// `following`, `copying`, `stopped`, `disabled`, `lost`, `missing` or `unknown`.
    pub state: &'static str,
    /// The WAL that the subscriber has not confirmed, in bytes; `None` without a slot.
    pub behind: Option<i64>,
    /// Errors since the statistics of the subscription were reset; `None` if they are not known.
    pub errors: Option<i64>,
}

/// The state of the shared tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedStatus {
    /// A link for each server and direction with tables.
    pub links: Vec<LinkStatus>,
    /// The problems.
    pub findings: Vec<SharedFinding>,
}

/// What to check.
#[derive(Debug, Clone, Copy)]
pub struct StatusOptions {
    /// The number of bytes from which a slot counts as behind.
    pub max_behind: i64,
    /// Whether the rows are compared.
    pub compares_rows: bool,
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self { max_behind: 64 * 1024 * 1024, compares_rows: false }
    }
}

/// How long all subscriptions together may be without a worker or a connection: by default, a server starts one worker in 5
/// seconds (`wal_retrieve_retry_interval`).
const START_WAIT: Duration = Duration::from_secs(12);

/// Checks the shared tables of a fleet. Changes nothing. `connect` opens a connection to a server.
///
/// # Errors
/// The registry's error. A server that cannot be checked is a finding.
pub fn status(
    registry: &mut Endpoint,
    directory: &Directory,
    tables: &[SharedTable],
    options: StatusOptions,
    connect: &mut dyn FnMut(&FleetServer) -> Result<Endpoint, Error>,
) -> Result<SharedStatus, Error> {
    let mut status = SharedStatus::default();
    let until = Instant::now() + START_WAIT;
    for server in directory.servers.iter().filter(|server| !server.is_registry) {
        let mut endpoint = connect(server);
        for direction in ShareDirection::ALL {
            let wanted = names(tables, direction);
            if wanted.is_empty() {
                continue;
            }
            let link = ReplicationLink::of(server, direction);
            match &mut endpoint {
                Ok(endpoint) => {
                    let checked = check_link(&mut status, link, registry, endpoint, &wanted, options, until);
                    if let Err(error) = checked {
                        status.find(server, SharedFindingKind::NotChecked, format!("not checked: {error}"));
                    }
                }
                Err(_) => unreached(&mut status, link, registry, server, options)?,
            }
        }
        match &mut endpoint {
            Ok(endpoint) => orphans(&mut status, &mut endpoint.conn, server, directory)?,
            Err(error) if !tables.is_empty() => {
                status.find(server, SharedFindingKind::NotChecked, format!("not checked: {error}"));
            }
            Err(_) => {}
        }
    }
    let here = registry.server.clone();
    orphans(&mut status, &mut registry.conn, &here, directory)?;
    Ok(status)
}

impl SharedStatus {
    fn find(&mut self, server: &FleetServer, kind: SharedFindingKind, message: String) {
        self.findings.push(SharedFinding { server: server.name.to_string(), kind, message });
    }
}

fn check_link(
    status: &mut SharedStatus,
    link: ReplicationLink,
    registry: &mut Endpoint,
    server: &mut Endpoint,
    wanted: &[&str],
    options: StatusOptions,
    until: Instant,
) -> Result<(), Error> {
    let of = server.server.clone();
    let (publisher, subscriber) = link.ends(registry, server);
    let name = link.name();
    let (mut own, mut slot) = (subscription(&mut subscriber.conn, &name)?, state::slot(&mut publisher.conn, &name)?);
    // A worker that is just being started is no problem.
    while is_starting(own.as_ref(), slot.as_ref()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        (own, slot) = (subscription(&mut subscriber.conn, &name)?, state::slot(&mut publisher.conn, &name)?);
    }
    let mut row = LinkStatus {
        server: of.name.to_string(),
        direction: link.direction,
        tables: 0,
        state: "missing",
        behind: slot.as_ref().map(|slot| slot.behind),
        errors: own.as_ref().and_then(|own| own.errors),
    };
    let Some(own) = own else {
        let message = format!("{} has no subscription {name}", subscriber.server.name);
        status.find(&of, SharedFindingKind::NotFollowing, message);
        status.links.push(row);
        return Ok(());
    };
    row.tables = wanted.iter().filter(|table| own.tables.iter().any(|own| own == *table)).count();
    row.state = if own.copying.is_empty() { "following" } else { "copying" };
    let absent: Vec<&str> = wanted.iter().copied().filter(|table| !own.tables.iter().any(|own| own == table)).collect();
    if !absent.is_empty() {
        let message = format!("{} does not follow {}", subscriber.server.name, absent.join(", "));
        status.find(&of, SharedFindingKind::NotFollowing, message);
    }
    match &slot {
        None => {
            row.state = "lost";
            let message = format!("replication slot {name} does not exist on {}", publisher.server.name);
            status.find(&of, SharedFindingKind::SlotLost, message);
        }
        Some(slot) if slot.is_lost => {
            row.state = "lost";
            let message = format!(
                "{} has removed WAL that replication slot {name} needs (max_slot_wal_keep_size)",
                publisher.server.name
            );
            status.find(&of, SharedFindingKind::SlotLost, message);
        }
        Some(slot) => behind(status, &of, &name, slot.behind, options),
    }
    if !own.is_enabled {
        row.state = "disabled";
        let message = format!("subscription {name} is disabled on {}", subscriber.server.name);
        status.find(&of, SharedFindingKind::SubscriptionDisabled, message);
    } else if !own.is_running && row.state != "lost" {
        row.state = "stopped";
        let errors = own.errors.filter(|errors| *errors > 0);
        let errors = errors.map(|errors| format!("{errors} errors so far; ")).unwrap_or_default();
        let message = format!(
            "subscription {name} of {} has no worker: {errors}the log of {} has the reason",
            subscriber.server.name, subscriber.server.name
        );
        status.find(&of, SharedFindingKind::SubscriptionError, message);
    } else if own.is_running && slot.as_ref().is_some_and(|slot| !slot.is_active) && row.state != "lost" {
        row.state = "stopped";
        let message = format!("subscription {name} of {} is not connected", subscriber.server.name);
        status.find(&of, SharedFindingKind::SubscriptionError, message);
    }
    if options.compares_rows && row.state == "following" {
        for message in stale(link, publisher, subscriber, wanted)? {
            status.find(&of, SharedFindingKind::SharedStale, message);
        }
    }
    status.links.push(row);
    Ok(())
}

fn is_starting(own: Option<&SubscriptionState>, slot: Option<&SlotState>) -> bool {
    match (own, slot) {
        (Some(own), Some(slot)) => own.is_enabled && !slot.is_lost && !(own.is_running && slot.is_active),
        _ => false,
    }
}

/// The part of a link that the registry shows while the server cannot be reached.
fn unreached(
    status: &mut SharedStatus,
    link: ReplicationLink,
    registry: &mut Endpoint,
    server: &FleetServer,
    options: StatusOptions,
) -> Result<(), Error> {
    let name = link.name();
    let found = match link.direction {
        ShareDirection::Out => slot(&mut registry.conn, &name)?,
        ShareDirection::In => None,
    };
    if let Some(slot) = &found {
        if slot.is_lost {
            let message = format!("the registry has removed WAL that replication slot {name} needs");
            status.find(server, SharedFindingKind::SlotLost, message);
        } else {
            behind(status, server, &name, slot.behind, options);
        }
    }
    status.links.push(LinkStatus {
        server: server.name.to_string(),
        direction: link.direction,
        tables: 0,
        state: "unknown",
        behind: found.map(|slot| slot.behind),
        errors: None,
    });
    Ok(())
}

fn behind(status: &mut SharedStatus, server: &FleetServer, name: &str, behind: i64, options: StatusOptions) {
    if behind > options.max_behind {
        let message = format!("replication slot {name} is {behind} bytes behind, which its server keeps as WAL");
        status.find(server, SharedFindingKind::SlotBehind, message);
    }
}

/// Slots and subscriptions of servers that the directory does not have any more.
fn orphans(
    status: &mut SharedStatus,
    conn: &mut PgConnection,
    server: &FleetServer,
    directory: &Directory,
) -> Result<(), Error> {
    let expected: Vec<String> = directory
        .servers
        .iter()
        .flat_map(|server| ShareDirection::ALL.map(|direction| ReplicationLink::of(server, direction).name()))
        .collect();
    let found = remains(conn)?;
    for name in found.slots.iter().filter(|name| !expected.contains(name)) {
        let message = format!("replication slot {name} belongs to no server of the fleet, and keeps WAL");
        status.find(server, SharedFindingKind::SlotOrphan, message);
    }
    for name in found.subscriptions.iter().filter(|name| !expected.contains(name)) {
        let message = format!("subscription {name} belongs to no server of the fleet");
        status.find(server, SharedFindingKind::SlotOrphan, message);
    }
    Ok(())
}
