//! Demonstrates that organizations that share tables have no access to each other's rows, and what a statement for each row
//! costs. `ADMIN_DATABASE_URL` is the database as a superuser, who migrates it; `DATABASE_URL` is the same database as the
//! role `app_user`; `TENANTRY_CONTEXT_KEY` is the application's key. The users of the demonstration remain.

use std::env;
use std::error::Error;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use tenantry::Connector;
use tenantry::application::AsyncRowTenancy;
use tenantry::rows::ContextKey;
use web::organizations::{self, add_users, compare, trespass};
use web::shared::prepare;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let key: ContextKey = env::var("TENANTRY_CONTEXT_KEY")?.parse()?;
    let connector = Connector::new(env::var("ADMIN_DATABASE_URL")?.parse()?, Duration::from_secs(5), |_| None);
    let (layout, of_database) = (organizations::layout()?, key.clone());
    let migrated = move || prepare(connector, &organizations::MIGRATIONS, &layout, &of_database, &["acme", "globex"]);
    let created = tokio::task::spawn_blocking(migrated).await??;
    let [acme, globex] = created[..] else { return Err("two organizations were created".into()) };

    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(env::var("DATABASE_URL")?);
    let tenancy = AsyncRowTenancy::new(Pool::builder(manager).max_size(4).build()?, key);
    let of_acme = add_users(&tenancy, acme, &["ann@acme.example".to_owned()]).await?;
    let of_globex = add_users(&tenancy, globex, &["bob@globex.example".to_owned()]).await?;
    println!("acme with the users of globex: {:?}", trespass(&tenancy, acme, globex, &of_globex).await?);
    println!("globex with the users of acme: {:?}", trespass(&tenancy, globex, acme, &of_acme).await?);
    println!("200 users: {:?}", compare(&tenancy, acme, 200).await?);
    Ok(())
}
