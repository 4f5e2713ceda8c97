//! `lint`

mod cases;
mod measured;
mod rules;

use tenantry::lint::{File, lint};

use crate::support::migrations::Dir;
use rules::tenancy;

#[test]
fn lines_are_those_of_the_file() {
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
fn a_transaction_may_have_several_migrations() {
    let add = "ALTER TABLE a ADD CONSTRAINT c CHECK (id > 0) NOT VALID;";
    let validate = "ALTER TABLE a VALIDATE CONSTRAINT c;";
    let base = || Dir::new().add("1_a", "CREATE TABLE a (id int); CREATE TYPE mood AS ENUM ('sad');").add("2_b", add);
    let found = |dir: Dir| lint(&tenancy(&dir)).len();
    assert_eq!(found(base().add("3_c", validate)), 1);
    assert_eq!(found(base().add("3_c", validate).metadata("run_in_transaction = false")), 0);
    // Where something between them must be committed, they are two.
    assert_eq!(found(base().add("3_c", "ALTER TYPE mood ADD VALUE 'new';").add("4_d", validate)), 0);
    assert_eq!(found(base().add("3_c", "CREATE TABLE b ();").add("4_d", validate)), 1);
}

#[test]
fn what_is_known_goes_on_from_migration_to_migration() {
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

/// No server takes it, and yet it must be told.
#[test]
fn an_index_of_its_tables_name() {
    let dir = Dir::new().add("1_a", "CREATE INDEX a ON a (id);").add("2_b", "REINDEX TABLE a; DROP INDEX a;");
    assert_eq!(lint(&tenancy(&dir)).len(), 3);
}

#[test]
fn down_sql_only_for_what_is_outside() {
    let dir = Dir::new()
        .add("1_a", "CREATE TABLE a (id int);")
        .add("2_b", "ALTER TABLE a ADD COLUMN x int;")
        .down("ALTER TABLE a DROP COLUMN x CASCADE; DROP TABLE other.b; DROP EXTENSION citext; DROP SCHEMA other;");
    let findings = lint(&tenancy(&dir));
    assert!(findings.iter().all(|it| it.file == File::Down));
    let rules: Vec<&str> = findings.iter().map(|it| it.rule.name()).collect();
    assert_eq!(rules, ["names-other-schema", "object-outside-tenant", "drop-schema"]);
}
