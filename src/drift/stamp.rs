//! Stamps: tenants that were as the reference at the last check, and have not been touched since, need not be read again.
//!
//! A stamp is a hash over the oids and xmins of a tenant's catalog rows. It is kept, in `public.schema_stamp`, by a check
//! that is told to remember, together with a hash over everything else that the verdict depends on: the reference, the
//! roles, what lives outside of the tenants, and which database on which server this is. A dump that was restored, a
//! server that was upgraded or went back in time, and another reference each make another hash, and no stamp is believed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Oid, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::check::{Candidate, FEW, Member};
use crate::database::Database;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::name::TenantName;
use crate::postgres::CHUNK;
use crate::reference::Reference;
use crate::structure;

/// Whether stamps are believed, and whether they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamps {
    /// They are believed.
    #[default]
    Believe,
    /// They are not: every tenant is read.
    Ignore,
    /// They are believed, and those of tenants that are found to be as the reference are kept.
    Remember,
    /// Every tenant is read, and the stamps are kept.
    Renew,
}

impl Stamps {
    fn believes(self) -> bool {
        matches!(self, Self::Believe | Self::Remember)
    }

    fn remembers(self) -> bool {
        matches!(self, Self::Remember | Self::Renew)
    }
}

/// The stamps of tenants, as they were before any of them was read: who is changed meanwhile is read the next time.
pub(super) struct Stamped {
    now: HashMap<u32, i64>,
    kept: HashMap<Uuid, Kept>,
    contexts: HashMap<*const Ledger, String>,
    stamps: Stamps,
}

impl Stamped {
    pub(super) fn read(
        db: &mut Database,
        tenants: &[Candidate<'_>],
        reference: &Reference,
        stamps: Stamps,
    ) -> Result<Self, Error> {
        let version = db.server().version;
        let conn = db.connection();
        let kept = if stamps.believes() { kept(conn)? } else { HashMap::new() };
        let mut stamped = Self { now: HashMap::new(), kept, contexts: HashMap::new(), stamps };
        if tenants.len() <= FEW || (stamped.kept.is_empty() && !stamps.remembers()) {
            return Ok(stamped);
        }
        for Candidate { ledger, .. } in tenants {
            if let Entry::Vacant(entry) = stamped.contexts.entry(Arc::as_ptr(ledger)) {
                let text = reference.to_text(&ledger.applied, version).unwrap_or_default();
                entry.insert(context(conn, &text)?);
            }
        }
        let oids: Vec<u32> = tenants.iter().map(|candidate| candidate.oid).collect();
        stamped.now = now(conn, &oids)?;
        Ok(stamped)
    }

    pub(super) fn unchanged(&self, tenants: &[Candidate<'_>]) -> HashSet<u32> {
        let unchanged = tenants.iter().filter(|Candidate { tenant, oid, ledger }| {
            let (Some(kept), Some(now)) = (self.kept.get(&tenant.id), self.now.get(oid)) else { return false };
            kept.stamp == *now && self.contexts.get(&Arc::as_ptr(ledger)) == Some(&kept.context)
        });
        unchanged.map(|candidate| candidate.oid).collect()
    }

    /// Keeps the stamps of those among `tenants` that turned out to be as the reference.
    pub(super) fn remember(&self, db: &mut Database, same: &[Member], tenants: &[Candidate<'_>]) -> Result<(), Error> {
        if !self.stamps.remembers() {
            return Ok(());
        }
        let same: HashSet<&TenantName> = same.iter().map(|member| &member.name).collect();
        let stamps: Vec<(Uuid, i64, &str)> = tenants
            .iter()
            .filter(|candidate| same.contains(&candidate.tenant.name))
            .filter_map(|Candidate { tenant, oid, ledger }| {
                let context = self.contexts.get(&Arc::as_ptr(ledger))?;
                Some((tenant.id, *self.now.get(oid)?, context.as_str()))
            })
            .collect();
        remember(db.connection(), &stamps)
    }
}

/// A stamp that was kept.
struct Kept {
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
struct KeptRow {
    #[diesel(sql_type = SqlUuid)]
    tenant: Uuid,
    #[diesel(sql_type = BigInt)]
    stamp: i64,
    #[diesel(sql_type = Text)]
    context: String,
}

/// Reads the stamps that were kept; none where there is no table of them, or this role may not read it.
fn kept(conn: &mut PgConnection) -> Result<HashMap<Uuid, Kept>, Error> {
    let doing = Error::doing("read the stamps");
    let readable: bool = diesel::select(diesel::dsl::sql::<Bool>(
        "coalesce(has_table_privilege(to_regclass('public.schema_stamp'), 'SELECT'), false)",
    ))
    .get_result(conn)
    .map_err(&doing)?;
    if !readable {
        return Ok(HashMap::new());
    }
    let rows: Vec<KeptRow> =
        sql_query("SELECT tenant, stamp, context FROM public.schema_stamp").load(conn).map_err(&doing)?;
    Ok(rows.into_iter().map(|row| (row.tenant, Kept { stamp: row.stamp, context: row.context })).collect())
}

/// What the catalog rows of each schema come to now.
fn now(conn: &mut PgConnection, schemas: &[u32]) -> Result<HashMap<u32, i64>, Error> {
    let doing = Error::doing("read the stamps of the catalogs");
    conn.batch_execute(&structure::begin(structure::SCANNING)).map_err(&doing)?;
    let rows = sql_query(include_str!("stamp.sql")).bind::<Array<Oid>, _>(schemas).load::<StampRow>(conn);
    conn.batch_execute("ROLLBACK").map_err(&doing)?;
    Ok(rows.map_err(&doing)?.into_iter().map(|row| (row.schema, row.stamp)).collect())
}

/// A hash over what a verdict depends on besides the tenant's own catalog rows.
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

/// Keeps the stamps of tenants that are as the reference.
fn remember(conn: &mut PgConnection, stamps: &[(Uuid, i64, &str)]) -> Result<(), Error> {
    for chunk in stamps.chunks(CHUNK) {
        let tenants: Vec<Uuid> = chunk.iter().map(|(tenant, _, _)| *tenant).collect();
        let values: Vec<i64> = chunk.iter().map(|(_, stamp, _)| *stamp).collect();
        let contexts: Vec<&str> = chunk.iter().map(|(_, _, context)| *context).collect();
        // A tenant that was dropped meanwhile is in the tracker no longer.
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
        .map_err(Error::doing("keep the stamps"))?;
    }
    Ok(())
}
