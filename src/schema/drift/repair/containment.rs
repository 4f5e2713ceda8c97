//! The rights with which the statements of a plan run: code that a tenant planted does not run with those of the connected
//! role.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Nullable, Text};

use super::{Phase, RepairStatement, text};
use crate::postgres::SchemaPath;
use crate::postgres::contained::ContainedStatements;
use crate::schema::structure::ObjectKind;
use crate::sql::quote::{Identifier, Literal};

/// The owners of a schema and its relations that have fewer rights than the connected role. A superuser has not.
pub(super) struct Containment {
    /// Whether the connected role is a superuser.
    is_superuser: bool,
    /// The owner of the schema, unless it is the connected role or a superuser.
    schema_owner: Option<String>,
    /// The relations, types and routines of other owners than the connected role and superusers.
    objects: Vec<OwnedObject>,
    /// Whether the postponed statements run.
    is_at_end: bool,
}

/// An object of the schema, with its owner.
#[derive(QueryableByName)]
struct OwnedObject {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    owner: String,
}

/// The relations, types and routines of a schema that are neither the connected role's nor a superuser's. `$1` is the schema. Operators are
/// qualified, because the schema is on the search path.
const OBJECTS: &str = "SELECT o.name::pg_catalog.text AS name, r.rolname::pg_catalog.text AS owner \
     FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL ( \
     SELECT c.relname AS name, c.relowner AS owner, false AS is_routine FROM pg_catalog.pg_class AS c \
     WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relkind OPERATOR(pg_catalog.<>) 'i' \
     UNION SELECT t.typname, t.typowner, false FROM pg_catalog.pg_type AS t \
     WHERE t.typnamespace OPERATOR(pg_catalog.=) n.oid \
     UNION SELECT p.proname, p.proowner, true FROM pg_catalog.pg_proc AS p \
     WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid) AS o \
     JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) o.owner \
     WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) $1 \
     AND NOT r.rolsuper AND r.rolname OPERATOR(pg_catalog.<>) current_user";

impl Containment {
    /// Reads the owners of a schema and of what it contains.
    pub(super) fn read(conn: &mut PgConnection, schema: &str) -> QueryResult<Self> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Bool)]
            is_superuser: bool,
            #[diesel(sql_type = Nullable<Text>)]
            schema_owner: Option<String>,
        }
        let Row { is_superuser, schema_owner } = sql_query(
            "SELECT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) \
             AS is_superuser, \
             (SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_namespace AS n \
             JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner \
             WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) $1 \
             AND NOT r.rolsuper AND r.rolname OPERATOR(pg_catalog.<>) current_user) AS schema_owner",
        )
        .bind::<Text, _>(schema)
        .get_result(conn)?;
        let objects = sql_query(OBJECTS).bind::<Text, _>(schema).load(conn)?;
        Ok(Self { is_superuser, schema_owner, objects, is_at_end: false })
    }

    /// Whether any owner has fewer rights than the connected role.
    fn is_needed(&self) -> bool {
        self.schema_owner.is_some() || !self.objects.is_empty()
    }

    /// Whether a statement takes the schema, a relation, a type or a routine from the role with whose rights others run, which
    /// can execute those only while it is the owner.
    pub(super) fn is_weakened_by(&self, statement: &RepairStatement) -> bool {
        let to_owner = |owner: &String| statement.sql.ends_with(&format!(" OWNER TO {}", text::ident(owner)));
        if self.is_at_end || self.schema_owner.as_ref().is_some_and(to_owner) {
            return false;
        }
        if statement.sql.starts_with("ALTER SCHEMA ") {
            return self.is_needed();
        }
        statement.phase == Phase::Owner && self.objects.iter().any(|object| object.name == statement.object.name)
    }

    /// The same, for statements at the end, of which none is postponed.
    pub(super) fn at_the_end(self) -> Self {
        Self { is_at_end: true, ..self }
    }

    /// The role with whose rights a statement runs; `None` for the connected role. It is the owner of the table or type, whose
    /// code the statement may evaluate. A statement that this role may not execute fails.
    pub(super) fn role_of(
        &self,
        conn: &mut PgConnection,
        schema: &str,
        statement: &RepairStatement,
        sql: &str,
    ) -> QueryResult<Option<String>> {
        if !self.is_needed() || statement.phase == Phase::Owner || sql.starts_with("DROP ") {
            return Ok(None);
        }
        if let Some(name) = object_of(statement) {
            // The trial may have changed it.
            let of_object =
                format!("{OBJECTS} AND NOT o.is_routine AND o.name::pg_catalog.text OPERATOR(pg_catalog.=) $2 LIMIT 1");
            let owned: Option<OwnedObject> =
                sql_query(of_object).bind::<Text, _>(schema).bind::<Text, _>(name).get_result(conn).optional()?;
            if let Some(owned) = owned {
                return Ok(Some(owned.owner));
            }
        }
        // These read other tables than their own.
        let reads_others = statement.phase == Phase::ForeignKey
            || sql.starts_with("CREATE MATERIALIZED VIEW ")
            || sql.contains(" PARTITION OF ");
        let schema = text::ident(schema);
        let is_read =
            |object: &&OwnedObject| reads_others && sql.contains(&format!("{schema}.{}", text::ident(&object.name)));
        Ok(self.objects.iter().find(is_read).map(|object| object.owner.clone()))
    }

    /// Executes a statement with the rights of a role, which its code cannot extend. The caller returns to a savepoint if it
    /// fails.
    pub(super) fn execute(
        &self,
        conn: &mut PgConnection,
        path: SchemaPath<'_>,
        name: &str,
        statement: &str,
    ) -> QueryResult<()> {
        let role = Identifier::of_object(name);
        if self.is_superuser {
            // The owner of a table may have no right to use its schema.
            let schema = Literal(path.schema().as_str()).to_string();
            let may_use: bool = diesel::select(sql::<Bool>(&format!(
                "pg_catalog.has_schema_privilege({}::pg_catalog.name, {schema}::pg_catalog.text, 'USAGE')",
                Literal(name)
            )))
            .get_result(conn)?;
            let usage = format!("USAGE ON SCHEMA {}", Identifier::from(path.schema()));
            if !may_use {
                conn.batch_execute(&format!("GRANT {usage} TO {role}"))?;
            }
            let statements = ContainedStatements::create_on_path(conn, path)?;
            statements.give_to(conn, role)?;
            statements.execute(conn, statement)?;
            statements.drop(conn)?;
            return if may_use { Ok(()) } else { conn.batch_execute(&format!("REVOKE {usage} FROM {role}")) };
        }
        conn.batch_execute(&format!("SET LOCAL ROLE {role}"))?;
        let statements = ContainedStatements::create_on_path(conn, path)?;
        statements.execute(conn, statement)?;
        statements.drop(conn)?;
        conn.batch_execute("RESET ROLE")
    }
}

/// The relation or type that a statement is about.
fn object_of(statement: &RepairStatement) -> Option<&str> {
    use ObjectKind as Kind;
    let object = &statement.object;
    let has_owner = matches!(
        object.kind,
        Kind::Table
            | Kind::ForeignTable
            | Kind::View
            | Kind::MaterializedView
            | Kind::Sequence
            | Kind::Domain
            | Kind::CompositeType
    );
    object.on.as_deref().or_else(|| has_owner.then_some(object.name.as_str()))
}
