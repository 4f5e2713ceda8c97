//! Where a command works if the fleet is on several servers.

use anyhow::Result;

use crate::cli::commands::Command;

/// Where a command works if the fleet is on several servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// On the database of the options, or on none.
    Here,
    /// On the registry, unless another server is chosen.
    Registry,
    /// On one server, which must be chosen.
    Chosen,
    /// On all servers, or the chosen ones.
    Fleet,
    /// On the servers of the tenants that it names.
    Tenants,
    /// On the server on which the tenants that it names are to be placed.
    Placing,
}

/// The tenants that the arguments of a command name.
pub(crate) trait NamedTenants {
    /// Reads the names that are in a file.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_files(&mut self) -> Result<()> {
        Ok(())
    }

    /// The names.
    fn names(&self) -> Vec<String>;

    /// Keeps only some of the names. Returns false if the command needs all of them.
    fn keep(&mut self, is_kept: &dyn Fn(&str) -> bool) -> bool;
}

/// Implements [`NamedTenants`] for arguments: a list of names, a list with a file of more names, or single names.
macro_rules! named_tenants {
    ($args:ty, $names:ident) => {
        impl $crate::cli::fleet::NamedTenants for $args {
            fn names(&self) -> Vec<String> {
                self.$names.iter().map(ToString::to_string).collect()
            }

            fn keep(&mut self, is_kept: &dyn Fn(&str) -> bool) -> bool {
                self.$names.retain(|name| is_kept(&name.to_string()));
                true
            }
        }
    };
    ($args:ty, $names:ident, from $from:ident) => {
        impl $crate::cli::fleet::NamedTenants for $args {
            fn read_files(&mut self) -> anyhow::Result<()> {
                if let Some(path) = self.$from.take() {
                    self.$names.extend($crate::cli::files::read_names(&path, str::parse)?);
                }
                Ok(())
            }

            fn names(&self) -> Vec<String> {
                self.$names.iter().map(ToString::to_string).collect()
            }

            fn keep(&mut self, is_kept: &dyn Fn(&str) -> bool) -> bool {
                self.$names.retain(|name| is_kept(&name.to_string()));
                true
            }
        }
    };
    ($args:ty, one $($name:ident),+) => {
        impl $crate::cli::fleet::NamedTenants for $args {
            fn names(&self) -> Vec<String> {
                let mut names = Vec::new();
                $(names.extend(Some(&self.$name).into_iter().map(|name| $crate::cli::fleet::text_of(name)));)+
                names.into_iter().flatten().collect()
            }

            fn keep(&mut self, is_kept: &dyn Fn(&str) -> bool) -> bool {
                $crate::cli::fleet::NamedTenants::names(self).iter().all(|name| is_kept(name))
            }
        }
    };
}
pub(crate) use named_tenants;

/// A name that may be absent.
pub(crate) trait MaybeName {
    fn text(&self) -> Option<String>;
}

impl MaybeName for crate::model::TenantName {
    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: MaybeName> MaybeName for Option<T> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(MaybeName::text)
    }
}

pub(crate) fn text_of(name: &impl MaybeName) -> Option<String> {
    name.text()
}

impl Command {
    /// The tenants that the command names, for a command that can name any.
    pub(super) fn tenants(&mut self) -> Option<&mut dyn NamedTenants> {
        Some(match self {
            Self::Create(args) => args,
            Self::Adopt(args) => args,
            Self::Untrack(args) => args,
            Self::Label(args) => args,
            Self::Archive(args) => &mut args.tenants,
            Self::Unarchive(args) => &mut args.tenants,
            Self::Rename(args) => args,
            Self::Clone(args) => args,
            Self::Dump(args) => args,
            Self::Restore(args) => args,
            Self::Exec(args) => args,
            Self::Psql(args) => args,
            Self::MigrateOne(args) => args,
            Self::RevertOne(args) => args,
            Self::Redo(args) => args,
            Self::Isolate(args) => args,
            Self::HealthCheck(args) => args,
            Self::Probe(args) => args,
            Self::Diff(args) => args,
            Self::RepairPlan(args) => args,
            Self::PrintSchema(args) => args,
            Self::Drop(args) => args,
            Self::Seed(args) => args,
            _ => return None,
        })
    }

    /// Where the command works.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Server(_)
            | Self::Shared(_)
            | Self::Move(_)
            | Self::Place(_)
            | Self::Where(_)
            | Self::Lint(_)
            | Self::Local(_)
            | Self::Demo(_)
            | Self::Completions(_)
            | Self::Man(_) => Scope::Here,
            Self::Runs(_)
            | Self::Reference(_)
            | Self::Grants(_)
            | Self::Browse(_)
            | Self::Benchmark(_)
            | Self::Key(_)
            | Self::NewMigration(_) => Scope::Registry,
            Self::Cleanup(_) => Scope::Chosen,
            Self::Create(_) | Self::Adopt(_) | Self::Restore(_) => Scope::Placing,
            Self::List(_)
            | Self::Stats(_)
            | Self::MigratePublic(_)
            | Self::MigrateAll(_)
            | Self::RevertAll(_)
            | Self::Metrics(_)
            | Self::Repair(_)
            | Self::Purge(_) => Scope::Fleet,
            // On all servers if they name no tenant.
            Self::Untrack(_)
            | Self::Label(_)
            | Self::Archive(_)
            | Self::Unarchive(_)
            | Self::Rename(_)
            | Self::Clone(_)
            | Self::Dump(_)
            | Self::Exec(_)
            | Self::Psql(_)
            | Self::MigrateOne(_)
            | Self::RevertOne(_)
            | Self::Redo(_)
            | Self::Isolate(_)
            | Self::HealthCheck(_)
            | Self::Probe(_)
            | Self::Diff(_)
            | Self::RepairPlan(_)
            | Self::PrintSchema(_)
            | Self::Drop(_)
            | Self::Seed(_) => Scope::Tenants,
        }
    }

    /// The name of a tenant that the command makes of another one.
    pub(super) fn new_tenant(&self) -> Option<String> {
        match self {
            Self::Rename(args) => args.new_name(),
            Self::Clone(args) => Some(args.new_name()),
            _ => None,
        }
    }

    /// Whether the command makes, renames or removes tenants, so that the directory changes.
    pub(super) fn changes_tenants(&self) -> bool {
        matches!(
            self,
            Self::Create(_)
                | Self::Adopt(_)
                | Self::Untrack(_)
                | Self::Rename(_)
                | Self::Clone(_)
                | Self::Restore(_)
                | Self::Drop(_)
                | Self::Purge(_)
                | Self::Cleanup(_)
        )
    }

    /// Whether the registry comes before the other servers: they may need what it has.
    pub(super) fn is_registry_first(&self) -> bool {
        match self {
            Self::MigratePublic(_) => true,
            // The first tenants of all are on one server.
            Self::MigrateAll(args) => args.has_canary(),
            Self::RevertAll(args) => args.has_canary(),
            _ => false,
        }
    }

    /// The name of a command that is recorded as a run on several servers.
    pub(super) fn recorded_as(&self) -> Option<&'static str> {
        match self {
            Self::MigrateAll(args) => (!args.is_dry_run()).then_some("migrate-all"),
            Self::RevertAll(args) => (!args.is_dry_run()).then_some("revert-all"),
            Self::MigratePublic(_) => Some("migrate-public"),
            Self::Purge(_) => Some("purge"),
            _ => None,
        }
    }
}
