//! `health-check` and `repair-plan` where tenants share tables: each defect is found, the attack that it makes possible
//! succeeds before the repair and fails after it, and nothing else is found.

mod attack;
mod by_hand;
mod cases;
mod probed_functions;
mod probes;

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use tenantry::rows::findings::{IsolationKind, Severity};

use super::{ACME, GLOBEX, Shop};
use crate::support::{Tenantry, binaries};
use attack::{Attack, Case};

/// A shop with a customer of each tenant, a function and a view that are safe although they do not run as the caller.
fn with_safe_constructs(shop: Shop) -> Shop {
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, id, email) VALUES ('{ACME}', 1, 'info@acme.example'), \
         ('{GLOBEX}', 2, 'info@globex.example'); \
         CREATE FUNCTION app.emails() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER SET search_path = app, pg_temp \
         AS 'SELECT email FROM customers'; \
         CREATE VIEW app.emails AS SELECT email FROM app.customers; \
         ALTER FUNCTION app.emails() OWNER TO {owner}; ALTER VIEW app.emails OWNER TO {owner}; \
         GRANT SELECT ON app.emails TO {user}; \
         GRANT EXECUTE ON FUNCTION app.emails() TO {user}",
        owner = shop.role("owner"),
        user = shop.role("user")
    ));
    shop
}

impl Shop {
    /// A statement with the names of this shop.
    fn fill(&self, sql: &str) -> String {
        let mut sql = sql.replace("{db}", self.db.name()).replace("{acme}", ACME).replace("{globex}", GLOBEX);
        for role in ["user", "owner", "verifier", "admin"] {
            sql = sql.replace(&format!("{{{role}}}"), &self.role(role));
        }
        sql
    }

    /// The codes of all findings. Those about the version of the server do not depend on the database.
    fn codes(&self) -> BTreeSet<String> {
        let output = self.tenantry(&["health-check", "--ignore", "server.cve", "--format", "json"]).run();
        let document = output.json();
        let codes = document["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap().to_owned());
        let codes: BTreeSet<String> = codes.collect();
        let is_error = |code: &String| code.parse::<IsolationKind>().unwrap().severity() == Severity::Error;
        output.assert_code(i32::from(codes.iter().any(is_error)));
        assert_eq!(document["unchecked"].as_array().unwrap().len(), 0, "{document}");
        codes
    }

    /// Removes what a defect leaves, if anything.
    #[track_caller]
    fn clean_up(&self, case: &Case) {
        if !case.clean_up.is_empty() {
            self.db.execute(&self.fill(case.clean_up));
        }
    }

    #[track_caller]
    fn psql(&self, script: String) {
        let psql = Tenantry::of_program(binaries().psql().expect("psql"));
        let output = psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &self.db.url()]).stdin(script.clone()).run();
        assert_eq!(output.code, Some(0), "{}\n{script}", output.stderr);
    }

    #[track_caller]
    fn assert_clean(&self, when: &str) {
        assert_eq!(self.codes(), BTreeSet::new(), "{when}");
        assert_eq!(self.run(&["isolate", "--dry-run"]), "", "{when}");
    }

    fn check(&self, case: &Case) {
        if !self.can_plant(case) {
            return;
        }
        let name = format!("{:?}: {}", case.codes, case.plant);
        let has_attack = !matches!(case.attack, Attack::None | Attack::NoStatement);
        if !case.prepare.is_empty() {
            self.db.execute(&self.fill(case.prepare));
        }
        assert!(!self.attack(case), "{name}: the attack succeeds without the defect");
        self.db.execute(&self.fill(case.plant));
        assert!(!has_attack || self.attack(case), "{name}: the attack fails with the defect");
        assert_eq!(self.codes(), case.codes.iter().map(|code| (*code).to_owned()).collect(), "{name}");
        let plan = self.tenantry(&["repair-plan"]).run();
        if matches!(case.attack, Attack::NoStatement) {
            assert!(plan.stdout.contains("no statement fixes it"), "{name}: {}", plan.stdout);
            assert!(plan.stderr.contains("no statement fixes it"), "{name}: {}", plan.stderr);
            let is_error =
                case.codes.iter().any(|code| code.parse::<IsolationKind>().unwrap().severity() == Severity::Error);
            plan.assert_code(i32::from(is_error));
            self.psql(plan.stdout);
            self.clean_up(case);
        } else {
            plan.assert_code(0);
            self.psql(plan.stdout);
            assert!(!self.attack(case), "{name}: the attack succeeds after the repair");
            self.assert_clean(&name);
            self.clean_up(case);
        }
        self.assert_clean(&name);
    }
}

