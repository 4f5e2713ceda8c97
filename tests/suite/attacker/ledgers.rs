//! Ledgers that run code when they are read or written.

use super::{Attacked, newer};

/// Replacements of the ledger of `mallory`, and the reason that each is refused. `L` stands for its name, `S` for its
/// schema.
const REPLACEMENTS: &[(&str, &str)] = &[
    ("CREATE VIEW L AS SELECT S.reveal('1') AS version, now() AS run_on", "it is a view"),
    ("CREATE MATERIALIZED VIEW L AS SELECT S.reveal('1') AS version", "it is a materialized view"),
    ("CREATE TABLE L (version text, run_on timestamp) PARTITION BY LIST (version)", "it is a partitioned table"),
    ("CREATE SEQUENCE L", "it is not a table"),
    (
        "CREATE TYPE S.v AS (a text); CREATE FUNCTION S.cast_v(S.v) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT S.reveal('1') $$; \
         CREATE CAST (S.v AS text) WITH FUNCTION S.cast_v(S.v) AS IMPLICIT; \
         CREATE TABLE L (version S.v, run_on timestamp); INSERT INTO L VALUES (ROW('1'), now())",
        "it has a column of a user-defined type",
    ),
    (
        "CREATE DOMAIN S.d AS text CHECK (S.reveal(VALUE) <> ''); CREATE TABLE L (version S.d PRIMARY KEY); INSERT INTO L VALUES ('1')",
        "it has a column of a user-defined type",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); ALTER TABLE L ENABLE ROW LEVEL SECURITY; ALTER TABLE L FORCE ROW LEVEL SECURITY; \
         CREATE POLICY p ON L USING (S.reveal(version) <> '')",
        "it has row-level security",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY, g text GENERATED ALWAYS AS (S.reveal(version)) STORED); INSERT INTO L VALUES ('1')",
        "it has a generated column",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); CREATE VIEW S.w AS SELECT 1; CREATE TABLE S.child (v text) INHERITS (L)",
        "it is part of an inheritance tree or a partition",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); INSERT INTO L VALUES ('1'); CREATE FUNCTION S.trigger() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN PERFORM S.reveal(NEW.version); RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE INSERT OR DELETE ON L FOR EACH ROW EXECUTE FUNCTION S.trigger()",
        "it has a trigger or a foreign key",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); INSERT INTO L VALUES ('1'); \
         CREATE RULE r AS ON INSERT TO L DO ALSO SELECT S.reveal(NEW.version)",
        "it has a rule",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY, d text DEFAULT S.reveal('1')); INSERT INTO L VALUES ('1', '')",
        "it has a default other than CURRENT_TIMESTAMP",
    ),
    (
        "CREATE FUNCTION S.now() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT S.reveal('1')::timestamptz $$; \
         CREATE TABLE L (version text PRIMARY KEY, run_on timestamptz DEFAULT S.now()); INSERT INTO L VALUES ('1', '-infinity')",
        "it has a default other than CURRENT_TIMESTAMP",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY CHECK (S.reveal(version) <> '')); INSERT INTO L VALUES ('1')",
        "it has a constraint other than a key",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); INSERT INTO L VALUES ('1'); CREATE INDEX ON L ((version || S.reveal('1')))",
        "it has an index with an expression",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); INSERT INTO L VALUES ('1'); CREATE INDEX ON L (version) WHERE version <> S.reveal('1')",
        "it has an index with an expression",
    ),
    (
        "CREATE TABLE L (version text PRIMARY KEY); INSERT INTO L VALUES ('1'); \
         CREATE STATISTICS S.st ON (version || S.reveal('1')), (version || 'x') FROM L",
        "it has statistics with an expression",
    ),
    (
        "CREATE TABLE L (version int PRIMARY KEY); INSERT INTO L VALUES (1)",
        "it has no column version of type varchar or text",
    ),
    ("CREATE TABLE L (v text)", "it has no column version of type varchar or text"),
    ("CREATE TABLE L (version text); INSERT INTO L VALUES ('1'), (NULL)", "it records a version that is NULL"),
    ("CREATE TABLE L (version text); INSERT INTO L VALUES ('1'), ('1')", "it records version 1 twice"),
    (
        "CREATE TABLE L (version text); INSERT INTO L VALUES (repeat('1', 201))",
        "it records a version of more than 200 bytes",
    ),
    (
        "CREATE TABLE L (version text); INSERT INTO L SELECT generate_series(1, 10001)::text",
        "it records more than 10000 versions",
    ),
];

