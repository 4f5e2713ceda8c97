//! The server of each tenant, for an application whose tenants are on several servers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

use super::tenants::sorted;
use super::{AccessError, PgPool};
use crate::model::{ServerName, TenantName};

/// Where a tenant is.
#[derive(Clone)]
pub struct Location {
    /// The server; `None` if the application has only one.
    pub server: Option<ServerName>,
    /// Increased when the tenant moves to another server: what was read at an earlier epoch is outdated.
    pub epoch: i64,
    /// The connection pool of the server.
    pub pool: PgPool,
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Location").field("server", &self.server).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Whether a location was known, and may be outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocationSource {
    Cache,
    Directory,
}

/// The pools of the servers, and the locations that are known.
#[derive(Default)]
pub(super) struct Router {
    pools: BTreeMap<String, PgPool>,
    known: RwLock<HashMap<TenantName, (ServerName, i64)>>,
}

#[derive(QueryableByName)]
struct LocationRow {
    #[diesel(sql_type = Text)]
    server: String,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
}

impl Router {
    pub(super) fn add(&mut self, server: &ServerName, pool: PgPool) {
        self.pools.insert(server.as_str().to_owned(), pool);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Forgets where a tenant is.
    pub(super) fn forget(&self, tenant: &TenantName) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// The location of a tenant. The directory is read with `registry`, or, if no connection of that pool can be acquired, on
    /// the other servers.
    pub(super) fn locate(
        &self,
        registry: &PgPool,
        tenant: &TenantName,
    ) -> Result<(Location, LocationSource), AccessError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        if let Some((server, epoch)) = known {
            return Ok((self.location(server, epoch)?, LocationSource::Cache));
        }
        let row = self.look_up(registry, tenant)?.ok_or_else(|| AccessError::UnknownTenant(tenant.clone()))?;
        let server: ServerName = row.server.parse().map_err(|_| AccessError::UnknownTenant(tenant.clone()))?;
        let location = self.location(server.clone(), row.epoch)?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), (server, row.epoch));
        Ok((location, LocationSource::Directory))
    }

    /// The names of the tenants of all servers, sorted.
    pub(super) fn names(&self, conn: &mut PgConnection) -> Result<Vec<TenantName>, AccessError> {
        #[derive(QueryableByName)]
        struct PlacedNameRow {
            #[diesel(sql_type = Text)]
            tenant: String,
        }
        let rows: Vec<PlacedNameRow> =
            sql_query("SELECT tenant FROM public.schema_placement WHERE state IN ('active', 'moving')")
                .load(conn)
                .map_err(AccessError::Database)?;
        let names: Vec<String> = rows.into_iter().map(|row| row.tenant).collect();
        Ok(sorted(&names))
    }

    fn location(&self, server: ServerName, epoch: i64) -> Result<Location, AccessError> {
        match self.pools.get(server.as_str()) {
            Some(pool) => Ok(Location { pool: pool.clone(), server: Some(server), epoch }),
            None => Err(AccessError::NoPool(server)),
        }
    }

    fn look_up(&self, registry: &PgPool, tenant: &TenantName) -> Result<Option<LocationRow>, AccessError> {
        let mut failure = None;
        for pool in std::iter::once(registry).chain(self.pools.values()) {
            match pool.get() {
                Ok(mut conn) => return read(&mut conn, tenant).map_err(AccessError::Database),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), |error| Err(AccessError::Pool(error)))
    }
}

fn read(conn: &mut PgConnection, tenant: &TenantName) -> QueryResult<Option<LocationRow>> {
    sql_query(
        "SELECT s.name AS server, p.epoch FROM public.schema_placement AS p \
         JOIN public.schema_server AS s ON s.id = p.server \
         WHERE p.tenant = $1 AND p.state IN ('active', 'moving')",
    )
    .bind::<Text, _>(tenant.as_str())
    .get_result(conn)
    .optional()
}
