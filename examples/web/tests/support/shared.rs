//! An application whose tenants share tables, with its own PostgreSQL server.

use std::env;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use diesel::sql_types::BigInt;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tenantry::application::AsyncRowTenancy;
use tenantry::local::{Binaries, Ephemeral};
use tenantry::rows::{ContextKey, Layout};
use tenantry::{Connector, Embedded, TenantId};
use tower::ServiceExt;
use web::shared::prepare;

/// The application, migrated and with its tenants.
pub struct Application {
    pub tenancy: AsyncRowTenancy,
    pub tenants: Vec<TenantId>,
    url: String,
    /// The server, which stops when the value is dropped.
    _server: Ephemeral,
}

impl Application {
    /// Starts a server, and the application with a pool of `size` connections.
    pub async fn start(size: usize, migrations: &'static Embedded, layout: Layout, names: &'static [&str]) -> Self {
        let (chosen, path) = (env::var_os("TENANTRY_PG_BIN"), env::var_os("PATH"));
        let binaries =
            Binaries::find(chosen.as_deref().map(Path::new), path.as_deref()).expect("PostgreSQL's programs");
        let server = Ephemeral::options().setting("max_connections", "100").start(&binaries).expect("a server");
        let (url, key) = (server.url("postgres"), ContextKey::generate());
        let connector = || Connector::new(url.parse().unwrap(), Duration::from_secs(5), |_| None);
        let (first, second) = (connector(), connector());
        let of_database = key.clone();
        let migrate = move || {
            let tenants = prepare(first, migrations, &layout, &of_database, names).unwrap();
            // Another start of the application changes nothing.
            assert_eq!(prepare(second, migrations, &layout, &of_database, names).unwrap(), tenants);
            tenants
        };
        let tenants = tokio::task::spawn_blocking(migrate).await.unwrap();
        let as_application = url.replacen("://postgres@", "://app_user@", 1);
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(as_application);
        let tenancy = AsyncRowTenancy::new(Pool::builder(manager).max_size(size).build().unwrap(), key);
        Self { tenancy, tenants, url, _server: server }
    }

    /// The number that a query returns to a superuser, to whom no policy applies.
    pub async fn count(&self, sql: &str) -> i64 {
        let mut conn = AsyncPgConnection::establish(&self.url).await.unwrap();
        diesel::select(diesel::dsl::sql::<BigInt>(&format!("({sql})"))).get_result(&mut conn).await.unwrap()
    }
}

/// Sends a request, and returns the status and the body of the response.
pub async fn send(router: &Router, method: Method, path: &str, tenant: &str, body: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", tenant);
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
