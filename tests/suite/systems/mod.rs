//! What systems for multi-tenancy offer, each capability in a test that names it: tables under row-level security, a registry with
//! signed contexts, roles and columns for tenants with numeric ids, and a web application's items.

mod items;
mod numbers;
mod regions;
mod registry;
mod row_security;

use std::sync::LazyLock;

use diesel::prelude::*;
use tenantry::{RowTenancy, TenantId};

use crate::rows::Shop;

/// A shop that tests share, which only read it or roll back what they do.
fn shared(cell: &'static LazyLock<Shop>) -> &'static Shop {
    cell
}

/// Runs work of the application for a tenant.
fn within<T>(shop: &Shop, tenant: &str, work: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> QueryResult<T> {
    let tenant: TenantId = tenant.parse().unwrap();
    let result = RowTenancy::new(shop.key.clone()).with_tenant(&mut shop.application(), tenant, work);
    result.map_err(|error| match error {
        tenantry::TransactionError::Closure(error) => error,
        tenantry::TransactionError::Access(error) => panic!("{error}"),
    })
}

/// The number that a query of the application returns for a tenant.
fn count(shop: &Shop, tenant: &str, sql: &str) -> i64 {
    within(shop, tenant, |conn| diesel::dsl::sql::<diesel::sql_types::BigInt>(sql).get_result(conn)).unwrap()
}

/// Whether the application may run a statement for a tenant, which is rolled back.
fn may(shop: &Shop, tenant: &str, sql: &str) -> bool {
    let result: QueryResult<()> = within(shop, tenant, |conn| {
        use diesel::connection::SimpleConnection;
        conn.batch_execute(sql)?;
        Err(diesel::result::Error::RollbackTransaction)
    });
    matches!(result, Err(diesel::result::Error::RollbackTransaction))
}

/// The names of the roles of a shop, in statements as `{user}` and so on.
fn fill(shop: &Shop, sql: &str) -> String {
    ["user", "owner", "verifier", "admin"]
        .iter()
        .fold(sql.to_owned(), |sql, role| sql.replace(&format!("{{{role}}}"), &shop.role(role)))
}
