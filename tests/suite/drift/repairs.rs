//! How many drifted tenants `repair-plan --allow-data-loss` repairs completely.
//!
//! Each pair is the base and a tenant of it with rows, to which 1 to 4 random changes were made. The plan runs through
//! `psql`. Then the tenant must differ only in what the plan reports as left, each row must still exist unless a
//! `-- data loss:` comment names its table, and nothing outside the tenant's schema may have changed.
//!
//! `TENANTRY_SEED` chooses the changes, `TENANTRY_PAIRS` how many pairs there are. `TENANTRY_REPORT` names a file for the
//! pairs that are not repaired completely.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use diesel::connection::SimpleConnection;
use serde_json::Value;

use super::mutations::{self, Change, Message};
use super::{MIGRATIONS, base, diff, differences, in_parallel, make_roles_and_tablespace, migrations};
use crate::support::{Database, Output, Tenantry, binaries, exhaustive};

/// How many pairs there are by default. Of all of them, two failures do not exceed what [`COMPLETE`] allows, but three do.
fn default_pairs() -> usize {
    exhaustive::choose(200, 40)
}

/// The seed by default.
const SEED: u64 = 20_260_101;

/// How many pairs must be repaired completely, of how many. For the others, the rows or another change forbid it.
const COMPLETE: (usize, usize) = (395, 400);

/// Changes that no plan can repair, with the reason. All others are repaired.
const NOT_REPAIRABLE: [(&str, &str); 2] = [
    (
        "an extension in the schema",
        "the change writes to the catalog: plpgsql is not relocatable, and to drop it would drop the functions of other schemas",
    ),
    (
        "the schema has a security label",
        "SECURITY LABEL requires the label's provider, which is not loaded, and a plan does not drop the tenant's schema",
    ),
];

/// Rows in the tables of the tenant that is repaired.
const ROWS: &str = "
    INSERT INTO users (email, name, nickname, mood, score, karma, age, home, contact, tags, prefs, bio)
        SELECT 'u' || i || '@example.com', 'user ' || i, 'nick' || i, (ARRAY['sad', 'ok', 'happy'])[i % 3 + 1]::mood,
            i, i * 2, i + 20, ROW('street ' || i, 'town', '1000' || i)::address, 'c' || i || '@example.com',
            ARRAY['a', 'b' || i], jsonb_build_object('n', i), repeat('x', i)
        FROM generate_series(1, 9) i;
    INSERT INTO teams (name, slug, owner_id, size) SELECT 'team ' || i, 'team-' || i, i, i FROM generate_series(1, 4) i;
    INSERT INTO memberships (user_id, team_id) SELECT i, 100 + 5 * (i % 4) FROM generate_series(1, 9) i;
    INSERT INTO orders (placed_by, priority, discount, price, prices, note)
        SELECT i, (ARRAY['low', 'normal', 'elevated', 'high'])[i % 4 + 1]::priority, i, i * 10.5,
            price_range(i, i + 1), 'note ' || i
        FROM generate_series(1, 8) i;
    INSERT INTO bookings VALUES
        (1, 1, '[2026-01-01, 2026-01-02)', time_range('08:00', '10:00')),
        (2, 1, '[2026-02-01, 2026-02-02)', NULL);
    INSERT INTO logs (level, message) VALUES ('info', 'one'), ('warning', 'two');
    INSERT INTO people VALUES (1, 'Ann', '1990-01-01');
    INSERT INTO staff VALUES (2, 'Bob', '1991-01-01', 100);
    INSERT INTO robots VALUES (3, 'Rob', NULL, 80, 'mark 1');
    INSERT INTO things VALUES (3.5);
    INSERT INTO places VALUES (1, 'here', 'ok');
    INSERT INTO events SELECT i, date '2025-06-01' + i * 10, 'visit', i, i FROM generate_series(1, 3) i;
    INSERT INTO events VALUES (2, '2024-01-01', 'old', 1, 5);
    INSERT INTO regions VALUES ('NO', 'north'), ('it', 'south'), ('es', 'south');
    INSERT INTO readings (sensor, taken_at, value, note, position, raw)
        SELECT i, timestamp '2026-01-01' + i * interval '1 hour', i, 'note ' || i, point(i, i), 'raw ' || i
        FROM generate_series(1, 5) i;
    INSERT INTO documents VALUES (1, 'ann', 'title', 'body'), (2, 'bob', 'other', 'text');
    INSERT INTO notes VALUES (1, 'ann', 'note');
    INSERT INTO cache VALUES ('key', '\\x01');
    INSERT INTO preferences (value) VALUES ('dark');
