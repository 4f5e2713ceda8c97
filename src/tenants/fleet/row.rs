//! Rows of the tracker, and what each of them stands for.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Oid, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{InvalidRow, Misnamed, Schema, Tenant};
use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::{State, TenantName, Unfinished};
use crate::sql::catalog::holds_relations;
use crate::tenants::ledger::access::{self, LedgerAccess};

/// A row of the tracker, joined with the catalog.
#[derive(QueryableByName)]
pub(super) struct FleetRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    unfinished_version: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    unfinished_statements: Option<i32>,
    #[diesel(sql_type = Bool)]
    unfinished_in_doubt: bool,
    /// The versions of the repeatable migrations that were applied.
    #[diesel(sql_type = Array<Text>)]
    repeatables: Vec<String>,
    #[diesel(sql_type = Nullable<Oid>)]
    schema_oid: Option<u32>,
    #[diesel(sql_type = Nullable<Text>)]
    ledger_kind: Option<String>,
    #[diesel(embed)]
    access: LedgerAccess,
    #[diesel(sql_type = Bool)]
    empty: bool,
    #[diesel(sql_type = Bool)]
    owned_by_other_role: bool,
}

/// What a row of the tracker stands for.
pub(super) enum Entry {
    /// A tenant without a ledger that could be read.
    Tenant(Tenant),
    /// A tenant whose ledger is yet to be read.
    Unread(Unread),
    /// A row whose name is not a valid tenant name.
    Misnamed(Misnamed),
    /// A row that this version cannot interpret.
    Invalid(InvalidRow),
}

/// A tenant whose ledger is yet to be read.
pub(super) struct Unread {
    tracked: Tracked,
    /// The oid of its schema.
    pub(super) oid: u32,
    /// The versions of the repeatable migrations that it has applied.
    pub(super) repeatables: Vec<String>,
}

/// The columns of a valid row that do not depend on the schema.
struct Tracked {
    id: Uuid,
    name: TenantName,
    state: State,
    created_at: DateTime<Utc>,
    unfinished: Option<Unfinished>,
    owned_by_other_role: bool,
}

/// The versions of the repeatable migrations that a tenant has applied. A tracker whose migrations are pending has no such
/// column.
const REPEATABLES: &str = "ARRAY(SELECT 'repeatable/' || r.key || '@' || r.value \
     FROM pg_catalog.jsonb_each_text(COALESCE(pg_catalog.to_jsonb(t) -> 'repeatables', '{}')) AS r \
     ORDER BY r.key COLLATE pg_catalog.\"C\")";

/// Reads the rows of the tracker; with `names`, only those with one of the names.
pub(super) fn read(
    conn: &mut PgConnection,
    set: &MigrationSet,
    names: Option<&[&str]>,
) -> Result<Vec<FleetRow>, Error> {
    // They cost time for each tenant.
    let repeatables = if set.all_repeatable().next().is_some() { REPEATABLES } else { "'{}'::text[]" };
    sql_query(
        include_str!("tracker.sql")
            .replace("REPEATABLES", repeatables)
            .replace("HOLDS_RELATIONS", &holds_relations("n.oid"))
            .replace("LEDGER_ACCESS", access::COLUMNS),
    )
    .bind::<Nullable<Array<Text>>, _>(names)
    .load(conn)
    .map_err(Error::doing("read the tracker"))
}

impl FleetRow {
    /// Interprets the row.
    pub(super) fn into_entry(self) -> Entry {
        let valid = match self.required() {
            Ok(valid) => valid,
            Err(reason) => return Entry::Invalid(self.into_invalid(reason)),
        };
        let (id, state, created_at) = valid;
        let unreadable = self.access.into_problem();
        let name = self.name.unwrap_or_default();
        let name = match name.parse::<TenantName>() {
            Ok(name) => name,
            Err(reason) => return Entry::Misnamed(Misnamed { name, reason, state, created_at }),
        };
        let unfinished =
            self.unfinished_version.zip(self.unfinished_statements).map(|(version, statements)| Unfinished {
                version,
                statements: usize::try_from(statements).unwrap_or(0),
                in_doubt: self.unfinished_in_doubt,
            });
        let owned_by_other_role = self.owned_by_other_role;
        let tracked = Tracked { id, name, state, created_at, unfinished, owned_by_other_role };
        let schema = match (self.schema_oid, self.ledger_kind.as_deref(), unreadable) {
            (None, ..) => Schema::Missing,
            (_, Some(kind), _) if kind != "r" => Schema::InvalidLedger { reason: not_a_table(kind).to_owned() },
            (_, _, Some(reason)) => Schema::Unreadable(reason),
            (Some(oid), Some(_), None) => {
                return Entry::Unread(Unread { tracked, oid, repeatables: self.repeatables });
            }
            (Some(oid), None, None) => Schema::NoLedger { oid, empty: self.empty },
        };
        Entry::Tenant(tracked.with_schema(schema))
    }

    /// The columns that must have a valid value, or the problem of the first that has not.
    fn required(&self) -> Result<(Uuid, State, DateTime<Utc>), String> {
        if self.name.is_none() {
            return Err("its name is NULL".to_owned());
        }
        let state = State::of_row(self.state.as_deref())?;
        let id = self.id.ok_or("its id is NULL")?;
        let created_at = self.created_at.ok_or("its created_at is NULL")?;
        Ok((id, state, created_at))
    }

    fn into_invalid(self, reason: String) -> InvalidRow {
        let id = self.id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
        let name = self.name.unwrap_or_else(|| format!("(id {id})"));
        InvalidRow { name, state: self.state, created_at: self.created_at, reason }
    }
}

impl Unread {
    pub(super) fn name(&self) -> &TenantName {
        &self.tracked.name
    }

    pub(super) fn with_schema(self, schema: Schema) -> Tenant {
        self.tracked.with_schema(schema)
    }
}

impl Tracked {
    fn with_schema(self, schema: Schema) -> Tenant {
        let Self { id, name, state, created_at, unfinished, owned_by_other_role } = self;
        Tenant { id, name, state, created_at, unfinished, schema, owned_by_other_role }
    }
}

/// The problem of a relation with the name of a ledger and this `relkind`.
fn not_a_table(kind: &str) -> &'static str {
    match kind {
        "v" => "it is a view",
        "m" => "it is a materialized view",
        "f" => "it is a foreign table",
        "p" => "it is a partitioned table",
        _ => "it is not a table",
    }
}
