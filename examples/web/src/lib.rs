//! A web application with a PostgreSQL schema per tenant.
//!
//! A handler that takes a [`Tenant`] works in the schema of the tenant that the request is for, and in no other.
//!
//! The modules [`items`] and [`organizations`] are applications whose tenants share tables.

pub mod items;
pub mod organizations;
pub mod shared;
mod tenant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tenantry::application::{AsyncTenants, Creation};
use tenantry::{Embedded, LoadError, MigrationSet, Tenancy, TenantName, embed_migrations};

pub use tenant::{Failure, Tenant};

static MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");

diesel::table! {
    notes (id) {
        id -> Int8,
        body -> Text,
    }
}

/// The migrations of the tenants.
///
/// # Errors
/// If a migration is not valid.
pub fn tenancy() -> Result<Tenancy, LoadError> {
    Tenancy::new(MigrationSet::from_embedded(&MIGRATIONS)?)
}

/// The routes. The tenant of a request is in its path, in its header `X-Tenant`, or in the first label of its host.
pub fn router(tenants: AsyncTenants) -> Router {
    Router::new()
        .route("/ready", get(ready))
        .route("/tenants/{name}", put(sign_up))
        .route("/notes", get(list).post(add))
        .route("/t/{tenant}/notes", get(list).post(add))
        .with_state(tenants)
}

async fn list(tenant: Tenant) -> Result<Json<Vec<String>>, Failure> {
    let bodies = tenant.run(async |conn| notes::table.select(notes::body).order(notes::id).load(conn).await).await?;
    Ok(Json(bodies))
}

async fn add(tenant: Tenant, body: String) -> Result<StatusCode, Failure> {
    tenant
        .run(async |conn| diesel::insert_into(notes::table).values(notes::body.eq(&body)).execute(conn).await)
        .await?;
    Ok(StatusCode::CREATED)
}

async fn sign_up(State(tenants): State<AsyncTenants>, Path(name): Path<TenantName>) -> Result<StatusCode, Failure> {
    match tenants.create_if_not_exists(&name).await? {
        Creation::Created => Ok(StatusCode::CREATED),
        Creation::Existed => Ok(StatusCode::OK),
    }
}

/// For a readiness probe.
async fn ready(State(tenants): State<AsyncTenants>) -> StatusCode {
    match tenants.is_ready().await {
        Ok(true) => StatusCode::OK,
        Ok(false) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
