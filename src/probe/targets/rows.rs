//! Targets where tenants share tables: for each table a tenant to work for, and another one with rows to aim at.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::{
    OwnChanges, ProbedRelation, ProbedTenancy, Protection, Targets, begin, cross, functions, others, relations,
};
use crate::database::Database;
use crate::error::{Error, ProbeError, RowTenancyError};
use crate::model::TenantId;
use crate::postgres::Condition;
use crate::rows::Layout;
use crate::sql::quote::Identifier;
use crate::text;

/// The tenants of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::probe) struct Aim {
    /// The tenant that attempts work for.
    pub(in crate::probe) own: Option<TenantId>,
    /// One of its rows, if it has one.
    pub(in crate::probe) own_row: Option<RowValues>,
    /// The tenant that they aim at.
    pub(in crate::probe) other: Option<TenantId>,
    /// Some of its rows.
    pub(in crate::probe) rows: Vec<RowValues>,
}

/// The values of a row, one for each column that is not generated.
pub(in crate::probe) type RowValues = Vec<Option<String>>;

/// How many rows of another tenant are read from a table.
const ROWS: usize = 5;

/// Which tenants attempts work for and aim at, by name.
#[derive(Debug, Clone, Default)]
pub(in crate::probe) struct ChosenTenants {
    pub(in crate::probe) own: Option<TenantId>,
    /// Empty for any.
    pub(in crate::probe) others: Vec<TenantId>,
}

/// Reads the targets of a role.
pub(in crate::probe) fn read(
    db: &mut Database,
    layout: &Layout,
    role: &str,
    own: Option<&str>,
    named: &[String],
) -> Result<Targets, Error> {
    let server = db.server().clone();
    let conn = db.connection();
    let doing = || Error::doing("read the tables to aim at");
    conn.batch_execute(&begin()).map_err(doing())?;
    let targets = (|| {
        let of_layout = [&layout.roles.owner, &layout.roles.verifier, &layout.roles.admin];
        let mut targets = Targets {
            version: server.version,
            database: server.database.clone(),
            role: role.to_owned(),
            relations: relations(conn, role, Some(&layout.column), None)?,
            functions: functions(conn, role, None)?,
            others: others(conn, role, &of_layout.map(|name| name.as_str()))?,
            tenancy: ProbedTenancy::Rows { layout: Box::new(layout.clone()), references: Vec::new(), own: None },
            markers: Vec::new(),
        };
        become_owner(conn, layout)?;
        let is_registry = |it: &ProbedRelation| {
            it.schema == layout.schema.as_str() && it.name == layout.registry.as_str() && it.is_table()
        };
        if !targets.relations.iter().any(is_registry) {
            return Err(RowTenancyError::no_registry(layout.schema.as_str(), layout.registry.as_str(), None).into());
        }
        let registry = RegistryReader(registry(layout));
        let mut chosen = ChosenTenants { own: None, others: Vec::new() };
        if let Some(name) = own {
            chosen.own = Some(registry.id(conn, name)?);
        }
        for name in named {
            chosen.others.push(registry.id(conn, name)?);
        }
        let any = registry.some(conn)?;
        for relation in &mut targets.relations {
            protect(conn, layout, relation, &chosen, &any)?;
        }
        let references = cross::references(conn, layout, &targets.relations)?;
        targets.markers = cross::markers(conn, &targets.relations)?;
        let own = chosen.own.or_else(|| any.first().copied());
        targets.tenancy = ProbedTenancy::Rows { layout: Box::new(layout.clone()), references, own };
        Ok(targets)
    })();
    conn.batch_execute("ROLLBACK").map_err(doing())?;
    targets
}

fn registry(layout: &Layout) -> String {
    format!("{}.{}", Identifier::from(&layout.schema), Identifier::from(&layout.registry))
}