";

/// A table of every row of the tenant, with its table. Rows of a partition count as rows of its topmost parent.
const REMEMBER: &str = r"
    CREATE SCHEMA rows_of;
    CREATE FUNCTION rows_of.all(OUT t text, OUT rec jsonb) RETURNS SETOF record LANGUAGE plpgsql AS $$
    DECLARE which record;
    BEGIN
        FOR which IN SELECT oid, relname, relkind FROM pg_class
            WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'acme')
            AND relkind IN ('r', 'p') AND NOT relispartition
        LOOP
            RETURN QUERY EXECUTE format('SELECT %L::text, to_jsonb(x) FROM %s acme.%I x', which.relname,
                CASE which.relkind WHEN 'r' THEN 'ONLY' ELSE '' END, which.relname);
        END LOOP;
    END $$;
    CREATE TABLE rows_of.before AS SELECT * FROM rows_of.all();
    CREATE FUNCTION rows_of.computed() RETURNS TABLE (t text, k text) LANGUAGE sql AS $$
        SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'acme') AND attgenerated <> ''
    $$;
    CREATE TABLE rows_of.computed_before AS SELECT * FROM rows_of.computed();
    CREATE FUNCTION rows_of.outside() RETURNS SETOF text LANGUAGE sql AS $$
        SELECT format('%s %s', c.oid::regclass, c.relkind) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE nspname <> 'acme' AND nspname !~ '^(pg_|rows_of)'
        UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
            WHERE nspname <> 'acme' AND nspname !~ '^(pg_|rows_of)'
        UNION ALL SELECT t.oid::regtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
            WHERE nspname <> 'acme' AND nspname !~ '^(pg_|rows_of)'
        UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
            JOIN pg_namespace n ON n.oid = connamespace WHERE nspname <> 'acme' AND nspname !~ '^(pg_|rows_of)'
        UNION ALL SELECT format('%s %s', tgrelid::regclass, tgname) FROM pg_trigger
            JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
            WHERE nspname <> 'acme' AND NOT tgisinternal
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'
        UNION ALL SELECT rolname FROM pg_roles UNION ALL SELECT extname FROM pg_extension
        UNION ALL SELECT pubname FROM pg_publication
    $$;
    CREATE TABLE rows_of.things_outside AS SELECT * FROM rows_of.outside() AS o(what);
";

/// The tables whose rows have changed in the columns that still exist. An attribute added to a composite type is null
/// in the rows. Values of a generated column change if its expression was repaired.
const CHANGED: &str = r"
    WITH after AS MATERIALIZED (SELECT * FROM rows_of.all()),
    keys AS (
        (SELECT DISTINCT t, jsonb_object_keys(rec) AS k FROM rows_of.before)
        INTERSECT (SELECT DISTINCT t, jsonb_object_keys(rec) FROM after)
        EXCEPT (TABLE rows_of.computed_before INTERSECT SELECT * FROM rows_of.computed())
    ),
    of_before AS (SELECT t, (SELECT jsonb_object_agg(k, jsonb_strip_nulls(rec) ->> k) FROM keys WHERE keys.t = b.t)::text AS rec
                  FROM rows_of.before b),
    of_after AS (SELECT t, (SELECT jsonb_object_agg(k, jsonb_strip_nulls(rec) ->> k) FROM keys WHERE keys.t = a.t)::text AS rec
                 FROM after a)
    SELECT DISTINCT t FROM ((TABLE of_before EXCEPT ALL TABLE of_after) UNION ALL (TABLE of_after EXCEPT ALL TABLE of_before)) x
    ORDER BY 1
";

/// A column that existed and had a value in some row, and no longer exists.
const GONE: &str = r"
    SELECT DISTINCT t || '.' || k FROM rows_of.before, jsonb_each(rec) AS e(k, v) WHERE v <> 'null'
    EXCEPT SELECT t || '.' || k FROM rows_of.all() a, jsonb_object_keys(rec) k
    ORDER BY 1
";

const OUTSIDE: &str = "
    (SELECT what FROM rows_of.things_outside EXCEPT ALL SELECT * FROM rows_of.outside())
    UNION ALL (SELECT * FROM rows_of.outside() EXCEPT ALL SELECT what FROM rows_of.things_outside)
