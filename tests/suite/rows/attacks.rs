//! Attacks on the signed context by SQL that runs as the application's role, which here may also create objects.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Text};
use tenantry::{RowTenancy, TenantId};

use super::{ACME, GLOBEX, Shop};
use crate::support::{Tenantry, binaries};

/// Objects in a schema of the application that have the names of those by which contexts are verified.
const SHADOWS: [(&str, &str); 5] = [
    (
        "=",
        "CREATE FUNCTION mine.always(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR mine.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = mine.always)",
    ),
    ("sha256", "CREATE FUNCTION mine.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$"),
    ("decode", "CREATE FUNCTION mine.decode(text, text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'"),
    ("pg_backend_pid", "CREATE FUNCTION mine.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    (
        "context_key",
        "CREATE TEMPORARY TABLE context_key AS SELECT ''::text AS id, ''::bytea AS inner_pad, ''::bytea AS outer_pad",
    ),
];

/// What shadows make a function accept that resolves names on the path of its caller.
const FORGED_BY: [&str; 2] = ["=", "sha256"];

/// A shop in which the application may create objects in a schema of its own and temporary ones.
fn shop() -> Shop {
    let shop = Shop::isolated();
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, email) VALUES ('{ACME}', 'info@acme.example'), ('{GLOBEX}', 'info@globex.example');
         CREATE SCHEMA mine AUTHORIZATION {app}; GRANT USAGE ON SCHEMA mine TO PUBLIC; GRANT TEMPORARY ON DATABASE {db} TO {app}",
        app = shop.role("user"),
        db = shop.db.name()
    ));
    shop
}

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

/// How many customers of the other tenant are visible.
fn foreign(conn: &mut PgConnection) -> Result<i64, DieselError> {
    diesel::dsl::sql::<BigInt>("SELECT count(*) FROM app.customers WHERE email LIKE '%globex%'").get_result(conn)
}

fn set(conn: &mut PgConnection, setting: &str, value: &str) -> Result<(), DieselError> {
    let set = diesel::sql_query("SELECT pg_catalog.set_config($1, $2, true)");
    set.bind::<Text, _>(setting).bind::<Text, _>(value).execute(conn).map(|_| ())
}

/// Whether an invented context shows rows while an object is shadowed.
fn forges(shop: &Shop, shadow: &str) -> bool {
    let mut conn = shop.application();
    let result = conn.transaction::<i64, DieselError, _>(|conn| {
        conn.batch_execute(shadow)?;
        conn.batch_execute("SET LOCAL search_path = mine, pg_temp, pg_catalog")?;
        set(conn, "tenantry.context", &format!("{}.{GLOBEX}.00", shop.key.id()))?;
        set(conn, "tenantry.tenant", GLOBEX)?;
        let found = foreign(conn);
        // Nothing of the attack remains.
        found.and_then(|found| if found > 0 { Err(DieselError::RollbackTransaction) } else { Ok(found) })
    });
    matches!(result, Err(DieselError::RollbackTransaction))
}

#[test]
#[ignore = "long: make test-long"]
fn shadowed_objects_do_not_forge_a_context() {
    for (name, shadow) in SHADOWS {
        assert!(!forges(&shop(), shadow), "{name}");
    }
}

/// The same function without a search path of its own is forged: the test above would notice.
#[test]
fn function_without_a_search_path_is_forged() {
    let shop = shop();
    shop.db.execute(&format!(
        "DO $do$ BEGIN EXECUTE format(
             'CREATE FUNCTION tenantry.naive() RETURNS uuid LANGUAGE plpgsql STABLE SECURITY DEFINER AS %L',
             (SELECT prosrc FROM pg_proc WHERE oid = 'tenantry.current_tenant()'::regprocedure)); END $do$;
         ALTER FUNCTION tenantry.naive() OWNER TO {verifier};
         DROP POLICY tenantry_context ON app.customers; DROP POLICY tenantry_tenant ON app.customers;
         CREATE POLICY tenantry_tenant ON app.customers USING (true);
         CREATE POLICY tenantry_context ON app.customers AS RESTRICTIVE USING (tenant_id = (SELECT tenantry.naive()))",
        verifier = shop.role("verifier")
    ));
    for (name, shadow) in SHADOWS {
        assert_eq!(forges(&shop, shadow), FORGED_BY.contains(&name), "{name}");
    }
}

