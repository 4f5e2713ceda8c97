//! `lint`

mod cases;
mod formats;
mod measured;
mod rules;
mod shared;

use tenantry::lint::{File, Rule, lint};

use crate::assert_snapshot;
use crate::support::Tenantry;
use crate::support::migrations::Dir;
use rules::tenancy;

/// Migrations with findings in both files, accepted findings, and invalid acceptances.
fn shop() -> Dir {
    Dir::new()
        .add("20260101000000_create", "CREATE TABLE users (id bigint PRIMARY KEY, email text, age int);\n")
        .down("DROP TABLE users;\nDROP TABLE public.plans;\n")
        .add(
            "20260102000000_orders",
            "CREATE TABLE orders (\n    id bigint,\n    plan_id int REFERENCES public.plans\n);\n\n\
             CREATE INDEX orders_plan_id_idx ON orders (plan_id);\nCREATE INDEX users_email_idx ON users (email);\n",
        )
        .add(
            "20260103000000_columns",
            "-- tenantry: accept drop-column: not used since release 7\n\
             ALTER TABLE users\n    DROP COLUMN age,\n    ADD COLUMN key uuid DEFAULT gen_random_uuid();\n\
             -- tenantry: accept drop-tabel: a typing error\n-- tenantry: accept truncate: nothing is truncated\n\
             DROP TABLE IF EXISTS legacy;\n",
        )
        .add("20260104000000_beside", "CREATE INDEX CONCURRENTLY i ON orders (id);\n")
        .metadata("run_in_transaction = false")
}

fn run(dir: &Dir, args: &[&str]) -> Tenantry {
    Tenantry::new()
        .arg("lint")
        .args(args)
        .arg("--tenant-migrations")
        .arg(dir.path())
        .hide(dir.path().to_string_lossy(), "DIR")
}

#[test]
fn findings_are_printed_as_text() {
    assert_snapshot!(run(&shop(), &[]).run());
}

#[test]
fn findings_are_printed_as_json() {
    assert_snapshot!(run(&shop(), &["--format", "json"]).run());
}

