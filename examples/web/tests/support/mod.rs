//! The application with its own PostgreSQL server.

use diesel_async::AsyncPgConnection;
use diesel_async::SimpleAsyncConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use std::env;
use std::path::Path;
use std::time::Duration;
use tenantry::application::AsyncTenants;
use tenantry::local::{Binaries, Ephemeral};
use tenantry::{Connector, TenantName};

/// The tenants. Each has one note, with its name.
pub const NAMES: [&str; 3] = ["acme", "globex", "hooli"];

/// The application, migrated and with its tenants.
pub struct Application {
    pub tenants: AsyncTenants,
    /// The server, which stops when the value is dropped.
    _server: Ephemeral,
}

impl Application {
    /// Starts a server, and the application with a pool of `size` connections.
    pub async fn start(size: usize) -> Self {
        let (chosen, path) = (env::var_os("TENANTRY_PG_BIN"), env::var_os("PATH"));
        let binaries =
            Binaries::find(chosen.as_deref().map(Path::new), path.as_deref()).expect("PostgreSQL's programs");
        let server = Ephemeral::options().setting("max_connections", "100").start(&binaries).expect("a server");
        let url = server.url("postgres");
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(&url);
        let pool = Pool::builder(manager).max_size(size).build().unwrap();
        let connector = Connector::new(url.parse().unwrap(), Duration::from_secs(5), |_| None);
        let tenants = AsyncTenants::new(pool, connector, web::tenancy().unwrap());
        assert!(!tenants.is_ready().await.unwrap());
        tenants.migrate().await.unwrap();
        assert!(tenants.is_ready().await.unwrap());
        for name in NAMES {
            let tenant: TenantName = name.parse().unwrap();
            tenants.create(&tenant).await.unwrap();
            let note = format!("INSERT INTO notes (body) VALUES ('{name}')");
            tenants.with(&tenant, async |conn| conn.batch_execute(&note).await).await.unwrap();
        }
        Self { tenants, _server: server }
    }
}
