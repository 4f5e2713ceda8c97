//! The tenant of a request.

use std::collections::HashMap;

use axum::extract::{FromRef, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use tenantry::application::AsyncTenants;
use tenantry::{AccessError, CreateError, TenantName, TransactionError};

/// The header that names the tenant. Every client that reaches the application can send it: let the gateway that authenticates
/// requests set it.
const HEADER: &str = "x-tenant";

/// The tenant that a request is for.
pub struct Tenant {
    name: TenantName,
    tenants: AsyncTenants,
}

impl Tenant {
    /// The tenant's name.
    pub fn name(&self) -> &TenantName {
        &self.name
    }

    /// Runs `work` in one transaction in the tenant's schema.
    ///
    /// # Errors
    /// If the tenant does not exist, `work` fails, or the transaction is not committed.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Failure>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        Ok(self.tenants.with(&self.name, work).await?)
    }
}

impl<S> FromRequestParts<S> for Tenant
where
    S: Send + Sync,
    AsyncTenants: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let in_path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await.ok();
        let in_path = in_path.and_then(|Path(mut parameters)| parameters.remove("tenant"));
        let in_header = || parts.headers.get(HEADER)?.to_str().ok().map(str::to_owned);
        let in_host = || {
            let host = parts.headers.get(header::HOST)?.to_str().ok()?;
            host.split_once('.').map(|(label, _)| label.to_owned())
        };
        let name = in_path.or_else(in_header).or_else(in_host).ok_or(Failure::NoTenant)?;
        let name = name.parse().map_err(|_| Failure::UnknownTenant)?;
        Ok(Self { name, tenants: AsyncTenants::from_ref(state) })
    }
}

/// Why a request failed. The response reveals no details of the server.
#[derive(Debug)]
pub enum Failure {
    /// The request names no tenant.
    NoTenant,
    /// The tenant does not exist or cannot be used at present.
    UnknownTenant,
    /// The application failed.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl From<TransactionError<diesel::result::Error>> for Failure {
    fn from(error: TransactionError<diesel::result::Error>) -> Self {
        match error {
            TransactionError::Access(error) => error.into(),
            TransactionError::Closure(error) => Self::Internal(error.into()),
        }
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        if error.is_about_tenant() { Self::UnknownTenant } else { Self::Internal(error.into()) }
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NoTenant => (StatusCode::BAD_REQUEST, "the request names no tenant"),
            Self::UnknownTenant => (StatusCode::NOT_FOUND, "no such tenant"),
            Self::Internal(error) => {
                eprintln!("request failed: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        };
        (status, message).into_response()
    }
}