/// Reads as the owner of the tables, whose policy shows all rows, unless the operator is a superuser.
fn become_owner(conn: &mut PgConnection, layout: &Layout) -> Result<(), Error> {
    let doing = Error::doing("read the tables to aim at");
    let is_superuser: bool =
        sql::<Bool>("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").get_result(conn).map_err(&doing)?;
    if is_superuser {
        return Ok(());
    }
    conn.batch_execute(&format!("SET LOCAL ROLE {}", Identifier::from(&layout.roles.owner))).map_err(&doing)
}

/// Reads the registry, whose qualified name it has.
struct RegistryReader(String);

impl RegistryReader {
    fn id(&self, conn: &mut PgConnection, name: &str) -> Result<TenantId, Error> {
        let Self(table) = self;
        let doing = Error::doing("read the registry");
        let id: Option<String> = sql::<Text>(&format!("SELECT id::text FROM {table} WHERE name::text = "))
            .bind::<Text, _>(name)
            .get_result(conn)
            .optional()
            .map_err(&doing)?;
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            return Ok(id);
        }
        let names: Vec<String> =
            sql::<Text>(&format!("SELECT name::text FROM {table} LIMIT 10000")).load(conn).map_err(&doing)?;
        let similar = text::closest(name, names.iter().map(String::as_str)).map(str::to_owned);
        Err(ProbeError::NoSuchTenant { name: name.to_owned(), similar }.into())
    }

    /// Some tenants.
    fn some(&self, conn: &mut PgConnection) -> Result<Vec<TenantId>, Error> {
        let ids: Vec<String> = sql::<Text>(&format!("SELECT id::text FROM {} ORDER BY id LIMIT 3", self.0))
            .load(conn)
            .map_err(Error::doing("read the registry"))?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }
}

/// Finds out what isolation lets the role do with a relation.
fn protect(
    conn: &mut PgConnection,
    layout: &Layout,
    relation: &mut ProbedRelation,
    chosen: &ChosenTenants,
    any: &[TenantId],
) -> Result<(), Error> {
    let is_shared = relation.schema == layout.schema.as_str();
    let column = layout.column.as_str();
    relation.protection = match relation.kind.as_str() {
        "v" => Protection::View,
        "S" if is_shared => Protection::Usable,
        "r" | "p" if is_shared && relation.name == layout.registry.as_str() => {
            let aim = Box::new(aim(conn, relation, "id", chosen, any)?);
            Protection::OwnRows { column: "id".to_owned(), changes: OwnChanges::Refused, aim }
        }
        "r" | "p" if is_shared && relation.is_exempt => Protection::ReadOnly,
        "r" | "p" if is_shared && !relation.is_partition && relation.has_column(column) => {
            let aim = Box::new(aim(conn, relation, column, chosen, any)?);
            Protection::OwnRows { column: column.to_owned(), changes: OwnChanges::Allowed, aim }
        }
        _ => Protection::Private,
    };
    Ok(())
}

/// Chooses the tenants of a table, and reads rows.
fn aim(
    conn: &mut PgConnection,
    relation: &ProbedRelation,
    column: &str,
    chosen: &ChosenTenants,
    any: &[TenantId],
) -> Result<Aim, Error> {
    let reader = TenantRows { column };
    let own = match chosen.own {
        Some(own) => Some(own),
        None => reader.tenant(conn, relation, "ASC", &[], chosen.others.first().copied())?,
    };
    let other = reader.tenant(conn, relation, "DESC", &chosen.others, own)?;
    let (own, other) = match (own, other) {
        // Only one tenant has rows.
        (Some(only), None) if chosen.own.is_none() && chosen.others.is_empty() => {
            (any.iter().copied().find(|id| *id != only), Some(only))
        }
        (None, other) => (any.iter().copied().find(|id| Some(*id) != other && !chosen.others.contains(id)), other),
        found => found,
    };
    let rows = match other {
        Some(other) => reader.rows(conn, relation, other, ROWS)?,
        None => Vec::new(),
    };
    let own_row = match own {
        Some(own) => reader.rows(conn, relation, own, 1)?.pop(),
        None => None,
    };
    let other = other
        .or_else(|| chosen.others.first().copied())
        .or_else(|| any.iter().rev().copied().find(|id| Some(*id) != own));
    Ok(Aim { own, own_row, other, rows })
}

