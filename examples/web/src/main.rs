//! Serves the application on port 3000. Migrates the database of `DATABASE_URL` first.

use std::env;
use std::error::Error;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use tenantry::Connector;
use tenantry::application::AsyncTenants;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(env::var("DATABASE_URL")?);
    let pool = Pool::builder(manager).max_size(16).build()?;
    let tenants = AsyncTenants::new(pool, Connector::from_env()?, web::tenancy()?);
    tenants.migrate().await?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, web::router(tenants)).await?;
    Ok(())
}
