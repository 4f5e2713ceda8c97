//! The tenant context of a transaction: what the application sees with it, and that it cannot be forged.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Text};
use tenantry::rows::ContextKey;
use tenantry::{AccessError, RowTenancy, TenantId, TransactionError};

use super::{ACME, GLOBEX, Shop};

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

type Result<T> = std::result::Result<T, DieselError>;

fn emails(conn: &mut PgConnection) -> Result<Vec<String>> {
    diesel::dsl::sql::<Text>("SELECT email FROM app.customers ORDER BY email").load(conn)
}

fn count(conn: &mut PgConnection, sql: &str) -> Result<i64> {
    diesel::dsl::sql::<BigInt>(sql).get_result(conn)
}

/// The tenants of the visible customers.
fn tenants(conn: &mut PgConnection) -> Result<Vec<String>> {
    diesel::dsl::sql::<Text>("SELECT DISTINCT tenant_id::text FROM app.customers").load(conn)
}

/// A shop in which both tenants have a customer with the same id and email.
fn with_customers() -> Shop {
    let shop = Shop::isolated();
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    for tenant in [ACME, GLOBEX] {
        let insert = "INSERT INTO app.customers (id, email, country) VALUES (1000, 'info@example.org', 'ch')";
        tenancy.with_tenant(&mut conn, id(tenant), |conn| conn.batch_execute(insert)).unwrap();
    }
    shop
}

#[test]
fn rows_belong_to_the_tenant_of_the_transaction() {
    let shop = with_customers();
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    let add = "INSERT INTO app.customers (email) VALUES ('second@example.org')";
    tenancy.with_tenant(&mut conn, id(ACME), |conn| conn.batch_execute(add)).unwrap();
    let seen = |conn: &mut PgConnection, tenant| tenancy.with_tenant(conn, id(tenant), emails).unwrap();
    assert_eq!(seen(&mut conn, ACME), ["info@example.org", "second@example.org"]);
    assert_eq!(seen(&mut conn, GLOBEX), ["info@example.org"]);
    // Each tenant sees itself in the registry, and exempt tables.
    let count = |sql| tenancy.with_tenant(&mut shop.application(), id(ACME), |conn| count(conn, sql)).unwrap();
    assert_eq!(count("SELECT count(*) FROM app.tenants"), 1);
    assert_eq!(count("SELECT count(*) FROM app.countries"), 1);
}

/// Rows of another tenant can be neither written nor referred to.
#[test]
fn other_tenants_rows_are_out_of_reach() {
    let shop = with_customers();
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, id, email) VALUES ('{GLOBEX}', 77, 'only@globex.example')"
    ));
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    let mut attempt = |sql: &str| {
        let result = tenancy.with_tenant(&mut conn, id(ACME), |conn| diesel::sql_query(sql).execute(conn));
        match result {
            Ok(rows) => rows.to_string(),
            Err(TransactionError::Closure(error)) => error.to_string(),
            Err(TransactionError::Access(error)) => panic!("{sql}: {error}"),
        }
    };
    assert_eq!(attempt("UPDATE app.customers SET email = 'x' WHERE id = 77"), "0");
    assert_eq!(attempt("DELETE FROM app.customers WHERE id = 77"), "0");
    let foreign = format!("INSERT INTO app.customers (tenant_id, email) VALUES ('{GLOBEX}', 'x')");
    assert!(attempt(&foreign).contains("violates row-level security policy"), "{}", attempt(&foreign));
    let moved = format!("UPDATE app.customers SET tenant_id = '{GLOBEX}'");
    assert!(attempt(&moved).contains("violates row-level security policy"), "{}", attempt(&moved));
    let order = "INSERT INTO app.orders (customer_id, number) VALUES (77, '1')";
    assert!(attempt(order).contains("violates foreign key constraint \"orders_customer_id_fkey\""));
    // The same key does not reveal that another tenant has it.
    assert_eq!(attempt("INSERT INTO app.customers (id, email) VALUES (77, 'only@globex.example')"), "1");
    assert!(attempt("TRUNCATE app.customers CASCADE").contains("permission denied"));
    assert!(attempt("INSERT INTO app.tenants (name) VALUES ('mine')").contains("permission denied"));
    assert!(attempt("UPDATE app.countries SET name = 'x'").contains("permission denied"));
    assert!(attempt("SELECT * FROM app.events_2026").contains("permission denied"), "partitions have no privileges");
}

