//! `new-migration --from-dump` and `--from-schema`: a schema that `pg_dump` prints becomes a migration that creates the same
//! structure.

use std::fs;
use std::path::{Path, PathBuf};

use tenantry::local::{Binaries, Ephemeral};

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, binaries, server, with};

/// Objects of every kind that a dump of a schema can contain.
const OBJECTS: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE point3 AS (x int, y int, z int);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN email AS text CHECK (VALUE ~ '@');
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE SEQUENCE numbers START WITH 7 INCREMENT BY 3;
CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE TABLE customers (
    id bigserial PRIMARY KEY,
    other bigint GENERATED ALWAYS AS IDENTITY,
    name text COLLATE "C" NOT NULL DEFAULT 'a.b',
    email email,
    mood mood DEFAULT 'ok'::mood,
    place point3,
    spans span[],
    "Odd name" int DEFAULT one(),
    number int DEFAULT nextval('numbers'),
    double_number int GENERATED ALWAYS AS (number_of_two()) STORED,
    CHECK (name <> ''),
    UNIQUE (name, email)
);
CREATE TABLE "Odd Table" (id int PRIMARY KEY, customer bigint REFERENCES customers ON DELETE CASCADE DEFERRABLE);
CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE child (extra int) INHERITS (customers);
CREATE INDEX by_name ON customers (lower(name)) INCLUDE (number) WHERE mood = 'ok';
CREATE UNIQUE INDEX ON "Odd Table" (customer DESC NULLS LAST);
ALTER TABLE customers ADD EXCLUDE USING btree (number WITH =);
CREATE VIEW happy AS SELECT c.id, c.name FROM customers AS c WHERE c.mood = 'ok' AND EXISTS (SELECT FROM "Odd Table" AS o WHERE o.customer = c.id);
CREATE MATERIALIZED VIEW counts AS SELECT mood, count(*) FROM customers GROUP BY mood;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The name is not qualified in the source.
    INSERT INTO "Odd Table" (id) VALUES (1);
    RETURN NEW;
