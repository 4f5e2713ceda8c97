//! Stamps: detect whether a tenant's catalog rows have changed, without reading their contents.
//!
//! A stamp is a hash over the oids and xmins of a tenant's catalog rows. If a stamp is the same before and after a reading,
//! the reading describes one state of the tenant.
//!
//! `--remember` stores the stamps of tenants that match the reference in `public.schema_stamp`, with a hash over everything
//! else that the verdict depends on: the reference, the roles, the objects outside of the tenants, the database and the
//! server. After a restore, an upgrade, a point-in-time recovery or a change of the reference, that hash differs and the
//! stored stamps are ignored.

use std::collections::HashMap;
use std::sync::LazyLock;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Oid, Text, Uuid as SqlUuid};
use regex::Regex;
use uuid::Uuid;

use super::candidate::{Candidate, Versions};
use super::check::FEW;
use crate::database::Database;
use crate::error::Error;
use crate::postgres::CHUNK;
use crate::schema::structure;

/// Whether stored stamps are used, and whether stamps are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamps {
    /// Tenants with a current stored stamp are not read.
    #[default]
    Trust,
    /// Every tenant is read.
    Ignore,
    /// As `Trust`, and the stamps of tenants that match the reference are stored.
    Remember,
    /// Every tenant is read, and the stamps are stored.
    Renew,
}

impl Stamps {
    fn trusts(self) -> bool {
        matches!(self, Self::Trust | Self::Remember)
    }

    fn remembers(self) -> bool {
        matches!(self, Self::Remember | Self::Renew)
    }
}

/// The stamps of tenants, read before the tenants.
pub(super) struct Stamped {
    before: HashMap<u32, i64>,
    stored: HashMap<Uuid, Stored>,
    /// By [`Candidate::version`]; empty unless stamps are used or stored.
    contexts: Vec<String>,
    stamps: Stamps,
}