";

/// Changes with rows, in addition to the single changes of the `diff` tests.
fn with_rows() -> Vec<Change> {
    [
        (
            "an extra table with rows and a foreign key",
            "CREATE TABLE acme.extra_orders (id serial PRIMARY KEY, of_user bigint REFERENCES acme.users, what acme.mood); \
             INSERT INTO acme.extra_orders (of_user, what) VALUES (1, 'ok'), (2, 'sad')",
        ),
        (
            "an extra table that a view and a function read",
            "CREATE TABLE acme.scratch AS SELECT id, name FROM acme.users; \
             CREATE VIEW acme.scratch_names AS SELECT name FROM acme.scratch; \
             CREATE FUNCTION acme.scratch_of(acme.scratch) RETURNS text LANGUAGE sql AS 'SELECT ($1).name'",
        ),
        ("a number as text", "ALTER TABLE acme.readings ALTER COLUMN sensor TYPE text USING 's' || sensor"),
        ("a text that was cut", "ALTER TABLE acme.orders ALTER COLUMN note TYPE text USING repeat(note, 40)"),
        ("text as json", "ALTER TABLE acme.readings ALTER COLUMN raw TYPE jsonb USING jsonb_build_object('raw', raw)"),
        ("a time as text", "ALTER TABLE acme.logs ALTER at DROP DEFAULT, ALTER at TYPE text USING 'at ' || at"),
        ("a renamed column with rows", "ALTER TABLE acme.documents RENAME COLUMN body TO content"),
        ("two renamed columns", "ALTER TABLE acme.teams RENAME size TO members; ALTER TABLE acme.teams RENAME motto TO words"),
        ("a renamed table with rows", "ALTER TABLE acme.documents RENAME TO papers"),
        ("an extra column with rows", "ALTER TABLE acme.users ADD COLUMN phone text NOT NULL DEFAULT '123'"),
        (
            "an extra column that a view reads",
            "ALTER TABLE acme.teams ADD COLUMN colour text DEFAULT 'red'; \
             CREATE VIEW acme.colours AS SELECT name, colour FROM acme.teams",
        ),
        (
            "an extra label that rows have",
            "ALTER TYPE acme.mood ADD VALUE 'furious'; COMMIT; UPDATE acme.users SET mood = 'furious' WHERE score > 6",
        ),
        ("a renamed label", "ALTER TYPE acme.priority RENAME VALUE 'elevated' TO 'raised'"),
        ("a label of another name in the middle", "ALTER TYPE acme.priority ADD VALUE 'tiny' BEFORE 'low'"),
        (
            "labels in another order",
            "ALTER TABLE acme.orders ALTER priority DROP DEFAULT, ALTER priority TYPE text; DROP TYPE acme.priority; \
             CREATE TYPE acme.priority AS ENUM ('high', 'low', 'normal', 'elevated'); \
             ALTER TABLE acme.orders ALTER priority TYPE acme.priority USING priority::acme.priority, \
             ALTER priority SET DEFAULT 'normal'",
        ),
        (
            "a partitioned table as a plain one",
            "CREATE TABLE acme.plain_regions AS SELECT * FROM acme.regions; DROP TABLE acme.regions; \
             ALTER TABLE acme.plain_regions RENAME TO regions; ALTER TABLE acme.regions ALTER code SET NOT NULL",
        ),
        (
            "a plain table as a partitioned one",
            "CREATE TABLE acme.parts (LIKE acme.readings) PARTITION BY RANGE (sensor); \
             CREATE TABLE acme.parts_all PARTITION OF acme.parts DEFAULT; INSERT INTO acme.parts TABLE acme.readings; \
             DROP TABLE acme.readings; ALTER TABLE acme.parts RENAME TO readings",
        ),
        ("an identity column without its identity", "ALTER TABLE acme.users ALTER id DROP IDENTITY"),
        ("a column that becomes an identity", "ALTER TABLE acme.people ALTER id ADD GENERATED ALWAYS AS IDENTITY"),
        ("a serial column's sequence is missing", "ALTER TABLE acme.logs ALTER id DROP DEFAULT; DROP SEQUENCE acme.logs_id_seq"),
        ("a computed column that is a plain one", "ALTER TABLE acme.users ALTER COLUMN label DROP EXPRESSION"),
        (
            "a chain of views over other columns",
            "DROP VIEW acme.big_teams; DROP VIEW acme.team_sizes; \
             CREATE VIEW acme.team_sizes AS SELECT slug, size FROM acme.teams; \
             CREATE VIEW acme.big_teams AS SELECT slug FROM acme.team_sizes WHERE size > 1; \
             CREATE VIEW acme.huge_teams AS SELECT slug FROM acme.big_teams",
        ),
        (
            "a materialized view too many, of an extra column",
            "ALTER TABLE acme.orders ADD COLUMN extra int DEFAULT 4; \
             CREATE MATERIALIZED VIEW acme.extras AS SELECT number, extra FROM acme.orders",
        ),
        (
            "an operator class too many",
            "CREATE OPERATOR CLASS acme.other_ops FOR TYPE integer USING btree AS OPERATOR 1 <, OPERATOR 2 <=, \
             OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(integer, integer); \
             CREATE INDEX other_idx ON acme.readings (sensor acme.other_ops)",
        ),
        (
            "an unexpected base type that a column has",
            "CREATE TYPE acme.code; \
             CREATE FUNCTION acme.code_in(cstring) RETURNS acme.code LANGUAGE internal IMMUTABLE STRICT AS 'textin'; \
             CREATE FUNCTION acme.code_out(acme.code) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'; \
             CREATE TYPE acme.code (INPUT = acme.code_in, OUTPUT = acme.code_out, LIKE = text); \
             ALTER TABLE acme.logs ADD COLUMN code acme.code DEFAULT 'x'",
        ),
        ("a sequence too many", "CREATE SEQUENCE acme.more; SELECT nextval('acme.more')"),
        ("an attribute that rows have is missing", "ALTER TYPE acme.address DROP ATTRIBUTE city CASCADE"),
        ("a column of a composite type has more", "ALTER TYPE acme.address ADD ATTRIBUTE country text"),
        ("a column was dropped and another added", "ALTER TABLE acme.people DROP COLUMN birthday CASCADE; ALTER TABLE acme.people ADD COLUMN born int DEFAULT 3"),
        ("odd names", r#"CREATE TABLE acme."Odd ""Table" ("a b" int, "ünï" text); INSERT INTO acme."Odd ""Table" VALUES (1, 'x'); CREATE INDEX "odd
line" ON acme."Odd ""Table" ("a b")"#),
        ("a table with a column of another's row type", "CREATE TABLE acme.copies (u acme.teams); INSERT INTO acme.copies SELECT t FROM acme.teams t"),
    ]
    .into_iter()
    .map(|(what, sql)| Change {
        what,
        messages: sql.split(" COMMIT;").map(|sql| Message { sql: leak(sql), refused: false }).collect(),
        expected: Vec::new(),
        in_dump: true,
        since: 0,
    })
    .collect()
}

fn leak(sql: &str) -> &'static str {
    sql.to_owned().leak()
}

