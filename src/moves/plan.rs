//! Plans a move: whether it is possible, by which method, and what the other method needs.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};

use super::mover::Mover;
use super::record::{MoveMethod, VerifyRows};
use super::site::Site;
use super::tables::MovedTable;
use super::{replication, roles, tables};
use crate::error::{Error, MoveError, TenantError};
use crate::model::{State, TenantName};
use crate::servers::{self, FleetServer, ServerFacts, placements};
use crate::sql::quote::Identifier;
use crate::tenants::not_tracked;

/// The part of the server's lock table that the locks of a move may fill, as a divisor.
const LOCKS: i64 = 4;

/// How tenants are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveOptions {
    /// The method; `None` is a replication where it is possible, and else a copy.
    pub method: Option<MoveMethod>,
    /// When rows are compared.
    pub verify: VerifyRows,
    /// How long the old schema is kept, in seconds.
    pub keep_source: i64,
}

/// The plan of a move.
#[derive(Debug, Clone)]
pub struct MovePlan {
    /// The tenant.
    pub tenant: TenantName,
    /// The server that it is on.
    pub source: FleetServer,
    /// The server that it is moved to.
    pub target: FleetServer,
    /// How.
    pub method: MoveMethod,
    /// The number of tables without the ledger.
    pub tables: usize,
    /// The size of its tables and indexes.
    pub bytes: i64,
    /// Why it cannot be moved, as clauses.
    pub problems: Vec<String>,
    /// What is missing for a replication, as clauses.
    pub missing: Vec<String>,
    is_auto: bool,
}

impl MovePlan {
    /// Whether the method may be replaced by a copy.
    pub(super) fn is_auto(&self) -> bool {
        self.is_auto
    }

    /// Checks that the tenant can be moved.
    ///
    /// # Errors
    /// [`MoveError::Impossible`].
    pub fn require_possible(&self) -> Result<(), Error> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let (tenant, server) = (self.tenant.to_string(), self.target.name.to_string());
        Err(MoveError::Impossible { tenant, server, reasons: self.problems.clone() }.into())
    }
}

#[derive(QueryableByName)]
struct SchemaFacts {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    /// Materialized views and foreign tables: they have rows that are not replicated.
    #[diesel(sql_type = Array<Text>)]
    others: Vec<String>,
    /// The roles that own objects or have privileges.
    #[diesel(sql_type = Array<Text>)]
    roles: Vec<String>,
}

#[derive(QueryableByName)]
struct MoveFacts {
    #[diesel(sql_type = Bool)]
    may_replicate: bool,
    #[diesel(sql_type = Bool)]
    may_publish: bool,
    #[diesel(sql_type = Integer)]
    free_slots: i32,
    #[diesel(sql_type = Integer)]
    workers: i32,
}

#[derive(QueryableByName)]
struct FoundName {
    #[diesel(sql_type = Text)]
    name: String,
}

