//! A web application whose tenants share tables: the items of each tenant.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tenantry::application::AsyncRowTenancy;
use tenantry::rows::Layout;
use tenantry::{Embedded, NameError, TenantId, TransactionError, embed_migrations};

use crate::shared::{Refusal, SharedTenant};

/// The migrations of the shared tables.
pub static MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/items");

diesel::table! {
    app.items (id) {
        id -> Int8,
        title -> Text,
    }
}

/// The schema `app`, and the roles `app_owner`, `app_verifier`, `app_admin` and `app_user`.
///
/// # Errors
/// Never: the names are valid.
pub fn layout() -> Result<Layout, NameError> {
    Layout::new("app".parse()?)
}

/// The names of the tenants that are created for a demonstration.
pub const TENANTS: [&str; 3] = ["acme", "globex", "hooli"];

/// Gives each tenant five items, unless it has some. Both have the same titles: a title is unique within its tenant.
///
/// # Errors
/// If the server rejects a statement.
pub async fn seed(
    tenancy: &AsyncRowTenancy,
    tenants: &[TenantId],
) -> Result<(), TransactionError<diesel::result::Error>> {
    for tenant in tenants {
        let titles: Vec<_> = (1..=5).map(|number| items::title.eq(format!("item {number}"))).collect();
        tenancy
            .with_tenant(*tenant, async |conn| {
                diesel::insert_into(items::table).values(titles).on_conflict_do_nothing().execute(conn).await
            })
            .await?;
    }
    Ok(())
}

/// The routes. The tenant of a request is in its header `X-Tenant-Id`.
pub fn router(tenancy: AsyncRowTenancy) -> Router {
    Router::new().route("/items", get(list).post(add)).route("/items/{id}", delete(remove)).with_state(tenancy)
}

async fn list(tenant: SharedTenant) -> Result<Json<Vec<(i64, String)>>, Refusal> {
    Ok(Json(tenant.run(async |conn| items::table.order(items::id).load(conn).await).await?))
}

async fn add(tenant: SharedTenant, title: String) -> Result<(StatusCode, Json<i64>), Refusal> {
    let insert = diesel::insert_into(items::table).values(items::title.eq(title)).returning(items::id);
    let id = tenant.run(async |conn| insert.get_result(conn).await).await?;
    Ok((StatusCode::CREATED, Json(id)))
}

async fn remove(tenant: SharedTenant, Path(id): Path<i64>) -> Result<StatusCode, Refusal> {
    let delete = diesel::delete(items::table.find(id)).returning(items::id);
    tenant.run(async |conn| delete.get_result::<i64>(conn).await).await?;
    Ok(StatusCode::NO_CONTENT)
}