/// Commands that read or write every ledger, or the ledger of one tenant.
const COMMANDS: &[&[&str]] = &[
    &["list"],
    &["health-check"],
    &["diff", "mallory"],
    &["repair-plan", "mallory"],
    &["migrate-all", "--dry-run"],
    &["migrate-one", "mallory"],
    &["migrate-all"],
    &["revert-one", "mallory", "--steps", "1", "--yes"],
    &["adopt", "mallory"],
    &["create", "mallory"],
    &["drop", "mallory", "--dry-run"],
];

#[test]
#[ignore = "long: make test-long"]
fn ledger_that_runs_code_is_refused_without_running_it() {
    let attacked = Attacked::new();
    let migrations = newer();
    attacked.plant(
        "CREATE FUNCTION mallory.reveal(text) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog \
         AS $$ BEGIN PERFORM trap.spring('reveal'); RETURN $1; END $$",
    );
    for (replacement, why) in REPLACEMENTS {
        let sql = replacement.replace('L', "\u{1}").replace("S.", "mallory.");
        // Only the word L, not the letter within words.
        let sql = restore(&sql, "mallory.__diesel_schema_migrations");
        attacked.plant("DROP TABLE IF EXISTS mallory.__diesel_schema_migrations CASCADE");
        attacked.plant(&sql);
        for args in COMMANDS {
            let output = attacked.db.tenantry(*args).arg("--tenant-migrations").arg(migrations.path()).run();
            attacked.assert_nothing_executed(&format!("{args:?} with {sql}: {}", output.stderr));
            let expected = match args {
                ["list"] => "invalid-ledger",
                ["health-check"] | ["migrate-all"] | ["migrate-one", _] => why,
                _ => "",
            };
            let text = output.stdout.clone() + &output.stderr;
            assert!(text.contains(expected), "{args:?} with {sql}: {text}");
        }
        let kind = attacked.db.string(
            "SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END \
             FROM pg_class WHERE relname = '__diesel_schema_migrations' AND relnamespace = 'mallory'::regnamespace",
        );
        attacked.plant(&format!(
            "DROP {kind} mallory.__diesel_schema_migrations CASCADE; DROP TYPE IF EXISTS mallory.v CASCADE; \
             DROP DOMAIN IF EXISTS mallory.d; DROP TABLE IF EXISTS mallory.child; DROP VIEW IF EXISTS mallory.w; \
             DROP FUNCTION IF EXISTS mallory.trigger(), mallory.now()"
        ));
    }
    // The other tenant was migrated.
    assert_eq!(attacked.db.string("SELECT to_regclass('acme.b') IS NOT NULL"), "true");
}

/// Replaces the word L by `name`.
fn restore(sql: &str, name: &str) -> String {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '\u{1}');
    let mut out = String::new();
    let mut before = None;
    let mut characters = sql.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\u{1}' if !is_word(before) && !is_word(characters.peek().copied()) => out.push_str(name),
            '\u{1}' => out.push('L'),
            other => out.push(other),
        }
        before = Some(c);
    }
    out
}

/// The definitions that Diesel creates, and others that were created manually.
#[test]
fn plain_ledger_with_other_column_types_is_read() {
    let attacked = Attacked::new();
    for ledger in [
        "(version varchar(50) PRIMARY KEY NOT NULL, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        "(version text PRIMARY KEY, run_on timestamptz NOT NULL DEFAULT now())",
        "(version text UNIQUE, run_on timestamptz)",
        "(version text, note text)",
    ] {
        attacked.db.execute(&format!(
            "DROP TABLE acme.__diesel_schema_migrations; CREATE TABLE acme.__diesel_schema_migrations {ledger}; \
             INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('1')"
        ));
        let migrations = super::older();
        let output =
            attacked.db.tenantry(["list", "--format", "json"]).arg("--tenant-migrations").arg(migrations.path()).run();
        let acme = &output.json()["tenants"][0];
        assert_eq!((acme["version"].as_str(), acme["problem"].is_null()), (Some("1"), true), "{ledger}: {acme}");
    }
}
