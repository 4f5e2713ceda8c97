//! Each defect is found, the attack that it makes possible succeeds before the repair and fails after it, and nothing else is
//! found.

use std::collections::BTreeSet;

use tenantry::roles::RoleFindingKind;

use super::Isolated;
use crate::support::fleet;

/// A defect.
struct Case {
    code: &'static str,
    /// The statements that plant it, as a superuser. `{db}`, `{acme}`, `{globex}` and `{group}` are the database and roles.
    plant: &'static str,
    /// What the role of `acme` may do because of it; empty if there is no attack by itself.
    attack: &'static str,
    /// Statements that remove what the repair leaves.
    clean_up: &'static str,
}

const READ_OTHER: &str = "SELECT 1 / count(*) FROM globex.users";

const fn case(code: &'static str, plant: &'static str, attack: &'static str) -> Case {
    Case { code, plant, attack, clean_up: "" }
}

const CASES: &[Case] = &[
    case(
        "tenant-role.foreign-grant",
        "GRANT USAGE ON SCHEMA globex TO {acme}; GRANT SELECT ON globex.users TO {acme}",
        READ_OTHER,
    ),
    case(
        "tenant-role.foreign-grant",
        "GRANT USAGE ON SCHEMA globex TO {acme}; GRANT SELECT (email) ON globex.users TO {acme}",
        "SELECT email FROM globex.users",
    ),
    case(
        "tenant-role.foreign-grant",
        "GRANT USAGE ON SCHEMA globex TO {acme}; ALTER TABLE globex.users OWNER TO {acme}",
        READ_OTHER,
    ),
    case("tenant-role.foreign-grant", "ALTER DEFAULT PRIVILEGES IN SCHEMA globex GRANT SELECT ON TABLES TO {acme}", ""),
    case(
        "tenant-role.public-grant",
        "GRANT USAGE ON SCHEMA globex TO PUBLIC; GRANT SELECT ON globex.users TO PUBLIC",
        READ_OTHER,
    ),
    case(
        "tenant-role.public-grant",
        "GRANT USAGE ON SCHEMA globex TO {group}; GRANT SELECT ON globex.users TO {group}",
        READ_OTHER,
    ),
    case("tenant-role.membership", "GRANT {globex} TO {acme}", READ_OTHER),
    case("tenant-role.membership", "GRANT pg_read_all_data TO {acme}", READ_OTHER),
    case("tenant-role.membership", "GRANT pg_read_all_data TO {group}", READ_OTHER),
    case("tenant-role.membership", "GRANT {group} TO {acme} WITH ADMIN OPTION", "GRANT {group} TO {globex}"),
    case("tenant-role.attribute", "ALTER ROLE {acme} SUPERUSER", READ_OTHER),
    case("tenant-role.attribute", "ALTER ROLE {acme} CREATEROLE", "CREATE ROLE {db}_more"),
    case("tenant-role.attribute", "ALTER ROLE {acme} CREATEDB BYPASSRLS REPLICATION", ""),
    case("tenant-role.attribute", "ALTER ROLE {group} LOGIN", ""),
    case(
        "tenant-role.settings",
        "ALTER ROLE {acme} IN DATABASE {db} SET search_path TO globex",
        "SELECT 1 / (current_setting('search_path') = 'globex')::int",
    ),
    case(
        "tenant-role.settings",
        "SET ROLE {acme}; ALTER ROLE CURRENT_USER SET statement_timeout TO 0; \
         ALTER ROLE CURRENT_USER IN DATABASE {db} RESET statement_timeout; RESET ROLE",
        "SELECT 1 / (current_setting('statement_timeout') = '0')::int",
    ),
    case("tenant-role.settings", "ALTER ROLE {acme} CONNECTION LIMIT -1", ""),
    case("tenant-role.grants", "GRANT TRUNCATE ON acme.comments TO {acme}", "TRUNCATE acme.comments"),
    case(
        "tenant-role.grants",
        "GRANT ALL ON acme.__diesel_schema_migrations TO {acme}",
        "DELETE FROM acme.__diesel_schema_migrations",
    ),
    case("tenant-role.grants", "GRANT CREATE ON SCHEMA acme TO {acme}", "CREATE TABLE acme.mine ()"),
    case(
        "tenant-role.grants",
        "GRANT USAGE ON SCHEMA acme TO {acme} WITH GRANT OPTION; GRANT SELECT ON acme.users TO {acme} WITH GRANT OPTION",
        "GRANT USAGE ON SCHEMA acme TO {globex}; SELECT 1 / has_schema_privilege('{globex}', 'acme', 'USAGE')::int",
    ),
    case("tenant-role.grants", "GRANT REFERENCES (id) ON acme.users TO {acme}", ""),
    case("tenant-role.public-create", "GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE TABLE public.mine ()"),
    Case {
        clean_up: "DROP FUNCTION public.peek()",
        ..case(
            "tenant-role.definer",
            "CREATE FUNCTION public.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER \
             AS 'SELECT 1 / count(*) FROM globex.users'",
            "SELECT public.peek()",
        )
    },
    Case {
        clean_up: "DROP FUNCTION acme.peek()",
        ..case(
            "tenant-role.definer",
            "CREATE FUNCTION acme.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER \
             AS 'SELECT 1 / count(*) FROM globex.users'",
            "SELECT acme.peek()",
        )
    },
    Case {
        clean_up: "DROP VIEW IF EXISTS acme.peek",
        ..case("tenant-role.view", "CREATE VIEW acme.peek AS TABLE globex.users", "SELECT 1 / count(*) FROM acme.peek")
    },
];

