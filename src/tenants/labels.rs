//! The labels of tenants, in the column `labels` of the tracker.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Nullable, Text};

use crate::error::Error;
use crate::model::LabelSelector;

/// The labels of a tenant: values by key.
pub type Labels = BTreeMap<String, String>;

/// Reads the labels of the tenants that have any, by the name of the tenant; with `names`, only of those.
///
/// # Errors
/// The server's error.
pub fn read(conn: &mut PgConnection, names: Option<&[&str]>) -> Result<HashMap<String, Labels>, Error> {
    read_rows(conn, names).map_err(Error::doing("read the labels of the tenants"))
}

pub(crate) fn read_rows(conn: &mut PgConnection, names: Option<&[&str]>) -> QueryResult<HashMap<String, Labels>> {
    #[derive(QueryableByName)]
    struct LabelRow {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        key: String,
        #[diesel(sql_type = Text)]
        value: String,
    }
    let rows: Vec<LabelRow> = sql_query(
        "SELECT t.name, l.key, COALESCE(l.value, '') AS value FROM public.schema_tracker AS t \
         CROSS JOIN LATERAL pg_catalog.jsonb_each_text(t.labels) AS l WHERE t.name IS NOT NULL AND ($1 IS NULL OR t.name = ANY($1))",
    )
    .bind::<Nullable<Array<Text>>, _>(names)
    .load(conn)?;
    let mut labels: HashMap<String, Labels> = HashMap::new();
    for LabelRow { name, key, value } in rows {
        labels.entry(name).or_default().insert(key, value);
    }
    Ok(labels)
}

/// The names of the tenants, in any state, that all of the selectors select.
///
/// # Errors
/// The server's error.
pub fn select(conn: &mut PgConnection, selectors: &[LabelSelector]) -> Result<HashSet<String>, Error> {
    #[derive(QueryableByName)]
    struct NameRow {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let keys: Vec<&str> = selectors.iter().map(|selector| selector.key.as_str()).collect();
    let values: Vec<Option<&str>> = selectors.iter().map(|selector| selector.value.as_deref()).collect();
    let rows: Vec<NameRow> = sql_query(
        "SELECT t.name FROM public.schema_tracker AS t WHERE t.name IS NOT NULL AND NOT EXISTS ( \
         SELECT FROM unnest($1::text[], $2::text[]) AS wanted (key, value) \
         WHERE NOT COALESCE(t.labels ->> wanted.key = COALESCE(wanted.value, t.labels ->> wanted.key), false))",
    )
    .bind::<Array<Text>, _>(keys)
    .bind::<Array<Nullable<Text>>, _>(values)
    .load(conn)
    .map_err(Error::doing("select tenants by their labels"))?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
