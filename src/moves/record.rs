//! The record of moves: `public.schema_move` of the registry.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::error::Error;
use crate::model::{SchemaName, TenantName};

/// How the rows of a tenant are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveMethod {
    /// Writes are blocked while the rows are copied through this program.
    Copy,
    /// Logical replication copies the rows while the tenant is in use. Writes are blocked for a moment.
    Replicate,
    /// The schema that an earlier move left behind is put back.
    Back,
}

/// When the rows of both servers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyRows {
    /// While writes are blocked: a difference ends the move.
    Before,
    /// After the switch, in a snapshot from before it.
    After,
}

/// The state of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveState {
    /// It is recorded.
    Planned,
    /// The target has the tables.
    Prepared,
    /// The rows are being copied.
    Copying,
    /// The target follows the source.
    Following,
    /// Writes are blocked.
    Fenced,
    /// The schema on the source is renamed.
    Left,
    /// The tenant is in use on the target.
    Switched,
    /// Only the old schema on the source is left.
    Settled,
    /// The old schema is dropped.
    Finished,
    /// The tenant is on the source as before.
    Aborted,
}

/// A move of a tenant.
#[derive(Debug, Clone)]
pub struct TenantMove {
    /// Its id.
    pub id: Uuid,
    /// The tenant.
    pub tenant: TenantName,
    /// The server that the tenant was on.
    pub source: Uuid,
    /// The server that it is moved to.
    pub target: Uuid,
    /// How.
    pub method: MoveMethod,
    /// How far it is. The servers may be one step ahead.
    pub state: MoveState,
    /// When rows are compared.
    pub verify: VerifyRows,
    /// The result of the comparison; `None` if the rows were not compared.
    pub verified: Option<bool>,
    /// The name of the old schema on the source.
    pub old_schema: SchemaName,
    /// With [`MoveMethod::Back`]: the schema on the target that is put back.
    pub kept_schema: Option<SchemaName>,
    /// The replica identities to restore, by table.
    pub(crate) identities: BTreeMap<String, String>,
    /// What the last attempt failed with.
    pub error: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
    /// How long writes were blocked, in milliseconds.
    pub blocked_for: Option<i64>,
    /// Until when the old schema is kept; `None` before the switch.
    pub keep_until: Option<DateTime<Utc>>,
    /// Whether this time has passed.
    pub is_due: bool,
}

impl MoveMethod {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Replicate => "replicate",
            Self::Back => "back",
        }
    }
}

impl VerifyRows {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

impl MoveState {
    const ALL: [Self; 10] = [
        Self::Planned,
        Self::Prepared,
        Self::Copying,
        Self::Following,
        Self::Fenced,
        Self::Left,
        Self::Switched,
        Self::Settled,
        Self::Finished,
        Self::Aborted,
    ];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Prepared => "prepared",
            Self::Copying => "copying",
            Self::Following => "following",
            Self::Fenced => "fenced",
            Self::Left => "left",
            Self::Switched => "switched",
            Self::Settled => "settled",
            Self::Finished => "finished",
            Self::Aborted => "aborted",
        }
    }

    /// Whether the move has to be resumed or aborted.
    pub fn is_open(self) -> bool {
        self < Self::Settled
    }
}

#[derive(QueryableByName)]
struct MoveRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    tenant: String,
    #[diesel(sql_type = SqlUuid)]
    source: Uuid,
    #[diesel(sql_type = SqlUuid)]
    target: Uuid,
    #[diesel(sql_type = Text)]
    method: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    verify: String,
    #[diesel(sql_type = Nullable<Bool>)]
    verified: Option<bool>,
    #[diesel(sql_type = Text)]
    old_schema: String,
    #[diesel(sql_type = Nullable<Text>)]
    kept_schema: Option<String>,
    #[diesel(sql_type = Text)]
    identities: String,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<BigInt>)]
    blocked_for: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    keep_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    is_due: bool,
}

impl MoveRow {
    /// `None` if an earlier or later version has written a value that this one does not know.
    fn parse(self) -> Option<TenantMove> {
        let method = [MoveMethod::Copy, MoveMethod::Replicate, MoveMethod::Back];
        Some(TenantMove {
            id: self.id,
            tenant: self.tenant.parse().ok()?,
            source: self.source,
            target: self.target,
            method: method.into_iter().find(|method| method.as_str() == self.method)?,
            state: MoveState::ALL.into_iter().find(|state| state.as_str() == self.state)?,
            verify: [VerifyRows::Before, VerifyRows::After].into_iter().find(|it| it.as_str() == self.verify)?,
            verified: self.verified,
            old_schema: self.old_schema.parse().ok()?,
            kept_schema: self.kept_schema.map(|name| name.parse()).transpose().ok()?,
            identities: serde_json::from_str(&self.identities).ok()?,
            error: self.error,
            started_at: self.started_at,
            updated_at: self.updated_at,
            blocked_for: self.blocked_for,
            keep_until: self.keep_until,
            is_due: self.is_due,
        })
    }
}

const READ: &str = "SELECT m.id, m.tenant, m.source, m.target, m.method, m.state, m.verify, m.verified, m.old_schema, m.kept_schema, \
     m.identities::text AS identities, m.error, m.started_at, m.updated_at, m.blocked_for, m.keep_until, \
     COALESCE(m.keep_until <= pg_catalog.now(), false) AS is_due FROM public.schema_move AS m";

/// The moves that have not ended: those that are open, and those whose old schema exists. With `names`, only of these tenants.
///
/// # Errors
/// The server's error.
pub fn unended(conn: &mut PgConnection, names: &[TenantName]) -> Result<Vec<TenantMove>, Error> {
    let names: Vec<&str> = names.iter().map(TenantName::as_str).collect();
    let rows: Vec<MoveRow> = sql_query(format!(
        "{READ} WHERE m.state NOT IN ('finished', 'aborted') AND (cardinality($1) = 0 OR m.tenant = ANY ($1)) \
         ORDER BY m.tenant COLLATE \"C\", m.started_at"
    ))
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .map_err(Error::doing("read public.schema_move"))?;
    Ok(rows.into_iter().filter_map(MoveRow::parse).collect())
}

/// What the name of an old schema begins with.
pub(crate) const OLD_PREFIX: &str = "tenantry_left_";

pub(super) fn read(conn: &mut PgConnection, id: Uuid) -> Result<Option<TenantMove>, Error> {
    let row: Option<MoveRow> = sql_query(format!("{READ} WHERE m.id = $1"))
        .bind::<SqlUuid, _>(id)
        .get_result(conn)
        .optional()
        .map_err(Error::doing("read public.schema_move"))?;
    Ok(row.and_then(MoveRow::parse))
}

impl TenantMove {
    /// A name of the move for objects on the servers.
    pub(super) fn object(&self) -> String {
        format!("tenantry_move_{}", self.id.simple())
    }
}