impl Isolated {
    fn fill(&self, sql: &str) -> String {
        let roles = ["acme", "globex"].map(|tenant| (format!("{{{tenant}}}"), self.role(tenant)));
        let sql = sql.replace("{group}", &self.role("tenants")).replace("{db}", self.db.name());
        roles.iter().fold(sql, |sql, (placeholder, role)| sql.replace(placeholder, role))
    }

    /// Runs the fixes of the findings.
    fn repair(&self) {
        for (code, fix) in self.findings() {
            match fix.strip_prefix("tenantry ") {
                Some(command) => {
                    let args: Vec<&str> = command.split(' ').chain(["--yes"]).collect();
                    self.run(&args);
                }
                None => {
                    assert!(fix.contains(' '), "{code}: {fix}");
                    self.db.execute(&fix);
                }
            }
        }
    }
}

#[test]
fn sampled_defects_are_found_and_repaired() {
    check(CASES.iter().step_by(5));
}

#[test]
#[ignore = "long: make test-long"]
fn each_defect_of_the_first_half_is_found_and_repaired() {
    check(&CASES[..CASES.len() / 2]);
}

#[test]
#[ignore = "long: make test-long"]
fn each_defect_of_the_second_half_is_found_and_repaired() {
    check(&CASES[CASES.len() / 2..]);
}

fn check<'a>(cases: impl IntoIterator<Item = &'a Case>) {
    let isolated = Isolated::new();
    for Case { code, plant, attack, clean_up } in cases {
        let attack = isolated.fill(attack);
        let possible = || !attack.is_empty() && isolated.may("acme", &attack);
        assert!(!possible(), "before {plant}: {attack}");
        isolated.db.execute(&isolated.fill(plant));
        assert!(attack.is_empty() || possible(), "after {plant}: {attack}");
        let codes: BTreeSet<String> = isolated.codes().into_iter().collect();
        assert_eq!(codes, BTreeSet::from([(*code).to_owned()]), "{plant}");
        isolated.repair();
        assert!(!possible(), "after the repair of {plant}: {attack}");
        if !clean_up.is_empty() {
            isolated.db.execute(clean_up);
        }
        assert_eq!(isolated.codes(), [""; 0], "after the repair of {plant}");
    }
    isolated.run(&["health-check"]);
}

/// The breaches that a probe finds because of a defect name the finding of `health-check`.
fn check_causes<'a>(cases: impl IntoIterator<Item = &'a Case>) {
    let isolated = Isolated::new();
    for Case { code, plant, clean_up, .. } in cases {
        isolated.db.execute(&isolated.fill(plant));
        let args = ["probe", "--tenant", "acme", "--format", "json", "--as-role", &isolated.role("acme"), "globex"];
        let output = isolated.db.tenantry(args).run();
        // A superuser is refused.
        if output.code != Some(3) {
            let document = output.json();
            let breaches: Vec<&serde_json::Value> =
                document["results"].as_array().unwrap().iter().filter(|it| it["outcome"] == "breach").collect();
            let names = |breach: &&serde_json::Value| breach["causes"].as_array().unwrap().iter().any(|it| it == code);
            assert!(breaches.is_empty() || breaches.iter().any(names), "{plant}: {breaches:?}");
            let hint = "'tenantry health-check' names the cause";
            assert!(breaches.is_empty() || output.stderr.contains(hint), "{plant}: {}", output.stderr);
        }
        isolated.repair();
        if !clean_up.is_empty() {
            isolated.db.execute(clean_up);
        }
    }
}

