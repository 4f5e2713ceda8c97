//! Whether tenants have schemas of their own or share tables.

use clap::{Args, ValueEnum};

use crate::cli::context::Usage;
use crate::model::{ObjectName, SchemaName};
use crate::rows::{ContextKind, Layout, ReservedIds, Roles};

/// How the tenants of a database are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TenancyKind {
    /// Each tenant has a schema
    Schemas,
    /// All tenants share the tables of one schema; each row belongs to a tenant
    Rows,
}

/// How the tenants of a new database are separated.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tenancy")]
pub(crate) struct TenancyOptions {
    /// How tenants are separated; recorded in the database [default: as recorded, else schemas]
    #[arg(long, env = "TENANTRY_TENANCY", hide_env_values = true, value_enum, value_name = "KIND")]
    pub(crate) tenancy: Option<TenancyKind>,

    /// Schema of the shared tables [default: app]
    #[arg(long, value_name = "NAME", help_heading = "Shared tables")]
    shared_schema: Option<SchemaName>,

    /// Table of that schema with a row for each tenant [default: tenants]
    #[arg(long, value_name = "TABLE", help_heading = "Shared tables")]
    registry: Option<ObjectName>,

    /// Column of each table with the tenant's id [default: tenant_id]
    #[arg(long, value_name = "COLUMN", help_heading = "Shared tables")]
    tenant_column: Option<ObjectName>,

    /// Prefix of the roles PREFIX_owner, PREFIX_verifier, PREFIX_admin and PREFIX_user [default: the shared schema]
    #[arg(long, value_name = "PREFIX", help_heading = "Shared tables")]
    role_prefix: Option<String>,

    /// How a transaction proves its tenant: by a signature, or by a setting that SQL can forge [default: signed]
    #[arg(long = "context", value_name = "KIND", help_heading = "Shared tables")]
    context_kind: Option<ContextKind>,

    /// Ids that no tenant gets: numbers and ranges [default: 1,80-99]
    #[arg(long, value_name = "IDS", help_heading = "Shared tables")]
    reserved_ids: Option<ReservedIds>,
}

impl TenancyOptions {
    /// The layout for a new database, or `recorded` if no option differs from it; `None` for schemas.
    pub(crate) fn layout(&self, recorded: Option<Layout>) -> anyhow::Result<Option<Layout>> {
        let kind = self.tenancy.unwrap_or(if recorded.is_some() { TenancyKind::Rows } else { TenancyKind::Schemas });
        match (kind, &recorded) {
            (TenancyKind::Schemas, Some(_)) => {
                return Err(Usage::with_hint(
                    "wrong-tenancy",
                    "the tenants of this database share tables, and --tenancy is schemas",
                    "use another database for tenants with schemas of their own, or --tenancy rows",
                )
                .into());
            }
            (TenancyKind::Schemas, None) if self.has_options_of_rows() => {
                return Err(Usage::with_hint(
                    "unexpected-option",
                    "options of shared tables require --tenancy rows",
                    "add --tenancy rows, or leave out the options under 'Shared tables'",
                )
                .into());
            }
            (TenancyKind::Schemas, None) => return Ok(None),
            (TenancyKind::Rows, _) => {}
        }
        let schema = match (&self.shared_schema, &recorded) {
            (Some(schema), _) => schema.clone(),
            (None, Some(layout)) => layout.schema.clone(),
            (None, None) => "app".parse()?,
        };
        let mut layout = match &recorded {
            Some(layout) => Layout { schema, ..layout.clone() },
            None => Layout::new(schema)?,
        };
        if let Some(registry) = &self.registry {
            layout.registry = registry.clone();
        }
        if let Some(column) = &self.tenant_column {
            layout.column = column.clone();
        }
        if let Some(prefix) = &self.role_prefix {
            layout.roles = Roles::with_prefix(prefix)?;
        }
        if let Some(kind) = self.context_kind {
            layout.context = kind;
        }
        if let Some(reserved) = &self.reserved_ids {
            layout.reserved = reserved.clone();
        }
        match recorded {
            Some(recorded) if recorded != layout => Err(Usage::with_hint(
                "wrong-tenancy",
                "the options of shared tables differ from those that the database records",
                "leave them out: the recorded ones apply",
            )
            .into()),
            _ => Ok(Some(layout)),
        }
    }

    fn has_options_of_rows(&self) -> bool {
        self.shared_schema.is_some()
            || self.registry.is_some()
            || self.tenant_column.is_some()
            || self.role_prefix.is_some()
            || self.context_kind.is_some()
            || self.reserved_ids.is_some()
    }
}