/// A context that is valid in this transaction opens no other tenant: not with the other tenant's id, nor if a statement
/// replaces it before or while it reads rows.
#[test]
fn valid_context_is_not_turned_into_another() {
    let shop = shop();
    let tenancy = RowTenancy::new(shop.key.clone());
    let current = |conn: &mut PgConnection| {
        diesel::dsl::sql::<Text>("SELECT current_setting('tenantry.context')").get_result::<String>(conn)
    };
    let mut other = shop.application();
    let of_other_session = tenancy.with_tenant(&mut other, tenant(GLOBEX), current).unwrap();
    let attempts = [
        // In a statement of its own, in the list of results, in a condition, in a CTE, and in a function.
        "SELECT set_config('tenantry.context', '{context}', true), set_config('tenantry.tenant', '{globex}', true); {read}",
        "SELECT set_config('tenantry.tenant', '{globex}', true); \
         SELECT 1 / count(*) FROM app.customers WHERE set_config('tenantry.context', '{context}', true) IS NOT NULL \
         AND email LIKE '%globex%'",
        "WITH forged AS MATERIALIZED (SELECT set_config('tenantry.context', '{context}', true), \
         set_config('tenantry.tenant', '{globex}', true)) \
         SELECT 1 / count(*) FROM forged, app.customers WHERE email LIKE '%globex%'",
        "CREATE FUNCTION mine.steal() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM set_config('tenantry.context', '{context}', true), set_config('tenantry.tenant', '{globex}', true); \
         RETURN (SELECT 1 / count(*) FROM app.customers WHERE email LIKE '%globex%'); END $$; \
         SELECT mine.steal()",
        "SET LOCAL tenantry.tenant = '{globex}'; {read}",
        "SET LOCAL tenantry.context = ''; SET LOCAL tenantry.tenant = '{globex}'; {read}",
        "SAVEPOINT s; SET LOCAL tenantry.context = '{context}'; SET LOCAL tenantry.tenant = '{globex}'; RELEASE s; {read}",
    ];
    for attempt in attempts {
        for source in ["own", "other"] {
            let mut conn = shop.application();
            let result = tenancy.with_tenant(&mut conn, tenant(ACME), |conn| {
                assert_eq!(foreign(conn)?, 0);
                let context = match source {
                    "own" => current(conn)?.replace(ACME, GLOBEX),
                    _ => of_other_session.clone(),
                };
                let read = "SELECT 1 / count(*) FROM app.customers WHERE email LIKE '%globex%'";
                let sql = attempt.replace("{read}", read).replace("{context}", &context).replace("{globex}", GLOBEX);
                // The division fails unless a row is visible.
                conn.batch_execute(&sql)
            });
            assert!(result.is_err(), "{source}: {attempt}");
        }
    }
    // The statements are right: in the context of the other tenant they succeed.
    let mut conn = shop.application();
    tenancy
        .with_tenant(&mut conn, tenant(GLOBEX), |conn| {
            let context = current(conn)?;
            let read = "SELECT 1 / count(*) FROM app.customers WHERE email LIKE '%globex%'";
            attempts.iter().filter(|attempt| attempt.contains("{context}")).try_for_each(|attempt| {
                let sql = attempt.replace("{read}", read).replace("{context}", &context).replace("{globex}", GLOBEX);
                conn.batch_execute(&sql)
            })
        })
        .unwrap();
}

/// The context restricts what every role reads, also by a policy that shows all rows to it: a role that inherits from the
/// application, the owner of a view that the application reads, and the owner of the tables.
#[test]
fn context_restricts_all_roles() {
    let shop = shop();
    let (app, owner) = (shop.role("user"), shop.role("owner"));
    let (reader, heir) = (shop.role("reader"), shop.role("heir"));
    shop.db.execute(&format!(
        "CREATE ROLE {reader} LOGIN; CREATE ROLE {heir} LOGIN IN ROLE {app}; GRANT USAGE ON SCHEMA app TO {reader};
         GRANT SELECT ON app.customers, app.events TO {reader}; GRANT SELECT ON app.events_2026 TO {app};
         CREATE POLICY everything ON app.customers USING (true);
         CREATE POLICY everything ON app.events USING (true); CREATE POLICY everything ON app.events_2026 USING (true);
         INSERT INTO app.events (tenant_id, id, at) VALUES ('{ACME}', 1, '2026-05-05'), ('{GLOBEX}', 2, '2026-05-05');
         CREATE VIEW app.of_reader AS SELECT email FROM app.customers; CREATE VIEW app.of_owner AS SELECT email FROM app.customers;
         ALTER VIEW app.of_reader OWNER TO {reader}; ALTER VIEW app.of_owner OWNER TO {owner};
         GRANT SELECT ON app.of_reader, app.of_owner TO {app}"
    ));
    let relations = ["app.customers", "app.of_reader", "app.of_owner", "app.events", "app.events_2026"];
    let count = |conn: &mut PgConnection, relation: &str| {
        diesel::dsl::sql::<BigInt>(&format!("SELECT count(*) FROM {relation}")).get_result::<i64>(conn)
    };
    let tenancy = RowTenancy::new(shop.key.clone());
    for role in ["user", "heir"] {
        let mut conn = shop.connect_as(role);
        for relation in relations {
            assert_eq!(
                tenancy.with_tenant(&mut conn, tenant(ACME), |conn| count(conn, relation)).unwrap(),
                1,
                "{role}: {relation}"
            );
            let without = count(&mut conn, relation).unwrap_err().to_string();
            assert_eq!(without, "this transaction has no tenant context", "{role}: {relation}");
            let bare = conn.transaction(|conn| {
                set(conn, "tenantry.tenant", GLOBEX)?;
                count(conn, relation)
            });
            assert!(bare.is_err(), "{role}: {relation}: {bare:?}");
        }
    }
    // A role that may not call the function can have no context.
    let refused = count(&mut shop.connect_as("reader"), "app.customers").unwrap_err().to_string();
    assert_eq!(refused, "permission denied for function is_administrator");
    // In a function of the owner, the policies apply to the owner.
    shop.db.execute(&format!(
        "CREATE FUNCTION app.read() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = app, pg_temp \
         AS 'SELECT count(*) FROM customers'; \
         ALTER FUNCTION app.read() OWNER TO {owner}; GRANT EXECUTE ON FUNCTION app.read() TO {app}"
    ));
    let mut conn = shop.application();
    let call = |conn: &mut PgConnection| diesel::dsl::sql::<BigInt>("SELECT app.read()").get_result::<i64>(conn);
    assert_eq!(tenancy.with_tenant(&mut conn, tenant(ACME), call).unwrap(), 1);
    assert!(call(&mut conn).is_err());
    shop.db.execute(&format!("DROP OWNED BY {reader}, {heir}; DROP ROLE {reader}, {heir}"));
}

