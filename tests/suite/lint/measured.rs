//! What the rules state about locks, scans and rewrites, measured on the server.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::cases::BASE;
use crate::support::{Database, strings};

/// The effect of a statement on the rows of a table that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Nothing.
    Left,
    /// The rows are read.
    Read,
    /// The rows are rewritten.
    Rewritten,
}

use Rows::{Left, Read, Rewritten};

const EXCLUSIVE: &str = "AccessExclusiveLock";
const SHARE_ROW: &str = "ShareRowExclusiveLock";
const SHARE_UPDATE: &str = "ShareUpdateExclusiveLock";
const SHARE: &str = "ShareLock";

/// Statements, the observed table, the strongest lock on it, and the effect on its rows. SQL before `;;` runs and is
/// committed first.
const MEASURED: &[(&str, &str, &str, Rows)] = &[
    ("CREATE INDEX ON users (name)", "users", SHARE, Read),
    ("DROP INDEX users_email_idx", "users", EXCLUSIVE, Left),
    ("REINDEX TABLE users", "users", SHARE, Read),
    ("ALTER TABLE users ALTER note SET NOT NULL", "users", EXCLUSIVE, Read),
    ("ALTER TABLE users ALTER name SET NOT NULL", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER age SET NOT NULL", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD UNIQUE (email)", "users", EXCLUSIVE, Read),
    ("ALTER TABLE orders ADD UNIQUE USING INDEX orders_total_idx", "orders", EXCLUSIVE, Left),
    ("ALTER TABLE archive ADD PRIMARY KEY (day)", "archive", EXCLUSIVE, Read),
    (
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey;; ALTER TABLE orders ADD PRIMARY KEY USING INDEX orders_total_idx",
        "orders",
        EXCLUSIVE,
        Read,
    ),
    (
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD CHECK (total IS NOT NULL);;
         ALTER TABLE orders ADD PRIMARY KEY USING INDEX orders_total_idx",
        "orders",
        EXCLUSIVE,
        Left,
    ),
    ("ALTER TABLE users ADD EXCLUDE (id WITH =)", "users", EXCLUSIVE, Read),
    ("ALTER TABLE users ADD CHECK (age > 0)", "users", EXCLUSIVE, Read),
    ("ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users VALIDATE CONSTRAINT users_email_check", "users", SHARE_UPDATE, Read),
    ("ALTER TABLE users ADD x int CHECK (x > 0)", "users", EXCLUSIVE, Read),
    ("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users", "orders", SHARE_ROW, Read),
    ("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users", "users", SHARE_ROW, Read),
    ("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID", "orders", SHARE_ROW, Left),
    ("ALTER TABLE orders ADD x bigint REFERENCES users", "orders", EXCLUSIVE, Left),
    ("ALTER TABLE orders ADD x bigint DEFAULT 1 REFERENCES users", "orders", EXCLUSIVE, Read),
    ("ALTER TABLE users ADD d plain;; ALTER DOMAIN plain ADD CHECK (VALUE < 9)", "users", SHARE, Read),
    ("ALTER TABLE users ADD d plain;; ALTER DOMAIN plain ADD CHECK (VALUE < 9) NOT VALID", "users", "", Left),
    ("ALTER TABLE users ADD x int", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD x int NOT NULL DEFAULT 1", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD x timestamptz NOT NULL DEFAULT now()", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD x uuid DEFAULT gen_random_uuid()", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x text DEFAULT made()", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x int GENERATED ALWAYS AS (age * 2) STORED", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x bigserial", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x int GENERATED ALWAYS AS IDENTITY", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x positive", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ADD x plain", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER age TYPE bigint", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER email TYPE varchar(20)", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER email TYPE varchar(80)", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER email TYPE varchar", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER email TYPE text USING email::text", "users", EXCLUSIVE, Left),
    // A constraint and an index that depend on the column's values are rebuilt.
    ("ALTER TABLE users ALTER name TYPE varchar", "users", EXCLUSIVE, Read),
    (
        "ALTER TABLE users DROP CONSTRAINT users_name_check;; ALTER TABLE users ALTER name TYPE varchar",
        "users",
        EXCLUSIVE,
        Left,
    ),
    ("CREATE INDEX ON users (lower(email));; ALTER TABLE users ALTER email TYPE text", "users", EXCLUSIVE, Read),
    (
        "CREATE INDEX ON users (id) WHERE email > 'a';; ALTER TABLE users ALTER email TYPE text",
        "users",
        EXCLUSIVE,
        Read,
    ),
    ("CREATE INDEX ON users (email) WHERE id > 1;; ALTER TABLE users ALTER email TYPE text", "users", EXCLUSIVE, Read),
    ("CREATE INDEX ON users (id) INCLUDE (email);; ALTER TABLE users ALTER email TYPE text", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD UNIQUE (email);; ALTER TABLE users ALTER email TYPE text", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER note TYPE varchar COLLATE \"POSIX\"", "users", EXCLUSIVE, Left),
    (
        "CREATE INDEX ON users (note);; ALTER TABLE users ALTER note TYPE text COLLATE \"POSIX\"",
        "users",
        EXCLUSIVE,
        Read,
    ),
    ("ALTER TABLE users ALTER name TYPE varchar(20)", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER name TYPE text USING lower(name)", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER name TYPE char(90)", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER rate TYPE numeric(9, 2)", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER rate TYPE numeric", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ALTER rate TYPE numeric(9, 4)", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE users ALTER born TYPE timestamptz", "users", EXCLUSIVE, Left),
    (
        "SET LOCAL timezone = 'Europe/Rome'; ALTER TABLE users ALTER born TYPE timestamptz",
        "users",
        EXCLUSIVE,
        Rewritten,
    ),
    ("ALTER TABLE users ADD t timestamp(6);; ALTER TABLE users ALTER t TYPE timestamp", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD t timestamp;; ALTER TABLE users ALTER t TYPE timestamp(3)", "users", EXCLUSIVE, Rewritten),
    (
        "ALTER TABLE users ADD t timestamptz(0);; ALTER TABLE users ALTER t TYPE timestamptz(3)",
        "users",
        EXCLUSIVE,
        Left,
    ),
    ("ALTER TABLE users ADD b varbit(5);; ALTER TABLE users ALTER b TYPE varbit(9)", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users ADD c cidr;; ALTER TABLE users ALTER c TYPE inet", "users", EXCLUSIVE, Left),
    ("CLUSTER users USING users_pkey", "users", EXCLUSIVE, Rewritten),
    ("ALTER TABLE orders SET UNLOGGED", "orders", EXCLUSIVE, Rewritten),
    ("REFRESH MATERIALIZED VIEW totals", "totals", EXCLUSIVE, Rewritten),
    (
        "ALTER TABLE events ATTACH PARTITION archive FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
        "archive",
        EXCLUSIVE,
        Read,
    ),
    (
        "ALTER TABLE events ATTACH PARTITION archive FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
        "events",
        SHARE_UPDATE,
        Left,
    ),
    (
        "ALTER TABLE events ATTACH PARTITION bounded FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
        "bounded",
        EXCLUSIVE,
        Left,
    ),
    (
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
        "events",
        EXCLUSIVE,
        Left,
    ),
    ("ALTER TABLE events DETACH PARTITION events_1", "events", EXCLUSIVE, Left),
    ("LOCK TABLE users", "users", EXCLUSIVE, Left),
    ("ALTER TABLE users RENAME TO people", "people", EXCLUSIVE, Left),
    ("ALTER TABLE users SET (fillfactor = 90)", "users", SHARE_UPDATE, Left),
    ("ALTER TABLE users ALTER age SET STATISTICS 9", "users", SHARE_UPDATE, Left),
    ("ALTER TABLE users CLUSTER ON users_pkey", "users", SHARE_UPDATE, Left),
    ("ALTER TABLE users DISABLE TRIGGER ALL", "users", SHARE_ROW, Left),
];

const ROWS: &str = "
    INSERT INTO users (id, email, name, age, rate) SELECT n, n, n, n, 1 FROM generate_series(1, 100) AS n;
    UPDATE users SET note = 'x';
    INSERT INTO orders (id, user_id, total) SELECT n, n, n FROM generate_series(1, 100) AS n;
    INSERT INTO archive VALUES ('2021-05-05'), ('2021-05-06');
    INSERT INTO bounded VALUES ('2022-05-05');
";

#[test]
#[ignore = "long: make test-long"]
fn measured_locks_scans_and_rewrites_match_the_rules() {
    let db = Database::new();
    let mut conn = db.connect();
    let mut wrong = Vec::new();
    for &(sql, table, lock, rows) in MEASURED {
        let (before, sql) = sql.split_once(";;").unwrap_or(("", sql));
        conn.batch_execute(&format!("CREATE SCHEMA acme; SET search_path = acme; {BASE}; {ROWS}; {before}"))
            .expect("the base");
        let measured = measure(&mut conn, sql, table);
        conn.batch_execute("DROP SCHEMA acme CASCADE").expect("dropped");
        if measured != (lock.to_owned(), rows) {
            wrong.push(format!("{measured:?} and not {lock} {rows:?} of {table}, from: {sql}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The strongest lock on a table after a statement, and the effect on its rows.
fn measure(conn: &mut PgConnection, sql: &str, table: &str) -> (String, Rows) {
    let oid = |conn: &mut PgConnection| strings(conn, &format!("SELECT to_regclass('{table}')::oid")).remove(0);
    // Within the transaction, the counts have not been flushed to the shared statistics.
    conn.batch_execute("BEGIN").expect("a transaction");
    // If the statement renames the table, the old name exists before it.
    let before = Some(oid(conn)).filter(|oid| oid != "NULL").map(|oid| (file(conn, &oid), scans(conn, &oid)));
    if let Err(error) = conn.batch_execute(sql) {
        conn.batch_execute("ROLLBACK").expect("rolled back");
        return (error.to_string(), Left);
    }
    let oid = oid(conn);
    const STRENGTHS: [&str; 4] = [SHARE_UPDATE, SHARE, SHARE_ROW, EXCLUSIVE];
    let held = strings(
        conn,
        &format!(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND granted AND locktype = 'relation' AND relation = {oid}"
        ),
    );
    let strongest = STRENGTHS.iter().rev().find(|mode| held.iter().any(|it| it == *mode)).copied().unwrap_or_default();
    let after = (file(conn, &oid), scans(conn, &oid));
    conn.batch_execute("ROLLBACK").expect("rolled back");
    let rows = match before {
        Some((file, _)) if file != after.0 => Rewritten,
        Some((_, scans)) if scans < after.1 => Read,
        _ => Left,
    };
    (strongest.to_owned(), rows)
}

/// The file of a table.
fn file(conn: &mut PgConnection, oid: &str) -> String {
    strings(conn, &format!("SELECT pg_relation_filenode({oid})")).remove(0)
}

/// How often the session has scanned a table or one of its indexes, including scans not yet reported to the statistics.
fn scans(conn: &mut PgConnection, oid: &str) -> i64 {
    let sql = format!(
        "SELECT coalesce(pg_stat_get_xact_numscans({oid}), 0)
              + coalesce((SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index WHERE indrelid = {oid}), 0)"
    );
    strings(conn, &sql).remove(0).parse().expect("a number")
}
