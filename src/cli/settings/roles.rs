//! The roles of tenants with schemas of their own.

use anyhow::Context as _;
use clap::Args;

use super::values::duration;
use crate::cli::context::Usage;
use crate::cli::files::standard_input;
use crate::model::ObjectName;
use crate::operations::PasswordChoice;
use crate::roles::{InvalidPassword, RoleLimit, RoleOptions};

/// How the roles of tenants are named and limited, and which passwords they get.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Roles of tenants")]
pub(crate) struct RoleChoices {
    /// Name of the role, of a single tenant [default: the prefix and the name of the tenant]
    #[arg(long, value_name = "NAME")]
    role_name: Option<ObjectName>,

    /// Prefix of the names of new roles, because roles belong to the whole server [default: the database and _]
    #[arg(long = "tenant-role-prefix", value_name = "PREFIX")]
    prefix: Option<String>,

    /// Group of the roles [default: the prefix and 'tenants']
    #[arg(long, value_name = "NAME")]
    role_group: Option<ObjectName>,

    /// Statement timeout of the roles' sessions, or none [default: as recorded, else 1m]
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    role_statement_timeout: Option<RoleLimit>,

    /// Number of connections of each role, or none [default: as recorded, else 20]
    #[arg(long, value_name = "N", value_parser = number_limit)]
    role_connection_limit: Option<RoleLimit>,

    /// Temporary files of each session of the roles in megabytes, or none [default: as recorded, else 1024]
    #[arg(long, value_name = "MB", value_parser = size_limit)]
    role_temp_file_limit: Option<RoleLimit>,

    /// Read the password of the role from standard input, of a single tenant
    #[arg(long, conflicts_with = "new_password")]
    password_stdin: bool,

    /// Generate passwords for roles that exist, too
    #[arg(long)]
    new_password: bool,
}

impl RoleChoices {
    /// The options for `tenants` tenants.
    pub(crate) fn options(&self, tenants: usize) -> Result<RoleOptions, Usage> {
        for (given, option) in [(self.role_name.is_some(), "--role-name"), (self.password_stdin, "--password-stdin")] {
            if given && tenants != 1 {
                return Err(Usage::new("ambiguous-role", format!("{option} requires exactly one tenant")));
            }
        }
        Ok(RoleOptions {
            name: self.role_name.clone(),
            prefix: self.prefix.clone(),
            group: self.role_group.clone(),
            statement_timeout: self.role_statement_timeout,
            connections: self.role_connection_limit,
            temp_files: self.role_temp_file_limit,
        })
    }

    /// The passwords that roles get; reads standard input if that is requested.
    pub(crate) fn passwords(&self) -> anyhow::Result<PasswordChoice> {
        if !self.password_stdin {
            return Ok(if self.new_password { PasswordChoice::ForAllRoles } else { PasswordChoice::ForNewRoles });
        }
        let text = standard_input().context("cannot read standard input")?.lines().next().unwrap_or_default();
        let invalid = |error: InvalidPassword| Usage::new(error.code(), error.to_string());
        Ok(PasswordChoice::Given(text.trim_end_matches(['\r', '\n']).parse().map_err(invalid)?))
    }

    /// Whether any option is given.
    pub(crate) fn is_any_given(&self) -> bool {
        self.role_name.is_some()
            || self.prefix.is_some()
            || self.role_group.is_some()
            || self.role_statement_timeout.is_some()
            || self.role_connection_limit.is_some()
            || self.role_temp_file_limit.is_some()
            || self.password_stdin
            || self.new_password
    }
}

fn limit(text: &str, parse: impl FnOnce(&str) -> Result<i64, String>) -> Result<RoleLimit, String> {
    match text.trim() {
        "none" => Ok(RoleLimit::Unlimited),
        text => RoleLimit::at_most(parse(text)?).map_err(|error| error.to_string()),
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected none, or a number".to_owned())
}

fn number_limit(text: &str) -> Result<RoleLimit, String> {
    limit(text, number)
}

/// In kilobytes.
fn size_limit(text: &str) -> Result<RoleLimit, String> {
    limit(text, |text| Ok(number(text)?.saturating_mul(1024)))
}

/// In milliseconds.
fn time_limit(text: &str) -> Result<RoleLimit, String> {
    limit(text, |text| Ok(i64::try_from(duration(text)?.as_millis()).unwrap_or(i64::MAX)))
}