impl Stamped {
    pub(super) fn read(
        db: &mut Database,
        candidates: &[Candidate<'_>],
        versions: &Versions<'_>,
        stamps: Stamps,
    ) -> Result<Self, Error> {
        let server_version = db.server().version;
        let conn = db.connection();
        let stored = if stamps.trusts() && candidates.len() > FEW { stored(conn)? } else { HashMap::new() };
        let mut contexts = Vec::new();
        if candidates.len() > FEW && (!stored.is_empty() || stamps.remembers()) {
            for text in versions.texts(server_version) {
                contexts.push(context(conn, &text)?);
            }
        }
        let oids: Vec<u32> = candidates.iter().map(|candidate| candidate.oid).collect();
        Ok(Self { before: read_current(conn, &oids)?, stored, contexts, stamps })
    }

    /// Whether the stored stamp of a tenant is current, so that the tenant matches the reference.
    pub(super) fn is_stored(&self, candidate: &Candidate<'_>) -> bool {
        let stored = self.stored.get(&candidate.tenant.id);
        stored.is_some_and(|stored| {
            self.before.get(&candidate.oid) == Some(&stored.stamp)
                && self.contexts.get(candidate.version) == Some(&stored.context)
        })
    }

    /// Whether a tenant is unchanged since its stamp was read. `after` are the stamps read after the tenant.
    pub(super) fn is_unchanged(&self, candidate: &Candidate<'_>, after: &HashMap<u32, i64>) -> bool {
        let before = self.before.get(&candidate.oid);
        before.is_some() && before == after.get(&candidate.oid)
    }

    /// Stores the stamps of tenants that match the reference. If a tenant has changed since its stamp was read, the next
    /// check reads it again.
    pub(super) fn remember(&self, db: &mut Database, matching: &[Candidate<'_>]) -> Result<(), Error> {
        if !self.stamps.remembers() {
            return Ok(());
        }
        let stamp = |candidate: &Candidate<'_>| {
            let context = self.contexts.get(candidate.version)?;
            Some((candidate.tenant.id, *self.before.get(&candidate.oid)?, context.as_str()))
        };
        let stamps: Vec<(Uuid, i64, &str)> = matching.iter().filter_map(stamp).collect();
        store(db.connection(), &stamps)
    }
}

/// A stored stamp.
struct Stored {
    stamp: i64,
    context: String,
}

#[derive(QueryableByName)]
struct StampRow {
    #[diesel(sql_type = Oid)]
    schema: u32,
    #[diesel(sql_type = BigInt)]
    stamp: i64,
}

#[derive(QueryableByName)]
struct StoredRow {
    #[diesel(sql_type = SqlUuid)]
    tenant: Uuid,
    #[diesel(sql_type = BigInt)]
    stamp: i64,
    #[diesel(sql_type = Text)]
    context: String,
}

/// Reads the stored stamps; none if the table does not exist or this role cannot read it.
fn stored(conn: &mut PgConnection) -> Result<HashMap<Uuid, Stored>, Error> {
    let doing = Error::doing("read the stamps");
    let readable: bool = diesel::select(diesel::dsl::sql::<Bool>(
        "COALESCE(pg_catalog.has_table_privilege(pg_catalog.to_regclass('public.schema_stamp'), 'SELECT'), false)",
    ))
    .get_result(conn)
    .map_err(&doing)?;
    if !readable {
        return Ok(HashMap::new());
    }
    let rows: Vec<StoredRow> =
        sql_query("SELECT tenant, stamp, context FROM public.schema_stamp").load(conn).map_err(&doing)?;
    Ok(rows.into_iter().map(|row| (row.tenant, Stored { stamp: row.stamp, context: row.context })).collect())
}

/// Up to this many schemas are looked up by index. For more, each catalog is scanned.
const MAX_LOOKED_UP: usize = 100;

/// Reads the current stamps of schemas. A schema that does not exist has none.
pub(crate) fn read_current(conn: &mut PgConnection, schemas: &[u32]) -> Result<HashMap<u32, i64>, Error> {
    static INSIDE: LazyLock<Regex> = LazyLock::new(|| regex(r"/\*inside (pg_\w+) (\w+)\*/"));
    static FEW_ONLY: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)/\*few\s(.*?)\*/"));
    if schemas.is_empty() {
        return Ok(HashMap::new());
    }
    let template = include_str!("stamp.sql");
    let (inside, few_only, settings) = match schemas.len() {
        ..=MAX_LOOKED_UP => (
            "AND $2.oid IN (SELECT i.objid FROM inside i WHERE i.classid = '$1'::regclass)",
            "$1",
            structure::LOOKING_UP,
        ),
        _ => ("", "", structure::SCANNING),
    };
    let sql = INSIDE.replace_all(template, inside);
    let sql = FEW_ONLY.replace_all(&sql, few_only);
    let doing = Error::doing("read the stamps of the catalogs");
    conn.batch_execute(&structure::begin(settings)).map_err(&doing)?;
    let rows = sql_query(sql).bind::<Array<Oid>, _>(schemas).load::<StampRow>(conn);
    conn.batch_execute("ROLLBACK").map_err(&doing)?;
    Ok(rows.map_err(&doing)?.into_iter().map(|row| (row.schema, row.stamp)).collect())
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// Reads a hash over what a verdict depends on besides the tenant's own catalog rows.
fn context(conn: &mut PgConnection, reference: &str) -> Result<String, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        context: String,
    }
    let row: Row = sql_query(include_str!("context.sql"))
        .bind::<Text, _>(reference)
        .get_result(conn)
        .map_err(Error::doing("read what the stamps depend on"))?;
    Ok(row.context)
}

fn store(conn: &mut PgConnection, stamps: &[(Uuid, i64, &str)]) -> Result<(), Error> {
    for chunk in stamps.chunks(CHUNK) {
        let tenants: Vec<Uuid> = chunk.iter().map(|(tenant, _, _)| *tenant).collect();
        let values: Vec<i64> = chunk.iter().map(|(_, stamp, _)| *stamp).collect();
        let contexts: Vec<&str> = chunk.iter().map(|(_, _, context)| *context).collect();
        // `unnest` with several arguments is special syntax, which does not allow a schema. It always means pg_catalog's.
        // A tenant that was dropped in the meantime has no row in the tracker.
        sql_query(
            "INSERT INTO public.schema_stamp (tenant, stamp, context) \
             SELECT s.tenant, s.stamp, s.context FROM unnest($1, $2, $3) AS s (tenant, stamp, context) \
             JOIN public.schema_tracker t ON t.id = s.tenant \
             ON CONFLICT (tenant) DO UPDATE \
             SET stamp = excluded.stamp, context = excluded.context, checked_at = excluded.checked_at",
        )
        .bind::<Array<SqlUuid>, _>(tenants)
        .bind::<Array<BigInt>, _>(values)
        .bind::<Array<Text>, _>(contexts)
        .execute(conn)
        .map_err(Error::doing("store the stamps"))?;
    }
    Ok(())
}
