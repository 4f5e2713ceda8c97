//! The layout of row-level tenancy: which schema, tables, column and roles it uses. `public.row_tenancy` stores it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::model::{ObjectName, SchemaName, TenantId};

/// Where tenants that share tables are, and which roles access them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The schema with the shared tables; `app` by default.
    pub schema: SchemaName,
    /// The table with a row for each tenant; `tenants` by default.
    pub registry: ObjectName,
    /// The column of each isolated table that refers to the registry; `tenant_id` by default.
    pub column: ObjectName,
    /// The roles.
    pub roles: Roles,
    /// How a transaction proves which tenant it works for.
    pub context: ContextKind,
    /// Ids that no tenant gets.
    pub reserved: ReservedIds,
}

/// The roles of row-level tenancy. Roles belong to the whole server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Owns the shared tables. Cannot log in.
    pub owner: ObjectName,
    /// Owns the schema [`VERIFIER_SCHEMA`] with the keys that verify contexts. Cannot log in.
    pub verifier: ObjectName,
    /// Runs migrations as the owner. Sees the rows of all tenants.
    pub admin: ObjectName,
    /// The application. Sees the rows of one tenant in each transaction.
    pub app: ObjectName,
}

/// How a transaction proves which tenant it works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContextKind {
    /// By a signature that is valid in one transaction. A session of the application's role cannot forge it.
    #[default]
    Signed,
    /// By a setting. A session of the application's role can set it to any tenant.
    Setting,
}

/// Ids that no tenant gets: numbers and ranges, such as `1,80-99`. The nil UUID and the max UUID are always reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedIds(Vec<RangeInclusive<i64>>);

/// A text that is no list of [`ReservedIds`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of ids: expected numbers and ranges, such as 1,80-99")]
pub struct ReservedIdsError(String);

/// A text that is not a [`ContextKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of context: {0:?}; expected signed or setting")]
pub struct ContextKindError(String);

/// The schema with the functions and keys that verify contexts.
pub const VERIFIER_SCHEMA: &str = "tenantry";

/// The setting with the signed context of a transaction.
pub const CONTEXT_SETTING: &str = "tenantry.context";

/// The setting with the id of the tenant of a transaction. With signed contexts, it only lets the planner use indexes.
pub const TENANT_SETTING: &str = "tenantry.tenant";

impl Layout {
    /// A layout with the default names and the [`Roles::with_prefix`] of the schema's name.
    ///
    /// # Errors
    /// The names of the roles are too long.
    pub fn new(schema: SchemaName) -> Result<Self, crate::NameError> {
        Ok(Self {
            registry: "tenants".parse()?,
            column: "tenant_id".parse()?,
            roles: Roles::with_prefix(schema.as_str())?,
            context: ContextKind::default(),
            reserved: ReservedIds::default(),
            schema,
        })
    }

    /// Reads the layout of a database; `None` if its tenants have schemas of their own. The public migrations must have been
    /// applied.
    ///
    /// # Errors
    /// The server's error, or a stored name that is not valid.
    pub fn read(conn: &mut PgConnection) -> Result<Option<Self>, Error> {
        let doing = || Error::doing("read public.row_tenancy");
        let row: Option<Row> = sql_query(
            "SELECT shared_schema, registry, tenant_column, owner_role, verifier_role, admin_role, app_role, context, \
             reserved_ids FROM public.row_tenancy",
        )
        .get_result(conn)
        .optional()
        .map_err(doing())?;
        row.map(|row| row.layout().map_err(|reason| RowTenancyError::InvalidLayout { reason }.into())).transpose()
    }