/// The random numbers of a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("below a usize")
    }
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The result of a pair.
struct Outcome {
    /// Whether the tenant matches the reference afterwards.
    complete: bool,
    /// The problems that the plan caused; empty if there are none.
    wrong: String,
    report: String,
}

#[test]
#[ignore = "long: make test-long"]
fn random_drift_is_repaired_with_data_loss_allowed() {
    let seed = setting("TENANTRY_SEED").unwrap_or(SEED);
    let pairs = setting("TENANTRY_PAIRS")
        .map_or_else(default_pairs, |pairs| usize::try_from(pairs).expect("a number of pairs"));
    let changes: Vec<Change> = changes().into_iter().filter(|change| !is_excluded(change)).collect();
    let own = changes.len() - with_rows().len();
    let mut random = Random(seed);
    let pairs: Vec<Vec<&Change>> = (0..pairs)
        .map(|_| {
            let many = 1 + random.below(4);
            // Every third change is one of those with rows.
            let mut one = || match random.below(3) {
                0 => own + random.below(changes.len() - own),
                _ => random.below(own),
            };
            let chosen: BTreeSet<usize> = (0..many).map(|_| one()).collect();
            chosen.into_iter().map(|index| &changes[index]).collect()
        })
        .collect();
    let (complete, left) = repair_all(&pairs);
    let score = format!("repair-plan: {complete} of {} pairs repaired completely (TENANTRY_SEED={seed})", pairs.len());
    // println! shows it for failed tests only.
    writeln!(std::io::stderr(), "{score}").expect("the score can be printed");
    assert!(complete * COMPLETE.1 >= pairs.len() * COMPLETE.0, "{score}\n{left}");
}

