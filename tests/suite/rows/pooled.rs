//! One pooled connection serves transactions of alternating tenants, whatever the transactions leave and however they end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Bool, Text};
use tenantry::{AccessError, RowTenancy, TenantId, TransactionError};

use super::{ACME, GLOBEX, Shop};
use crate::support::pgbouncer::PgBouncer;
use crate::support::server;

diesel::table! {
    app.customers (id) {
        id -> BigInt,
        email -> Text,
    }
}

type Connection = PooledConnection<ConnectionManager<PgConnection>>;

/// The tenants, and the customers that each has.
const TENANTS: [(&str, [&str; 2]); 2] =
    [(ACME, ["a1@acme.example", "a2@acme.example"]), (GLOBEX, ["g1@globex.example", "g2@globex.example"])];

/// What a transaction leaves in its session. It may create temporary tables here, which `isolate` prevents.
const LEAVINGS: &str = "
    DECLARE held CURSOR WITH HOLD FOR SELECT email FROM app.customers;
    CREATE TEMPORARY TABLE customers AS SELECT * FROM app.customers;
    SET search_path = pg_temp, app;
    SET TIME ZONE 'Asia/Tokyo';
    LISTEN news;
    SELECT pg_advisory_lock(4711)";

/// What of it is still there.
const LEFT: &str = "
    EXISTS (SELECT FROM pg_cursors WHERE name = 'held')
    OR to_regclass('pg_temp.customers') IS NOT NULL
    OR current_setting('search_path') LIKE '%temp%'
    OR current_setting('timezone') <> 'UTC'
    OR EXISTS (SELECT FROM pg_listening_channels())
    OR EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())";

fn shop() -> Shop {
    let shop = Shop::isolated();
    for (tenant, emails) in TENANTS {
        for email in emails {
            shop.db.execute(&format!("INSERT INTO app.customers (tenant_id, email) VALUES ('{tenant}', '{email}')"));
        }
    }
    shop.db.execute(&format!(
        "GRANT TEMPORARY ON DATABASE {} TO {}; ALTER DATABASE {} SET timezone = 'Europe/Zurich'",
        shop.db.name(),
        shop.role("user"),
        shop.db.name()
    ));
    shop
}

fn left(conn: &mut PgConnection) -> Result<bool, DieselError> {
    diesel::select(diesel::dsl::sql::<Bool>(&format!("({LEFT})"))).get_result(conn)
}

/// The customers that a transaction sees. Diesel prepares the statement once and executes it with different values.
fn emails(conn: &mut PgConnection, after: i64) -> Result<Vec<String>, DieselError> {
    customers::table
        .select(customers::email)
        .filter(customers::id.gt(after))
        .filter(customers::email.ne("nobody"))
        .order(customers::email)
        .load(conn)
}

/// Serves 1,000 transactions on the only connection of a pool. Most of them leave something in the session.
fn serve(shop: &Shop, pool: &Pool<ConnectionManager<PgConnection>>) {
    let tenancy = RowTenancy::new(shop.key.clone());
    let mut pids = std::collections::BTreeSet::new();
    for round in 0..1_000 {
        let (tenant, own) = TENANTS[round % 2];
        let tenant: TenantId = tenant.parse().unwrap();
        let mut conn: Connection = pool.get().unwrap();
        let mut seen = Vec::new();
        let mut run = |conn: &mut Connection| {
            tenancy.with_tenant(conn, tenant, |conn| {
                assert!(!left(conn)?, "round {round}: the session was not reset");
                seen = emails(conn, i64::try_from(round).unwrap() - 1_000)?;
                pids.insert(
                    diesel::select(diesel::dsl::sql::<BigInt>("pg_backend_pid()::int8")).get_result::<i64>(conn)?,
                );
                if round % 3 != 0 {
                    conn.batch_execute(LEAVINGS)?;
                }
                match round % 7 {
                    1 => panic!("as an application may"),
                    2 => Err(DieselError::RollbackTransaction),
                    3 => conn.batch_execute("SELECT 1 / 0"),
                    4 => conn.batch_execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)"),
                    5 => conn.batch_execute("COMMIT"),
                    _ => Ok(()),
                }
            })
        };
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut conn)));
        let is_expected = match (round % 7, &result) {
            (1, result) => result.is_err(),
            (2..=4, Ok(Err(TransactionError::Closure(_)))) => true,
            (5, Ok(Err(TransactionError::Access(AccessError::Aborted)))) => true,
            (0 | 6, Ok(Ok(()))) => true,
            _ => false,
        };
        assert!(is_expected, "round {round}: {result:?}");
        assert_eq!(seen, own, "round {round}");
    }
    assert_eq!(pids.len(), 1, "all transactions were in one session: {pids:?}");
    let mut conn = pool.get().unwrap();
    let prepared =
        "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE '\\_\\_diesel%' AND statement LIKE '%customers%'";
    assert_eq!(diesel::dsl::sql::<BigInt>(prepared).get_result::<i64>(&mut conn).unwrap(), 1);
    let outside = emails(&mut conn, 0).unwrap_err().to_string();
    assert_eq!(outside, "this transaction has no tenant context");
}

