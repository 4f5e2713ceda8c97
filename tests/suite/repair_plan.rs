//! `repair-plan`

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, binaries, fleet};

/// Objects of many kinds that the tenants of this repository do not have.
const RICH: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN email AS text CONSTRAINT email_check CHECK (VALUE ~ '@');
    CREATE TYPE address AS (street text, zip varchar(5));
    CREATE TYPE spans AS RANGE (SUBTYPE = float8);
    CREATE SEQUENCE tickets INCREMENT 5 START 100;
    CREATE FUNCTION half(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i / 2';
    CREATE TABLE notes (
        id serial PRIMARY KEY,
        task_id bigint REFERENCES tasks (id),
        body varchar(50) NOT NULL DEFAULT 'none',
        words int GENERATED ALWAYS AS (length(body)) STORED,
        mood mood DEFAULT 'happy',
        contact email,
        place address,
        amount numeric(10, 2) CONSTRAINT notes_amount_check CHECK (amount >= 0),
        seen timestamp(3),
        CONSTRAINT notes_task_id_body_key UNIQUE (task_id, body)
    ) WITH (fillfactor = 70);
    CREATE INDEX notes_half_idx ON notes (half(id));
    CREATE FUNCTION total(task bigint) RETURNS numeric LANGUAGE sql STABLE
        BEGIN ATOMIC SELECT sum(amount) FROM notes WHERE task_id = task; END;
    CREATE PROCEDURE forget(what text) LANGUAGE sql AS 'DELETE FROM notes WHERE body = what';
    CREATE AGGREGATE product(int) (SFUNC = int4mul, STYPE = int, INITCOND = '1');
    CREATE VIEW note_list AS SELECT n.id, n.body, t.title FROM notes n JOIN tasks t ON t.id = n.task_id;
    CREATE VIEW note_count AS SELECT count(*) AS many FROM note_list;
    CREATE MATERIALIZED VIEW mood_counts AS SELECT mood, count(*) AS many FROM notes GROUP BY mood;
    CREATE UNIQUE INDEX mood_counts_mood_idx ON mood_counts (mood);
    CREATE RULE keep AS ON DELETE TO note_list DO INSTEAD NOTHING;
    CREATE STATISTICS notes_statistics (dependencies) ON task_id, body FROM notes;
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY dear ON notes FOR SELECT TO PUBLIC USING (amount > 10);
    ALTER TABLE notes ALTER body SET STATISTICS 500, ALTER place SET STORAGE EXTERNAL;
    CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE INDEX events_at_idx ON events (at);
    COMMENT ON TABLE notes IS 'what people write';
    COMMENT ON COLUMN notes.body IS 'the text';
    COMMENT ON VIEW note_list IS 'with titles';
    GRANT SELECT ON note_list TO PUBLIC;
    REVOKE ALL ON FUNCTION half(int) FROM PUBLIC;
    CREATE COLLATION plain (LOCALE = 'C');
    CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
    CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple, STOPWORDS = english);
    CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);
    ALTER TEXT SEARCH CONFIGURATION search ALTER MAPPING FOR word WITH words, simple;
    CREATE FUNCTION alike(a mood, b mood) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT a = b';
    CREATE OPERATOR ~~~ (FUNCTION = alike, LEFTARG = mood, RIGHTARG = mood, COMMUTATOR = ~~~);
    CREATE FUNCTION written(address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street';
    CREATE CAST (address AS text) WITH FUNCTION written(address) AS ASSIGNMENT;
    CREATE TABLE base (i int CONSTRAINT base_i_check CHECK (i > 0));
    CREATE TABLE child (j int) INHERITS (base);
";

/// Rows in every table.
const ROWS: &str = "
    INSERT INTO users (email, full_name, role) VALUES ('a@example.com', 'A', 'admin'), ('b@example.com', 'B', 'member');
    INSERT INTO projects (owner_id, name) VALUES (1, 'one');
    INSERT INTO tasks (project_id, assignee_id, title) VALUES (1, 2, 'first'), (1, NULL, 'second');
    INSERT INTO comments (task_id, author_id, body) VALUES (1, 1, 'fine');
    INSERT INTO notes (task_id, body, amount, contact) VALUES (1, 'x', 11, 'a@example.com'), (2, 'y', 1.5, NULL);
    INSERT INTO events VALUES ('2026-03-01', 'begun');
";

/// A database whose tenants also have the rich migration, and rows.
struct Rich {
    db: Database,
    dir: Dir,
}

impl Rich {
    fn new(tenants: &[String]) -> Self {
        let (db, dir) = (fleet(&[]), Dir::copy_of_tenant().add("20980101000000_rich", RICH));
        let rich = Self { db, dir };
        let output = rich.db.tenantry(["create"]).args(tenants).arg("--tenant-migrations").arg(rich.dir.path()).run();
        output.assert_code(0);
        tenants.iter().for_each(|tenant| rich.mutate(tenant, ROWS));
        rich
    }

    fn run(&self, args: &[&str]) -> Output {
        self.db.tenantry(args).arg("--tenant-migrations").arg(self.dir.path()).run()
    }

    fn mutate(&self, tenant: &str, sql: &str) {
        self.db.execute(&format!("SET search_path TO {tenant}; {sql}"));
    }

    /// The number of rows of each table of the tenant, except empty ones.
    fn rows(&self, tenant: &str) -> Vec<String> {
        self.db.strings(&format!(
            "SELECT * FROM (SELECT format('%s %s', table_name, (xpath('/row/n/text()', \
                 query_to_xml(format('SELECT count(*) AS n FROM ONLY %I.%I', table_schema, table_name), true, true, '')))[1]) \
             FROM information_schema.tables WHERE table_schema = '{tenant}' AND table_type = 'BASE TABLE') x(n) \
             WHERE n NOT LIKE '% 0' ORDER BY 1"
        ))
    }

    /// The differences of each tenant, by its name.
    fn drift(&self) -> BTreeMap<String, Vec<String>> {
        let mut drift: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for finding in self.run(&["health-check", "--format", "json"]).json()["findings"].as_array().expect("a list") {
            let tenant = finding["tenant"].as_str().expect("a tenant").to_owned();
            drift.entry(tenant).or_default().push(code(&finding["difference"]));
        }
        drift.values_mut().for_each(|codes| codes.sort());
        drift
    }

    /// Runs a printed plan as psql does, one statement at a time.
    fn apply(&self, script: &str) -> Result<(), String> {
        let mut conn = self.db.connect();
        let (ahead, rest) = script.split_at(script.find("BEGIN;\n").unwrap_or(script.len()));
        let mut run = |part: &str| match part.lines().all(|line| line.is_empty() || line.starts_with("--")) {
            true => Ok(()),
            false => conn.batch_execute(part).map_err(|error| error.to_string()),
        };
        ahead.lines().try_for_each(&mut run)?;
        run(rest)
    }
}

/// The code of a difference in JSON, and its object.
fn code(difference: &serde_json::Value) -> String {
    let text = |key: &str| difference[key].as_str().expect("a text");
    format!("{}:{}", text("code"), text("name"))
}

/// Checks each case in its own tenant: a change, and the differences that a repair leaves. The plan must run, leave exactly
/// the differences that it reports as left, and lose no row.
#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    let tenants: Vec<String> = (0..cases.len()).map(|case| format!("case{case:02}")).collect();
    let rich = Rich::new(&tenants);
    let mut repaired = Vec::new();
    for ((mutation, left), tenant) in cases.iter().zip(&tenants) {
        rich.mutate(tenant, mutation);
        let rows = rich.rows(tenant);
        let plan = rich.run(&["repair-plan", tenant]);
        let mut problems: Vec<String> = rich.apply(&plan.stdout).err().into_iter().collect();
        let reported = plan.stderr.matches("warning: ").count();
        if plan.stdout.is_empty() || reported != left.len() {
            problems.push(format!("{reported} are reported as left"));
        }
        let rows_after = rich.rows(tenant);
        if rows_after != rows {
            problems.push(format!("rows: {rows_after:?}, not {rows:?}"));
        }
        repaired.push((plan, problems));
    }
    let mut drift = rich.drift();
    let mut wrong = Vec::new();
    for (((mutation, left), tenant), (plan, mut problems)) in cases.iter().zip(&tenants).zip(repaired) {
        let still = drift.remove(tenant).unwrap_or_default();
        if still != *left {
            problems.push(format!("left are {still:?}, not {left:?}"));
        }
        if !problems.is_empty() {
            wrong.push(format!("{mutation}\n  {}\n{}\n{}", problems.join("\n  "), plan.stdout, plan.stderr));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[test]
#[ignore = "long: make test-long"]
fn missing_tables_and_columns_are_repaired() {
    check(&[
        ("DROP TABLE comments CASCADE", &[]),
        ("DROP TABLE notes CASCADE", &[]),
        ("DROP TABLE events", &[]),
        ("DROP TABLE events_2026", &[]),
        ("ALTER TABLE tasks DROP COLUMN due_on CASCADE", &[]),
        ("ALTER TABLE notes DROP COLUMN seen", &[]),
        // The column is added at the end.
        ("ALTER TABLE notes DROP COLUMN amount CASCADE", &["table.column-order:notes"]),
        ("ALTER TABLE notes DROP COLUMN words", &["table.column-order:notes"]),
        (
            "ALTER TABLE users RENAME COLUMN full_name TO name",
            &["column.extra:users.name", "column.missing:users.full_name", "view.definition:open_tasks"],
        ),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn columns_are_repaired() {
    check(&[
        ("ALTER TABLE users ALTER created_at DROP DEFAULT", &[]),
        ("ALTER TABLE users ALTER full_name SET DEFAULT 'nobody'", &[]),
        ("ALTER TABLE users ALTER full_name DROP NOT NULL", &[]),
        ("UPDATE tasks SET due_on = '2026-01-01'; ALTER TABLE tasks ALTER due_on SET NOT NULL", &[]),
        ("ALTER TABLE comments ALTER body TYPE varchar(99); CREATE VIEW tmp AS SELECT body FROM comments", &[]),
        ("ALTER TABLE comments ALTER body TYPE varchar(99) COLLATE \"C\"", &[]),
        ("ALTER TABLE notes ALTER seen TYPE timestamp", &["column.type:notes.seen"]),
        ("ALTER TABLE notes ALTER seen TYPE timestamp(0)", &[]),
        (
            "DROP POLICY dear ON notes; DROP FUNCTION total(bigint); ALTER TABLE notes ALTER amount TYPE numeric(8, 1); \
             CREATE POLICY dear ON notes FOR SELECT USING (amount > 10); \
             CREATE FUNCTION total(task bigint) RETURNS numeric LANGUAGE sql STABLE \
             BEGIN ATOMIC SELECT sum(amount) FROM notes WHERE task_id = task; END",
            &[],
        ),
        // The default is a label that must be committed first.
        (
            "DROP MATERIALIZED VIEW mood_counts; ALTER TABLE notes ALTER mood DROP DEFAULT, ALTER mood TYPE text; \
             DROP TYPE mood CASCADE; CREATE TYPE mood AS ENUM ('ok'); UPDATE notes SET mood = 'ok'; \
             ALTER TABLE notes ALTER mood TYPE mood USING mood::mood",
            &[],
        ),
        (
            "ALTER TABLE notes ALTER words DROP EXPRESSION",
            &["column.default:notes.words", "column.generated:notes.words"],
        ),
        ("ALTER TABLE users ALTER id SET GENERATED BY DEFAULT", &[]),
        ("ALTER TABLE users ALTER id DROP IDENTITY", &[]),
        ("ALTER TABLE notes ALTER id DROP DEFAULT; DROP SEQUENCE notes_id_seq", &[]),
        (
            "ALTER TABLE users ALTER id DROP IDENTITY; CREATE SEQUENCE users_id_seq OWNED BY users.id; \
             SELECT setval('users_id_seq', 7); ALTER TABLE users ALTER id SET DEFAULT nextval('users_id_seq')",
            &[],
        ),
        ("ALTER TABLE users ADD COLUMN phone text", &["column.extra:users.phone"]),
        (
            "ALTER TABLE notes ALTER body SET STATISTICS 10, ALTER body SET (n_distinct = 5), ALTER place SET STORAGE EXTENDED",
            &[],
        ),
        ("ALTER TABLE notes ALTER body SET COMPRESSION pglz; COMMENT ON COLUMN notes.body IS 'other'", &[]),
        ("GRANT SELECT (email) ON users TO PUBLIC", &[]),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn tables_are_repaired() {
    check(&[
        ("CREATE TABLE backup AS SELECT * FROM users", &["table.extra:backup"]),
        ("ALTER TABLE comments SET UNLOGGED", &[]),
        (
            "ALTER TABLE notes RESET (fillfactor); ALTER TABLE users SET (fillfactor = 50, toast.autovacuum_enabled = off)",
            &[],
        ),
        ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", &[]),
        ("ALTER TABLE users REPLICA IDENTITY FULL; ALTER TABLE users CLUSTER ON users_pkey", &[]),
        ("ALTER TABLE projects REPLICA IDENTITY USING INDEX projects_owner_id_name_key", &[]),
        ("COMMENT ON TABLE notes IS NULL; COMMENT ON TABLE users IS 'it''s \\ theirs'", &[]),
        ("GRANT SELECT ON users TO PUBLIC; REVOKE DELETE ON notes FROM CURRENT_USER", &[]),
        ("ALTER TABLE events DETACH PARTITION events_2026", &[]),
        (
            "CREATE TABLE bottom (i int); ALTER TABLE comments ADD i int, INHERIT bottom",
            &["column.extra:comments.i", "table.extra:bottom"],
        ),
        ("DROP STATISTICS notes_statistics; CREATE STATISTICS more ON email, role FROM users", &[]),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn constraints_and_indexes_are_repaired() {
    check(&[
        ("ALTER TABLE users DROP CONSTRAINT users_email_check", &[]),
        ("ALTER TABLE tasks DROP CONSTRAINT tasks_project_id_fkey", &[]),
        ("ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE", &[]),
        ("ALTER TABLE users ADD CONSTRAINT users_name_key UNIQUE (full_name)", &[]),
        (
            "ALTER TABLE users DROP CONSTRAINT users_email_check; \
             ALTER TABLE users ADD CONSTRAINT users_email_check CHECK (email <> '')",
            &[],
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT users_email_check; UPDATE users SET email = 'no address' WHERE id = 1",
            &["constraint.missing:users.users_email_check"],
        ),
        (
            "ALTER TABLE tasks DROP CONSTRAINT tasks_project_id_fkey; \
             ALTER TABLE tasks ADD CONSTRAINT tasks_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects (id) NOT VALID",
            &[],
        ),
        (
            "ALTER TABLE tasks DROP CONSTRAINT tasks_title_check; \
             ALTER TABLE tasks ADD CONSTRAINT tasks_title_check CHECK (length(title) >= 1 AND length(title) <= 200) NOT VALID",
            &[],
        ),
        ("ALTER TABLE tasks DISABLE TRIGGER ALL", &[]),
        ("ALTER TABLE users DISABLE TRIGGER ALL", &[]),
        (
            "ALTER TABLE projects DROP CONSTRAINT projects_owner_id_name_key; \
          CREATE UNIQUE INDEX projects_owner_id_name_key ON projects (owner_id, name)",
            &[],
        ),
        ("DROP INDEX tasks_project_id_idx", &[]),
        ("DROP INDEX tasks_project_id_idx; CREATE INDEX tasks_project_id_idx ON tasks (project_id)", &[]),
        ("CREATE INDEX tmp_idx ON users (created_at)", &[]),
        ("ALTER INDEX users_lower_email_key SET (fillfactor = 60)", &[]),
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notes_half_idx'::regclass", &[]),
        ("ALTER INDEX notes_half_idx ALTER COLUMN 1 SET STATISTICS 99", &[]),
        ("DROP INDEX events_at_idx", &[]),
        ("COMMENT ON INDEX notes_half_idx IS 'x'; COMMENT ON CONSTRAINT users_email_check ON users IS 'y'", &[]),
        ("ALTER TABLE projects ALTER CONSTRAINT projects_owner_id_fkey DEFERRABLE", &[]),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn types_and_sequences_are_repaired() {
    check(&[
        (
            "DROP MATERIALIZED VIEW mood_counts; ALTER TABLE notes ALTER mood DROP DEFAULT, ALTER mood TYPE text; \
             DROP TYPE mood CASCADE",
            &[],
        ),
        ("ALTER TYPE mood ADD VALUE 'furious'", &["enum.labels:mood"]),
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", &["enum.labels:mood"]),
        ("CREATE TYPE color AS ENUM ('red')", &[]),
        ("ALTER DOMAIN email DROP CONSTRAINT email_check", &[]),
        ("ALTER DOMAIN email SET DEFAULT 'x@y'", &[]),
        ("ALTER DOMAIN email ADD CONSTRAINT long CHECK (length(VALUE) < 100)", &[]),
        ("ALTER TYPE address DROP ATTRIBUTE zip", &[]),
        ("ALTER TYPE address ADD ATTRIBUTE city text", &["attribute.extra:address.city"]),
        ("DROP TYPE spans; CREATE TYPE spans AS RANGE (SUBTYPE = numeric)", &[]),
        ("DROP TYPE spans", &[]),
        ("ALTER SEQUENCE tickets INCREMENT 1 CACHE 10 CYCLE", &[]),
        ("ALTER SEQUENCE users_id_seq INCREMENT 2", &[]),
        ("DROP SEQUENCE tickets", &[]),
        ("CREATE SEQUENCE more", &["sequence.extra:more"]),
        ("ALTER SEQUENCE notes_id_seq OWNED BY NONE", &[]),
        ("GRANT USAGE ON SEQUENCE tickets TO PUBLIC; REVOKE USAGE ON TYPE mood FROM PUBLIC", &[]),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn rare_objects_are_repaired() {
    check(&[
        ("DROP COLLATION plain; CREATE COLLATION other (LOCALE = 'C')", &[]),
        ("DROP CONVERSION latin", &[]),
        ("DROP TEXT SEARCH CONFIGURATION search; DROP TEXT SEARCH DICTIONARY words", &[]),
        (
            "ALTER TEXT SEARCH CONFIGURATION search ALTER MAPPING FOR word WITH simple; \
             ALTER TEXT SEARCH CONFIGURATION search DROP MAPPING FOR email",
            &[],
        ),
        ("DROP OPERATOR ~~~ (mood, mood)", &[]),
        ("DROP FUNCTION alike(mood, mood) CASCADE", &[]),
        ("DROP CAST (address AS text)", &[]),
        ("CREATE PUBLICATION theirs FOR TABLE users", &[]),
        ("DROP TABLE child", &[]),
        ("DROP TABLE base CASCADE", &[]),
        // No statement of the server reverts the ownership by the extension.
        ("ALTER TABLE child NO INHERIT base", &["column.local:child.i", "constraint.local:child.base_i_check"]),
        ("COMMENT ON SCHEMA case11 IS 'x'; GRANT USAGE ON SCHEMA case11 TO PUBLIC", &[]),
    ]);
}

#[test]
#[ignore = "long: make test-long"]
fn routines_views_and_their_dependents_are_repaired() {
    check(&[
        ("CREATE OR REPLACE FUNCTION half(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i / 3'", &[]),
        ("DROP FUNCTION total(bigint)", &[]),
        (
            "DROP FUNCTION total(bigint); CREATE FUNCTION total(t bigint) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0'",
            &[],
        ),
        (
            "DROP FUNCTION total(bigint); CREATE FUNCTION total(task bigint) RETURNS text LANGUAGE sql AS 'SELECT 1'",
            &[],
        ),
        ("CREATE FUNCTION spare() RETURNS int LANGUAGE sql AS 'SELECT 1'", &[]),
        ("DROP FUNCTION touch_updated_at() CASCADE", &[]),
        ("ALTER FUNCTION half(int) SECURITY DEFINER; GRANT EXECUTE ON FUNCTION half(int) TO PUBLIC", &[]),
        ("DROP PROCEDURE forget(text)", &[]),
        ("DROP AGGREGATE product(int)", &[]),
        ("DROP VIEW open_tasks", &[]),
        ("CREATE OR REPLACE VIEW note_count AS SELECT count(*) + 0 AS many FROM note_list", &[]),
        (
            "DROP VIEW note_list CASCADE; CREATE VIEW note_list AS SELECT id, body FROM notes; \
          CREATE VIEW note_count AS SELECT count(*) AS many FROM note_list",
            &[],
        ),
        ("CREATE VIEW tmp AS SELECT id FROM note_list", &[]),
        // It cannot be recreated, so it is not dropped.
        (
            "DROP VIEW open_tasks; ALTER TABLE users RENAME COLUMN full_name TO name; CREATE VIEW open_tasks AS SELECT 1 AS i",
            &["column.extra:users.name", "column.missing:users.full_name", "view.definition:open_tasks"],
        ),
        ("ALTER VIEW note_list SET (security_barrier = true); ALTER VIEW note_list ALTER body SET DEFAULT 'q'", &[]),
        ("DROP MATERIALIZED VIEW mood_counts", &[]),
        (
            "DROP MATERIALIZED VIEW mood_counts; CREATE MATERIALIZED VIEW mood_counts AS SELECT mood, 1 AS many FROM notes",
            &[],
        ),
        ("CREATE MATERIALIZED VIEW old AS SELECT 1 AS i", &["materialized-view.extra:old"]),
        ("DROP TRIGGER users_touch_updated_at ON users", &[]),
        ("ALTER TABLE users DISABLE TRIGGER users_touch_updated_at", &[]),
        (
            "DROP TRIGGER users_touch_updated_at ON users; CREATE TRIGGER users_touch_updated_at AFTER UPDATE ON users \
          FOR EACH STATEMENT EXECUTE FUNCTION touch_updated_at()",
            &[],
        ),
        ("CREATE TRIGGER more BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at()", &[]),
        ("CREATE OR REPLACE RULE keep AS ON DELETE TO note_list DO INSTEAD SELECT 1", &[]),
        ("DROP RULE keep ON note_list; CREATE RULE more AS ON UPDATE TO note_list DO INSTEAD NOTHING", &[]),
        ("ALTER POLICY dear ON notes USING (true); CREATE POLICY more ON notes", &[]),
        ("DROP POLICY dear ON notes; CREATE POLICY dear ON notes AS RESTRICTIVE FOR ALL USING (amount > 10)", &[]),
        ("REVOKE SELECT ON note_list FROM PUBLIC; COMMENT ON VIEW note_list IS NULL", &[]),
    ]);
}

fn repair(db: &Database, args: &[&str]) -> Output {
    db.tenantry(["repair-plan", "acme"]).args(args).run()
}

#[test]
fn matching_tenant_has_an_empty_plan() {
    let db = fleet(&["acme"]);
    let output = repair(&db, &[]);
    assert_eq!(output.stdout, "");
    assert_snapshot!(output, @r"
        --- stderr
        acme matches the reference
        --- exit 0
    ");
    assert_snapshot!(repair(&db, &["--format", "json"]));
}

/// A tenant with differences that a plan can and cannot repair.
const DAMAGE: &str = "
    DROP INDEX acme.tasks_project_id_idx;
    ALTER TABLE acme.tasks DROP CONSTRAINT tasks_title_check;
    UPDATE acme.tasks SET title = '';
    ALTER TABLE acme.users ADD COLUMN phone text;
    ALTER TABLE acme.comments ALTER body TYPE varchar(99);
    ALTER TABLE acme.projects ADD CONSTRAINT projects_name_key UNIQUE (name);
    ALTER TYPE acme.user_role ADD VALUE 'guest';
    DROP VIEW acme.open_tasks;
    CREATE OR REPLACE FUNCTION acme.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    COMMENT ON TABLE acme.users IS 'people';
";

fn damaged() -> Database {
    let db = fleet(&["acme"]);
    db.execute(
        "INSERT INTO acme.users (email, full_name) VALUES ('a@example.com', 'A');
         INSERT INTO acme.projects (owner_id, name) VALUES (1, 'one');
         INSERT INTO acme.tasks (project_id, title) VALUES (1, 'first');",
    );
    db.execute(DAMAGE);
    db
}

#[test]
#[ignore = "long: make test-long"]
fn plan_lists_repairs_and_remaining_differences() {
    let db = damaged();
    let before = db.tenantry(["diff", "acme"]).run().stdout;
    assert_snapshot!(repair(&db, &[]));
    assert_snapshot!(repair(&db, &["--format", "json"]));
    assert_eq!(db.tenantry(["diff", "acme"]).run().stdout, before, "the trial left something behind");
}

#[test]
fn no_verify_skips_the_trial() {
    assert_snapshot!(repair(&damaged(), &["--no-verify"]));
}

#[test]
fn accepted_differences_are_not_repaired() {
    let db = damaged();
    db.execute(
        "CREATE VIEW acme.bodies AS \
         SELECT tasks.id, comments.body FROM acme.comments JOIN acme.tasks ON tasks.id = comments.task_id; \
         COMMENT ON VIEW acme.bodies IS 'ours'",
    );
    // The view prevents the change of the column's type, so it is dropped and created again.
    let accepted = ["column.extra:users.phone", "enum.labels", "constraint.missing", "view.extra:bodies", "*.comment"];
    let args: Vec<&str> = accepted.iter().flat_map(|pattern| ["--ignore", pattern]).collect();
    let plan = repair(&db, &args);
    plan.assert_code(0);
    assert_snapshot!(plan);
    let psql = Tenantry::of_program(binaries().psql().expect("psql"));
    psql.args(["-q", "-v", "ON_ERROR_STOP=1", &db.url()]).stdin(plan.stdout).run().assert_code(0);
    assert_eq!(repair(&db, &args).assert_code(0).stdout, "");
    assert_eq!(db.string("SELECT obj_description('acme.bodies'::regclass)"), "ours");
}

#[test]
#[ignore = "long: make test-long"]
fn locked_object_leaves_the_plan_unverified() {
    let db = fleet(&["acme"]);
    db.execute("ALTER TABLE acme.users DROP CONSTRAINT users_email_check; DROP INDEX acme.tasks_project_id_idx");
    let mut other = db.connect();
    other.batch_execute("BEGIN; SELECT FROM acme.users").unwrap();
    assert_snapshot!(repair(&db, &[]), @r"
        --- stderr
        error: acme: plan not verified: another session holds a lock that this statement needs: ALTER TABLE acme.users ADD CONSTRAINT users_email_check CHECK ((POSITION(('@'::text) IN (email)) > 1))
        hint: run 'tenantry repair-plan acme' again when that session has ended, or add --no-verify
        --- exit 1
    ");
    assert_eq!(repair(&db, &["--format", "json"]).json()["verified"], false);
    repair(&db, &["--no-verify"]).assert_code(0);
    other.batch_execute("COMMIT").unwrap();
    repair(&db, &[]).assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn slow_statement_leaves_the_plan_unverified() {
    let db = fleet(&["acme"]);
    db.execute(
        "INSERT INTO acme.users (email, full_name) VALUES ('a@example.com', 'A'); \
         ALTER TABLE acme.users DROP CONSTRAINT users_email_check",
    );
    let slow = "CREATE FUNCTION wait(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN true; END'; \
                ALTER TABLE users ADD CONSTRAINT users_wait_check CHECK (wait(email)) NOT VALID;";
    let dir = Dir::copy_of_tenant().add("20980101000000_wait", slow);
    // As if the migration had run, except for its slow constraint.
    db.execute(
        "INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('20980101000000'); \
         CREATE FUNCTION acme.wait(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN true; END'; \
         ALTER TABLE acme.users ADD CONSTRAINT users_wait_check CHECK (acme.wait(email)) NOT VALID",
    );
    dir.write("20980101000000_wait/up.sql", slow.replace(" NOT VALID", ""));
    let output = db
        .tenantry(["repair-plan", "acme", "--statement-timeout", "2s", "--tenant-migrations"])
        .arg(dir.path())
        .hide(dir.path().to_string_lossy(), "DIR")
        .run();
    assert_snapshot!(output);
}

#[test]
#[ignore = "long: make test-long"]
fn owners_and_grants_are_repaired() {
    let db = fleet(&["acme", "globex"]);
    let (role, more) = (format!("repair_{}", db.name()), format!("Repair {}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {role}; CREATE ROLE \"{more}\"; \
         ALTER TABLE acme.users OWNER TO {role}; ALTER FUNCTION acme.touch_updated_at() OWNER TO {role}; \
         ALTER VIEW acme.open_tasks OWNER TO {role}; ALTER TYPE acme.user_role OWNER TO {role}; \
         GRANT USAGE ON SCHEMA acme TO {role}; GRANT SELECT, UPDATE ON acme.tasks TO \"{more}\" WITH GRANT OPTION; \
         GRANT SELECT (name) ON acme.projects TO PUBLIC; REVOKE ALL ON FUNCTION acme.touch_updated_at() FROM PUBLIC; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT SELECT ON TABLES TO {role}; \
         ALTER SCHEMA globex OWNER TO {role}; COMMENT ON SCHEMA globex IS 'theirs'; \
         DROP TABLE globex.comments CASCADE"
    ));
    for tenant in ["acme", "globex"] {
        let plan = db.tenantry(["repair-plan", tenant]).run();
        plan.assert_code(0);
        db.execute(&plan.stdout);
        let diff = db.tenantry(["diff", tenant]).run();
        assert_eq!(diff.stdout, "", "{}", plan.stdout);
        // Existing objects keep their owner, and new ones have the expected one.
        assert_eq!(db.count(&format!("SELECT count(*) FROM pg_class WHERE relowner = '{role}'::regrole")), 0);
    }
    db.execute(&format!("DROP OWNED BY {role}, \"{more}\" CASCADE; DROP ROLE {role}, \"{more}\""));
}

#[test]
#[ignore = "long: make test-long"]
fn quoted_names_are_repaired_from_another_tenant() {
    let (db, dir) = (fleet(&[]), Dir::copy_of_tenant().add("20980101000000_odd", ODD));
    let run = |args: &[&str]| db.tenantry(args).arg("--tenant-migrations").arg(dir.path()).run();
    run(&["create", "Order_", "acme"]).assert_code(0);
    db.execute("DROP TABLE \"Order_\".\"Odd \"\"one\" CASCADE; DROP VIEW \"Order_\".open_tasks");
    for args in [&["repair-plan", "Order_"][..], &["repair-plan", "Order_", "--reference", "acme"]] {
        let plan = run(args);
        plan.assert_code(0);
        db.execute(&plan.stdout);
        run(&["diff", "Order_"]).assert_code(0);
        db.execute("DROP TABLE \"Order_\".\"Odd \"\"one\" CASCADE");
    }
}

const ODD: &str = r#"
    CREATE TABLE "Odd ""one" ("a b" bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, "order" text DEFAULT E'it''s \\');
    CREATE INDEX "i 1" ON "Odd ""one" ("order");
    COMMENT ON COLUMN "Odd ""one"."a b" IS E'a -- comment\r\nDROP TABLE users;';
"#;

#[test]
fn tenant_that_cannot_be_compared_is_refused() {
    let db = fleet(&["acme"]);
    assert_snapshot!(db.tenantry(["repair-plan", "nobody"]).run(), @r"
        --- stderr
        error: tenant nobody: not tracked in public.schema_tracker
        hint: 'tenantry create nobody' creates it
        --- exit 3
    ");
    db.execute("INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('29990101000000')");
    assert_snapshot!(repair(&db, &[]), @"
    --- stderr
    error: cannot compare the structure of tenant acme: its ledger records migrations that are not tenant migrations
    hint: run 'tenantry health-check acme' for details, or set another reference with --reference
    --- exit 3
    ");
}
