//! Logical replication from the source to the target: a publication of the tables without the ledger, a slot that is made before
//! the subscription, and a subscription that makes none.
//!
//! `CREATE SUBSCRIPTION` that makes its slot waits forever for itself if both databases are on one server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Oid, Text};

use super::record::TenantMove;
use super::site::Site;
use super::tables::MovedTable;
use super::writing::MoveColumn;
use crate::database::{Database, Stop};
use crate::error::{Error, MoveError};
use crate::model::{SchemaName, TenantName};
use crate::postgres::{Condition, DatabaseUrl};
use crate::servers::FleetServer;
use crate::sql::quote::{Identifier, Literal};

/// The longest wait for transactions that are older than the slot.
const SLOT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the subscription may have no worker before that is an error.
const WORKER_PATIENCE: Duration = Duration::from_secs(20);

/// How often the progress is read.
const POLL: Duration = Duration::from_millis(50);

/// The connection string by which the target reaches the source: without secrets, with the role of this program unless it has
/// one.
pub(super) fn peer_url(server: &FleetServer, role: &str, name: &str) -> Option<DatabaseUrl> {
    let url = server.peer_connection.clone().or_else(|| server.connection.clone())?;
    Some(url.without_any_secret().with_default("user", role).with("application_name", name))
}

/// Makes the publication, the slot and the subscription. What an earlier attempt has made must not exist any more.
pub(super) fn begin(
    registry: &mut Database,
    source: &mut Site,
    target: &mut Site,
    moved: &mut TenantMove,
    tables: &[MovedTable],
    stop: &Stop,
) -> Result<(), Error> {
    let (name, schema) = (moved.object(), moved.tenant.schema().clone());
    let identities: BTreeMap<String, String> = tables
        .iter()
        .filter(|table| table.has_rows && needs_full_identity(table))
        .map(|table| (table.name.clone(), if table.identity == "n" { "NOTHING" } else { "DEFAULT" }.to_owned()))
        .collect();
    let json = serde_json::to_string(&identities).unwrap_or_default();
    moved.set(registry.connection(), MoveColumn::Identities, &json)?;
    moved.identities = identities;
    set_identities(
        source,
        &moved.tenant,
        &schema,
        moved.identities.keys().map(|table| (table.as_str(), "FULL")),
        stop,
    )?;

    let failed = source.failed(&moved.tenant, "publish the tables");
    let published: Vec<String> = tables
        .iter()
        .filter(|table| table.has_rows)
        .map(|table| format!("ONLY {}", table.qualified(&schema)))
        .collect();
    let identifier = Identifier::of_object(&name);
    source
        .conn()
        .batch_execute(&format!("CREATE PUBLICATION {identifier} FOR TABLE {}", published.join(", ")))
        .map_err(failed)?;
    create_slot(source, &moved.tenant, &name)?;
    let role = source.db.server().session_role.clone();
    let url = peer_url(&source.server, &role, &name).ok_or_else(|| MoveError::Impossible {
        tenant: moved.tenant.to_string(),
        server: target.name().to_owned(),
        reasons: vec![format!("the connection string of server {} is not known", source.name())],
    })?;
    let failed = target.failed(&moved.tenant, "subscribe to the tables");
    target
        .conn()
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION {identifier} CONNECTION {} PUBLICATION {identifier} \
             WITH (create_slot = false, slot_name = {}, copy_data = true)",
            Literal(&url.conninfo()),
            Literal(&name)
        ))
        .map_err(failed)
}

/// Whether an `UPDATE` of the table would fail once it is published.
pub(super) fn needs_full_identity(table: &MovedTable) -> bool {
    table.identity == "n" || (table.identity == "d" && !table.has_key)
}

/// Sets replica identities. A lock of another session is waited for like those of the fence.
fn set_identities<'a>(
    site: &mut Site,
    tenant: &TenantName,
    schema: &SchemaName,
    identities: impl Iterator<Item = (&'a str, &'a str)>,
    stop: &Stop,
) -> Result<(), Error> {
    let statements: Vec<String> = identities
        .map(|(table, identity)| {
            let table = Identifier::of_object(table);
            format!("ALTER TABLE {}.{table} REPLICA IDENTITY {identity};", Identifier::from(schema))
        })
        .collect();
    let failed = site.failed(tenant, "set the replica identity");
    for statement in statements {
        let mut attempts = 0;
        loop {
            let sql = format!("BEGIN; SET LOCAL lock_timeout TO 300; {statement} COMMIT");
            let Err(error) = site.conn().batch_execute(&sql) else { break };
            site.conn().batch_execute("ROLLBACK").map_err(&failed)?;
            attempts += 1;
            let is_contention = matches!(Condition::of(&error), Some(Condition::LockTimeout | Condition::Deadlock));
            if !is_contention || attempts == 30 || !stop.pause(Duration::from_millis(300)) {
                return Err(failed(error));
            }
        }
    }
    Ok(())
}

