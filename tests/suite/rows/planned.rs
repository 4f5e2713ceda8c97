//! How the server plans queries under the policies.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Text};
use tenantry::{RowTenancy, TenantId};

use super::{ACME, GLOBEX, Shop};

/// A shop with 20,000 customers of each tenant, and functions counted.
fn shop() -> Shop {
    let shop = Shop::isolated();
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, id, email) SELECT t::uuid, i, 'c' || i FROM unnest('{{{ACME},{GLOBEX}}}'::text[]) t, \
         generate_series(1, 20000) i;
         INSERT INTO app.orders (tenant_id, customer_id, number) SELECT t::uuid, i, 'n' || i \
         FROM unnest('{{{ACME},{GLOBEX}}}'::text[]) t, generate_series(1, 20000) i;
         ANALYZE app.customers, app.orders;
         ALTER DATABASE {} SET track_functions = 'all'",
        shop.db.name()
    ));
    shop
}

/// How often the context was verified in this transaction.
fn verifications(conn: &mut PgConnection) -> Result<i64, DieselError> {
    diesel::dsl::sql::<BigInt>(
        "SELECT COALESCE(sum(calls), 0)::int8 FROM pg_stat_xact_user_functions WHERE funcname = 'current_tenant'",
    )
    .get_result(conn)
}

/// The context is verified once for each table of a query, not for each row, and the planner uses the index of the tenant. The
/// policies leave nothing else in the plan: no filter, and no other subquery.
#[test]
#[ignore = "long: make test-long"]
fn context_is_verified_once_for_each_table() {
    let shop = shop();
    let mut conn = shop.application();
    RowTenancy::new(shop.key.clone())
        .with_tenant(&mut conn, ACME.parse::<TenantId>().unwrap(), |conn| {
            let all: i64 = diesel::dsl::sql::<BigInt>("SELECT count(*) FROM app.customers").get_result(conn)?;
            assert_eq!((all, verifications(conn)?), (20_000, 1));
            let joined = "SELECT count(*) FROM app.customers c JOIN app.orders o ON o.customer_id = c.id";
            let joined: i64 = diesel::dsl::sql::<BigInt>(joined).get_result(conn)?;
            assert_eq!((joined, verifications(conn)?), (20_000, 3));
            conn.batch_execute("SET LOCAL enable_seqscan = off")?;
            for (query, tables, indexes) in [
                ("SELECT * FROM app.customers WHERE id = 7", 1, 1),
                ("SELECT * FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE c.id = 7", 2, 1),
            ] {
                let lines: Vec<String> =
                    diesel::dsl::sql::<Text>(&format!("EXPLAIN (COSTS OFF, VERBOSE) {query}")).load(conn)?;
                let plan = lines.join("\n");
                let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
                assert_eq!(count("Output: tenantry.current_tenant()"), tables, "one for each table: {plan}");
                // Since PostgreSQL 17, conditions name the subqueries, too.
                let subqueries = lines.iter().filter(|line| line.trim_start().starts_with("InitPlan"));
                assert_eq!(subqueries.count(), tables, "nothing else: {plan}");
                assert_eq!(count("SubPlan"), 0, "nothing is evaluated for each row: {plan}");
                let compares = |line: &String| line.contains("Filter:") && line.contains("tenant_id");
                assert!(!lines.iter().any(compares), "no tenant is compared for each row: {plan}");
                assert_eq!(count("is_administrator") + count("requires_context"), 0, "{plan}");
                let conditions =
                    lines.iter().filter(|line| line.contains("Index Cond") && line.contains("tenant_id = "));
                assert!(conditions.count() >= indexes, "{plan}");
            }
            Ok::<(), DieselError>(())
        })
        .unwrap();
}

/// A policy that calls the function without a subquery verifies the context for each row: the test above would notice.
#[test]
#[ignore = "long: make test-long"]
fn unwrapped_function_is_called_for_each_row() {
    let shop = shop();
    shop.db.execute(
        "DROP POLICY tenantry_context ON app.customers; DROP POLICY tenantry_tenant ON app.customers;
         CREATE POLICY tenantry_tenant ON app.customers USING (true);
         CREATE POLICY tenantry_context ON app.customers AS RESTRICTIVE USING (tenant_id = tenantry.current_tenant())",
    );
    let mut conn = shop.application();
    let verified =
        RowTenancy::new(shop.key.clone()).with_tenant(&mut conn, ACME.parse::<TenantId>().unwrap(), |conn| {
            conn.batch_execute(
                "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; \
                            SET LOCAL enable_indexonlyscan = off; SELECT count(*) FROM app.customers",
            )?;
            verifications(conn)
        });
    let verified = verified.unwrap();
    assert!(verified >= 20_000, "{verified}");
}