/// Without a context, with the context of an earlier transaction, of another session or of another key, or with a context
/// of another tenant's id, the application reaches nothing.
#[test]
fn contexts_cannot_be_forged() {
    let shop = with_customers();
    let mut conn = shop.application();
    let mut other = shop.application();
    let tenancy = RowTenancy::new(shop.key.clone());
    let context_of = |conn: &mut PgConnection, tenant: &str| -> String {
        let setting = |conn: &mut PgConnection| {
            diesel::dsl::sql::<Text>("SELECT current_setting('tenantry.context')").get_result::<String>(conn)
        };
        tenancy.with_tenant(conn, id(tenant), setting).unwrap()
    };
    let replayed = context_of(&mut conn, GLOBEX);
    let of_other_session = context_of(&mut other, GLOBEX);
    let (key_id, signature) = (shop.key.id(), replayed.rsplit('.').next().unwrap().to_owned());
    let forged = [
        String::new(),
        GLOBEX.to_owned(),
        replayed.clone(),
        of_other_session,
        format!("{key_id}.{GLOBEX}.{signature}"),
        format!("{key_id}.{GLOBEX}."),
        format!("{key_id}.{GLOBEX}.00"),
        format!("{key_id}.{GLOBEX}.{}", "00".repeat(32)),
        format!("unknown.{GLOBEX}.{signature}"),
        format!("{key_id}.{GLOBEX}.not hexadecimal"),
        format!("{key_id}.{GLOBEX}' OR true --.{signature}"),
    ];
    for context in &forged {
        let stolen = conn.transaction::<i64, DieselError, _>(|conn| {
            diesel::sql_query(
                "SELECT set_config('tenantry.context', $1, true), set_config('tenantry.tenant', $2, true)",
            )
            .bind::<Text, _>(context)
            .bind::<Text, _>(GLOBEX)
            .execute(conn)?;
            count(conn, "SELECT count(*) FROM app.customers")
        });
        assert!(stolen.is_err(), "{context:?}: {stolen:?}");
    }
    // A valid context of one tenant does not open another, whatever the setting says.
    let switched = tenancy.with_tenant(&mut conn, id(ACME), |conn| {
        conn.batch_execute(&format!("SET LOCAL tenantry.tenant = '{GLOBEX}'"))?;
        tenants(conn)
    });
    assert_eq!(switched.unwrap(), [ACME]);
    let inserted = tenancy.with_tenant(&mut conn, id(ACME), |conn| {
        conn.batch_execute(&format!("SET LOCAL tenantry.tenant = '{GLOBEX}'"))?;
        conn.batch_execute("INSERT INTO app.customers (email) VALUES ('new@example.org')")
    });
    assert!(inserted.is_err());
    let with_other_key = RowTenancy::new(ContextKey::generate()).with_tenant(&mut conn, id(ACME), emails);
    assert!(matches!(with_other_key, Err(TransactionError::Closure(_))));
}

/// With contexts that are settings, the same attack succeeds: the test would notice.
#[test]
fn setting_is_forged_by_the_same_attack() {
    let shop = Shop::with_options(super::shop(), &["--context", "setting"]);
    let db = &shop.db;
    shop.run(&["isolate", "--yes"]);
    db.execute(&format!("INSERT INTO app.tenants VALUES ('{ACME}', 'acme')"));
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenantry'"), 0, "there are no keys");
    db.execute(&format!("INSERT INTO app.customers (tenant_id, email) VALUES ('{ACME}', 'info@example.org')"));
    let mut conn = shop.application();
    assert_eq!(emails(&mut conn).unwrap(), Vec::<String>::new(), "without a setting no row is visible");
    let seen = RowTenancy::unsigned().with_tenant(&mut conn, id(ACME), emails);
    assert_eq!(seen.unwrap(), ["info@example.org"]);
    assert_eq!(RowTenancy::unsigned().with_tenant(&mut conn, id(GLOBEX), emails).unwrap(), Vec::<String>::new());
    assert_eq!(emails(&mut conn).unwrap(), Vec::<String>::new(), "the setting ended with its transaction");
    conn.batch_execute(&format!("SET tenantry.tenant = '{ACME}'")).unwrap();
    assert_eq!(emails(&mut conn).unwrap(), ["info@example.org"]);
}

