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
use std::time::Duration;

use diesel::prelude::*;
use schema::orders;
use tenantry::cli::App;
use tenantry::{Connector, Database, Embedded, MigrationSet, Tenancy, TenantName, embed_migrations};

static TENANT_MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/examples/shop/migrations/tenant");
static PUBLIC_MIGRATIONS: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/examples/shop/migrations/public");

/// The tenants' tables.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        // Without a schema: it is in the tenant's, wherever the path leads.
        orders (id) {
            id -> BigInt,
            customer -> Text,
            cents -> BigInt,
        }
    }
}

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

/// What a sign-up handler does. The tenant is there whole or not at all.
fn sign_up(customer: &str) -> Result<i64, Box<dyn Error>> {
    let name: TenantName = customer.parse()?;
    let tenancy = Tenancy::new(MigrationSet::from_embedded(&TENANT_MIGRATIONS)?)?
        .with_public_migrations(&MigrationSet::from_embedded(&PUBLIC_MIGRATIONS)?)?;
    let url = env::var("DATABASE_URL")?.parse()?;
    let connector = Connector::new(url, Duration::from_secs(5), |name| env::var(name).ok());
    let mut database = Database::connect(connector, 1)?;

    tenantry::create_tenant(&mut database, &tenancy, &name)?;

    let orders = tenancy.in_schema(database.connection(), &name, |conn| {
        diesel::insert_into(orders::table)
            .values((orders::customer.eq(customer), orders::cents.eq(4_900)))
            .execute(conn)?;
        orders::table.count().get_result(conn)
    })?;
    Ok(orders)
}