END $$;
CREATE PROCEDURE tidy(INOUT rows int) LANGUAGE plpgsql AS $$ BEGIN DELETE FROM customers; END $$;
CREATE FUNCTION sum_of(int, int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 + $2;
CREATE AGGREGATE total (int) (SFUNC = sum_of, STYPE = int, INITCOND = '0');
CREATE OPERATOR |+| (LEFTARG = int, RIGHTARG = int, FUNCTION = sum_of);
CREATE TRIGGER noted AFTER INSERT ON customers FOR EACH ROW WHEN (NEW.mood = 'sad') EXECUTE FUNCTION note();
CREATE RULE quiet AS ON DELETE TO "Odd Table" DO INSTEAD NOTHING;
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON customers FOR SELECT USING (name = current_user);
CREATE STATISTICS related (dependencies) ON name, mood FROM customers;
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION search ALTER MAPPING FOR word WITH words;
COMMENT ON TABLE customers IS 'the customers of original.example';
COMMENT ON COLUMN customers.name IS 'original.name';
ALTER TABLE customers ALTER COLUMN name SET STATISTICS 500, ALTER COLUMN name SET STORAGE EXTERNAL;
ALTER TABLE customers REPLICA IDENTITY FULL;
ALTER TABLE "Odd Table" SET (fillfactor = 70);
"#;

/// The servers on this machine whose programs include `pg_dump`.
fn servers() -> Vec<(&'static Ephemeral, PathBuf)> {
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let others = packaged.map(|entry| entry.path().join("bin")).filter(|folder| folder != binaries().folder());
    let own = (binaries().folder().to_owned(), None);
    let folders = [own].into_iter().chain(others.map(|folder| (folder.clone(), Some(folder))));
    folders
        .filter(|(folder, _)| folder.join("pg_dump").exists() && folder.join("initdb").exists())
        .map(|(folder, other)| match other {
            None => (server(), folder),
            // It ends with the process of the test, like the server of the run.
            Some(other) => {
                let binaries = Binaries::find(Some(&other), None).expect("programs of a server");
                let server = Ephemeral::options().start(&binaries).expect("a server");
                (Box::leak(Box::new(server)) as &'static Ephemeral, folder)
            }
        })
        .collect()
}

fn dump(db: &Database, folder: &Path, args: &[&str]) -> String {
    let output = Tenantry::of_program(folder.join("pg_dump")).args(args).arg(db.url()).run();
    output.assert_code(0);
    output.stdout
}

fn new_migration(dir: &Dir, dump: &str, args: &[&str]) -> Output {
    Tenantry::new()
        .without_migrations()
        .args(["new-migration", "tenant", "initial", "--from-dump", "-", "--tenant-migrations"])
        .arg(dir.path())
        .args(args)
        .stdin(dump)
        .run()
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_made_of_a_dump_has_the_structure_of_the_original() {
    let servers = servers();
    assert!(!servers.is_empty(), "pg_dump is needed: apt install postgresql");
    for (server, folder) in servers {
        let db = Database::on(server);
        let function = "CREATE FUNCTION number_of_two() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';";
        db.execute(&format!("CREATE SCHEMA original; SET search_path TO original; {function} {OBJECTS}"));
        let dump = dump(&db, &folder, &["--schema-only", "--schema=original"]);
        let dir = Dir::new();
        let made = new_migration(&dir, &dump, &[]);
        assert_eq!(made.code, Some(0), "{}{dump}", made.stderr);
        let script = fs::read_to_string(Path::new(made.stdout.trim_end()).join("up.sql")).expect("the script");
        let left: Vec<&str> =
            script.lines().filter(|line| line.contains("original") && !line.contains("COMMENT")).collect();
        assert_eq!(left, [""; 0], "{script}");

        db.tenantry(["migrate-public"]).run().assert_code(0);
        let version = &dir.names()[0][..14];
        with(&db, &dir, &["adopt", "original", "--baseline", version]).run().assert_code(0);
        let create = with(&db, &dir, &["create", "copy"]).run();
        assert_eq!(create.code, Some(0), "{}", create.stderr);
        let checked = with(&db, &dir, &["health-check"]).run();
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{}{}", checked.stdout, checked.stderr);
        with(&db, &dir, &["diff", "copy", "original"]).run().assert_code(0);
    }
}

#[test]
fn dump_of_public_becomes_a_tenant_migration() {
    for (server, folder) in servers() {
        let db = Database::on(server);
        db.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text DEFAULT 'public house')");
        db.execute("CREATE TABLE __diesel_schema_migrations (version text PRIMARY KEY)");
        let dump = dump(&db, &folder, &["--schema-only"]);
        let dir = Dir::new();
        new_migration(&dir, &dump, &[]).assert_code(0);
        let script = fs::read_to_string(dir.path().join(&dir.names()[0]).join("up.sql")).expect("the script");
        assert!(script.contains("nextval('orders_id_seq'::regclass)") && script.contains("'public house'"), "{script}");
        assert!(!script.contains("public.") && !script.contains("__diesel"), "{script}");
    }
}

#[test]
fn dump_with_data_is_refused_with_its_lines() {
    let dir = Dir::new();
    let dump = "CREATE TABLE public.a (i int);\n\nCOPY public.a (i) FROM stdin;\n1\n\\.\n\n\\connect shop\n";
    assert_snapshot!(new_migration(&dir, dump, &[]), @r"
    --- stderr
    error: cannot make a migration of the dump:
           standard input:3: the dump contains data; dump with --schema-only
           standard input:7: \connect is a psql command; dump without --create, as plain SQL
    --- exit 2
    ");
    assert_eq!(dir.names(), [""; 0]);
    let other = new_migration(&dir, "CREATE SCHEMA acme;\n", &[]);
    assert_eq!(other.code, Some(2), "{}", other.stderr);
}

#[test]
fn migration_that_is_a_dump_is_refused_with_the_command_for_dumps() {
    let db = crate::support::set_up();
    let dump = "SELECT pg_catalog.set_config('search_path', '', false);\n\\restrict abc\nSET row_security = off;\n\
                CREATE TABLE public.a (\n    id integer\n);\nALTER TABLE public.a OWNER TO me;\n";
    let migrations = Dir::new().add("1_a", dump);
    let refused = with(&db, &migrations, &["create", "acme"]).run();
    refused.assert_code(2);
    assert_eq!(
        refused.stderr.matches("make the migration with 'new-migration --from-dump'").count(),
        5,
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("1_a/up.sql:4: public. names the dumped schema"), "{}", refused.stderr);
    assert!(refused.stderr.contains("1_a/up.sql:7: OWNER TO names the owner"), "{}", refused.stderr);
    // Without the preamble it is a migration like any other.
    let own = Dir::new().add("1_a", "CREATE TABLE a (id int);\nALTER TABLE a OWNER TO postgres;\n");
    with(&db, &own, &["create", "acme"]).run().assert_code(0);
}

fn from_schema(db: &Database, dir: &Dir, folder: &Path, schema: &str) -> Tenantry {
    let command = db.tenantry(["new-migration", "tenant", "initial", "--from-schema", schema]);
    command.arg("--tenant-migrations").arg(dir.path()).arg("--pg-bin").arg(folder)
}

#[test]
#[ignore = "long: make test-long"]
fn tenant_made_of_a_schema_has_its_structure() {
    for (server, folder) in servers() {
        let db = Database::on(server);
        let function = "CREATE FUNCTION number_of_two() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2';";
        db.execute(&format!("CREATE SCHEMA original; SET search_path TO original; {function} {OBJECTS}"));
        db.execute("CREATE SCHEMA origin2; CREATE TABLE origin2.other (id int)");
        let dir = Dir::new();
        let made = from_schema(&db, &dir, &folder, "original").run();
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        db.tenantry(["migrate-public"]).run().assert_code(0);
        with(&db, &dir, &["adopt", "original", "--baseline", "initial", "--verify"]).run().assert_code(0);
        with(&db, &dir, &["create", "copy"]).run().assert_code(0);
        let checked = with(&db, &dir, &["health-check"]).run();
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{}{}", checked.stdout, checked.stderr);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn schema_with_any_name_is_the_only_one_that_is_dumped() {
    let (server, folder) = servers().into_iter().next().expect("pg_dump");
    for name in ["acme-corp", "Acme", "a*", "quo\"te", "has space", "p.q", "$acme"] {
        let db = Database::on(server);
        let quoted = name.replace('"', "\"\"");
        db.execute(&format!("CREATE SCHEMA \"{quoted}\"; CREATE TABLE \"{quoted}\".orders (id bigserial PRIMARY KEY)"));
        db.execute(
            "CREATE SCHEMA acme; CREATE TABLE acme.wrong (id int); CREATE SCHEMA ab; CREATE TABLE ab.wrong (id int)",
        );
        let dir = Dir::new();
        let made = from_schema(&db, &dir, &folder, name).run();
        assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
        let script = fs::read_to_string(dir.path().join(&dir.names()[0]).join("up.sql")).expect("the script");
        assert!(script.contains("CREATE TABLE orders (") && !script.contains("wrong"), "{name}: {script}");
    }
}

/// A folder with a `pg_dump` that is a shell script.
fn fake(script: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("pg_dump");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

#[test]
fn password_is_not_on_the_command_line() {
    let db = Database::new();
    db.execute("CREATE SCHEMA acme; CREATE TABLE acme.a (id int)");
    let folder = fake(
        r#"[ "$1" = --version ] && { echo 'pg_dump (PostgreSQL) 99.1'; exit; }
        printf '%s\n' "$@" "password: $PGPASSWORD" >"$(dirname "$0")/seen"
        echo 'CREATE TABLE acme.a (id integer);'"#,
    );
    let url = db.url().replace("postgres@", "postgres:s3cret%20word@");
    assert!(url.contains("s3cret"), "{url}");
    let dir = Dir::new();
    from_schema(&db, &dir, folder.path(), "acme").env("DATABASE_URL", url).run().assert_code(0);
    let seen = fs::read_to_string(folder.path().join("seen")).expect("the arguments");
    let (arguments, password) = seen.split_once("password: ").expect("the password");
    assert!(!arguments.contains("s3cret") && arguments.contains("user='postgres'"), "{arguments}");
    assert!(arguments.contains("--schema=\"acme\"\n") && arguments.contains("--schema-only\n"), "{arguments}");
    assert_eq!(password, "s3cret word\n");
}

#[test]
fn pg_dump_that_cannot_dump_the_schema_is_an_error() {
    let db = Database::new();
    db.execute("CREATE SCHEMA acme; CREATE SCHEMA empty; CREATE TABLE acme.a (id int)");
    let dir = Dir::new();
    let run = |folder: &Path, schema: &str| from_schema(&db, &dir, folder, schema).run();
    let none = tempfile::tempdir().expect("a temporary folder");
    let missing = run(none.path(), "acme");
    assert!(missing.assert_code(3).stderr.starts_with("error: no pg_dump in "), "{}", missing.stderr);
    let old = fake("echo 'pg_dump (PostgreSQL) 9.6.24'");
    let too_old = run(old.path(), "acme");
    let text = format!("pg_dump is of PostgreSQL 9 and cannot dump a server of PostgreSQL {}\n", binaries().major());
    assert!(too_old.assert_code(3).stderr.contains(&text), "{}", too_old.stderr);
    assert!(too_old.stderr.contains("hint: install the client programs of PostgreSQL"), "{}", too_old.stderr);
    let failing = fake(
        "[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 99.1'; exit; }\necho 'pg_dump: error: no rights' >&2\nexit 1",
    );
    let failed = run(failing.path(), "acme");
    assert!(failed.assert_code(3).stderr.contains("pg_dump: error: no rights"), "{}", failed.stderr);
    let (_, real) = servers().into_iter().next().expect("pg_dump");
    let unknown = run(&real, "acmee");
    assert!(
        unknown.assert_code(2).stderr.contains("error: schema acmee does not exist in database "),
        "{}",
        unknown.stderr
    );
    assert!(unknown.stderr.ends_with("hint: a similar schema is acme\n"), "{}", unknown.stderr);
    let empty = run(&real, "empty");
    assert!(empty.assert_code(2).stderr.contains("the dump of empty has no objects"), "{}", empty.stderr);
    let public = db.tenantry(["new-migration", "public", "a", "--from-schema", "acme"]).run();
    assert!(public.assert_code(2).stderr.contains("--from-schema makes tenant migrations only"), "{}", public.stderr);
    assert_eq!(dir.names(), [""; 0]);
}
