//! What the servers have: their settings and rights for replication, and the shared tables.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Integer, Text};

use crate::error::Error;

/// The settings of a server and the rights of the connected role for logical replication.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct ReplicationFacts {
    #[diesel(sql_type = Integer)]
    pub(super) version: i32,
    #[diesel(sql_type = Text)]
    pub(super) wal_level: String,
    #[diesel(sql_type = Integer)]
    pub(super) free_slots: i32,
    #[diesel(sql_type = Integer)]
    pub(super) free_senders: i32,
    #[diesel(sql_type = Integer)]
    pub(super) free_workers: i32,
    #[diesel(sql_type = Integer)]
    pub(super) free_origins: i32,
    #[diesel(sql_type = Bool)]
    pub(super) is_superuser: bool,
    #[diesel(sql_type = Bool)]
    pub(super) may_replicate: bool,
    #[diesel(sql_type = Bool)]
    pub(super) may_subscribe: bool,
    #[diesel(sql_type = Bool)]
    pub(super) may_create: bool,
    #[diesel(sql_type = Bool)]
    pub(super) has_aiven_extras: bool,
    #[diesel(sql_type = Text)]
    pub(super) role: String,
}

impl ReplicationFacts {
    pub(super) fn read(conn: &mut PgConnection) -> Result<Self, Error> {
        sql_query(include_str!("facts.sql")).get_result(conn).map_err(Error::doing("read the settings of replication"))
    }
}

/// A table of the schema `public`, as one server has it.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct TableShape {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// As in `pg_class.relkind`; empty if the table does not exist.
    #[diesel(sql_type = Text)]
    pub(super) kind: String,
    #[diesel(sql_type = Text)]
    pub(super) replica_identity: String,
    #[diesel(sql_type = Bool)]
    pub(super) is_owner: bool,
    /// The columns of the primary key.
    #[diesel(sql_type = Array<Text>)]
    pub(super) key: Vec<String>,
    /// The columns that are not generated, sorted by name.
    #[diesel(sql_type = Array<Text>)]
    pub(super) columns: Vec<String>,
    /// All columns with their types, sorted by name.
    #[diesel(sql_type = Array<Text>)]
    pub(super) definitions: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub(super) always_identity: Vec<String>,
    /// Tables with a foreign key to it that deletes or changes their rows.
    #[diesel(sql_type = Array<Text>)]
    pub(super) cascading: Vec<String>,
    /// Tables of the same schema that its foreign keys refer to.
    #[diesel(sql_type = Array<Text>)]
    pub(super) referenced: Vec<String>,
}

/// The tables with the names, in an order in which a table follows those that its foreign keys refer to.
pub(super) fn shapes(conn: &mut PgConnection, names: &[&str]) -> Result<Vec<TableShape>, Error> {
    let mut left: Vec<TableShape> = sql_query(include_str!("shape.sql"))
        .bind::<Array<Text>, _>(names)
        .load(conn)
        .map_err(Error::doing("read the columns of the shared tables"))?;
    left.sort_by(|one, other| one.name.cmp(&other.name));
    let mut sorted: Vec<TableShape> = Vec::new();
    while !left.is_empty() {
        let is_free = |table: &TableShape| !left.iter().any(|other| table.referenced.contains(&other.name));
        // Foreign keys in a circle: any order is as good as another.
        let next = left.iter().position(is_free).unwrap_or(0);
        sorted.push(left.remove(next));
    }
    Ok(sorted)
}
