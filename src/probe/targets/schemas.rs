//! Targets where each tenant has a schema: the relations and functions in the schemas of some other tenants.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::{Marker, ProbedRelation, ProbedTenancy, Protection, Targets, begin, cross, functions, others, relations};
use crate::database::Database;
use crate::error::{Error, ProbeError};
use crate::postgres::Connector;
use crate::postgres::raw::{CopyEnd, RawSession};
use crate::sql::quote::Identifier;
use crate::tenants::tracker::OWN_TABLES;
use crate::text;

/// How many other tenants are aimed at, unless they are named.
pub const MAX_TARGETS: usize = 10;

/// How many tables of each tenant are read for values to recognize.
const MARKED_TABLES: usize = 10;

/// How many rows of a table are copied at most.
const COPIED_ROWS: usize = 100;

/// Whether a table is one of Tenantry, which no tenant changes. `row_isolation` is used only where tenants share tables.
fn is_own_table(name: &str) -> bool {
    name != "row_isolation" && OWN_TABLES.contains(&name)
}

#[derive(QueryableByName)]
struct TrackedSchema {
    #[diesel(sql_type = Text)]
    name: String,
    /// Whether the role may use the schema.
    #[diesel(sql_type = Bool)]
    is_usable: bool,
}

/// Reads the targets of a tenant's role.
pub(in crate::probe) fn read(
    db: &mut Database,
    role: &str,
    own: Option<&str>,
    named: &[String],
) -> Result<Targets, Error> {
    let server = db.server().clone();
    if !server.has_tracker {
        return Err(Error::TrackerMissing { database: server.database });
    }
    let conn = db.connection();
    let doing = || Error::doing("read the schemas to aim at");
    conn.batch_execute(&begin()).map_err(doing())?;
    let targets: Result<Targets, Error> = (|| {
        conn.batch_execute("SET LOCAL row_security TO off").map_err(doing())?;
        let tracked: Vec<TrackedSchema> = sql_query(
            "SELECT t.name::text AS name, has_schema_privilege($1::name, n.oid, 'USAGE') AS is_usable \
             FROM public.schema_tracker AS t JOIN pg_namespace AS n ON n.nspname = t.name::text \
             ORDER BY t.name::text COLLATE \"C\"",
        )
        .bind::<Text, _>(role)
        .load(conn)
        .map_err(doing())?;
        let own = match own {
            Some(own) => known(&tracked, own)?,
            None => own_schema(conn, role, &tracked)?,
        };
        let chosen: BTreeSet<String> = if named.is_empty() {
            let mut all: Vec<&TrackedSchema> = tracked.iter().filter(|it| it.name != own).collect();
            // Those with an open door first.
            all.sort_by_key(|it| !it.is_usable);
            all.iter().take(MAX_TARGETS).map(|it| it.name.clone()).collect()
        } else {
            named.iter().map(|name| known(&tracked, name)).collect::<Result<_, _>>()?
        };
        let of_all = other_schemas(conn)?;
        let schemas: Vec<&str> = chosen.iter().chain([&own]).chain(&of_all).map(String::as_str).collect();
        let mut others = others(conn, role, &[])?;
        others.schemas.retain(|schema| schemas.contains(&schema.as_str()) && *schema != own);
        others.roles.extend(grantees(conn, role, &chosen)?);
        let mut targets = Targets {
            version: server.version,
            database: server.database.clone(),
            role: role.to_owned(),
            relations: relations(conn, role, None, Some(&schemas))?,
            functions: functions(conn, role, Some(&schemas))?,
            others,
            tenancy: ProbedTenancy::Schemas { own: own.clone(), others: chosen.clone() },
            markers: Vec::new(),
        };
        for relation in &mut targets.relations {
            relation.protection = match relation.kind.as_str() {
                _ if chosen.contains(&relation.schema) => Protection::Private,
                "v" => Protection::View,
                "r" | "p" if relation.schema == "public" && is_own_table(&relation.name) => Protection::ReadOnly,
                _ => Protection::Own,
            };
        }
        Ok(targets)
    })();
    conn.batch_execute("ROLLBACK").map_err(doing())?;
    let mut targets = targets?;
    if let ProbedTenancy::Schemas { own, .. } = &targets.tenancy {
        targets.markers = markers(db.connector(), &targets.relations, own)?;
    }
    Ok(targets)
}

/// The schemas that belong to no tenant.
fn other_schemas(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    sql::<Text>(
        "SELECT nspname::text FROM pg_namespace AS n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
         AND NOT EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.name::text = n.nspname::text)",
    )
    .load(conn)
    .map_err(Error::doing("read the schemas to aim at"))
}