fn pool(url: &str) -> Pool<ConnectionManager<PgConnection>> {
    Pool::builder().max_size(1).build(ConnectionManager::new(url)).unwrap()
}

#[test]
#[ignore = "long: make test-long"]
fn pooled_connection_serves_alternating_tenants() {
    let shop = shop();
    let url = shop.db.url().replacen("://postgres@", &format!("://{}@", shop.role("user")), 1);
    serve(&shop, &pool(&url));
}

/// The pooler has one session for the client, so that the prepared statements of Diesel remain in it.
#[test]
#[ignore = "long: make test-long"]
fn transaction_pooler_serves_alternating_tenants() {
    let shop = shop();
    let pooler = PgBouncer::start_as(&shop.role("user"), server(), &[("default_pool_size", "1")]);
    serve(&shop, &pool(&pooler.url(shop.db.name())));
}

/// Without the reset, a transaction's cursor and temporary table show its rows to the next user of the session.
#[test]
fn what_a_transaction_leaves_crosses_tenants_without_the_reset() {
    let shop = shop();
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    let ended = tenancy.with_tenant(&mut conn, ACME.parse::<TenantId>().unwrap(), |conn| {
        conn.batch_execute(&format!("{LEAVINGS}; COMMIT"))?;
        assert!(left(conn)?);
        let stolen: String = diesel::dsl::sql::<Text>("FETCH FIRST FROM held").get_result(conn)?;
        assert_eq!(stolen, "a1@acme.example");
        assert_eq!(diesel::dsl::sql::<BigInt>("SELECT count(*) FROM customers").get_result::<i64>(conn)?, 2);
        Ok::<(), DieselError>(())
    });
    assert!(matches!(ended, Err(TransactionError::Access(AccessError::Aborted))), "{ended:?}");
    assert!(!left(&mut conn).unwrap());
    assert!(conn.batch_execute("FETCH FIRST FROM held").is_err());
}

/// A transaction that SQL began is refused, too, although Diesel does not know of it. A pool closes the connection.
#[test]
fn transaction_that_sql_began_is_refused() {
    let shop = shop();
    let url = shop.db.url().replacen("://postgres@", &format!("://{}@", shop.role("user")), 1);
    let pool = pool(&url);
    let mut conn = pool.get().unwrap();
    let pid = |conn: &mut Connection| {
        diesel::select(diesel::dsl::sql::<BigInt>("pg_backend_pid()::int8")).get_result::<i64>(conn).unwrap()
    };
    let first = pid(&mut conn);
    conn.batch_execute("BEGIN").unwrap();
    let tenancy = RowTenancy::new(shop.key.clone());
    let acme: TenantId = ACME.parse().unwrap();
    let refused = tenancy.with_tenant(&mut conn, acme, |conn| emails(conn, 0));
    assert!(matches!(refused, Err(TransactionError::Access(AccessError::OpenTransaction))), "{refused:?}");
    assert!(emails(&mut conn, 0).is_err(), "the transaction is aborted");
    drop(conn);
    let mut conn = pool.get().unwrap();
    assert_ne!(pid(&mut conn), first);
    assert_eq!(tenancy.with_tenant(&mut conn, acme, |conn| emails(conn, 0)).unwrap(), TENANTS[0].1);
    let nested = tenancy.with_tenant(&mut conn, acme, |conn| {
        let inner = tenancy.with_tenant(conn, GLOBEX.parse::<TenantId>().unwrap(), |conn| emails(conn, 0));
        assert!(matches!(inner, Err(TransactionError::Access(AccessError::OpenTransaction))), "{inner:?}");
        emails(conn, 0)
    });
    assert_eq!(nested.unwrap(), TENANTS[0].1);
}