fn check(cases: impl IntoIterator<Item = &'static Case>) {
    let shop = with_safe_constructs(Shop::isolated());
    shop.assert_clean("at the beginning");
    cases.into_iter().for_each(|case| shop.check(case));
}

/// Some of the cases of each list, for the tests that are not long.
fn sample() -> impl Iterator<Item = &'static Case> {
    [cases::ROLES, cases::TABLES, cases::GRANTS, cases::FUNCTIONS].into_iter().flatten().step_by(7)
}

#[test]
fn sampled_defects_are_found_and_repaired() {
    check(sample());
}

#[test]
#[ignore = "long: make test-long"]
fn roles_are_found_and_repaired() {
    check(cases::ROLES);
}

#[test]
#[ignore = "long: make test-long"]
fn tables_are_found_and_repaired() {
    check(cases::TABLES);
}

#[test]
#[ignore = "long: make test-long"]
fn grants_are_found_and_repaired() {
    check(cases::GRANTS);
}

#[test]
#[ignore = "long: make test-long"]
fn functions_are_found_and_repaired() {
    check(cases::FUNCTIONS);
}

#[test]
#[ignore = "long: make test-long"]
fn policies_are_found_and_repaired_where_contexts_are_settings() {
    let shop = Shop::migrated();
    shop.db.execute("UPDATE public.row_tenancy SET context = 'setting'");
    shop.run(&["isolate", "--yes"]);
    shop.db.execute(&format!("INSERT INTO app.tenants (id, name) VALUES ('{ACME}', 'acme'), ('{GLOBEX}', 'globex')"));
    let shop = with_safe_constructs(shop);
    shop.assert_clean("at the beginning");
    cases::SETTINGS.iter().for_each(|case| shop.check(case));
}

/// Each kind has a case, but the one that only depends on the server, which has a test of its own.
#[test]
fn every_kind_has_a_case() {
    let all = [cases::ROLES, cases::TABLES, cases::GRANTS, cases::FUNCTIONS, cases::SETTINGS];
    let planted: BTreeSet<&str> =
        all.iter().flat_map(|cases| cases.iter()).flat_map(|case| case.codes).copied().collect();
    let kinds: BTreeSet<&str> =
        IsolationKind::ALL.iter().map(|kind| kind.as_str()).filter(|code| *code != "server.cve").collect();
    assert_eq!(planted, kinds);
}

/// Several defects at once are repaired by one script.
#[test]
#[ignore = "long: make test-long"]
fn all_defects_at_once_are_repaired() {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(&shop.fill(
        "GRANT {owner} TO {user}; ALTER TABLE app.orders OWNER TO {user}; GRANT ALL ON app.orders TO PUBLIC; \
         ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY; DROP POLICY tenantry_tenant ON app.orders; \
         CREATE VIEW app.everyone AS TABLE app.customers; GRANT SELECT ON app.everyone TO PUBLIC; \
         CREATE TABLE app.notes (id bigint PRIMARY KEY, tenant_id uuid, customer_id bigint); \
         ALTER TABLE app.notes OWNER TO {user}",
    ));
    assert!(shop.codes().len() > 8);
    shop.psql(shop.run(&["repair-plan"]));
    shop.assert_clean("after the repair");
}

