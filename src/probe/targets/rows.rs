//! Targets where tenants share tables: for each table a tenant to work for, and another one with rows to aim at.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::{
    OwnChanges, ProbedRelation, ProbedTenancy, Protection, Targets, begin_reading_tables, cross, functions, others,
    relations,
};
use crate::database::Database;
use crate::error::{Error, ProbeError, RowTenancyError};
use crate::model::TenantId;
use crate::postgres::ServerMessage;
use crate::postgres::contained::{ContainedReader, ReadingRights};
use crate::rows::Layout;
use crate::sql::quote::{Identifier, Literal};
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
    conn.batch_execute(&begin_reading_tables()).map_err(doing())?;
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
        let tables = TableReader::create(conn, layout)?;
        let is_registry = |it: &ProbedRelation| {
            it.schema == layout.schema.as_str() && it.name == layout.registry.as_str() && it.is_table()
        };
        if !targets.relations.iter().any(is_registry) {
            return Err(RowTenancyError::no_registry(layout.schema.as_str(), layout.registry.as_str(), None).into());
        }
        let registry = RegistryReader { table: registry(layout), tables: &tables };
        let mut chosen = ChosenTenants { own: None, others: Vec::new() };
        if let Some(name) = own {
            chosen.own = Some(registry.id(conn, name)?);
        }
        for name in named {
            chosen.others.push(registry.id(conn, name)?);
        }
        let any = registry.some(conn)?;
        for relation in &mut targets.relations {
            protect(conn, layout, relation, (&tables, &chosen, &any))?;
        }
        let references = cross::references(conn, &tables, layout, &targets.relations)?;
        targets.markers = cross::markers(conn, &tables, &targets.relations)?;
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

/// Reads tables, with all of their rows. Their code does not run with the rights of the operator.
pub(super) struct TableReader(ContainedReader);

impl TableReader {
    /// Reads as the owner of the tables, whose policy shows all rows, unless the operator is a superuser.
    fn create(conn: &mut PgConnection, layout: &Layout) -> Result<Self, Error> {
        let doing = Error::doing("read the tables to aim at");
        let is_superuser: bool = sql::<Bool>("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            .get_result(conn)
            .map_err(&doing)?;
        let rights = if is_superuser {
            ReadingRights::Superuser
        } else {
            ReadingRights::Role { role: Identifier::from(&layout.roles.owner), schema: &layout.schema }
        };
        ContainedReader::create(conn, rights).map(Self).map_err(doing)
    }

    /// The rows of a query whose only column is the array `cells`, or why they cannot be read, for example because that takes
    /// too long.
    pub(super) fn rows(
        &self,
        conn: &mut PgConnection,
        query: &str,
    ) -> Result<Result<Vec<RowValues>, ServerMessage>, Error> {
        let rows = format!("(SELECT COALESCE(pg_catalog.json_agg(found.cells), '[]') FROM ({query}) AS found)");
        let json = self.0.evaluate(conn, &rows, None).map_err(Error::doing("read rows to aim at"))?;
        Ok(json
            .map(|json| serde_json::from_str(&json).unwrap_or_default())
            .map_err(|error| ServerMessage::from(&error)))
    }
}

/// Reads the registry.
struct RegistryReader<'a> {
    /// Its qualified name.
    table: String,
    tables: &'a TableReader,
}

