//! `shared add`, `shared sync`, `shared remove`

use anyhow::Result;

use super::OpenFleet;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::settings::Connection;
use crate::error::{Error, ServersError};
use crate::model::{NameError, ObjectName};
use crate::servers::shared::tables::{forget, record, require_shareable, tables};
use crate::servers::shared::{self, LocalRows, ShareDirection, SharedTable};

/// Share tables with all servers
///
/// The tables exist on all servers, by the public migrations, with the same columns and a primary key. Their rows are brought
/// over, and each change follows. Nothing is changed if a server cannot be reached or does not fit.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AddArgs {
    /// Tables of the schema public
    #[arg(value_name = "TABLE", required = true, value_parser = table)]
    tables: Vec<ObjectName>,

    /// The other servers publish the tables to the registry
    #[arg(long)]
    from_regions: bool,

    #[command(flatten)]
    replace: ReplaceOption,

    #[command(flatten)]
    connection: Connection,
}

/// Attach servers that do not have all shared tables
///
/// Resumes what was interrupted, replaces lost replication slots, enables disabled subscriptions, and applies changed
/// connection strings.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    replace: ReplaceOption,

    #[command(flatten)]
    connection: Connection,
}

/// Stop sharing tables, whose rows stay
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Tables of the schema public
    #[arg(value_name = "TABLE", required = true, value_parser = table)]
    tables: Vec<ObjectName>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct ReplaceOption {
    /// Replace rows that a server has in the tables and that differ from those of the publisher
    #[arg(long)]
    replace: bool,
}

impl ReplaceOption {
    fn local_rows(self) -> LocalRows {
        if self.replace { LocalRows::Replace } else { LocalRows::Keep }
    }
}

/// A table of the schema public, with or without the schema.
fn table(text: &str) -> Result<ObjectName, NameError> {
    text.strip_prefix("public.").unwrap_or(text).parse()
}

pub(super) fn add(args: &AddArgs, context: &Context) -> Result<Exit> {
    let mut fleet = OpenFleet::for_change(context, &args.connection)?;
    let direction = if args.from_regions { ShareDirection::In } else { ShareDirection::Out };
    require_shareable(&fleet.tables, &args.tables, direction)?;
    let new = args.tables.iter().map(|name| SharedTable { name: name.clone(), direction });
    let mut all: Vec<SharedTable> = fleet.tables.iter().cloned().chain(new).collect();
    all.sort();
    all.dedup();
    for server in fleet.others() {
        let mut endpoint = fleet.endpoint(&server)?;
        shared::check(&mut fleet.registry, &mut endpoint, &all)?;
    }
    let names: Vec<&str> = args.tables.iter().map(ObjectName::as_str).collect();
    record(fleet.registry.connection(), &names, direction)?;
    fleet.tables = tables(fleet.registry.connection())?;
    fleet.follow_all(args.replace.local_rows())
}

pub(super) fn sync(args: &SyncArgs, context: &Context) -> Result<Exit> {
    OpenFleet::for_change(context, &args.connection)?.follow_all(args.replace.local_rows())
}

pub(super) fn remove(args: &RemoveArgs, context: &Context) -> Result<Exit> {
    let mut fleet = OpenFleet::for_change(context, &args.connection)?;
    if let Some(unknown) = args.tables.iter().find(|name| !fleet.tables.iter().any(|table| table.name == **name)) {
        return Err(Error::from(ServersError::UnknownShared { table: unknown.to_string() }).into());
    }
    let names: Vec<&str> = args.tables.iter().map(ObjectName::as_str).collect();
    forget(fleet.registry.connection(), &names)?;
    fleet.tables = tables(fleet.registry.connection())?;
    fleet.follow_all(LocalRows::Keep)
}