impl Mover<'_> {
    /// Plans to move a tenant. Changes nothing.
    ///
    /// # Errors
    /// [`MoveError::NotPlaced`], [`MoveError::AlreadyThere`], [`MoveError::InProgress`], or the error of a server. Why the tenant
    /// cannot be moved is in the plan.
    pub fn plan(&mut self, tenant: &TenantName, to: &FleetServer, options: &MoveOptions) -> Result<MovePlan, Error> {
        let mut placed = placements::of(self.registry.connection(), &[tenant.as_str()])?;
        placed.retain(|placement| placement.tenant == tenant.as_str());
        let not_placed = || MoveError::NotPlaced { tenant: tenant.to_string() };
        let placement = placed.into_iter().next().ok_or_else(not_placed)?;
        if placement.state == "moving" {
            let target = self.open_move(tenant, "begun")?.target;
            let server = self.directory.by_id(target).map_or_else(|| "-".to_owned(), |server| server.name.to_string());
            return Err(MoveError::InProgress { tenant: tenant.to_string(), server }.into());
        }
        if placement.server == to.id {
            return Err(MoveError::AlreadyThere { tenant: tenant.to_string(), server: to.name.to_string() }.into());
        }
        if placement.state != "active" {
            return Err(not_placed().into());
        }
        let counts = placements::counts(self.registry.connection())?;
        let mut source = self.site(tenant, placement.server)?;
        let mut target = self.site(tenant, to.id)?;
        let mut problems = Vec::new();
        if !to.is_open() {
            problems.push(format!("server {} takes no more tenants: it is {}", to.name, to.state));
        }
        let number = counts.get(&to.id).copied().unwrap_or(0);
        if to.capacity.is_some_and(|capacity| number >= capacity) {
            problems.push(format!("server {} has {number} tenants, which is its capacity", to.name));
        }
        let (from_facts, to_facts) = (ServerFacts::read(source.conn())?, ServerFacts::read(target.conn())?);
        problems.extend(
            servers::unsuitable(&from_facts, &to_facts).into_iter().map(|it| format!("server {}: {it}", to.name)),
        );
        let missing: Vec<&str> =
            from_facts.installed.iter().filter(|name| !to_facts.installed.contains(name)).map(String::as_str).collect();
        if !missing.is_empty() {
            problems.push(format!("extensions are not installed on server {}: {}", to.name, missing.join(", ")));
        }
        require_usable(&mut source, tenant)?;
        let facts = schema_facts(&mut source, tenant)?;
        let found = tables::tables(source.conn(), tenant.schema()).map_err(source.failed(tenant, "read the tables"))?;
        problems.extend(room(&mut source, &found));
        problems.extend(occupied(&mut target, tenant)?);
        problems.extend(missing_roles(&mut source, &mut target, tenant, &facts.roles)?);
        let missing = self.missing_for_replication(&mut source, &mut target, tenant, &found, &facts)?;
        let method = match options.method {
            Some(MoveMethod::Replicate) => {
                problems.extend(missing.iter().cloned());
                MoveMethod::Replicate
            }
            None if missing.is_empty() => MoveMethod::Replicate,
            _ => MoveMethod::Copy,
        };
        Ok(MovePlan {
            tenant: tenant.clone(),
            source: source.server,
            target: target.server,
            method,
            tables: found.len(),
            bytes: facts.bytes,
            problems,
            missing,
            is_auto: options.method.is_none(),
        })
    }

    /// What is missing for a replication, as clauses.
    fn missing_for_replication(
        &mut self,
        source: &mut Site,
        target: &mut Site,
        tenant: &TenantName,
        tables: &[MovedTable],
        facts: &SchemaFacts,
    ) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        let (from, to) = (source.name().to_owned(), target.name().to_owned());
        let server = ServerFacts::read(source.conn())?;
        let here = replication_facts(source, tenant)?;
        let there = replication_facts(target, tenant)?;
        let is_superuser = ServerFacts::read(target.conn())?.is_superuser;
        if server.wal_level != "logical" {
            missing.push(format!("server {from}: wal_level is {}, not logical", server.wal_level));
        }
        if !here.may_replicate {
            let role = Identifier::of_object(&source.db.server().role).to_string();
            missing.push(format!("server {from}: the role may not create slots (ALTER ROLE {role} REPLICATION)"));
        }
        if !here.may_publish {
            missing.push(format!("server {from}: the role may not create publications (GRANT CREATE ON DATABASE)"));
        }
        if here.free_slots < 1 {
            missing
                .push(format!("server {from}: no replication slot is free (max_replication_slots, max_wal_senders)"));
        }
        if !is_superuser {
            missing.push(format!("server {to}: only a superuser can subscribe without a password in the database"));
        }
        if there.workers < 2 {
            missing.push(format!("server {to}: max_logical_replication_workers is {}", there.workers));
        }
        let role = source.db.server().session_role.clone();
        if replication::peer_url(&source.server, &role, "").is_none() {
            missing
                .push(format!("the connection string of server {from} is not known ('server set {from} --url URL')"));
        }
        if !tables.iter().any(|table| table.has_rows) {
            missing.push("it has no tables".to_owned());
        }
        let unlogged: Vec<&str> =
            tables.iter().filter(|table| table.is_unlogged).map(|table| table.name.as_str()).collect();
        if !unlogged.is_empty() {
            missing.push(format!("unlogged tables are not replicated: {}", unlogged.join(", ")));
        }
        if !facts.others.is_empty() {
            missing
                .push(format!("materialized views and foreign tables are not replicated: {}", facts.others.join(", ")));
        }
        Ok(missing)
    }
}