/// The objects that the verification uses cannot be replaced or read by the application.
#[test]
fn verification_cannot_be_shadowed() {
    let shop = with_customers();
    let mut conn = shop.application();
    for attack in [
        "CREATE TEMP TABLE context_key (id text)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION app.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
        "SELECT * FROM tenantry.context_key",
        "SELECT most_common_vals FROM pg_stats WHERE tablename = 'context_key' AND most_common_vals IS NOT NULL \
         UNION ALL SELECT 1 / 0",
        "ALTER FUNCTION tenantry.current_tenant() RESET search_path",
        "DROP POLICY tenantry_context ON app.customers",
        "ALTER TABLE app.customers NO FORCE ROW LEVEL SECURITY",
        "SET session_replication_role = replica",
        "COPY app.customers FROM PROGRAM 'true'",
    ] {
        assert!(conn.batch_execute(attack).is_err(), "{attack}");
        // An error message of the server must not contain the key.
    }
    let role = shop.role("owner");
    assert!(conn.batch_execute(&format!("SET ROLE {role}")).is_err());
    conn.batch_execute("SET row_security = off").unwrap();
    assert!(emails(&mut conn).is_err(), "row_security = off is an error, and shows nothing");
}

#[test]
fn transaction_ends_whatever_happens() {
    let shop = with_customers();
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    let insert = |conn: &mut PgConnection| conn.batch_execute("INSERT INTO app.customers (email) VALUES ('x')");
    let failed = tenancy.with_tenant(&mut conn, id(ACME), |conn| {
        insert(conn)?;
        Err::<(), DieselError>(DieselError::RollbackTransaction)
    });
    assert!(matches!(failed, Err(TransactionError::Closure(_))));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tenancy.with_tenant(&mut conn, id(ACME), |conn| -> Result<()> {
            insert(conn)?;
            panic!("as an application may")
        })
    }));
    assert!(panicked.is_err());
    let ended = tenancy.with_tenant(&mut conn, id(ACME), |conn| {
        insert(conn)?;
        conn.batch_execute("ROLLBACK")
    });
    assert!(matches!(ended, Err(TransactionError::Access(AccessError::Aborted))));
    let nested = conn.transaction(|conn| {
        let inner = tenancy.with_tenant(conn, id(ACME), emails);
        assert!(matches!(inner, Err(TransactionError::Access(AccessError::OpenTransaction))));
        Ok::<(), DieselError>(())
    });
    assert!(nested.is_ok());
    assert_eq!(
        tenancy.with_tenant(&mut conn, id(ACME), emails).unwrap(),
        ["info@example.org"],
        "nothing was committed"
    );
}

/// One connection serves 1,000 transactions of alternating tenants: what a transaction leaves in the session is reset.
#[test]
#[ignore = "long: make test-long"]
fn one_connection_serves_alternating_tenants() {
    let shop = with_customers();
    let (tenancy, mut conn) = (RowTenancy::new(shop.key.clone()), shop.application());
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, email) VALUES ('{ACME}', 'acme@example.org'), ('{GLOBEX}', 'globex@example.org')"
    ));
    for round in 0..1_000 {
        let (tenant, own) = [(ACME, "acme@example.org"), (GLOBEX, "globex@example.org")][round % 2];
        let seen = tenancy.with_tenant(&mut conn, id(tenant), |conn| {
            if round % 10 == 0 {
                conn.batch_execute(
                    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM app.customers; SET lock_timeout = 77; LISTEN news; \
                     SELECT pg_advisory_lock(4711)",
                )?;
            }
            emails(conn)
        });
        assert_eq!(seen.unwrap(), [own, "info@example.org"], "round {round}");
        if round % 10 == 1 {
            assert_eq!(count(&mut conn, "SELECT count(*) FROM pg_cursors WHERE name = 'c'").unwrap(), 0);
            assert_eq!(
                count(
                    &mut conn,
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
                )
                .unwrap(),
                0
            );
        }
    }
    let outside = emails(&mut conn).unwrap_err().to_string();
    assert_eq!(outside, "this transaction has no tenant context");
}