#[test]
#[ignore = "long: make test-long"]
fn each_change_alone_is_repaired_with_data_loss_allowed() {
    let changes = changes();
    let (excluded, changes): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| is_excluded(change));
    let changes: Vec<&Change> = changes.into_iter().step_by(exhaustive::step(8)).collect();
    let (complete, left) = repair_all(&alone(&changes));
    assert_eq!(complete, changes.len(), "{left}");
    let (complete, _) = repair_all(&alone(&excluded));
    assert_eq!((excluded.len(), complete), (NOT_REPAIRABLE.len(), 0), "a plan repairs what NOT_REPAIRABLE excludes");
}

/// The changes that `TENANTRY_CHANGES` names, separated by ` + ` as in a report, and otherwise some that no statement
/// repairs in place.
#[test]
#[ignore = "long: make test-long"]
fn objects_that_cannot_be_changed_are_recreated() {
    const RECREATED: &str =
        "a base type's category + a column has a security label + an unexpected base type that a column has";
    let changes = changes();
    let named = |name: &str| {
        changes.iter().find(|change| change.what == name).unwrap_or_else(|| panic!("there is no change {name:?}"))
    };
    let names = env::var("TENANTRY_CHANGES").unwrap_or_else(|_| RECREATED.to_owned());
    let (complete, left) = repair_all(&[names.split(" + ").map(named).collect()]);
    assert_eq!(complete, 1, "{left}");
}

fn alone<'a>(changes: &[&'a Change]) -> Vec<Vec<&'a Change>> {
    changes.iter().map(|change| vec![*change]).collect()
}

/// All changes that the server can make.
fn changes() -> Vec<Change> {
    let fits = |change: &Change| change.since <= binaries().major();
    mutations::all().into_iter().chain(with_rows()).filter(fits).collect()
}

fn is_excluded(change: &Change) -> bool {
    NOT_REPAIRABLE.iter().any(|(what, _)| *what == change.what)
}