/// What the planner knows of a session does not reach another role: a statement that the administrator has prepared is planned
/// again for the application, and the other way round.
#[test]
fn prepared_statements_of_the_administrator_show_nothing_to_the_application() {
    let shop = shop();
    let (app, owner) = (shop.role("user"), shop.role("owner"));
    let mut conn = shop.db.connect();
    conn.batch_execute(&format!(
        "SET plan_cache_mode = force_generic_plan; SET ROLE {owner}; PREPARE customers AS SELECT count(*) FROM app.customers"
    ))
    .unwrap();
    let execute = |conn: &mut PgConnection| diesel::dsl::sql::<BigInt>("EXECUTE customers").get_result::<i64>(conn);
    assert_eq!(execute(&mut conn), Ok(2));
    conn.batch_execute(&format!("RESET ROLE; SET SESSION AUTHORIZATION {app}")).unwrap();
    assert_eq!(execute(&mut conn).unwrap_err().to_string(), "this transaction has no tenant context");
    conn.batch_execute(&format!("RESET SESSION AUTHORIZATION; SET ROLE {owner}")).unwrap();
    assert_eq!(execute(&mut conn), Ok(2));
}

/// A function of the application is not called with rows of other tenants, although it is cheaper than the policies.
#[test]
fn functions_of_the_application_see_no_other_rows() {
    let shop = shop();
    let mut conn = shop.application();
    conn.batch_execute(
        "CREATE FUNCTION mine.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS \
         $$ BEGIN IF $1 LIKE '%globex%' THEN RAISE 'leaked: %', $1; END IF; RETURN true; END $$",
    )
    .unwrap();
    RowTenancy::new(shop.key.clone())
        .with_tenant(&mut conn, tenant(ACME), |conn| {
            let seen: i64 = diesel::dsl::sql::<BigInt>("SELECT count(*) FROM app.customers WHERE mine.leak(email)")
                .get_result(conn)?;
            assert_eq!(seen, 1);
            Ok::<(), DieselError>(())
        })
        .unwrap();
    assert!(conn.batch_execute("ALTER FUNCTION mine.leak(text) LEAKPROOF").is_err());
}

/// Neither the catalogs nor the server's messages contain the key or what verifies it.
#[test]
fn catalogs_and_messages_contain_no_key() {
    let shop = shop();
    let pads = shop.db.strings(
        "SELECT encode(inner_pad, 'hex') FROM tenantry.context_key UNION ALL \
         SELECT encode(outer_pad, 'hex') FROM tenantry.context_key",
    );
    let url = shop.db.url().replacen("://postgres@", &format!("://{}@", shop.role("user")), 1);
    let script = format!(
        "SET client_min_messages = log; SET debug_print_plan = on; SET debug_print_rewritten = on;
         BEGIN; SET LOCAL tenantry.context = '{}.{GLOBEX}.00'; SELECT * FROM app.customers; ROLLBACK;
         EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM app.customers;
         SELECT prosrc, proconfig FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace;
         SELECT * FROM pg_stats WHERE schemaname = 'tenantry'; SELECT * FROM pg_stat_activity;
         SELECT * FROM pg_settings WHERE name LIKE 'tenantry%';",
        shop.key.id()
    );
    let psql = Tenantry::of_program(binaries().psql().expect("psql"));
    let output = psql.args(["-X", "-A", "-t", &url]).stdin(script).run();
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(shown.contains("inner_pad") && shown.contains("not valid in this transaction"), "{shown}");
    for secret in pads.iter().map(String::as_str).chain([shop.key.reveal().as_str(), "info@"]) {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