/// Reads rows of a table by its tenant column.
struct TenantRows<'a> {
    column: &'a str,
}

impl TenantRows<'_> {
    /// The first tenant in an order that has rows, but one.
    fn tenant(
        &self,
        conn: &mut PgConnection,
        relation: &ProbedRelation,
        order: &str,
        among: &[TenantId],
        but: Option<TenantId>,
    ) -> Result<Option<TenantId>, Error> {
        let column = Identifier::of_object(self.column);
        let among: Option<Vec<String>> =
            (!among.is_empty()).then(|| among.iter().map(ToString::to_string).collect::<Vec<_>>());
        let data_type =
            relation.columns.iter().find(|it| it.name == self.column).map_or("text", |it| it.data_type.as_str());
        let query = format!(
            "SELECT {column}::text AS value FROM {} WHERE {column} IS NOT NULL AND ($1 IS NULL OR {column} <> $1::{data_type}) \
             AND ($2 IS NULL OR {column} = ANY ($2::{data_type}[])) ORDER BY {column} {order} LIMIT 1",
            relation.qualified()
        );
        let found = tolerant(conn, |conn| {
            sql_query(query)
                .bind::<Nullable<Text>, _>(but.map(|id| id.to_string()))
                .bind::<Nullable<Array<Text>>, _>(among)
                .get_result::<TenantText>(conn)
                .optional()
        })?;
        Ok(found.flatten().and_then(|row| row.value.parse().ok()))
    }

    /// Rows of a tenant. Output functions make text of the values, but no casts, which others could define.
    fn rows(
        &self,
        conn: &mut PgConnection,
        relation: &ProbedRelation,
        tenant: TenantId,
        number: usize,
    ) -> Result<Vec<RowValues>, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Array<Nullable<Text>>)]
            cells: RowValues,
        }
        let column = Identifier::of_object(self.column);
        let cells: Vec<String> = relation.columns.iter().map(|it| as_text(&Identifier::of_object(&it.name))).collect();
        let data_type =
            relation.columns.iter().find(|it| it.name == self.column).map_or("text", |it| it.data_type.as_str());
        let query = format!(
            "SELECT ARRAY[{}]::text[] AS cells FROM {} WHERE {column} = $1::{data_type} LIMIT {number}",
            cells.join(", "),
            relation.qualified()
        );
        let rows = tolerant(conn, |conn| sql_query(query).bind::<Text, _>(tenant.to_string()).load::<Row>(conn))?;
        Ok(rows.unwrap_or_default().into_iter().map(|row| row.cells).collect())
    }
}

#[derive(QueryableByName)]
struct TenantText {
    #[diesel(sql_type = Text)]
    value: String,
}

fn as_text(column: &Identifier<'_>) -> String {
    format!("CASE WHEN {column} IS NOT NULL THEN pg_catalog.concat({column}) END")
}

/// Runs a query, or returns `None` if it fails, for example because it takes too long.
pub(super) fn tolerant<T>(
    conn: &mut PgConnection,
    query: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> Result<Option<T>, Error> {
    let doing = || Error::doing("read rows to aim at");
    conn.batch_execute("SAVEPOINT probe").map_err(doing())?;
    match query(conn) {
        Ok(found) => Ok(Some(found)),
        Err(error) if Condition::of(&error) == Some(Condition::ConnectionLost) => Err(doing()(error)),
        Err(_) => {
            conn.batch_execute("ROLLBACK TO SAVEPOINT probe").map_err(doing())?;
            Ok(None)
        }
    }
}