/// Repairs a tenant after each list of changes. Returns how many were repaired completely, and a report on the others.
/// Panics if a plan is wrong.
fn repair_all(pairs: &[Vec<&Change>]) -> (usize, String) {
    make_roles_and_tablespace();
    let base = base(&["acme", "globex"]);
    base.execute(&format!("SET search_path TO acme; {ROWS}"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let saved = folder.path().join("reference.json");
    base.tenantry(["reference", "--output"]).arg(&saved).env(MIGRATIONS, migrations()).run().assert_code(0);
    let outcomes = in_parallel(pairs, |changes| repair(&base, changes, &saved));
    let complete = outcomes.iter().filter(|outcome| outcome.complete).count();
    let left: String =
        outcomes.iter().filter(|outcome| !outcome.complete).map(|outcome| outcome.report.as_str()).collect();
    if let Ok(file) = env::var("TENANTRY_REPORT") {
        std::fs::write(file, &left).expect("the report can be written");
    }
    let wrong: String = outcomes.iter().map(|outcome| outcome.wrong.as_str()).collect();
    assert!(wrong.is_empty(), "{complete} of {} pairs repaired completely\n{wrong}", pairs.len());
    (complete, left)
}

fn repair(base: &Database, changes: &[&Change], reference: &Path) -> Outcome {
    let db = base.copy();
    let mut session = db.connect();
    for message in changes.iter().flat_map(|change| &change.messages) {
        // After another change, a change may be refused, and then has no effect.
        let _ = session.batch_execute(message.sql);
        let _ = session.batch_execute("ROLLBACK");
    }
    drop(session);
    db.execute(REMEMBER);
    let what: Vec<&str> = changes.iter().map(|change| change.what).collect();
    let plan = db
        .tenantry(["repair-plan", "acme", "--allow-data-loss", "--reference"])
        .arg(reference)
        .env(MIGRATIONS, migrations())
        .run();
    let mut wrong = problems(&db, &plan);
    let after = diff(&db, "acme", Some(reference));
    let still = match differences(&after) {
        Ok(differences) => differences.iter().map(named).collect(),
        Err(why) => vec![why],
    };
    if plan.stderr.matches("warning: ").count() != still.len() {
        let _ = writeln!(wrong, "  left in fact: {still:?}");
    }
    let sql: Vec<&str> = changes.iter().flat_map(|change| &change.messages).map(|message| message.sql).collect();
    let report = format!(
        "=== {}\n{}\n--- left: {still:?}\n{}\n{}\n",
        what.join(" + "),
        sql.join(";\n"),
        plan.stderr,
        plan.stdout
    );
    if !wrong.is_empty() {
        wrong = format!("{report}--- wrong:\n{wrong}\n");
    }
    Outcome { complete: still.is_empty(), wrong, report }
}

fn named(difference: &Value) -> String {
    format!("{}:{}", difference["code"], difference["name"])
}

/// The old and the new name of a label, if a line of the plan renames it.
fn renamed_label(line: &str) -> Option<(&str, &str)> {
    let (new, old) =
        line.strip_prefix("-- assumption: label '")?.strip_suffix('\'')?.split_once("' was renamed to '")?;
    Some((old, new))
}

/// The parent and the partition, if a line of the plan attaches a partition.
fn attached_partition(line: &str) -> Option<(&str, &str)> {
    let names = line.strip_prefix("ALTER TABLE acme.")?;
    let (parent, rest) = names.split_once(" ATTACH PARTITION acme.")?;
    Some((parent, rest.split_whitespace().next()?))
}

/// The names of two tables, if a line of the plan reports that they were swapped.
fn swapped_tables(line: &str) -> Option<(&str, &str)> {
    let names = line.strip_prefix("-- assumption: tables ")?.strip_suffix(" were swapped")?;
    names.split_once(" and ")
}

/// Runs the plan, and returns the problems that it caused.
fn problems(db: &Database, plan: &Output) -> String {
    let mut wrong = String::new();
    if plan.code.is_none_or(|code| code > 1) {
        let _ = writeln!(wrong, "  the exit code is {:?}", plan.code);
    }
    let psql = Tenantry::of_program(binaries().psql().expect("psql"));
    let run = psql.args(["-q", "-v", "ON_ERROR_STOP=1", &db.url()]).stdin(plan.stdout.clone()).run();
    if run.code != Some(0) {
        let _ = writeln!(wrong, "  psql: {}", run.stderr);
    }
    for (old, new) in plan.stdout.lines().filter_map(renamed_label) {
        db.execute(&format!(
            r#"UPDATE rows_of.before SET rec = replace(rec::text, '"{old}"', '"{new}"')::jsonb WHERE rec::text LIKE '%"{old}"%'"#
        ));
    }
    // The rows of an attached partition then count as rows of its parent.
    for (parent, partition) in plan.stdout.lines().filter_map(attached_partition) {
        db.execute(&format!("UPDATE rows_of.before SET t = '{parent}' WHERE t = '{partition}'"));
    }
    for (one, other) in plan.stdout.lines().filter_map(swapped_tables) {
        db.execute(&format!(
            "UPDATE rows_of.before SET t = CASE t WHEN '{one}' THEN '{other}' ELSE '{one}' END WHERE t IN ('{one}', '{other}')"
        ));
    }
    let comments = plan.stdout.lines().filter(|line| line.starts_with("-- data loss: "));
    let lost: Vec<String> = comments.map(|line| line.replace("\"\"", "\"")).collect();
    let renamed = |table: &str| {
        plan.stdout
            .lines()
            .any(|line| line.starts_with("ALTER TABLE") && line.contains(" RENAME ") && line.contains(table))
    };
    for table in db.strings(CHANGED) {
        if !lost.iter().any(|line| line.contains(&table)) && !renamed(&table) {
            let _ = writeln!(wrong, "  rows of {table} have changed, and no comment reports it");
        }
    }
    for column in db.strings(GONE) {
        let (table, name) = column.split_once('.').expect("a table and a column");
        let named =
            |line: &str| line.contains(table) && line.contains(name) || line.contains(&format!("rows of {table}"));
        if !lost.iter().any(|line| named(line) || line.contains(table)) && !renamed(name) && !renamed(table) {
            let _ = writeln!(wrong, "  the column {column} is lost, and no comment reports it");
        }
    }
    for object in db.strings(OUTSIDE) {
        let _ = writeln!(wrong, "  changed outside the tenant's schema: {object}");
    }
    wrong
}
