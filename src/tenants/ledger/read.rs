//! Reading ledgers, many in one transaction.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::Text;

use super::definition;
use crate::model::SchemaName;
use crate::postgres::{CHUNK, ServerMessage};

/// The contents of a ledger that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerContents {
    /// The versions, sorted.
    Versions(Vec<String>),
    /// The ledger cannot be used, for a reason such as "it is a view".
    Invalid(String),
}

impl LedgerContents {
    /// The versions, if the ledger is valid.
    pub(crate) fn into_versions(self) -> Option<Vec<String>> {
        match self {
            Self::Versions(versions) => Some(versions),
            Self::Invalid(_) => None,
        }
    }
}

/// The largest number of versions in a valid ledger.
const MAX_VERSIONS: i64 = 10_000;

/// The largest size of a version in bytes. Diesel's column takes 50 characters.
const MAX_VERSION_BYTES: usize = 200;

/// The setting of the transaction that holds what [`collect`] has read, as JSON: a [`LedgerRows`] for each ledger.
const COLLECTED: &str = "tenantry.ledgers";

/// Reads one ledger. Must not be called in a transaction.
///
/// # Errors
/// As [`read_chunk`].
pub(crate) fn read_one(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<LedgerContents> {
    Ok(read_chunk(conn, &[schema])?.pop().unwrap_or_else(|| LedgerContents::Versions(Vec::new())))
}

/// Reads at most [`CHUNK`] ledgers in a transaction of its own, with three messages if all have a valid definition. Must not
/// be called in a transaction. Waits for a locked ledger for the time in [`READ_LIMITS`](crate::postgres::READ_LIMITS).
///
/// # Errors
/// One of the ledgers does not exist, is locked, or cannot be read by this role.
pub(crate) fn read_chunk(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<LedgerContents>> {
    debug_assert!(schemas.len() <= CHUNK);
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let result = read_locked(conn, schemas);
    let ended = conn.batch_execute("ROLLBACK");
    let contents = result?;
    ended.map(|()| contents)
}

/// Reads ledgers in a transaction that stays open.
fn read_locked(conn: &mut PgConnection, schemas: &[&SchemaName]) -> QueryResult<Vec<LedgerContents>> {
    let all = format!("{} {}", definition::begin_checked(schemas), collect(schemas));
    let (mut invalid, rows) = match conn.batch_execute(&all) {
        Ok(()) => (BTreeMap::new(), collected(conn)?),
        Err(error) if ServerMessage::from(&error).message == definition::INVALID => {
            conn.batch_execute("ROLLBACK")?;
            conn.batch_execute(&definition::begin(schemas))?;
            let invalid = definition::problems(conn, schemas)?;
            let valid: Vec<&SchemaName> =
                schemas.iter().copied().filter(|schema| !invalid.contains_key(schema.as_str())).collect();
            conn.batch_execute(&collect(&valid))?;
            (invalid, collected(conn)?)
        }
        Err(error) => return Err(error),
    };
    let mut valid = rows.into_iter().map(contents);
    let unread = || LedgerContents::Invalid("it was not read".to_owned());
    Ok(schemas
        .iter()
        .map(|schema| match invalid.remove(schema.as_str()) {
            Some(reason) => LedgerContents::Invalid(reason),
            None => valid.next().unwrap_or_else(unread),
        })
        .collect())
}

/// A statement that reads ledgers into the setting [`COLLECTED`].
///
/// A query for each ledger within the server takes a third of the time of one query over all of them, whose planning takes
/// more time for each branch than running it. A block returns no rows, but a setting, which ends with the transaction.
fn collect(schemas: &[&SchemaName]) -> String {
    let query = format!(
        "SELECT pg_catalog.json_build_array(pg_catalog.count(*), pg_catalog.count(v), pg_catalog.json_agg(v) \
         FILTER (WHERE pg_catalog.octet_length(v) <= {MAX_VERSION_BYTES}))::pg_catalog.text \
         FROM (SELECT version::pg_catalog.text AS v FROM ONLY "
    );
    definition::for_each(
        schemas,
        "found pg_catalog.text; ledgers pg_catalog.text[] := '{}';",
        &format!(
            "EXECUTE pg_catalog.concat('{query}', target, ' LIMIT {}) AS l') INTO found; \
             ledgers := pg_catalog.array_append(ledgers, found);",
            MAX_VERSIONS + 1
        ),
        &format!(
            "PERFORM pg_catalog.set_config('{COLLECTED}', \
             pg_catalog.concat('[', pg_catalog.array_to_string(ledgers, ','), ']'), true);"
        ),
    )
}

/// What the transaction has collected.
fn collected(conn: &mut PgConnection) -> QueryResult<Vec<LedgerRows>> {
    let query = sql::<Text>(&format!("pg_catalog.current_setting('{COLLECTED}')"));
    let json: String = diesel::select(query).get_result(conn)?;
    serde_json::from_str(&json).map_err(|error| DieselError::DeserializationError(Box::new(error)))
}

/// The number of rows of a ledger, the number of versions that are not NULL, and the versions that are not too long.
type LedgerRows = (i64, i64, Option<Vec<String>>);

/// The contents of a ledger. A version that is NULL, too long or a duplicate makes it invalid.
fn contents((rows, not_null, versions): LedgerRows) -> LedgerContents {
    let mut versions = versions.unwrap_or_default();
    versions.sort_unstable();
    let duplicate = versions.windows(2).find(|pair| pair[0] == pair[1]);
    let problem = if rows > MAX_VERSIONS {
        format!("it records more than {MAX_VERSIONS} versions")
    } else if not_null < rows {
        "it records a version that is NULL".to_owned()
    } else if i64::try_from(versions.len()) != Ok(rows) {
        format!("it records a version of more than {MAX_VERSION_BYTES} bytes")
    } else if let Some(pair) = duplicate {
        format!("it records version {} twice", pair[0])
    } else {
        return LedgerContents::Versions(versions);
    };
    LedgerContents::Invalid(problem)
}