/// While a key is replaced, contexts of both keys are valid.
#[test]
fn key_is_replaced_while_the_application_runs() {
    let shop = with_customers();
    let new = ContextKey::generate();
    let install = || shop.tenantry(&["key", "install"]).env("TENANTRY_CONTEXT_KEY", new.reveal()).run();
    assert!(install().assert_code(0).stderr.contains("installed"));
    assert!(install().stderr.contains("is installed already"));
    let mut conn = shop.application();
    let mut sees = |key: &ContextKey| RowTenancy::new(key.clone()).with_tenant(&mut conn, id(ACME), emails).is_ok();
    assert!(sees(&shop.key) && sees(&new));
    let keys = shop.run(&["key", "list", "--format", "json"]);
    assert!(keys.contains(&new.id()) && keys.contains(&shop.key.id()), "{keys}");
    shop.run(&["key", "retire", &shop.key.id()]);
    assert!(!sees(&shop.key) && sees(&new));
    let last = shop.tenantry(&["key", "retire", &new.id()]).run();
    last.assert_code(3);
    assert!(last.stderr.contains("is the only one"), "{}", last.stderr);
    let unknown = shop.tenantry(&["key", "retire", "0123"]).run();
    unknown.assert_code(3);
    assert!(unknown.stderr.contains("has no context key \"0123\""), "{}", unknown.stderr);
}

/// `key rotate` installs and prints a new key. The application changes to it while both are valid, and then the old one is
/// retired.
#[test]
fn rotated_key_is_valid_beside_the_old_one() {
    let shop = with_customers();
    let rotated = shop.tenantry(&["key", "rotate"]).run();
    rotated.assert_code(0);
    let new: ContextKey = rotated.stdout.parse().unwrap();
    assert!(!rotated.stderr.contains(&new.reveal()), "{}", rotated.stderr);
    assert!(rotated.stderr.contains(&format!("key {} installed", new.id())), "{}", rotated.stderr);
    let retire = format!("key retire {}", shop.key.id());
    assert!(rotated.stderr.contains(&retire), "{}", rotated.stderr);
    let mut conn = shop.application();
    let mut sees = |key: &ContextKey| RowTenancy::new(key.clone()).with_tenant(&mut conn, id(ACME), emails).is_ok();
    assert!(sees(&shop.key) && sees(&new));
    shop.run(&retire.split(' ').collect::<Vec<_>>());
    assert!(!sees(&shop.key) && sees(&new));
    let json = shop.tenantry(&["key", "rotate", "--format", "json"]).run().json();
    assert_eq!(json["before"], serde_json::json!([new.id()]));
    let newest: ContextKey = json["key"].as_str().unwrap().parse().unwrap();
    assert_eq!(json["id"], newest.id());
    assert!(sees(&newest));
}

/// A dump of the database does not contain what verifies contexts, nor does the output of any command.
#[test]
fn dump_and_output_contain_no_key() {
    let shop = Shop::isolated();
    // pg_dump omits what an extension contains, unless the extension declares that its rows belong to the database.
    let omitted = "SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
                   WHERE d.objid = 'tenantry.context_key'::regclass AND d.deptype = 'e' \
                   AND d.objid <> ALL (COALESCE(e.extconfig, '{}'))";
    assert_eq!(shop.db.count(omitted), 1);
    // The downloaded servers of the matrix have no pg_dump.
    let pg_dump = crate::support::binaries().folder().join("pg_dump");
    if pg_dump.exists() {
        let dump = std::process::Command::new(pg_dump).arg(shop.db.url()).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let dump = String::from_utf8_lossy(&dump.stdout);
        assert!(dump.contains("CREATE TABLE app.customers") && dump.contains("tenantry.current_tenant"));
        assert!(!dump.contains("COPY tenantry.context_key") && !dump.contains("CREATE TABLE tenantry.context_key"));
    }
    let invalid = shop.tenantry(&["key", "install"]).env("TENANTRY_CONTEXT_KEY", "secret-but-invalid").run();
    invalid.assert_code(2);
    assert!(!invalid.stderr.contains("secret-but-invalid"), "{}", invalid.stderr);
    let installed = shop.tenantry(&["key", "install", "-v"]).env("TENANTRY_CONTEXT_KEY", shop.key.reveal()).run();
    assert!(!installed.stderr.contains(&shop.key.reveal()));
    let missing = shop.tenantry(&["key", "install"]).run();
    missing.assert_code(2);
    assert!(missing.stderr.contains("set TENANTRY_CONTEXT_KEY or --key-file"), "{}", missing.stderr);
}