#[test]
fn verbose_lists_accepted_findings() {
    let dir = Dir::new().add("1_a", "CREATE TABLE a (id int);").add(
        "2_b",
        "-- tenantry: accept truncate: it only caches\nTRUNCATE a;\n\
         -- tenantry: accept update-without-where: it is small\nDO $$ BEGIN UPDATE a SET id = 1; END $$;",
    );
    assert_snapshot!(run(&dir, &[]).run(), @r"
        --- stderr
        2 migrations: 0 findings, 2 accepted
        --- exit 0
    ");
    assert_snapshot!(run(&dir, &["--verbose"]).run(), @r"
        --- stderr
        tenant migrations: DIR (2 in all, newest 2)
        2_b/up.sql:2: truncate accepted: it only caches
        2_b/up.sql:4: update-without-where accepted: it is small
        2 migrations: 0 findings, 2 accepted
        --- exit 0
    ");
    assert_snapshot!(run(&dir, &["--quiet", "--format", "json"]).run());
}

#[test]
fn clean_migrations_have_no_findings() {
    let dir = Dir::new().add("1_a", "CREATE TABLE a (id int);").add("2_b", "ALTER TABLE a ADD COLUMN name text;");
    assert_snapshot!(run(&dir, &[]).run(), @r"
        --- stderr
        2 migrations: 0 findings
        --- exit 0
    ");
    assert_snapshot!(run(&dir, &["--format", "json"]).run(), @r#"
        {
          "migrations": 2,
          "findings": [],
          "accepted": []
        }
        --- stderr
        --- exit 0
    "#);
    assert_eq!(run(&dir, &["--quiet"]).run().assert_code(0).stderr, "");
}

#[test]
fn since_checks_only_newer_migrations() {
    assert_snapshot!(run(&shop(), &["--since", "20260102000000"]).run());
    assert_snapshot!(run(&shop(), &["--since", "2026-01-04-000000"]).run(), @r"
        --- stderr
        0 migrations: 0 findings
        --- exit 0
    ");
    assert_snapshot!(run(&shop(), &["--since", "20250101000000"]).run(), @r"
        --- stderr
        error: no tenant migration has version 20250101000000
        hint: valid versions: 20260101000000, 20260104000000, 20260103000000, 20260102000000
        --- exit 2
    ");
}

#[test]
fn rules_are_listed() {
    assert_snapshot!(run(&shop(), &["--rules"]).run());
    let listed = run(&shop(), &["--rules", "--format", "json"]).run().json();
    let rules = listed["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), tenantry::lint::Rule::ALL.len());
    let keys: Vec<&String> = rules[0].as_object().expect("a rule").keys().collect();
    assert_eq!(keys, ["rule", "what", "remedy"]);
    run(&shop(), &["--rules", "--since", "20260102000000"]).run().assert_code(2);
}

#[test]
fn invalid_migrations_are_refused() {
    assert_snapshot!(run(&Dir::new().add("1_a", "COMMIT;"), &[]).run(), @r"
        --- stderr
        error: invalid migrations in DIR:
                 1_a/up.sql:1: COMMIT is not allowed, because tenantry controls the transaction; remove it
        hint: nothing was run
        --- exit 2
    ");
}

/// The migrations of this project, without a database.
#[test]
fn migrations_of_this_repository_have_no_findings() {
    assert_snapshot!(Tenantry::new().arg("lint").run(), @r"
        --- stderr
        5 migrations: 0 findings, 2 accepted
        --- exit 0
    ");
}

/// An `--extension-schema` does not count as another schema.
#[test]
fn extension_schemas_do_not_count_as_other_schemas() {
    let dir = Dir::new().add("1_a", "CREATE TABLE a (name extensions.citext);");
    run(&dir, &[]).run().assert_code(1);
    run(&dir, &["--extension-schema", "extensions"]).run().assert_code(0);
}

#[test]
fn line_numbers_refer_to_the_file() {
    let dir = Dir::new().add("1_a", "CREATE TABLE a (id int);").add(
        "2_b",
        "\n\n/* über */ DO $body$\nBEGIN\n    UPDATE a\n    SET id = 1;\n    EXECUTE 'TRUNCATE a';\nEND\n$body$;\n\n\
         CREATE FUNCTION f() RETURNS int LANGUAGE sql AS '\nSELECT 1\nFROM other.b';\n\
         CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $$\nDECLARE n int;\nBEGIN\n    SELECT 1\n    INTO n\n    \
         FROM other.b;\nEND\n$$;\nALTER TABLE a\n    ADD x int,\n    DROP id;\n",
    );
    let lines: Vec<(usize, &str)> = lint(&tenancy(&dir)).iter().map(|it| (it.line, it.rule.name())).collect();
    assert_eq!(
        lines,
        [
            (5, "update-without-where"),
            (7, "truncate"),
            (13, "names-other-schema"),
            (19, "names-other-schema"),
            (24, "drop-column"),
        ]
    );
}

#[test]
fn migrations_in_one_transaction_are_checked_together() {
    let add = "ALTER TABLE a ADD CONSTRAINT c CHECK (id > 0) NOT VALID;";
    let validate = "ALTER TABLE a VALIDATE CONSTRAINT c;";
    let base = || Dir::new().add("1_a", "CREATE TABLE a (id int); CREATE TYPE mood AS ENUM ('sad');").add("2_b", add);
    let found = |dir: Dir| lint(&tenancy(&dir)).len();
    assert_eq!(found(base().add("3_c", validate)), 1);
    assert_eq!(found(base().add("3_c", validate).metadata("run_in_transaction = false")), 0);
    // If a migration between them must be committed, they run in two transactions.
    assert_eq!(found(base().add("3_c", "ALTER TYPE mood ADD VALUE 'new';").add("4_d", validate)), 0);
    assert_eq!(found(base().add("3_c", "CREATE TABLE b ();").add("4_d", validate)), 1);
}

#[test]
fn schema_knowledge_carries_over_between_migrations() {
    let dir = Dir::new()
        .add("1_a", "CREATE TABLE a (id int, name varchar(10));")
        .add("2_b", "ALTER TABLE a RENAME TO b; ALTER TABLE b ADD CONSTRAINT c CHECK (id IS NOT NULL) NOT VALID;")
        .add("3_c", "ALTER TABLE b VALIDATE CONSTRAINT c;")
        .metadata("run_in_transaction = false")
        .add("4_d", "ALTER TABLE b ALTER COLUMN id SET NOT NULL; ALTER TABLE b DROP CONSTRAINT c;")
        .add("5_e", "ALTER TABLE b ALTER COLUMN name TYPE varchar(20);");
    let found: Vec<String> = lint(&tenancy(&dir)).iter().map(|it| format!("{} {}", it.migration, it.rule)).collect();
    assert_eq!(found, ["1 rename-table"]);
}

/// No server accepts it, but the findings must be correct.
#[test]
fn index_with_the_name_of_its_table_is_checked() {
    let dir = Dir::new().add("1_a", "CREATE INDEX a ON a (id);").add("2_b", "REINDEX TABLE a; DROP INDEX a;");
    assert_eq!(lint(&tenancy(&dir)).len(), 3);
}

#[test]
fn down_sql_is_checked_only_for_effects_outside_the_tenant() {
    let dir = Dir::new()
        .add("1_a", "CREATE TABLE a (id int);")
        .add("2_b", "ALTER TABLE a ADD COLUMN x int;")
        .down("ALTER TABLE a DROP COLUMN x CASCADE; DROP TABLE other.b; DROP EXTENSION citext; DROP SCHEMA other;");
    let findings = lint(&tenancy(&dir));
    assert!(findings.iter().all(|it| it.file == File::Down));
    let rules: Vec<&str> = findings.iter().map(|it| it.rule.name()).collect();
    assert_eq!(rules, ["names-other-schema", "object-outside-tenant", "drop-schema"]);
}

#[test]
fn unknown_names_in_down_sql_are_checked_after_up_sql() {
    let dir = Dir::new()
        .add("1_a", "CREATE TABLE a (id int);")
        .down("DROP TABLE a; DROP TABLE IF EXISTS nothing;")
        .add("2_b", "ALTER TABLE a RENAME TO b;\nCREATE TEMP TABLE passing (id int);")
        .down("ALTER TABLE b RENAME TO a; COMMENT ON TABLE a IS 'x'; COMMENT ON TABLE b IS 'x';")
        // The down.sql before changed nothing, and the temporary table no longer exists.
        .add("3_c", "COMMENT ON TABLE b IS 'x';\nCOMMENT ON TABLE passing IS 'x';");
    let found = lint(&tenancy(&dir));
    let found: Vec<_> = found.iter().filter(|it| it.rule == Rule::UnknownName).collect();
    let places: Vec<(String, Option<&str>)> = found.iter().map(|it| (it.place(), it.object.as_deref())).collect();
    assert_eq!(
        places,
        [
            ("1_a/down.sql:1".to_owned(), Some("nothing")),
            ("2_b/down.sql:1".to_owned(), Some("b")),
            ("3_c/up.sql:2".to_owned(), Some("passing")),
        ]
    );
}

/// Without an extension schema, unknown names are not reported, and an acceptance of one is not unused.
#[test]
fn a_declared_change_outside_is_accepted_with_its_reason() {
    let sql = "INSERT INTO public.plans VALUES (1); DROP TABLE IF EXISTS nothing;";
    let declared = "run_in_transaction = true\nchanges_outside = \"plans are shared\"";
    let dir = Dir::new().add("1_a", sql).metadata(declared);
    let output = run(&dir, &["--extension-schema", "extensions", "--format", "json"]).run();
    let rules = |list: &str, key: &str| {
        let entries = output.json()[list].as_array().expect("a list").clone();
        entries.iter().map(|it| it[key].as_str().unwrap_or_default().to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(rules("accepted", "rule"), ["names-other-schema", "unknown-name"], "{}", output.stdout);
    assert_eq!(rules("accepted", "reason"), ["plans are shared"; 2]);
    assert_eq!(rules("findings", "rule"), ["drop-table"], "other findings are not accepted by it");
}

#[test]
fn unknown_names_are_found_only_with_an_extension_schema() {
    let dir = |accept: &str| Dir::new().add("1_a", &format!("{accept}\nDROP TABLE IF EXISTS nothing;"));
    let with = ["--extension-schema", "extensions"];
    let accepted = "-- tenantry: accept unknown-name: everybody's table";
    let rules = |accept: &str, args: &[&str]| {
        let mut args = args.to_vec();
        args.extend(["--format", "json"]);
        let document = run(&dir(accept), &args).run().json();
        let findings = document["findings"].as_array().expect("a list").clone();
        let rules = findings.iter().map(|it| it["rule"].as_str().unwrap_or_default().to_owned());
        rules.filter(|rule| rule != "drop-table").collect::<Vec<String>>()
    };
    assert_eq!(rules("", &with), ["unknown-name"]);
    assert_eq!(rules(accepted, &with), [""; 0]);
    assert_eq!(rules("", &[]), [""; 0]);
    assert_eq!(rules(accepted, &[]), [""; 0]);
}