/// A table that cannot be read is unchecked, and not healthy.
#[test]
#[ignore = "long: make test-long"]
fn rows_that_cannot_be_read_are_unchecked() {
    let shop = with_safe_constructs(Shop::isolated());
    // A query on the table reads its children, too.
    shop.db.execute(
        "CREATE SCHEMA side; CREATE TABLE side.orders () INHERITS (app.orders); \
         ALTER TABLE side.orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    );
    shop.assert_clean("with the child");
    let mut other = shop.db.connect();
    other.batch_execute("BEGIN; LOCK TABLE side.orders").unwrap();
    let output = shop.tenantry(&["health-check", "--ignore", "server.cve"]).run();
    output.assert_code(1);
    let expected =
        "not checked: data.orphans: app.orders.orders_customer_id_fkey: canceling statement due to lock timeout";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    other.batch_execute("ROLLBACK").unwrap();
    shop.run(&["health-check", "--ignore", "server.cve"]);
}

/// The administrator, who is no superuser, sees the same as a superuser.
#[test]
fn administrator_may_check() {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(&shop.fill(
        "GRANT USAGE ON SCHEMA public TO {admin}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {admin}; \
         GRANT USAGE ON SCHEMA app TO {admin}; GRANT SELECT ON app.__diesel_schema_migrations TO {admin}; \
         SET session_replication_role = replica; \
         INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{acme}', 2, 'of another tenant')",
    ));
    let url = shop.db.url().replacen("://postgres@", &format!("://{}@", shop.role("admin")), 1);
    let as_admin = || shop.tenantry(&["health-check", "--ignore", "server.cve"]).env("DATABASE_URL", &url).run();
    let output = as_admin();
    output.assert_code(1);
    assert!(output.stdout.contains("rows violate foreign key app.orders.orders_customer_id_fkey"), "{}", output.stdout);
    // Without the policy that shows all rows to the administrator, the rows are unchecked.
    shop.db.execute("DROP POLICY tenantry_admin ON app.orders; DELETE FROM app.orders");
    let output = as_admin();
    output.assert_code(1);
    assert!(output.stderr.contains("policies hide rows from the owner"), "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn findings_are_listed_ignored_and_reported() {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute("ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY");
    let check = |args: &[&str]| shop.tenantry(&["health-check", "--ignore", "server.cve"]).args(args).run();
    let junit = tempfile::NamedTempFile::new().unwrap();
    let output = check(&["--junit", junit.path().to_str().unwrap()]);
    insta::assert_snapshot!(output.snapshot(), @r"
    TENANT      CODE     LEVEL     FINDING                                  FIX
    (database)  rls.off  security  app.customers has no row-level security  tenantry isolate
    --- stderr
    6 shared tables checked, 1 finding
    --- exit 1
    ");
    let report = std::fs::read_to_string(junit.path()).unwrap();
    assert!(report.contains("rls.off: app.customers has no row-level security"), "{report}");
    check(&["--ignore", "rls.off:app.customers"]).assert_code(0);
    check(&["--ignore", "rls.off:app.orders"]).assert_code(1);
    check(&["--fail-on", "rls.*"]).assert_code(1);
    check(&["--fail-on", "security"]).assert_code(1);
    check(&["--fail-on", "role.*"]).assert_code(0);
    check(&["--fail-on", "structural"]).assert_code(0);
    let unknown = check(&["--ignore", "rls.of"]);
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("a similar one is rls.off"), "{}", unknown.stderr);
    for option in [&["--reference", "acme"][..], &["--remember"], &["--full"]] {
        let refused = check(option);
        refused.assert_code(2);
        assert!(refused.stderr.contains("does not apply"), "{}", refused.stderr);
    }
}

/// Migrations of the shared schema are checked like those of a tenant.
#[test]
fn pending_migrations_are_found() {
    let shop = with_safe_constructs(Shop::isolated());
    let more = super::shop().add("2026-01-03-000000_more", "SELECT 1;");
    let output =
        shop.tenantry(&["health-check", "--ignore", "server.cve"]).env("TENANTRY_TENANT_MIGRATIONS", more.path()).run();
    output.assert_code(1);
    assert!(output.stdout.contains("missing-migrations"), "{}", output.stdout);
    assert!(output.stdout.contains("tenantry migrate-all"), "{}", output.stdout);
}

#[test]
fn commands_for_schemas_report_that_they_do_not_apply() {
    let shop = Shop::isolated();
    let diff = shop.tenantry(&["diff", "app"]).run();
    diff.assert_code(3);
    assert!(diff.stderr.contains("share tables: diff does not apply"), "{}", diff.stderr);
    let named = shop.tenantry(&["repair-plan", "app"]).run();
    named.assert_code(2);
    assert!(named.stderr.contains("there is no NAME"), "{}", named.stderr);
    let schemas = crate::support::set_up();
    let unnamed = schemas.tenantry(["repair-plan"]).run();
    unnamed.assert_code(2);
    assert!(unnamed.stderr.contains("no tenant specified"), "{}", unnamed.stderr);
}

/// The page lists every code.
#[test]
fn page_lists_every_kind() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/isolation.md")).unwrap();
    for kind in IsolationKind::ALL {
        assert!(page.contains(&format!("| `{kind}` |")), "{kind}");
        assert!(page.contains(kind.meaning()), "{kind}: {}", kind.meaning());
    }
}
