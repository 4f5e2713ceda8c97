//! Renders a structure as statements, by trying a repair plan from an empty schema.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Oid, Text};

use super::make::TIMEOUTS;
use crate::error::{Error, ReferenceError};
use crate::model::{SchemaName, TenantName};
use crate::schema::drift::repair::{Options, Plan, RepairStatement, Trial, Verification, plan, try_in_transaction};
use crate::schema::drift::{Aspect, Compared, Difference};
use crate::schema::reference::{Reference, scratch_name};
use crate::schema::structure::{self, Structure};
use crate::sql::quote::Identifier;
use crate::tenants::{Tenancy, ledger};

/// A new schema with a ledger, as `create` makes it.
pub(crate) struct NewSchema {
    pub(crate) name: SchemaName,
    pub(crate) oid: u32,
}

/// When a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementOrder {
    /// Before the rows of the tables.
    BeforeRows,
    /// After them: it creates a constraint, an index, a view or a trigger.
    AfterRows,
}

/// The statements that create a structure in an empty schema with a ledger.
pub(crate) struct Rendered {
    /// The name of the schema in the statements. It is random, so that no other text contains it.
    pub(crate) placeholder: SchemaName,
    /// In the order in which they ran.
    pub(crate) statements: Vec<(StatementOrder, String)>,
    /// The statements that give objects to other owners, which may change their privileges, than the schema's, for a role that may do so; empty if the schema
    /// belongs to the connected role, which runs them with the others.
    pub(crate) owners: String,
}

impl NewSchema {
    /// Creates a schema in the caller's transaction: with this name, or else a random one. With an owner, the transaction
    /// continues as that role.
    pub(crate) fn create(conn: &mut PgConnection, name: Option<SchemaName>, owner: Option<&str>) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Oid)]
            oid: u32,
        }
        let name = name.unwrap_or_else(scratch_name);
        let (authorization, role) = owner.map(Identifier::of_object).map_or_else(Default::default, |owner| {
            (format!(" AUTHORIZATION {owner}"), format!("SET LOCAL ROLE {owner};"))
        });
        conn.batch_execute(&format!(
            "CREATE SCHEMA {}{authorization}; {role} {}",
            Identifier::from(&name),
            ledger::create(&name)
        ))?;
        let row: Row = sql_query("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind::<Text, _>(name.as_str())
            .get_result(conn)?;
        Ok(Self { name, oid: row.oid })
    }

    pub(crate) fn read(&self, conn: &mut PgConnection, version: i32) -> QueryResult<Structure> {
        let mut structures = structure::read_in_transaction(conn, version, &[self.oid])?;
        Ok(structures.remove(&self.oid).unwrap_or_else(|| [].into_iter().collect()))
    }

    /// Corrects the privileges on objects that belong to other roles than the schema, which a change of the owner changes.
    /// Returns the structure afterwards.
    pub(crate) fn correct_grants(
        &self,
        conn: &mut PgConnection,
        version: i32,
        marked: &Structure,
    ) -> QueryResult<Structure> {
        let structure = self.read(conn, version)?;
        let applied: Vec<String> = Vec::new();
        let reference = Reference::of_one(applied.clone(), marked.clone());
        let compared = Compared { reference, applied, structure, names: HashSet::new() };
        let differences = compared.diff().differences;
        let options = Options { version, allow_data_loss: false };
        match plan(&compared, &differences, options).grants().filter(|grants| !grants.is_empty()) {
            Some(grants) => {
                conn.batch_execute(&grants.iter().map(|sql| format!("{sql};")).collect::<String>())?;
                self.read(conn, version)
            }
            None => Ok(compared.structure),
        }
    }
}

/// Renders a structure, in which markers stand for its schema's name, for a schema of the connected role or of `owner`. Returns
/// the reason as a clause if it cannot be rendered completely. The caller's transaction, or its savepoint, is to be rolled
/// back.
///
/// # Errors
/// The server's error, or [`ReferenceError::Locked`].
pub(crate) fn render(
    conn: &mut PgConnection,
    tenancy: &Tenancy,
    version: i32,
    structure: &Structure,
    owner: Option<&str>,
) -> Result<Result<Rendered, String>, Error> {
    let doing = Error::doing("render the structure of a schema");
    conn.batch_execute(TIMEOUTS).map_err(&doing)?;
    let new = NewSchema::create(conn, None, owner).map_err(&doing)?;
    let applied: Vec<String> = Vec::new();
    let compared = Compared {
        reference: Reference::of_one(applied.clone(), structure.clone()),
        applied,
        structure: new.read(conn, version).map_err(&doing)?,
        names: HashSet::new(),
    };
    let differences = compared.diff().differences;
    let options = Options { version, allow_data_loss: false };
    let name: TenantName = new.name.as_str().parse().expect("the name of a schema that is not the server's");
    let is_later = |difference: &Difference| {
        let later = ["owner", "grants"].map(|fact| Aspect::Fact(fact.to_owned()));
        owner.is_some() && later.contains(&difference.aspect)
    };
    let trial = Trial { tenancy, name: &name, compared: &compared, accepted: &is_later, allow_data_loss: false };
    // New objects belong to the role that creates them, and so does the structure.
    let mut planned = plan(&compared, &differences, options).without_owner(&compared.structure);
    let owners = if owner.is_some() { planned.take_owners() } else { Vec::new() };
    let owners = owners.iter().map(|sql| format!("{sql};\n")).collect();
    let tried = try_in_transaction(conn, &trial, version, planned)?;
    if let Verification::Blocked(_) = tried.verification {
        return Err(Error::from(ReferenceError::Locked));
    }
    Ok(statements(&tried).map(|statements| Rendered { placeholder: new.name, statements, owners }))
}

fn statements(plan: &Plan) -> Result<Vec<(StatementOrder, String)>, String> {
    let not_run = plan.statements.iter().find(|it| !it.runs() || it.unverified || it.before_transaction);
    if let Some(statement) = not_run {
        let first = statement.sql.lines().next().unwrap_or_default();
        return Err(format!("the structure needs a statement that cannot run: {first}"));
    }
    if let Some(difference) = plan.remaining.first() {
        return Err(format!("the structure cannot be rendered: {}", difference.summary("SCHEMA")));
    }
    let order = |statement: &RepairStatement| match statement.follows_rows() {
        true => StatementOrder::AfterRows,
        false => StatementOrder::BeforeRows,
    };
    Ok(plan.statements.iter().map(|statement| (order(statement), format!("{};\n", statement.sql))).collect())
}