impl RegistryReader<'_> {
    fn texts(&self, conn: &mut PgConnection, query: &str) -> Result<Vec<String>, Error> {
        let rows = self.tables.rows(conn, query)?;
        let rows = rows.map_err(|message| ProbeError::UnreadableRegistry { message })?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn id(&self, conn: &mut PgConnection, name: &str) -> Result<TenantId, Error> {
        let (table, literal) = (&self.table, Literal(name));
        let ids =
            self.texts(conn, &format!("SELECT ARRAY[id::text] AS cells FROM {table} WHERE name::text = {literal}"))?;
        if let Some(id) = ids.first().and_then(|id| id.parse().ok()) {
            return Ok(id);
        }
        let names = self.texts(conn, &format!("SELECT ARRAY[name::text] AS cells FROM {table} LIMIT 10000"))?;
        let similar = text::closest(name, names.iter().map(String::as_str)).map(str::to_owned);
        Err(ProbeError::NoSuchTenant { name: name.to_owned(), similar }.into())
    }

    /// Some tenants.
    fn some(&self, conn: &mut PgConnection) -> Result<Vec<TenantId>, Error> {
        let ids =
            self.texts(conn, &format!("SELECT ARRAY[id::text] AS cells FROM {} ORDER BY id LIMIT 3", self.table))?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }
}

/// Finds out what isolation lets the role do with a relation.
fn protect(
    conn: &mut PgConnection,
    layout: &Layout,
    relation: &mut ProbedRelation,
    tenants: (&TableReader, &ChosenTenants, &[TenantId]),
) -> Result<(), Error> {
    let is_shared = relation.schema == layout.schema.as_str();
    let column = layout.column.as_str();
    relation.protection = match relation.kind.as_str() {
        "v" => Protection::View,
        "S" if is_shared => Protection::Usable,
        "r" | "p" if is_shared && relation.name == layout.registry.as_str() => {
            let aim = Box::new(aim(conn, relation, "id", tenants)?);
            Protection::OwnRows { column: "id".to_owned(), changes: OwnChanges::Refused, aim }
        }
        "r" | "p" if is_shared && relation.is_exempt => Protection::ReadOnly,
        "r" | "p" if is_shared && !relation.is_partition && relation.has_column(column) => {
            let aim = Box::new(aim(conn, relation, column, tenants)?);
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
    (tables, chosen, any): (&TableReader, &ChosenTenants, &[TenantId]),
) -> Result<Aim, Error> {
    let reader = TenantRows { tables, column };
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
    tables: &'a TableReader,
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
        let data_type =
            relation.columns.iter().find(|it| it.name == self.column).map_or("text", |it| it.data_type.as_str());
        let literal = |id: &TenantId| format!("{}::{data_type}", Literal(&id.to_string()));
        let mut conditions = vec![format!("{column} IS NOT NULL")];
        conditions.extend(but.map(|but| format!("{column} <> {}", literal(&but))));
        if !among.is_empty() {
            conditions.push(format!("{column} IN ({})", among.iter().map(literal).collect::<Vec<_>>().join(", ")));
        }
        let query = format!(
            "SELECT ARRAY[{column}::text] AS cells FROM {} WHERE {} ORDER BY {column} {order} LIMIT 1",
            relation.qualified(),
            conditions.join(" AND ")
        );
        let found = self.tables.rows(conn, &query)?.unwrap_or_default();
        Ok(found.into_iter().flatten().flatten().next().and_then(|id| id.parse().ok()))
    }

    /// Rows of a tenant. Output functions make text of the values, but no casts, which others could define.
    fn rows(
        &self,
        conn: &mut PgConnection,
        relation: &ProbedRelation,
        tenant: TenantId,
        number: usize,
    ) -> Result<Vec<RowValues>, Error> {
        let column = Identifier::of_object(self.column);
        let cells: Vec<String> = relation.columns.iter().map(|it| as_text(&Identifier::of_object(&it.name))).collect();
        let data_type =
            relation.columns.iter().find(|it| it.name == self.column).map_or("text", |it| it.data_type.as_str());
        let query = format!(
            "SELECT ARRAY[{}]::text[] AS cells FROM {} WHERE {column} = {}::{data_type} LIMIT {number}",
            cells.join(", "),
            relation.qualified(),
            Literal(&tenant.to_string())
        );
        Ok(self.tables.rows(conn, &query)?.unwrap_or_default())
    }
}

fn as_text(column: &Identifier<'_>) -> String {
    format!("CASE WHEN {column} IS NOT NULL THEN pg_catalog.concat({column}) END")
}
