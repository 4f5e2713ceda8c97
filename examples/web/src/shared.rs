//! Tenants that share tables: the tenant of a request, and the database of an application.

use std::error::Error;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::AsyncPgConnection;
use tenantry::application::AsyncRowTenancy;
use tenantry::rows::{ContextKey, Layout, registry};
use tenantry::{Connector, Database, Embedded, MigrationSet, Stop, Tenancy, TenantId, TransactionError, rows};

/// The header with the tenant's id. Every client that reaches the application can send it: let the gateway that
/// authenticates requests set it.
const HEADER: &str = "x-tenant-id";

/// The tenant of a request. Its id is a UUID; whether the tenant exists, its transaction finds out.
pub struct SharedTenant {
    id: TenantId,
    tenancy: AsyncRowTenancy,
}

impl SharedTenant {
    /// Runs `work` in one transaction, which sees only the rows of the tenant.
    ///
    /// # Errors
    /// If `work` fails, or the transaction is not committed.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, DieselError>,
    {
        Ok(self.tenancy.with_tenant(self.id, work).await?)
    }
}

impl<S> FromRequestParts<S> for SharedTenant
where
    S: Send + Sync,
    AsyncRowTenancy: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let mut values = parts.headers.get_all(HEADER).iter();
        // Two of them would leave open whom a gateway has checked.
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::NoTenant) };
        match value.to_str().map(str::parse) {
            Ok(Ok(id @ TenantId::Uuid(_))) => Ok(Self { id, tenancy: AsyncRowTenancy::from_ref(state) }),
            _ => Err(Refusal::NoTenant),
        }
    }
}

/// Why a request failed. The response reveals no details of the server.
#[derive(Debug)]
pub enum Refusal {
    /// The header is missing or is not a UUID.
    NoTenant,
    /// The tenant, or a row of it, does not exist.
    NotFound,
    /// The tenant has such a row.
    Conflict,
    /// The application failed.
    Internal(Arc<dyn Error + Send + Sync>),
}

impl From<TransactionError<DieselError>> for Refusal {
    fn from(error: TransactionError<DieselError>) -> Self {
        match error {
            TransactionError::Closure(DieselError::NotFound) => Self::NotFound,
            TransactionError::Closure(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
                Self::Conflict
            }
            // The tenant is not in the registry, or the row that was named is not one of this tenant.
            TransactionError::Closure(DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
                Self::NotFound
            }
            error => Self::Internal(Arc::new(error)),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NoTenant => (StatusCode::BAD_REQUEST, "X-Tenant-Id must be a UUID"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not found"),
            Self::Conflict => (StatusCode::CONFLICT, "already exists"),
            Self::Internal(error) => {
                eprintln!("request failed: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        };
        (status, message).into_response()
    }
}

/// Migrates and isolates the shared tables of a database, and creates tenants. Returns their ids, in the same order.
///
/// `connector` connects as a superuser; the application itself as the role of `layout` for applications.
///
/// # Errors
/// If the server rejects a statement, or a migration fails.
pub fn prepare(
    connector: Connector,
    migrations: &'static Embedded,
    layout: &Layout,
    key: &ContextKey,
    tenants: &[&str],
) -> Result<Vec<TenantId>, Box<dyn Error + Send + Sync>> {
    let tenancy = Tenancy::new(MigrationSet::from_embedded(migrations)?)?;
    let mut db = Database::connect(connector, 1)?;
    let report = rows::prepare(&mut db, &tenancy, layout, key, &Stop::default())?;
    if let Some(failed) = report.failed.first() {
        return Err(failed.error.to_string().into());
    }
    let existing = registry::tenants(&mut db, layout)?;
    tenants
        .iter()
        .map(|name| match existing.iter().find(|tenant| tenant.name == *name) {
            Some(tenant) => Ok(tenant.id.parse()?),
            None => Ok(registry::create(&mut db, &tenancy, layout, name, None, None)?),
        })
        .collect()
}
