//! Code that the application planted in tables of which it was the owner: no command runs it with the operator's rights.

use std::fs;
use std::path::PathBuf;

use super::{ACME, GLOBEX, Shop};
use crate::support::server;

/// A shop whose tables run code of the application: its triggers, and functions in indexes and checks, which the server
/// evaluates when it plans a query. The code becomes the connected role, and if that is a superuser, writes a file, which no
/// rollback removes.
struct Planted {
    shop: Shop,
    file: PathBuf,
}

impl Planted {
    fn new() -> Self {
        let shop = Shop::isolated();
        let file = server().data_folder().join(format!("executed_{}", shop.db.name()));
        shop.db.execute(&format!(
            "CREATE SCHEMA trap AUTHORIZATION {user}; GRANT USAGE ON SCHEMA trap TO PUBLIC; \
             INSERT INTO app.customers (tenant_id, id, email) VALUES ('{ACME}', 1, 'info@acme.example'), \
             ('{GLOBEX}', 2, 'info@globex.example'); \
             INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{ACME}', 1, 'n1'), ('{GLOBEX}', 2, 'n2'); \
             ALTER TABLE app.customers OWNER TO {user}; ALTER TABLE app.tenants OWNER TO {user}; \
             CREATE TABLE app.notes (tenant_id uuid, line text); ALTER TABLE app.notes OWNER TO {user}; \
             GRANT CREATE ON SCHEMA app TO {user}; SET SESSION AUTHORIZATION {user}; \
             CREATE FUNCTION trap.spring(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN \
             BEGIN PERFORM set_config('role', 'none', false); EXCEPTION WHEN OTHERS THEN NULL; END; \
             BEGIN PERFORM set_config('session_authorization', 'postgres', false); EXCEPTION WHEN OTHERS THEN NULL; END; \
             IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN \
             EXECUTE format('COPY (SELECT %L) TO %L', what, '{file}'); END IF; END $$; \
             CREATE FUNCTION trap.text(what text) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog AS \
             $$ BEGIN PERFORM trap.spring(what); RETURN ''; END $$; \
             CREATE FUNCTION trap.row() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS \
             $$ BEGIN PERFORM trap.spring(TG_NAME); RETURN COALESCE(NEW, OLD); END $$; \
             CREATE INDEX planted ON app.customers ((email || trap.text('index'))); \
             CREATE INDEX planted_condition ON app.customers (email) WHERE email <> trap.text('condition'); \
             CREATE INDEX planted_note ON app.notes ((line || trap.text('index of a table without tenants'))); \
             CREATE STATISTICS app.planted ON (email || trap.text('statistics')), id FROM app.customers; \
             CREATE INDEX planted_registry ON app.tenants ((name || trap.text('index of the registry'))); \
             CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON app.customers FOR EACH ROW EXECUTE FUNCTION trap.row(); \
             CREATE TRIGGER before_registry BEFORE INSERT OR UPDATE OR DELETE ON app.tenants FOR EACH ROW EXECUTE FUNCTION trap.row(); \
             CREATE TRIGGER before_truncate BEFORE TRUNCATE ON app.customers EXECUTE FUNCTION trap.row(); \
             CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR DELETE ON app.tenants DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION trap.row(); \
             RESET SESSION AUTHORIZATION; REVOKE CREATE ON SCHEMA app FROM {user}; \
             ALTER TABLE app.notes OWNER TO {owner}; ALTER TABLE app.customers OWNER TO {owner}; ALTER TABLE app.tenants OWNER TO {owner}",
            user = shop.role("user"),
            owner = shop.role("owner"),
            file = file.display(),
        ));
        Self { shop, file }
    }

    /// The planted code that ran since the last call.
    fn executed(&self) -> Option<String> {
        let what = fs::read_to_string(&self.file).ok()?;
        fs::remove_file(&self.file).unwrap();
        Some(what.trim().to_owned())
    }
}

/// The traps work: otherwise the test below would prove nothing.
#[test]
fn planted_code_is_detected_when_a_superuser_runs_it() {
    let planted = Planted::new();
    for (sql, trap) in [
        ("SELECT FROM app.customers WHERE email = 'x'", "statistics"),
        ("SELECT FROM app.notes WHERE tenant_id IS NULL", "index of a table without tenants"),
        ("SELECT FROM app.tenants WHERE name = 'x'", "index of the registry"),
        ("SET ROLE {owner}; SELECT FROM app.tenants WHERE name = 'x'", "index of the registry"),
        ("SET ROLE {owner}; INSERT INTO app.tenants (name) VALUES ('x')", "before_registry"),
        ("SET ROLE {owner}; TRUNCATE app.customers CASCADE", "before_truncate"),
    ] {
        planted.shop.db.execute(&format!("BEGIN; {}", sql.replace("{owner}", &planted.shop.role("owner"))));
        assert!(planted.executed().is_some(), "{sql}: {trap}");
    }
}

#[test]
fn planted_code_never_runs_with_the_operators_rights() {
    let planted = Planted::new();
    let shop = &planted.shop;
    let commands: [&[&str]; 15] = [
        &["health-check", "--ignore", "server.cve"],
        &["repair-plan"],
        &["isolate", "--dry-run"],
        &["probe"],
        &["list"],
        &["metrics"],
        &["migrate-all", "--verify"],
        &["isolate", "--yes"],
        &["create", "initech"],
        &["drop", "globex", "--dry-run"],
        &["drop", "globex", "--yes"],
        &["drop", "initech", "--yes"],
        &["cleanup", "--dry-run"],
        &["cleanup", "--yes"],
        &["revert-one", "app", "--steps", "1", "--dry-run"],
    ];
    for args in commands {
        let output = shop.tenantry(args).env("TENANTRY_CONTEXT_KEY", shop.key.reveal()).run();
        if let Some(what) = planted.executed() {
            panic!("{what} ran with the rights of a superuser during {args:?}");
        }
        assert!(matches!(output.code, Some(0 | 1)), "{args:?}: {}", output.stderr);
        assert!(!output.stderr.contains("not checked"), "{args:?}: {}", output.stderr);
    }
    assert_eq!(shop.db.count("SELECT count(*) FROM app.customers"), 0);
    let left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenantry_reader%'";
    assert_eq!(shop.db.count(left), 0);
    assert_eq!(shop.db.strings("SELECT proname FROM pg_proc WHERE pronamespace = 'app'::regnamespace"), [""; 0]);
}
