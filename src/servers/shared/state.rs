//! The state of the slot and the subscription of a link.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use crate::error::Error;

/// A subscription.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct SubscriptionState {
    #[diesel(sql_type = Bool)]
    pub(super) is_enabled: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) slot: Option<String>,
    /// The tables that it follows.
    #[diesel(sql_type = Array<Text>)]
    pub(super) tables: Vec<String>,
    /// Those whose rows are still being copied.
    #[diesel(sql_type = Array<Text>)]
    pub(super) copying: Vec<String>,
    /// Whether a worker applies its changes.
    #[diesel(sql_type = Bool)]
    pub(super) is_running: bool,
    /// Errors since the statistics were reset; `None` before version 15.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) errors: Option<i64>,
}

/// A replication slot.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct SlotState {
    #[diesel(sql_type = Bool)]
    pub(super) is_active: bool,
    /// Whether the WAL that it needs has been removed.
    #[diesel(sql_type = Bool)]
    pub(super) is_lost: bool,
    /// The WAL that the subscriber has not confirmed, in bytes.
    #[diesel(sql_type = BigInt)]
    pub(super) behind: i64,
}

/// The subscription with the name.
pub(super) fn subscription(conn: &mut PgConnection, name: &str) -> Result<Option<SubscriptionState>, Error> {
    let doing = Error::doing("read the subscription of shared tables");
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        exists: bool,
    }
    let counters: Row =
        sql_query("SELECT pg_catalog.to_regclass('pg_catalog.pg_stat_subscription_stats') IS NOT NULL AS exists")
            .get_result(conn)
            .map_err(&doing)?;
    let errors = if counters.exists {
        "(SELECT t.apply_error_count + t.sync_error_count FROM pg_catalog.pg_stat_subscription_stats AS t WHERE t.subid = s.oid)"
    } else {
        "NULL::pg_catalog.int8"
    };
    let table = "(SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_class AS c WHERE c.oid = r.srrelid)";
    sql_query(format!(
        "SELECT s.subenabled AS is_enabled, s.subslotname::pg_catalog.text AS slot, \
         ARRAY(SELECT {table} FROM pg_catalog.pg_subscription_rel AS r WHERE r.srsubid = s.oid ORDER BY 1) AS tables, \
         ARRAY(SELECT {table} FROM pg_catalog.pg_subscription_rel AS r \
             WHERE r.srsubid = s.oid AND r.srsubstate NOT IN ('r', 's') ORDER BY 1) AS copying, \
         EXISTS (SELECT FROM pg_catalog.pg_stat_subscription AS w WHERE w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL) \
             AS is_running, \
         {errors} AS errors \
         FROM pg_catalog.pg_subscription AS s JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() AND s.subname = $1"
    ))
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()
    .map_err(doing)
}

/// The connection string of a subscription, if this role may read it.
pub(super) fn connection_of(conn: &mut PgConnection, name: &str) -> Result<Option<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        allowed: bool,
    }
    #[derive(QueryableByName)]
    struct ConnectionRow {
        #[diesel(sql_type = Text)]
        connection: String,
    }
    let doing = Error::doing("read the connection of the subscription");
    let readable: Row = sql_query(
        "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT') AS allowed",
    )
    .get_result(conn)
    .map_err(&doing)?;
    if !readable.allowed {
        return Ok(None);
    }
    let row: Option<ConnectionRow> = sql_query(
        "SELECT s.subconninfo AS connection FROM pg_catalog.pg_subscription AS s \
         JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() AND s.subname = $1",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()
    .map_err(doing)?;
    Ok(row.map(|row| row.connection))
}

/// The slot with the name, if it is one of this database.
pub(super) fn slot(conn: &mut PgConnection, name: &str) -> Result<Option<SlotState>, Error> {
    sql_query(
        "SELECT s.active AS is_active, COALESCE(s.wal_status = 'lost' OR s.restart_lsn IS NULL, true) AS is_lost, \
         COALESCE(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::pg_catalog.int8 AS behind \
         FROM pg_catalog.pg_replication_slots AS s \
         WHERE s.slot_name = $1 AND s.database = pg_catalog.current_database()",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()
    .map_err(Error::doing("read the replication slot of shared tables"))
}

/// The tables of a publication; `None` if it does not exist.
pub(super) fn published(conn: &mut PgConnection, name: &str) -> Result<Option<Vec<String>>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Array<Text>)]
        tables: Vec<String>,
    }
    let row: Option<Row> = sql_query(
        "SELECT ARRAY(SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_publication_rel AS r \
         JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid WHERE r.prpubid = p.oid ORDER BY 1) AS tables \
         FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()
    .map_err(Error::doing("read the publication of shared tables"))?;
    Ok(row.map(|row| row.tables))
}
