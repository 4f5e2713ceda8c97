//! The rows of a shared table are brought over when a server begins to follow another one.
//!
//! The rows are those of a snapshot of the publisher at which the slot begins, so that no change is missed or applied
//! twice. The subscriber's rows are changed in the transaction that creates the subscription, and only where they differ.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Text};

use super::inspect::TableShape;
use super::tables::ShareDirection;
use crate::sql::quote::Identifier;

/// The number of rows in one message.
const PAGE: i64 = 1_000;

/// Settings in which two servers write equal values as equal texts.
pub(super) const AS_TEXT: &str = "SET LOCAL DateStyle TO 'ISO, YMD'; SET LOCAL IntervalStyle TO 'postgres'; \
                                  SET LOCAL TimeZone TO 'UTC'; SET LOCAL extra_float_digits TO 1; \
                                  SET LOCAL bytea_output TO 'hex'; SET LOCAL lc_monetary TO 'C';";

/// What happens to rows of a subscriber that differ from those of the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalRows {
    /// They are kept: the subscriber is refused.
    Keep,
    /// They are replaced, also where they are not known to be copies.
    Replace,
}

/// Which rows of a subscriber may be replaced.
pub(super) struct ReplacedRows {
    /// The tables whose rows are known to be copies.
    pub(super) known: Vec<String>,
    /// What happens to those of other tables.
    pub(super) local: LocalRows,
}

impl ReplacedRows {
    pub(super) fn of(&self, table: &str) -> LocalRows {
        if self.known.iter().any(|known| known == table) { LocalRows::Replace } else { self.local }
    }
}

/// Why the rows of a table were not brought over.
pub(super) enum RowsError {
    /// The subscriber has rows that differ.
    Differ {
        table: String,
        rows: i64,
    },
    /// Rows that the publisher does not have cannot be deleted without changing other tables.
    Cascade {
        table: String,
        others: Vec<String>,
    },
    Publisher(DieselError),
    Subscriber(DieselError),
    /// The subscription was not created.
    Subscription(DieselError),
}

impl From<DieselError> for RowsError {
    fn from(error: DieselError) -> Self {
        Self::Subscriber(error)
    }
}

/// A table with its names quoted.
struct QuotedTable<'a> {
    shape: &'a TableShape,
    table: String,
    columns: String,
}

const INCOMING: &str = "pg_temp.tenantry_incoming";

/// Brings the rows of the tables from the publisher to the subscriber. Both connections are in a transaction.
///
/// With [`ShareDirection::Out`], the subscriber has the rows of the publisher afterwards, and no others. With
/// [`ShareDirection::In`], it also has those of other servers.
pub(super) fn bring(
    publisher: &mut PgConnection,
    subscriber: &mut PgConnection,
    tables: &[TableShape],
    direction: ShareDirection,
    local: impl Fn(&str) -> LocalRows,
) -> Result<(), RowsError> {
    subscriber.batch_execute(AS_TEXT)?;
    publisher.batch_execute(AS_TEXT).map_err(RowsError::Publisher)?;
    let triggers = replica_role(subscriber)?;
    let quoted: Vec<QuotedTable> = tables.iter().map(QuotedTable::of).collect();
    for table in &quoted {
        table.lock(subscriber)?;
    }
    for (number, table) in quoted.iter().enumerate() {
        table.receive(publisher, subscriber, number)?;
        let differing = table.differing(subscriber, number, direction)?;
        if differing > 0 && local(&table.shape.name) == LocalRows::Keep {
            return Err(RowsError::Differ { table: table.shape.name.clone(), rows: differing });
        }
    }
    if direction == ShareDirection::Out {
        // A table that refers to another one is before it.
        for (number, table) in quoted.iter().enumerate().rev() {
            table.delete(subscriber, number, triggers)?;
        }
    }
    for (number, table) in quoted.iter().enumerate() {
        table.write(subscriber, number)?;
    }
    Ok(())
}

/// Whether triggers and foreign keys act on changed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Triggers {
    Fire,
    Rest,
}

/// Switches triggers and foreign keys off, as a subscription does when it applies changes, if this role may do so.
fn replica_role(subscriber: &mut PgConnection) -> QueryResult<Triggers> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        allowed: bool,
    }
    let version: i32 = server_version(subscriber)?;
    let privilege = if version >= 150_000 {
        "pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
    } else {
        "(SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER)"
    };
    let row: Row = sql_query(format!("SELECT {privilege} AS allowed")).get_result(subscriber)?;
    if !row.allowed {
        return Ok(Triggers::Fire);
    }
    subscriber.batch_execute("SET LOCAL session_replication_role TO 'replica'")?;
    Ok(Triggers::Rest)
}

fn server_version(conn: &mut PgConnection) -> QueryResult<i32> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        version: i32,
    }
    let row: Row =
        sql_query("SELECT pg_catalog.current_setting('server_version_num')::integer AS version").get_result(conn)?;
    Ok(row.version)
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

#[derive(QueryableByName)]
struct RowText {
    #[diesel(sql_type = Text)]
    line: String,
}