fn create_slot(source: &mut Site, tenant: &TenantName, name: &str) -> Result<(), Error> {
    let failed = source.failed(tenant, "create a replication slot");
    let millis = SLOT_TIMEOUT.as_millis();
    let created = source.conn().batch_execute(&format!("SET statement_timeout TO {millis}")).and_then(|()| {
        sql_query("SELECT pg_catalog.pg_create_logical_replication_slot($1::name, 'pgoutput')")
            .bind::<Text, _>(name)
            .execute(source.conn())
            .map(|_| ())
    });
    source.conn().batch_execute("RESET statement_timeout").map_err(&failed)?;
    let Err(error) = created else { return Ok(()) };
    if Condition::of(&error) != Some(Condition::Canceled) {
        return Err(failed(error));
    }
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        sessions: String,
    }
    let row: Row = sql_query(
        "SELECT COALESCE(pg_catalog.string_agg(pg_catalog.format('process %s (user %s, application %s)', a.pid, a.usename, \
         a.application_name), '; ' ORDER BY a.xact_start), 'other sessions') AS sessions FROM pg_catalog.pg_stat_activity AS a \
         WHERE a.backend_xid IS NOT NULL AND a.xact_start < pg_catalog.now() - interval '30 seconds'",
    )
    .get_result(source.conn())
    .map_err(&failed)?;
    let reason = format!("the slot waits for older transactions: {}", row.sessions);
    Err(MoveError::NoFence { tenant: tenant.to_string(), reason }.into())
}

/// The state of a subscription.
#[derive(QueryableByName)]
struct CopyProgress {
    #[diesel(sql_type = BigInt)]
    tables: i64,
    #[diesel(sql_type = BigInt)]
    ready: i64,
    #[diesel(sql_type = Bool)]
    has_worker: bool,
}

/// Whether the target has the subscription of the move.
pub(super) fn exists(target: &mut Site, moved: &TenantMove) -> Result<bool, Error> {
    let failed = target.failed(&moved.tenant, "read the subscription");
    Ok(subscription(target.conn(), &moved.object()).map_err(failed)?.is_some())
}

/// Waits until the rows are copied, and the target follows the source.
pub(super) fn wait_for_copy(
    target: &mut Site,
    moved: &TenantMove,
    stop: &Stop,
    report: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let failed = target.failed(&moved.tenant, "read the progress of the replication");
    let mut worked = Instant::now();
    let mut shown = (Instant::now(), 0);
    loop {
        let progress: CopyProgress = sql_query(
            "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription_rel AS r WHERE r.srsubid = s.oid) AS tables, \
             (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription_rel AS r WHERE r.srsubid = s.oid AND r.srsubstate = 'r') \
             AS ready, \
             EXISTS (SELECT FROM pg_catalog.pg_stat_subscription AS w WHERE w.subid = s.oid AND w.pid IS NOT NULL) AS has_worker \
             FROM pg_catalog.pg_subscription AS s WHERE s.subname = $1",
        )
        .bind::<Text, _>(moved.object())
        .get_result(target.conn())
        .map_err(&failed)?;
        if progress.tables == progress.ready && progress.has_worker {
            return Ok(());
        }
        if progress.has_worker {
            worked = Instant::now();
        } else if worked.elapsed() > WORKER_PATIENCE {
            let reason = format!("the subscription on server {} does not work; its log has the reason", target.name());
            return Err(MoveError::NoFence { tenant: moved.tenant.to_string(), reason }.into());
        }
        if shown.0.elapsed() > Duration::from_secs(10) && shown.1 != progress.ready {
            shown = (Instant::now(), progress.ready);
            report(&format!("{}: {} of {} tables copied", moved.tenant, progress.ready, progress.tables));
        }
        if !stop.pause(POLL) {
            return Err(MoveError::Interrupted { tenant: moved.tenant.to_string() }.into());
        }
    }
}