    /// The layout of a connected database; `None` if its tenants have schemas of their own.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn of(db: &mut Database) -> Result<Option<Self>, Error> {
        if db.server().has_row_tenancy { Self::read(db.connection()) } else { Ok(None) }
    }

    /// Stores the layout.
    pub(crate) fn insert(&self, conn: &mut PgConnection) -> QueryResult<()> {
        sql_query(
            "INSERT INTO public.row_tenancy (shared_schema, registry, tenant_column, owner_role, verifier_role, admin_role, \
             app_role, context, reserved_ids) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind::<Text, _>(self.schema.as_str())
        .bind::<Text, _>(self.registry.as_str())
        .bind::<Text, _>(self.column.as_str())
        .bind::<Text, _>(self.roles.owner.as_str())
        .bind::<Text, _>(self.roles.verifier.as_str())
        .bind::<Text, _>(self.roles.admin.as_str())
        .bind::<Text, _>(self.roles.app.as_str())
        .bind::<Text, _>(self.context.as_str())
        .bind::<Text, _>(self.reserved.to_string())
        .execute(conn)
        .map(|_| ())
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    shared_schema: String,
    #[diesel(sql_type = Text)]
    registry: String,
    #[diesel(sql_type = Text)]
    tenant_column: String,
    #[diesel(sql_type = Text)]
    owner_role: String,
    #[diesel(sql_type = Text)]
    verifier_role: String,
    #[diesel(sql_type = Text)]
    admin_role: String,
    #[diesel(sql_type = Text)]
    app_role: String,
    #[diesel(sql_type = Text)]
    context: String,
    #[diesel(sql_type = Text)]
    reserved_ids: String,
}

impl Row {
    fn layout(&self) -> Result<Layout, String> {
        let name = |text: &str| text.parse::<ObjectName>().map_err(|error| error.to_string());
        Ok(Layout {
            schema: self.shared_schema.parse().map_err(|error: crate::NameError| error.to_string())?,
            registry: name(&self.registry)?,
            column: name(&self.tenant_column)?,
            roles: Roles {
                owner: name(&self.owner_role)?,
                verifier: name(&self.verifier_role)?,
                admin: name(&self.admin_role)?,
                app: name(&self.app_role)?,
            },
            context: self.context.parse().map_err(|error: ContextKindError| error.to_string())?,
            reserved: self.reserved_ids.parse().map_err(|error: ReservedIdsError| error.to_string())?,
        })
    }
}

impl Roles {
    /// The roles `PREFIX_owner`, `PREFIX_verifier`, `PREFIX_admin` and `PREFIX_user`.
    ///
    /// # Errors
    /// The names are too long.
    pub fn with_prefix(prefix: &str) -> Result<Self, crate::NameError> {
        let name = |suffix: &str| format!("{prefix}_{suffix}").parse();
        Ok(Self { owner: name("owner")?, verifier: name("verifier")?, admin: name("admin")?, app: name("user")? })
    }
}

impl ContextKind {
    /// Its name on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Setting => "setting",
        }
    }
}

impl ContextKindError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-context-kind"
    }
}

impl FromStr for ContextKind {
    type Err = ContextKindError;

    fn from_str(text: &str) -> Result<Self, ContextKindError> {
        let kinds = [Self::Signed, Self::Setting];
        kinds.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| ContextKindError(text.to_owned()))
    }
}

impl ReservedIds {
    /// Whether no tenant gets this id.
    pub fn contains(&self, id: TenantId) -> bool {
        match id {
            TenantId::Uuid(id) => id.is_nil() || id.is_max(),
            TenantId::Number(id) => self.0.iter().any(|range| range.contains(&id)),
        }
    }
}

/// 1 for the system, and 80 to 99 for virtual tenants.
impl Default for ReservedIds {
    fn default() -> Self {
        Self(vec![1..=1, 80..=99])
    }
}

impl ReservedIdsError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-reserved-ids"
    }
}

impl FromStr for ReservedIds {
    type Err = ReservedIdsError;

    fn from_str(text: &str) -> Result<Self, ReservedIdsError> {
        let range = |part: &str| {
            let part = part.trim();
            // The first character may be the sign of a negative number.
            let dash = part.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
            let (first, last) = dash.map_or((part, part), |at| (&part[..at], &part[at + 1..]));
            let range = first.trim().parse::<i64>().ok()?..=last.trim().parse::<i64>().ok()?;
            (!range.is_empty()).then_some(range)
        };
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let ranges = text.split(',').map(range).collect::<Option<_>>();
        ranges.map(Self).ok_or_else(|| ReservedIdsError(text.to_owned()))
    }
}

impl fmt::Display for ReservedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{separator}{first}")?,
                (first, last) => write!(f, "{separator}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ids_are_numbers_and_ranges() {
        let reserved: ReservedIds = "1, 80-99,-5--3".parse().unwrap();
        assert_eq!(reserved.to_string(), "1,80-99,-5--3");
        let is_reserved = |id: i64| reserved.contains(TenantId::Number(id));
        assert!([1, 80, 99, -4].into_iter().all(is_reserved));
        assert!(![0, 2, 79, 100, -2].into_iter().any(is_reserved));
        assert_eq!("".parse::<ReservedIds>().unwrap().to_string(), "");
        for invalid in ["a", "1,", "9-8", "-", "1-", "1;2"] {
            assert!(invalid.parse::<ReservedIds>().is_err(), "{invalid}");
        }
        assert!(ReservedIds::default().contains(uuid::Uuid::nil().into()));
    }
}
