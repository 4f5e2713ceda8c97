//! `clone`: the new tenant has the structure, the rows and the ledger of the source, or does not exist.

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{schemas, set_up, with};

/// Types of the schema itself, generated and identity columns, cycles of foreign keys, partitions, and code that fails if a
/// superuser runs it.
pub fn migrations() -> Dir {
    Dir::new()
        .add("1_types", "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
            CREATE TYPE pair AS (a int, b text);
            CREATE FUNCTION careful(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
                IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE 'run by a superuser'; END IF;
                RETURN i; END $$;
            CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trigger fired'; END $$")
        .add("2_tables", "CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood, moods mood[],
                n positive, pair pair, twice int GENERATED ALWAYS AS (careful(n) * 2) STORED, boss bigint REFERENCES people,
                pet bigint, CONSTRAINT small CHECK (careful(n) < 100));
            CREATE TABLE pets (id serial PRIMARY KEY, owner bigint NOT NULL REFERENCES people);
            ALTER TABLE people ADD FOREIGN KEY (pet) REFERENCES pets (id);
            CREATE INDEX ON people (careful(n));
            CREATE TABLE logs (at date NOT NULL, line text) PARTITION BY RANGE (at);
            CREATE TABLE logs_old PARTITION OF logs FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
            CREATE TABLE logs_rest PARTITION OF logs DEFAULT;
            CREATE TABLE nothing ();
            CREATE MATERIALIZED VIEW moods AS SELECT mood, count(*) AS n FROM people GROUP BY mood;
            CREATE VIEW owners AS SELECT p.id FROM people p JOIN pets ON pets.owner = p.id")
}

pub const ROWS: &str = "SET search_path TO acme;
    INSERT INTO people (mood, moods, n, pair) SELECT 'sad', '{ok,sad}', i, ROW (i, 'it''s \"' || i)::pair FROM generate_series(1, 9) i;
    INSERT INTO pets (owner) SELECT id FROM people; UPDATE people SET boss = 1, pet = id WHERE id > 1;
    SELECT setval('pets_id_seq', 500); INSERT INTO logs VALUES ('2001-01-01', 'a'), ('2030-01-01', 'b');
    REFRESH MATERIALIZED VIEW moods;
    CREATE TRIGGER never BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION never();
    ALTER TABLE people ADD COLUMN drifted text DEFAULT 'x'; RESET search_path";

#[test]
fn clone_has_the_structure_the_rows_and_the_ledger_of_the_source() {
    let db = set_up();
    let owner = format!("owner_{}", db.name());
    db.execute(&format!("CREATE ROLE {owner}; GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
    let migrations = migrations();
    let run = |args: &[&str]| with(&db, &migrations, args).run();
    db.execute(&format!("CREATE SCHEMA acme AUTHORIZATION {owner}; INSERT INTO schema_tracker (name, state) VALUES ('acme', 'registered')"));
    run(&["migrate-one", "acme", "--as-owner"]).assert_code(0);
    db.execute(&format!("SET ROLE {owner}; {ROWS}; RESET ROLE"));
    // The source is written to meanwhile: rows that are not committed are not copied.
    let mut writer = db.connect();
    writer.batch_execute("BEGIN; INSERT INTO acme.logs VALUES ('2031-01-01', 'uncommitted')").unwrap();
    assert_snapshot!(run(&["clone", "acme", "globex"]), @r"
        --- stderr
        acme cloned as globex: 5 tables with 20 rows
        --- exit 0
    ");
    let quoted = run(&["clone", "acme", "Acme-2", "--any-name", "--format", "json"]);
    quoted.assert_code(0);
    assert_eq!(quoted.json()["rows"], 20);
    writer.batch_execute("ROLLBACK").unwrap();
    for name in ["globex", "Acme-2"] {
        run(&["diff", name, "acme"]).assert_code(0);
        let all = |schema: &str| {
            let tables = ["people", "pets", "logs", "moods", "__diesel_schema_migrations"];
            tables.map(|table| db.strings(&format!("SELECT t::text FROM \"{schema}\".{table} t ORDER BY 1")))
        };
        assert_eq!(all(name), all("acme"));
        let owner_of = format!("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{name}'");
        assert_eq!(db.string(&owner_of), owner);
        // Sequences continue, and foreign keys lead to the clone.
        db.execute(&format!(
            "ALTER TABLE \"{name}\".people DISABLE TRIGGER never; SET ROLE {owner}; \
            INSERT INTO \"{name}\".people (n) VALUES (50); RESET ROLE"
        ));
        assert_eq!(db.string(&format!("SELECT max(id) FROM \"{name}\".people")), "10");
        assert_eq!(db.string(&format!("SELECT nextval('\"{name}\".pets_id_seq')")), "501");
        let foreign = format!(
            "SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_class o ON o.oid = k.conrelid \
             WHERE k.contype = 'f' AND o.relnamespace = '\"{name}\"'::regnamespace AND c.relnamespace <> o.relnamespace"
        );
        assert_eq!(db.count(&foreign), 0);
    }
    let empty = run(&["clone", "acme", "blank", "--schema-only"]);
    empty.assert_code(0);
    assert_eq!(db.count("SELECT (SELECT count(*) FROM blank.people) + (SELECT count(*) FROM blank.logs)"), 0);
    assert_eq!(db.count("SELECT count(*) FROM blank.__diesel_schema_migrations"), 2);
    db.execute(&format!(
        "DROP SCHEMA IF EXISTS x; SELECT 1; ALTER TABLE blank.people DISABLE TRIGGER never; SET ROLE {owner}; \
        INSERT INTO blank.people (n) VALUES (1); RESET ROLE"
    ));
    assert_eq!(db.string("SELECT max(id) FROM blank.people"), "1");
    assert_eq!(
        db.strings("SELECT DISTINCT command || ' ' || outcome FROM schema_run ORDER BY 1"),
        ["clone done", "migrate-one done"]
    );
    run(&["migrate-all"]).assert_code(0);
}

#[test]
fn clone_that_fails_leaves_nothing_behind() {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int); CREATE TABLE b (i int)");
    let run = |args: &[&str]| with(&db, &migrations, args).run();
    run(&["create", "acme", "globex"]).assert_code(0);
    db.execute("INSERT INTO acme.a VALUES (1), (2); CREATE SCHEMA other");
    let refused = |args: &[&str], message: &str| {
        let output = run(&[&["clone"], args, &["--lock-timeout", "100ms"]].concat());
        assert!(output.code != Some(0) && output.stderr.contains(message), "{}", output.stderr);
        assert_eq!(schemas(&db), ["acme", "globex", "other"]);
        assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 2);
    };
    refused(&["acme", "globex"], "error: tenant globex: tenant already exists");
    refused(&["acme", "other"], "an untracked schema with this name exists");
    refused(&["acme", "Globex"], "differs only in case");
    refused(&["nobody", "new"], "nobody");
    // Another session migrates it.
    let mut holder = db.connect();
    holder
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry:acme', 0)); LOCK TABLE acme.a")
        .unwrap();
    refused(&["acme", "new"], "error: tenant acme");
    holder.batch_execute("ROLLBACK").unwrap();
    // The owner does not see all rows.
    db.execute(
        "CREATE ROLE blind; GRANT CREATE, USAGE ON SCHEMA acme TO blind; ALTER TABLE acme.a OWNER TO blind; \
         ALTER TABLE acme.a ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER SCHEMA acme OWNER TO blind; \
         CREATE POLICY part ON acme.a USING (i > 1); GRANT ALL ON ALL TABLES IN SCHEMA acme TO blind",
    );
    db.execute(&format!("GRANT CREATE ON DATABASE {} TO blind", db.name()));
    refused(&["acme", "new"], "row-level security");
    db.execute("DROP OWNED BY blind CASCADE; DROP ROLE blind");
}
