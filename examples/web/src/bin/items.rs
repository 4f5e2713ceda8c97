//! Serves the items of tenants that share tables, on port 3000. `ADMIN_DATABASE_URL` is the database as a superuser, who
//! migrates it; `DATABASE_URL` is the same database as the role `app_user`; `TENANTRY_CONTEXT_KEY` is the application's key.

use std::env;
use std::error::Error;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use tenantry::Connector;
use tenantry::application::AsyncRowTenancy;
use tenantry::rows::ContextKey;
use web::items;
use web::shared::prepare;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let key: ContextKey = env::var("TENANTRY_CONTEXT_KEY")?.parse()?;
    let connector = Connector::new(env::var("ADMIN_DATABASE_URL")?.parse()?, Duration::from_secs(5), |_| None);
    let (layout, of_database) = (items::layout()?, key.clone());
    let migrated = move || prepare(connector, &items::MIGRATIONS, &layout, &of_database, &items::TENANTS);
    let tenants = tokio::task::spawn_blocking(migrated).await??;

    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(env::var("DATABASE_URL")?);
    let tenancy = AsyncRowTenancy::new(Pool::builder(manager).max_size(16).build()?, key);
    items::seed(&tenancy, &tenants).await?;
    for (name, id) in items::TENANTS.iter().zip(&tenants) {
        println!("{name}: curl -H 'X-Tenant-Id: {id}' http://127.0.0.1:3000/items");
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, items::router(tenancy)).await?;
    Ok(())
}