fn known(tracked: &[TrackedSchema], name: &str) -> Result<String, Error> {
    if tracked.iter().any(|it| it.name == name) {
        return Ok(name.to_owned());
    }
    let similar = text::closest(name, tracked.iter().map(|it| it.name.as_str())).map(str::to_owned);
    Err(ProbeError::NoSuchTenant { name: name.to_owned(), similar }.into())
}

/// The schema of the tenant that a role belongs to: the one on the role's search path, or of the same name, or the only one
/// that it may use.
fn own_schema(conn: &mut PgConnection, role: &str, tracked: &[TrackedSchema]) -> Result<String, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        path: Option<String>,
    }
    let row: Option<Row> = sql_query(
        "SELECT split_part(substr(item, length('search_path=') + 1), ',', 1) AS path \
         FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS item \
         WHERE pg_get_userbyid(s.setrole) = $1::name AND item LIKE 'search\\_path=%' \
         AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
         ORDER BY s.setdatabase DESC LIMIT 1",
    )
    .bind::<Text, _>(role)
    .get_result(conn)
    .optional()
    .map_err(Error::doing("read the settings of the role"))?;
    let path = row.and_then(|row| row.path).map(|path| path.trim().trim_matches('"').replace("\"\"", "\""));
    let is_tracked = |name: &str| tracked.iter().any(|it| it.name == name);
    if let Some(path) = path.filter(|path| is_tracked(path)) {
        return Ok(path);
    }
    if is_tracked(role) {
        return Ok(role.to_owned());
    }
    let mut usable = tracked.iter().filter(|it| it.is_usable);
    match (usable.next(), usable.next()) {
        (Some(only), None) => Ok(only.name.clone()),
        _ => Err(ProbeError::NoOwnTenant { role: role.to_owned() }.into()),
    }
}

/// The roles with privileges on the schemas of other tenants.
fn grantees(conn: &mut PgConnection, role: &str, schemas: &BTreeSet<String>) -> Result<Vec<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    let rows: Vec<Row> = sql_query(
        "SELECT DISTINCT pg_get_userbyid(acl.grantee)::text AS name FROM pg_namespace AS n \
         CROSS JOIN aclexplode(n.nspacl) AS acl \
         WHERE n.nspname = ANY ($2::text[]) AND acl.grantee <> 0 AND pg_get_userbyid(acl.grantee) <> $1::name",
    )
    .bind::<Text, _>(role)
    .bind::<Array<Text>, _>(schemas)
    .load(conn)
    .map_err(Error::doing("read the roles of other tenants"))?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Values in tables of other tenants. The rows are copied: a query would evaluate expressions of the tenant's indexes with the
/// rights of the operator.
fn markers(connector: &Connector, relations: &[ProbedRelation], own: &str) -> Result<Vec<Marker>, Error> {
    let mut markers = Vec::new();
    let (mut schema, mut read) = ("", 0);
    let mut session: Option<RawSession> = None;
    let is_marked =
        |it: &&ProbedRelation| it.protection == Protection::Private && it.kind == "r" && !is_own_table(&it.name);
    for relation in relations.iter().filter(is_marked) {
        (schema, read) = if relation.schema == schema { (schema, read + 1) } else { (relation.schema.as_str(), 1) };
        let columns: Vec<_> = relation.columns.iter().filter(|it| cross::is_text(it)).collect();
        if read > MARKED_TABLES || columns.is_empty() {
            continue;
        }
        let names: Vec<String> = columns.iter().map(|it| Identifier::of_object(&it.name).to_string()).collect();
        let copy = format!("COPY {} ({}) TO STDOUT", relation.qualified(), names.join(", "));
        let mut reader = match session.take() {
            Some(reader) => reader,
            None => connector.connect_raw()?,
        };
        reader.execute(&format!("{} SET LOCAL row_security TO off", begin()), &[]);
        let (row, end) = reader.first_copied(&copy, COPIED_ROWS);
        if end == CopyEnd::Read {
            reader.execute("ROLLBACK", &[]);
            session = Some(reader);
        }
        let row = row.unwrap_or_default();
        for (value, column) in row.trim_end_matches('\n').split('\t').zip(columns) {
            if !cross::is_recognizable(value) {
                continue;
            }
            let same = relations.iter().find(|it| it.schema == own && it.name == relation.name && it.kind == "r");
            let own_rows = same.filter(|it| it.has_column(&column.name)).map(|same| {
                let name = Identifier::of_object(&column.name).to_string();
                format!("SELECT EXISTS (SELECT FROM {} WHERE {name}::text = $1)", same.qualified())
            });
            markers.push(Marker { tenant: None, text: value.to_owned(), own_rows });
        }
    }
    Ok(markers)
}
