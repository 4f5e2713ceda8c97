//! The migrations, the search path they run with, and the role they run as.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::values::boolean;
use crate::model::SchemaName;
use crate::tenants::RunAs;

/// The directory of the tenant migrations.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Migrations")]
pub(crate) struct TenantMigrations {
    /// Directory of the tenant migrations [default: those built into the program, else dir of [migrations_directory] in
    /// diesel.toml, else migrations/tenant]
    #[arg(
        id = "tenant_migrations",
        long = "tenant-migrations",
        env = "TENANTRY_TENANT_MIGRATIONS",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
}

/// The directory of the public migrations.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Migrations")]
pub(crate) struct PublicMigrations {
    /// Directory of public migrations to apply besides the tracker's own [default: those built into the program]
    #[arg(
        id = "public_migrations",
        long = "public-migrations",
        env = "TENANTRY_PUBLIC_MIGRATIONS",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
}

/// The schemas that follow the tenant's on the search path.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Migrations")]
pub(crate) struct SearchPath {
    /// Schema that holds extensions, after the tenant's on the search path; may be repeated
    #[arg(
        long = "extension-schema",
        env = "TENANTRY_EXTENSION_SCHEMA",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) extension_schemas: Vec<SchemaName>,
}

/// The migrations of a command that works with tenants.
#[derive(Debug, Clone, Args)]
pub(crate) struct Migrations {
    #[command(flatten)]
    pub(crate) tenant: TenantMigrations,

    #[command(flatten)]
    pub(crate) public: PublicMigrations,

    #[command(flatten)]
    pub(crate) path: SearchPath,
}

/// Whose rights migrations run with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Migrations")]
pub(crate) struct Role {
    /// Run tenant migrations as the owner of the tenant's schema
    ///
    /// New objects belong to that role. A trigger of a hostile tenant can reset the role: to contain such code, connect as
    /// a role with few privileges.
    #[arg(long, env = "TENANTRY_AS_OWNER", hide_env_values = true, action = ArgAction::SetTrue, value_parser = boolean)]
    pub(crate) as_owner: bool,
}

impl Role {
    pub(crate) fn run_as(&self) -> RunAs {
        if self.as_owner { RunAs::SchemaOwner } else { RunAs::ConnectedRole }
    }
}
