//! The schemas of a benchmark. They have names and a comment of their own, an advisory lock shows that they are in use, and
//! they are dropped afterwards.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use crate::model::SchemaName;
use crate::sql::quote::{Identifier, Literal};

/// The prefix of such names. The token of the run, 32 hexadecimal digits, and a number follow.
const PREFIX: &str = "tenantry_benchmark_";

/// The comment of such a schema. It never changes, so that a later release still finds the schema.
const COMMENT: &str = "tenantry: a schema of a benchmark; it is dropped again";

/// The number of schemas that one transaction creates or drops.
const BATCH: usize = 50;

/// The rows of each table.
pub(super) const ROWS: u32 = 1_000;

/// The schemas of a run, each with a table `items`.
pub(super) struct BenchmarkSchemas {
    token: String,
    pub(super) names: Vec<SchemaName>,
}

impl BenchmarkSchemas {
    /// The names of this many schemas, which do not exist yet. Locks their token until the session ends.
    pub(super) fn reserve(conn: &mut PgConnection, many: usize) -> QueryResult<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        conn.batch_execute(&format!("SELECT pg_catalog.pg_advisory_lock({})", key(&token)))?;
        let name = |number: usize| format!("{PREFIX}{token}_{number}").parse().expect("a name of fewer than 63 bytes");
        Ok(Self { names: (0..many).map(name).collect(), token })
    }

    /// Creates the next schemas, in one transaction. Returns `false` if all exist.
    pub(super) fn create_next(&self, conn: &mut PgConnection, made: &mut usize) -> QueryResult<bool> {
        let next = &self.names[*made..(*made + BATCH).min(self.names.len())];
        let create: String = next.iter().map(create).collect();
        conn.batch_execute(&format!("BEGIN; {create} COMMIT;"))?;
        *made += next.len();
        Ok(*made < self.names.len())
    }

    /// Drops the schemas that exist.
    pub(super) fn drop(&self, conn: &mut PgConnection) -> QueryResult<()> {
        conn.batch_execute("ROLLBACK")?;
        drop_all(conn, &self.token)
    }
}

fn create(name: &SchemaName) -> String {
    let schema = Identifier::from(name);
    format!(
        "CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS {comment}; \
         CREATE TABLE {schema}.items (id bigint PRIMARY KEY, label text NOT NULL); \
         INSERT INTO {schema}.items SELECT n, 'item' FROM pg_catalog.generate_series(1, {ROWS}) AS n;",
        comment = Literal(COMMENT),
    )
}

/// The key of the lock of a run. It differs from the keys of tenants.
fn key(token: &str) -> String {
    format!(
        "pg_catalog.hashtextextended({}::pg_catalog.text, 0::bigint)",
        Literal(&format!("tenantry benchmark:{token}"))
    )
}

/// Drops the schemas of a run in batches.
fn drop_all(conn: &mut PgConnection, token: &str) -> QueryResult<()> {
    loop {
        let names = existing(conn, &format!("{PREFIX}{token}_"))?;
        if names.is_empty() {
            return Ok(());
        }
        let drops: String = names
            .iter()
            .take(BATCH)
            .map(|name| format!("DROP SCHEMA IF EXISTS {} CASCADE;", Identifier::of_object(name)))
            .collect();
        conn.batch_execute(&format!("BEGIN; SET LOCAL client_min_messages TO warning; {drops} COMMIT;"))?;
    }
}

/// The schemas with this beginning and the comment of a benchmark that this role owns.
fn existing(conn: &mut PgConnection, beginning: &str) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT n.nspname::pg_catalog.text AS name FROM pg_catalog.pg_namespace n \
         JOIN pg_catalog.pg_description d ON d.classoid = 2615 AND d.objoid = n.oid AND d.description = $1 \
         WHERE pg_catalog.starts_with(n.nspname::pg_catalog.text, $2) \
         AND pg_catalog.pg_has_role(current_user, n.nspowner, 'USAGE') ORDER BY 1",
    )
    .bind::<Text, _>(COMMENT)
    .bind::<Text, _>(beginning)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Drops the schemas of earlier runs that were killed: those whose lock no session holds.
pub(super) fn sweep(conn: &mut PgConnection) -> QueryResult<()> {
    let token = |name: &String| {
        let token = name.strip_prefix(PREFIX)?.split('_').next()?;
        (token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| token.to_owned())
    };
    let mut tokens: Vec<String> = existing(conn, PREFIX)?.iter().filter_map(token).collect();
    tokens.dedup();
    for token in tokens {
        let free = sql::<Bool>(&format!("pg_catalog.pg_try_advisory_lock({})", key(&token)));
        if diesel::select(free).get_result(conn)? {
            drop_all(conn, &token)?;
            conn.batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({})", key(&token)))?;
        }
    }
    Ok(())
}
