//! The rules for tables that tenants share, and when they apply.

use tenantry::lint::{Rule, SharedTables, lint, lint_shared};

use super::cases::Case;
use super::{run, tenancy};
use crate::support::migrations::Dir;

pub const CASES: &[Case] = &[
    Case {
        rule: Rule::RowPolicy,
        found: &[
            "CREATE POLICY everyone ON users USING (true)",
            "create policy p on orders as permissive for select to public using (total > 1)",
            "CREATE TABLE fresh (id int); CREATE POLICY p ON fresh USING (true)",
            "CREATE POLICY p ON users AS RESTRICTIVE USING (true); ALTER POLICY p ON users USING (false)",
        ],
        missed: &[
            "CREATE POLICY p ON users AS RESTRICTIVE USING (age > 1)",
            "CREATE TABLE codes (code text); COMMENT ON TABLE codes IS 'tenantry: exempt, the same for all'; \
             CREATE POLICY p ON codes USING (true)",
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        ],
    },
    Case {
        rule: Rule::RowReference,
        found: &[
            "CREATE TABLE fresh (user_id bigint REFERENCES users)",
            "CREATE TABLE fresh (user_id bigint, FOREIGN KEY (user_id) REFERENCES users (id))",
            "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
            "ALTER TABLE orders ADD COLUMN other bigint REFERENCES users",
        ],
        missed: &[
            "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (one int REFERENCES one)",
            "CREATE TABLE codes (code text PRIMARY KEY); COMMENT ON TABLE codes IS 'tenantry: exempt'",
        ],
    },
    Case {
        rule: Rule::RowUnique,
        found: &[
            "ALTER TABLE users ADD UNIQUE (email)",
            "CREATE UNIQUE INDEX ON users (name)",
            "ALTER TABLE users ADD COLUMN code text UNIQUE",
            "CREATE UNIQUE INDEX ON users (name) INCLUDE (age)",
        ],
        missed: &[
            "CREATE TABLE fresh (id int PRIMARY KEY, email text UNIQUE)",
            "ALTER TABLE users ADD COLUMN tenant_id uuid; CREATE UNIQUE INDEX ON users (tenant_id, name)",
            "ALTER TABLE users ADD COLUMN tenant_id uuid; ALTER TABLE users ADD UNIQUE (tenant_id, email)",
            "CREATE INDEX ON users (name)",
        ],
    },
    Case {
        rule: Rule::RowGrant,
        found: &[
            "GRANT SELECT ON users TO PUBLIC",
            "grant truncate on users to current_user",
            "GRANT ALL PRIVILEGES ON users TO CURRENT_USER",
            "GRANT SELECT, REFERENCES (id) ON users TO CURRENT_USER",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        ],
        missed: &[
            "GRANT SELECT ON big_orders TO CURRENT_USER",
            "REVOKE ALL ON users FROM PUBLIC",
            "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC",
        ],
    },
    Case {
        rule: Rule::RowOwner,
        found: &["ALTER TABLE users OWNER TO CURRENT_USER", "ALTER FUNCTION made() OWNER TO CURRENT_USER"],
        missed: &["ALTER TABLE users RENAME COLUMN age TO years", "ALTER FUNCTION made() STABLE"],
    },
    Case {
        rule: Rule::RowDefinerPath,
        found: &[
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp, acme AS 'SELECT 1'",
            "CREATE PROCEDURE f() LANGUAGE sql SECURITY DEFINER SET work_mem = '4MB' AS 'SELECT 1'",
        ],
        missed: &[
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = acme, pg_temp AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, 'pg_temp' AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        ],
    },
    Case {
        rule: Rule::RowLeakproof,
        found: &[
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'",
            "CREATE OR REPLACE FUNCTION made() RETURNS text LANGUAGE sql IMMUTABLE LEAKPROOF RETURN 'x'",
        ],
        missed: &[
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql NOT LEAKPROOF AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1 AS leakproof'",
        ],
    },
    Case {
        rule: Rule::RowTrigger,
        found: &["ALTER TABLE users DISABLE TRIGGER ALL", "ALTER TABLE users DISABLE TRIGGER USER"],
        missed: &["ALTER TABLE users ENABLE TRIGGER USER", "ALTER TABLE users ENABLE TRIGGER ALL"],
    },
    Case {
        rule: Rule::RowRule,
        found: &[
            "CREATE RULE r AS ON DELETE TO users DO ALSO DELETE FROM orders",
            "CREATE OR REPLACE RULE r AS ON UPDATE TO users DO INSTEAD NOTHING",
        ],
        missed: &["CREATE VIEW v AS SELECT id FROM users", "DROP RULE IF EXISTS r ON users"],
    },
];

fn tables() -> SharedTables {
    SharedTables { registry: "tenants".parse().unwrap(), column: "tenant_id".parse().unwrap() }
}

/// A foreign key to the registry or to an exempt table is no finding, and the names are those of the options.
#[test]
fn registry_and_exempt_tables_are_no_rows_of_tenants() {
    let dir = Dir::new()
        .add(
            "1_base",
            "CREATE TABLE tenants (id uuid PRIMARY KEY, name text); CREATE TABLE codes (code text PRIMARY KEY); \
             CREATE TABLE users (id bigint PRIMARY KEY); \
             DO $$ BEGIN EXECUTE 'COMMENT ON TABLE codes IS ''tenantry: exempt'''; END $$;",
        )
        .add(
            "2_more",
            "CREATE TABLE a (tenant uuid REFERENCES tenants, code text REFERENCES codes); \
             ALTER TABLE tenants ADD UNIQUE (name); CREATE TABLE b (user_id bigint REFERENCES users);",
        );
    let findings = |tables: &SharedTables| -> Vec<String> {
        let findings = lint_shared(&tenancy(&dir), tables);
        let of_rows = findings.iter().filter(|finding| finding.rule.name().starts_with("row-"));
        of_rows.map(|finding| format!("{} {}", finding.rule, finding.object.clone().unwrap_or_default())).collect()
    };
    assert_eq!(findings(&tables()), ["row-reference b"]);
    let other = SharedTables { registry: "users".parse().unwrap(), column: "tenant".parse().unwrap() };
    assert_eq!(findings(&other), ["row-reference a", "row-unique tenants"]);
}

/// The rules apply only to shared tables, and an acceptance of one is not unused elsewhere.
#[test]
fn rules_for_shared_tables_apply_only_to_them() {
    let dir = Dir::new().add(
        "1_base",
        "CREATE TABLE users (id bigint);\n-- tenantry: accept row-policy: reviewed\n\
         CREATE POLICY p ON users USING (true);\nCREATE POLICY q ON users USING (true);\n",
    );
    assert_eq!(lint(&tenancy(&dir)), []);
    let found = lint_shared(&tenancy(&dir), &tables());
    let lines: Vec<(usize, bool)> = found.iter().map(|finding| (finding.line, finding.accepted.is_some())).collect();
    assert_eq!(lines, [(3, true), (4, false)]);
    run(&dir, &[]).run().assert_code(0);
    let output = run(&dir, &["--tenancy", "rows"]).run();
    output.assert_code(1);
    assert!(output.stdout.contains("1_base/up.sql:4") && output.stdout.contains("row-policy"), "{}", output.stdout);
    run(&dir, &[]).env("TENANTRY_TENANCY", "rows").run().assert_code(1);
}
