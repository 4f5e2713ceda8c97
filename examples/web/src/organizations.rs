//! A web application whose tenants share tables: the users of organizations, and the stacks of the users.

use std::time::{Duration, Instant};

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tenantry::application::AsyncRowTenancy;
use tenantry::rows::Layout;
use tenantry::{Embedded, NameError, TenantId, TransactionError, embed_migrations};

use crate::shared::{Refusal, SharedTenant};

/// The migrations of the shared tables.
pub static MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/organizations");

diesel::table! {
    app.users (id) {
        id -> Int8,
        organization_id -> Uuid,
        email -> Text,
    }
}

diesel::table! {
    app.stacks (id) {
        id -> Int8,
        user_id -> Int8,
        name -> Text,
    }
}

type Failure = TransactionError<diesel::result::Error>;

/// The registry is the table of the organizations.
///
/// # Errors
/// Never: the names are valid.
pub fn layout() -> Result<Layout, NameError> {
    let layout = Layout::new("app".parse()?)?;
    Ok(Layout { registry: "organizations".parse()?, column: "organization_id".parse()?, ..layout })
}

/// The routes. The organization of a request is in its header `X-Tenant-Id`.
pub fn router(tenancy: AsyncRowTenancy) -> Router {
    Router::new()
        .route("/users", get(list_users).post(add_user))
        .route("/users/{id}/stacks", post(add_stack))
        .route("/stacks", get(list_stacks))
        .with_state(tenancy)
}

async fn list_users(tenant: SharedTenant) -> Result<Json<Vec<String>>, Refusal> {
    Ok(Json(tenant.run(async |conn| users::table.select(users::email).order(users::id).load(conn).await).await?))
}

async fn add_user(tenant: SharedTenant, email: String) -> Result<(StatusCode, Json<i64>), Refusal> {
    let insert = diesel::insert_into(users::table).values(users::email.eq(email)).returning(users::id);
    let id = tenant.run(async |conn| insert.get_result(conn).await).await?;
    Ok((StatusCode::CREATED, Json(id)))
}

async fn list_stacks(tenant: SharedTenant) -> Result<Json<Vec<String>>, Refusal> {
    Ok(Json(tenant.run(async |conn| stacks::table.select(stacks::name).order(stacks::id).load(conn).await).await?))
}

async fn add_stack(tenant: SharedTenant, Path(user): Path<i64>, name: String) -> Result<StatusCode, Refusal> {
    let insert = diesel::insert_into(stacks::table).values((stacks::user_id.eq(user), stacks::name.eq(name)));
    tenant.run(async |conn| insert.execute(conn).await).await?;
    Ok(StatusCode::CREATED)
}

/// Adds users to an organization in one statement. Returns their ids.
///
/// # Errors
/// If the server rejects the statement.
pub async fn add_users(
    tenancy: &AsyncRowTenancy,
    organization: TenantId,
    emails: &[String],
) -> Result<Vec<i64>, Failure> {
    let rows: Vec<_> = emails.iter().map(|email| users::email.eq(email)).collect();
    let insert = diesel::insert_into(users::table).values(rows).returning(users::id);
    tenancy.with_tenant(organization, async |conn| insert.get_results(conn).await).await
}

/// What an organization can do with the rows of another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trespass {
    /// The users of the other organization that it reads by their ids.
    pub read: usize,
    /// Those that it changes.
    pub changed: usize,
    /// Those that it deletes.
    pub deleted: usize,
    /// Whether it adds a user to the other organization.
    pub added: bool,
    /// Whether it adds a stack to a user of the other organization.
    pub referred: bool,
}

/// Tries to access the users of another organization in transactions of `own`.
///
/// # Errors
/// If the database cannot be reached.
pub async fn trespass(
    tenancy: &AsyncRowTenancy,
    own: TenantId,
    other: TenantId,
    users_of_other: &[i64],
) -> Result<Trespass, Failure> {
    let foreign = || users::table.filter(users::id.eq_any(users_of_other));
    let read = tenancy.with_tenant(own, async |conn| foreign().select(users::id).load::<i64>(conn).await).await?;
    let changed = tenancy
        .with_tenant(own, async |conn| diesel::update(foreign()).set(users::email.eq("taken")).execute(conn).await)
        .await?;
    let deleted = tenancy.with_tenant(own, async |conn| diesel::delete(foreign()).execute(conn).await).await?;
    let TenantId::Uuid(other) = other else { return Ok(Trespass::default()) };
    let user = diesel::insert_into(users::table).values((users::organization_id.eq(other), users::email.eq("planted")));
    let added = tenancy.with_tenant(own, async |conn| user.execute(conn).await).await;
    let stack = diesel::insert_into(stacks::table)
        .values((stacks::user_id.eq(users_of_other.first().copied().unwrap_or_default()), stacks::name.eq("planted")));
    let referred = tenancy.with_tenant(own, async |conn| stack.execute(conn).await).await;
    Ok(Trespass { read: read.len(), changed, deleted, added: added.is_ok(), referred: referred.is_ok() })
}

/// How long it takes to insert and load users one by one, and in one statement.
#[derive(Debug)]
pub struct Comparison {
    pub single_insert: Duration,
    pub batch_insert: Duration,
    pub single_load: Duration,
    pub batch_load: Duration,
}

/// Inserts and loads users of an organization, each in a transaction of its own, and all in one.
///
/// # Errors
/// If the server rejects a statement.
pub async fn compare(tenancy: &AsyncRowTenancy, organization: TenantId, number: usize) -> Result<Comparison, Failure> {
    let emails = |kind: &str| (0..number).map(|i| format!("{kind}{i}@example.org")).collect::<Vec<String>>();
    let started = Instant::now();
    let mut ids = Vec::new();
    for email in emails("single") {
        ids.extend(add_users(tenancy, organization, &[email]).await?);
    }
    let single_insert = started.elapsed();
    let started = Instant::now();
    add_users(tenancy, organization, &emails("batch")).await?;
    let batch_insert = started.elapsed();
    let started = Instant::now();
    for id in &ids {
        let load = users::table.find(*id).select(users::email);
        tenancy.with_tenant(organization, async |conn| load.get_result::<String>(conn).await).await?;
    }
    let single_load = started.elapsed();
    let started = Instant::now();
    let load = users::table.filter(users::id.eq_any(&ids)).select(users::email);
    tenancy.with_tenant(organization, async |conn| load.load::<String>(conn).await).await?;
    Ok(Comparison { single_insert, batch_insert, single_load, batch_load: started.elapsed() })
}