/// Checks that the tenant is in a state in which it can be moved.
fn require_usable(source: &mut Site, tenant: &TenantName) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        state: String,
        #[diesel(sql_type = Bool)]
        is_unfinished: bool,
        #[diesel(sql_type = Bool)]
        has_schema: bool,
    }
    let failed = source.failed(tenant, "read the tracker");
    let row: Option<Row> = sql_query(
        "SELECT t.state, t.unfinished_version IS NOT NULL AS is_unfinished, \
         EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname = t.name::name) AS has_schema \
         FROM public.schema_tracker AS t WHERE t.name = $1",
    )
    .bind::<Text, _>(tenant.as_str())
    .get_result(source.conn())
    .optional()
    .map_err(failed)?;
    let of_tenant = |error| Error::Tenant { name: tenant.clone(), error: Box::new(error) };
    let Some(row) = row else { return Err(of_tenant(not_tracked(source.conn(), tenant)?)) };
    let state = State::of_row(Some(&row.state)).map_err(|reason| of_tenant(TenantError::InvalidRow { reason }))?;
    match state {
        State::Active | State::Archived if !row.has_schema => {
            Err(of_tenant(TenantError::SchemaMissing { state: Some(state) }))
        }
        State::Active | State::Archived if row.is_unfinished => {
            let version = "of the tracker".to_owned();
            Err(of_tenant(TenantError::Unfinished { version }))
        }
        State::Active | State::Archived => Ok(()),
        state if state.is_of_move() => Err(of_tenant(TenantError::Moving)),
        state => Err(of_tenant(TenantError::WrongState { state, expected: State::Active })),
    }
}

fn schema_facts(source: &mut Site, tenant: &TenantName) -> Result<SchemaFacts, Error> {
    let failed = source.failed(tenant, "inspect the schema");
    sql_query(include_str!("facts.sql")).bind::<Text, _>(tenant.as_str()).get_result(source.conn()).map_err(failed)
}

/// Why the lock table of the server is too small for the locks of the fence, as a clause.
fn room(source: &mut Site, tables: &[MovedTable]) -> Option<String> {
    let limit = (source.db.server().lock_table / LOCKS).max(50);
    let number = i64::try_from(tables.len()).unwrap_or(i64::MAX);
    (number > limit).then(|| {
        format!(
            "it has {number} tables, and the lock table of server {} has room for {limit} locks of a move",
            source.name()
        )
    })
}

/// What has the name of the tenant on the target, as a clause.
fn occupied(target: &mut Site, tenant: &TenantName) -> Result<Option<String>, Error> {
    let failed = target.failed(tenant, "look for the name");
    let rows: Vec<FoundName> = sql_query(
        "SELECT 'tenant ' || t.name AS name FROM public.schema_tracker AS t \
         WHERE lower(t.name COLLATE \"C\") = lower($1 COLLATE \"C\") \
         UNION ALL SELECT 'schema ' || n.nspname FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1::name",
    )
    .bind::<Text, _>(tenant.as_str())
    .load(target.conn())
    .map_err(failed)?;
    Ok(rows.into_iter().next().map(|row| format!("{} exists on server {}", row.name, target.name())))
}

/// Which roles of the source do not exist on the target, as a clause. The role of the tenant itself is made there.
fn missing_roles(
    source: &mut Site,
    target: &mut Site,
    tenant: &TenantName,
    needed: &[String],
) -> Result<Vec<String>, Error> {
    if roles::share_roles(source, target, tenant)? {
        return Ok(Vec::new());
    }
    let failed = source.failed(tenant, "read the tracker");
    let tracked = super::prepare::tracked_row(source.conn(), tenant).map_err(failed)?;
    let failed = source.failed(tenant, "read the roles");
    let own: Vec<FoundName> = sql_query(
        "SELECT t.role_name AS name FROM public.schema_tracker AS t WHERE t.name = $1 AND t.role_name IS NOT NULL",
    )
    .bind::<Text, _>(tenant.as_str())
    .load(source.conn())
    .map_err(failed)?;
    let failed = target.failed(tenant, "look for the roles");
    let missing: Vec<FoundName> = sql_query(
        "SELECT w.name FROM unnest($1::text[]) AS w (name) \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = w.name::name) ORDER BY 1",
    )
    .bind::<Array<Text>, _>(needed)
    .load(target.conn())
    .map_err(failed)?;
    let missing: Vec<String> =
        missing.into_iter().map(|row| row.name).filter(|name| !own.iter().any(|own| own.name == *name)).collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("roles do not exist on server {}: {}", target.name(), missing.join(", ")));
    }
    problems.extend(roles::problem(target, tenant, &tracked)?);
    Ok(problems)
}

fn replication_facts(site: &mut Site, tenant: &TenantName) -> Result<MoveFacts, Error> {
    let failed = site.failed(tenant, "inspect the server");
    sql_query(
        "SELECT r.rolsuper OR r.rolreplication AS may_replicate, \
         pg_catalog.has_database_privilege(pg_catalog.current_database()::text, 'CREATE') AS may_publish, \
         LEAST(pg_catalog.current_setting('max_replication_slots')::integer \
             - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots), \
             pg_catalog.current_setting('max_wal_senders')::integer)::integer AS free_slots, \
         pg_catalog.current_setting('max_logical_replication_workers')::integer AS workers \
         FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER",
    )
    .get_result(site.conn())
    .map_err(failed)
}