impl<'a> QuotedTable<'a> {
    fn of(shape: &'a TableShape) -> Self {
        let table = format!("public.{}", Identifier::of_object(&shape.name));
        Self { shape, table, columns: list(&shape.columns, "") }
    }

    fn lock(&self, subscriber: &mut PgConnection) -> QueryResult<()> {
        subscriber.batch_execute(&format!("LOCK TABLE {} IN EXCLUSIVE MODE", self.table))
    }

    /// Copies the publisher's rows to a temporary table.
    fn receive(
        &self,
        publisher: &mut PgConnection,
        subscriber: &mut PgConnection,
        number: usize,
    ) -> Result<(), RowsError> {
        let Self { table, columns, .. } = self;
        let name = INCOMING.trim_start_matches("pg_temp.");
        subscriber.batch_execute(&format!(
            "CREATE TEMPORARY TABLE {name}_{number} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
        ))?;
        publisher
            .batch_execute(&format!(
                "DECLARE tenantry_rows NO SCROLL CURSOR FOR SELECT ROW({columns})::pg_catalog.text AS line FROM {table}"
            ))
            .map_err(RowsError::Publisher)?;
        loop {
            let rows: Vec<RowText> =
                sql_query(format!("FETCH {PAGE} FROM tenantry_rows")).load(publisher).map_err(RowsError::Publisher)?;
            if rows.is_empty() {
                break;
            }
            let lines: Vec<String> = rows.into_iter().map(|row| row.line).collect();
            sql_query(format!(
                "INSERT INTO {INCOMING}_{number} SELECT (r.line::{INCOMING}_{number}).* FROM pg_catalog.unnest($1) AS r (line)"
            ))
            .bind::<Array<Text>, _>(lines)
            .execute(subscriber)?;
        }
        publisher.batch_execute("CLOSE tenantry_rows").map_err(RowsError::Publisher)?;
        let key = list(&self.shape.key, "");
        subscriber.batch_execute(&format!(
            "CREATE UNIQUE INDEX ON {INCOMING}_{number} ({key}); ANALYZE {INCOMING}_{number}"
        ))?;
        Ok(())
    }

    /// The number of the subscriber's rows that differ from those of the publisher; with [`ShareDirection::Out`], also those
    /// that the publisher does not have.
    fn differing(&self, subscriber: &mut PgConnection, number: usize, direction: ShareDirection) -> QueryResult<i64> {
        let join = match direction {
            ShareDirection::Out => "LEFT JOIN",
            ShareDirection::In => "JOIN",
        };
        let counted: Counted = sql_query(format!(
            "SELECT pg_catalog.count(*) AS rows FROM {table} AS t {join} {INCOMING}_{number} AS i ON {same} \
             WHERE i.{first} IS NULL OR {differs}",
            table = self.table,
            same = self.same_key(),
            first = Identifier::of_object(&self.shape.key[0]),
            differs = self.differs(),
        ))
        .get_result(subscriber)?;
        Ok(counted.rows)
    }

    /// Deletes the rows that the publisher does not have.
    fn delete(&self, subscriber: &mut PgConnection, number: usize, triggers: Triggers) -> Result<(), RowsError> {
        let absent = format!("NOT EXISTS (SELECT FROM {INCOMING}_{number} AS i WHERE {})", self.same_key());
        if triggers == Triggers::Fire && !self.shape.cascading.is_empty() {
            let counted: Counted =
                sql_query(format!("SELECT pg_catalog.count(*) AS rows FROM {} AS t WHERE {absent}", self.table))
                    .get_result(subscriber)?;
            if counted.rows > 0 {
                let others = self.shape.cascading.clone();
                return Err(RowsError::Cascade { table: self.shape.name.clone(), others });
            }
        }
        subscriber.batch_execute(&format!("DELETE FROM {} AS t WHERE {absent}", self.table))?;
        Ok(())
    }

    /// Changes the rows that differ, and inserts those that the subscriber does not have.
    fn write(&self, subscriber: &mut PgConnection, number: usize) -> QueryResult<()> {
        let Self { shape, table, columns } = self;
        let is_set = |column: &&String| !shape.key.contains(column) && !shape.always_identity.contains(column);
        let set: Vec<String> = shape.columns.iter().filter(is_set).cloned().collect();
        if !set.is_empty() {
            subscriber.batch_execute(&format!(
                "UPDATE {table} AS t SET ({names}) = ROW({values}) FROM {INCOMING}_{number} AS i WHERE {same} AND {differs}",
                names = list(&set, ""),
                values = list(&set, "i."),
                same = self.same_key(),
                differs = self.differs(),
            ))?;
        }
        subscriber.batch_execute(&format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {INCOMING}_{number} AS i \
             WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {})",
            self.same_key(),
        ))
    }

    fn same_key(&self) -> String {
        format!("({}) = ({})", list(&self.shape.key, "t."), list(&self.shape.key, "i."))
    }

    fn differs(&self) -> String {
        let row = |prefix| format!("ROW({})::pg_catalog.text", list(&self.shape.columns, prefix));
        format!("{} <> {}", row("t."), row("i."))
    }
}

/// Quoted names, each after a prefix.
pub(super) fn list(names: &[String], prefix: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{prefix}{}", Identifier::of_object(name))).collect();
    names.join(", ")
}