#[test]
fn breaches_of_the_first_defects_name_the_finding() {
    check_causes(&CASES[..2]);
}

#[test]
#[ignore = "long: make test-long"]
fn breaches_name_the_finding() {
    check_causes(CASES);
}

#[test]
#[ignore = "long: make test-long"]
fn all_defects_at_once_are_repaired() {
    let isolated = Isolated::new();
    for case in CASES {
        isolated.db.execute(&isolated.fill(case.plant));
        if !case.clean_up.is_empty() {
            isolated.db.execute(case.clean_up);
        }
    }
    isolated.repair();
    assert_eq!(isolated.codes(), [""; 0]);
    // The owner's own privilege, which it got with the table.
    isolated.run(&["health-check", "--ignore", "column.grants"]);
}

#[test]
#[ignore = "long: make test-long"]
fn a_role_without_tenant_and_a_tenant_without_role_are_found() {
    let isolated = Isolated::new();
    assert!(isolated.may("acme", "SELECT FROM acme.users"));
    isolated.db.execute("UPDATE schema_tracker SET role_name = NULL, role_group = NULL WHERE name = 'acme'");
    assert_eq!(isolated.codes(), ["tenant-role.orphaned", "tenant-role.missing"]);
    isolated.db.execute(&isolated.findings()[0].1);
    assert!(!isolated.may("acme", "SELECT FROM acme.users"));
    isolated.repair();
    assert!(isolated.may("acme", "SELECT FROM acme.users"));
    // The role itself is missing.
    isolated.db.execute(&isolated.fill("DROP OWNED BY {acme}; DROP ROLE {acme}"));
    assert!(isolated.codes().iter().all(|code| ["tenant-role.missing", "tenant-role.grants"].contains(&code.as_str())));
    isolated.repair();
    assert_eq!(isolated.codes(), [""; 0]);
}

#[test]
fn a_role_that_is_not_marked_is_found_and_not_changed() {
    let isolated = Isolated::new();
    isolated.db.execute(&isolated.fill("COMMENT ON ROLE {acme} IS NULL"));
    assert_eq!(isolated.codes(), ["tenant-role.unmarked"]);
    let output = isolated.db.tenantry(["isolate", "acme", "--yes"]).run();
    assert!(output.assert_code(1).stderr.contains("exists for another purpose"), "{}", output.stderr);
    let output = isolated.db.tenantry(["drop", "acme", "--yes"]).run();
    output.assert_code(0);
    assert!(output.stderr.contains("kept, because"), "{}", output.stderr);
    assert_eq!(isolated.db.count(&isolated.fill("SELECT count(*) FROM pg_authid WHERE rolname = '{acme}'")), 1);
}

/// Findings are ignored and selected as others.
#[test]
#[ignore = "long: make test-long"]
fn findings_are_ignored_and_select_the_exit_code() {
    let isolated = Isolated::new();
    isolated.db.execute(&isolated.fill("ALTER ROLE {acme} CREATEDB"));
    for (args, code) in [
        (&["health-check"][..], 1),
        (&["health-check", "globex"], 0),
        (&["health-check", "--ignore", "tenant-role.attribute"], 0),
        (&["health-check", "--fail-on", "tenant-role.grants"], 0),
        (&["health-check", "--fail-on", "tenant-role.attribute"], 1),
        (&["health-check", "--fail-on", "security"], 1),
    ] {
        isolated.db.tenantry(args).run().assert_code(code);
    }
    isolated.db.tenantry(["health-check", "--ignore", "tenant-role.typo"]).run().assert_code(2);
}

/// A fleet without roles has no findings about them, whatever else its privileges are.
#[test]
fn a_fleet_without_roles_has_no_findings() {
    let db = fleet(&["acme", "globex"]);
    db.execute("GRANT CREATE ON SCHEMA public TO PUBLIC");
    db.tenantry(["health-check"]).run().assert_code(0);
}

/// Every kind has a case or a test of its own.
#[test]
fn every_kind_has_a_case() {
    let own = ["tenant-role.missing", "tenant-role.unmarked", "tenant-role.orphaned"];
    let planted: BTreeSet<&str> = CASES.iter().map(|case| case.code).chain(own).collect();
    let kinds: BTreeSet<&str> = RoleFindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(planted, kinds);
}

/// The page lists every code.
#[test]
fn the_page_lists_every_kind() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/isolation.md")).unwrap();
    for kind in RoleFindingKind::ALL {
        assert!(page.contains(&format!("| `{}` | {} |", kind.as_str(), kind.meaning())), "{}", kind.as_str());
    }
}
