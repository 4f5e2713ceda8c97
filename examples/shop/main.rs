//! A Diesel application with tenants: a shop that customers sign up for.
//!
//! `shop sign-up NAME` is what its sign-up handler does: it creates a tenant by calling the library, and places a first
//! order in the tenant's schema. `shop tenants …` is the whole command line of tenantry with the shop's own migrations,
//! under the shop's name:
//!
//! ```sh
//! cargo run --example shop -- tenants migrate-public
//! cargo run --example shop -- sign-up acme
//! cargo run --example shop -- tenants health-check
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use schema::orders;
use tenantry::cli::App;
use tenantry::{Connector, Embedded, MigrationSet, Tenancy, TenantName, Tenants, embed_migrations};

static TENANT_MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/examples/shop/migrations/tenant");
static PUBLIC_MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/examples/shop/migrations/public");

/// The tenants' tables, without the name of a schema: `shop tenants print-schema acme` prints this file.
#[allow(missing_docs)]
mod schema;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("tenants") => App::new("shop tenants", &TENANT_MIGRATIONS)
            .with_public_migrations(&PUBLIC_MIGRATIONS)
            .run_from(&arguments[1..])
            .into(),
        Some("sign-up") if arguments.len() == 3 => match sign_up(&arguments[2]) {
            Ok(orders) => {
                println!("{} has {orders} order", arguments[2]);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("sign-up failed: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: shop sign-up NAME | shop tenants COMMAND …");
            ExitCode::from(2)
        }
    }
}

/// A sign-up handler. A server creates `tenants` once, when it starts.
fn sign_up(customer: &str) -> Result<i64, Box<dyn Error>> {
    let name: TenantName = customer.parse()?;
    let tenancy = Tenancy::new(MigrationSet::from_embedded(&TENANT_MIGRATIONS)?)?
        .with_public_migrations(&MigrationSet::from_embedded(&PUBLIC_MIGRATIONS)?)?;
    let pool = Pool::builder().max_size(2).build_unchecked(ConnectionManager::new(env::var("DATABASE_URL")?));
    let tenants = Tenants::new(pool, Connector::from_env()?, tenancy);

    tenants.create(&name)?;
    let orders = tenants.with(&name, |conn| {
        diesel::insert_into(orders::table)
            .values((orders::customer.eq(customer), orders::cents.eq(4_900)))
            .execute(conn)?;
        orders::table.count().get_result(conn)
    })?;
    Ok(orders)
}