/// Waits until the target has applied what the source has committed up to now. Returns the position, or `None` after
/// `deadline`.
pub(super) fn wait_for_target(
    source: &mut Site,
    moved: &TenantMove,
    deadline: Instant,
    stop: &Stop,
) -> Result<Option<String>, Error> {
    #[derive(QueryableByName)]
    struct WalPosition {
        #[diesel(sql_type = Text)]
        lsn: String,
    }
    #[derive(QueryableByName)]
    struct ReachedPosition {
        #[diesel(sql_type = Bool)]
        reached: bool,
    }
    let failed = source.failed(&moved.tenant, "follow the replication");
    let name = moved.object();
    let position: WalPosition = sql_query("SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn")
        .get_result(source.conn())
        .map_err(&failed)?;
    // Commits with synchronous_commit off may not be written yet, and only what is written is replicated.
    source.db.flush()?;
    loop {
        let row: ReachedPosition = sql_query(
            "SELECT COALESCE((SELECT pg_catalog.bool_or(r.replay_lsn >= $2::pg_catalog.pg_lsn) \
             FROM pg_catalog.pg_stat_replication AS r WHERE r.application_name = $1), false) \
             OR COALESCE((SELECT l.confirmed_flush_lsn >= $2::pg_catalog.pg_lsn FROM pg_catalog.pg_replication_slots AS l \
             WHERE l.slot_name = $1), false) AS reached",
        )
        .bind::<Text, _>(&name)
        .bind::<Text, _>(&position.lsn)
        .get_result(source.conn())
        .map_err(&failed)?;
        if row.reached {
            return Ok(Some(position.lsn));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        if !stop.pause(Duration::from_millis(2)) {
            return Err(MoveError::Interrupted { tenant: moved.tenant.to_string() }.into());
        }
    }
}

#[derive(QueryableByName)]
struct SubscriptionRow {
    #[diesel(sql_type = Oid)]
    oid: u32,
}

fn subscription(conn: &mut PgConnection, name: &str) -> QueryResult<Option<u32>> {
    let row: Option<SubscriptionRow> = sql_query(
        "SELECT s.oid FROM pg_catalog.pg_subscription AS s WHERE s.subname = $1 AND s.subdbid = \
         (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()?;
    Ok(row.map(|row| row.oid))
}

/// Removes what [`begin`] has made, as far as it exists. `schema` is the one that the tables on the source are in.
pub(super) fn end(
    source: &mut Site,
    target: &mut Site,
    moved: &TenantMove,
    schema: &SchemaName,
    stop: &Stop,
) -> Result<(), Error> {
    let (tenant, name) = (&moved.tenant, moved.object());
    let identifier = Identifier::of_object(&name).to_string();
    let failed = target.failed(tenant, "drop the subscription");
    let of_target = subscription(target.conn(), &name).map_err(&failed)?;
    if of_target.is_some() {
        // Without the slot, so that the source need not be reached from there.
        for statement in [
            format!("ALTER SUBSCRIPTION {identifier} DISABLE"),
            format!("ALTER SUBSCRIPTION {identifier} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {identifier}"),
        ] {
            target.conn().batch_execute(&statement).map_err(&failed)?;
        }
    }
    drop_slots(source, tenant, &name, of_target, stop)?;
    let failed = source.failed(tenant, "drop the publication");
    source.conn().batch_execute(&format!("DROP PUBLICATION IF EXISTS {identifier}")).map_err(failed)?;
    let identities = moved.identities.iter().map(|(table, identity)| (table.as_str(), identity.as_str()));
    set_identities(source, tenant, schema, identities, stop)
}

/// Drops the slot of the move, and those by which the subscription has copied tables. Ends the sessions that use them.
fn drop_slots(
    source: &mut Site,
    tenant: &TenantName,
    name: &str,
    subscription: Option<u32>,
    stop: &Stop,
) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Left {
        #[diesel(sql_type = BigInt)]
        slots: i64,
    }
    let failed = source.failed(tenant, "drop the replication slot");
    let copying = subscription.map(|oid| format!("pg_{oid}_sync_"));
    let of_move = "l.database = pg_catalog.current_database() \
                   AND (l.slot_name = $1 OR pg_catalog.starts_with(l.slot_name::text, $2))";
    let until = Instant::now() + WORKER_PATIENCE;
    loop {
        for sql in [
            format!(
                "SELECT pg_catalog.pg_terminate_backend(l.active_pid) FROM pg_catalog.pg_replication_slots AS l WHERE l.active AND {of_move}"
            ),
            format!(
                "SELECT pg_catalog.pg_drop_replication_slot(l.slot_name) FROM pg_catalog.pg_replication_slots AS l WHERE NOT l.active AND {of_move}"
            ),
        ] {
            // A slot may be dropped or become active meanwhile; it is looked for again.
            let _ = sql_query(sql)
                .bind::<Text, _>(name)
                .bind::<Nullable<Text>, _>(copying.as_deref())
                .execute(source.conn());
        }
        let left: Left = sql_query(format!(
            "SELECT pg_catalog.count(*) AS slots FROM pg_catalog.pg_replication_slots AS l WHERE {of_move}"
        ))
        .bind::<Text, _>(name)
        .bind::<Nullable<Text>, _>(copying.as_deref())
        .get_result(source.conn())
        .map_err(&failed)?;
        if left.slots == 0 {
            return Ok(());
        }
        if Instant::now() > until || !stop.pause(POLL) {
            let reason = format!("replication slot {name} on server {} is in use", source.name());
            return Err(MoveError::NoFence { tenant: tenant.to_string(), reason }.into());
        }
    }
}
