//! Reads a fleet in a few statements.

use std::collections::HashMap;
use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::row::{self, Entry, FleetRow, Unread};
use super::{Fleet, Schema};
use crate::error::{Error, UnreadableLedger};
use crate::migration::MigrationSet;
use crate::model::SchemaName;
use crate::postgres::{CHUNK, Condition, LockHolder, ServerMessage};
use crate::tenants::ledger::{self, Ledger, LedgerContents};

/// Reads the fleet; with `names`, only the tenants with one of the names.
pub(super) fn read(conn: &mut PgConnection, set: &MigrationSet, names: Option<&[&str]>) -> Result<Fleet, Error> {
    let mut reader = Reader { set, fleet: Fleet::default(), ledgers: HashMap::new() };
    let mut unread = reader.add(row::read(conn, set, names)?);
    while !unread.is_empty() {
        let rest = unread.split_off(unread.len().min(CHUNK));
        reader.read_ledgers(conn, unread)?;
        unread = rest;
    }
    reader.fleet.tenants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reader.fleet)
}

/// A fleet that is being read.
struct Reader<'a> {
    set: &'a MigrationSet,
    fleet: Fleet,
    /// The ledgers read so far, by the versions that they record and the repeatable migrations that were applied.
    ledgers: HashMap<(Vec<String>, Vec<String>), Arc<Ledger>>,
}

/// How many times the ledgers of a chunk are read in one statement. Then each is read alone.
const ATTEMPTS: usize = 3;

impl Reader<'_> {
    /// Adds rows of the tracker to the fleet. Returns the tenants whose ledgers are yet to be read.
    fn add(&mut self, rows: Vec<FleetRow>) -> Vec<Unread> {
        let mut unread = Vec::new();
        for row in rows {
            match row.into_entry() {
                Entry::Tenant(tenant) => self.fleet.tenants.push(tenant),
                Entry::Unread(tenant) => unread.push(tenant),
                Entry::Misnamed(misnamed) => self.fleet.misnamed.push(misnamed),
                Entry::Invalid(invalid) => self.fleet.invalid.push(invalid),
            }
        }
        unread
    }

    /// Reads the ledgers of at most [`CHUNK`] tenants and adds the tenants to the fleet. A ledger that is dropped or locked
    /// makes the statement fail for all of them. The rows of the tracker are then read again, so that dropped tenants are
    /// left out.
    fn read_ledgers(&mut self, conn: &mut PgConnection, mut unread: Vec<Unread>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let schemas: Vec<&SchemaName> = unread.iter().map(|tenant| tenant.name().schema()).collect();
            match ledger::read_chunk(conn, &schemas) {
                Ok(contents) => {
                    for (tenant, contents) in unread.into_iter().zip(contents) {
                        self.add_read(tenant, contents);
                    }
                    return Ok(());
                }
                Err(error) => match Condition::of(&error) {
                    Some(Condition::ConnectionLost) => return Err(cannot_read(error)),
                    Some(Condition::LockTimeout) => break,
                    _ => {
                        let names: Vec<&str> = unread.iter().map(|tenant| tenant.name().as_str()).collect();
                        unread = self.add(row::read(conn, self.set, Some(&names))?);
                    }
                },
            }
        }
        unread.into_iter().try_for_each(|tenant| self.read_alone(conn, tenant))
    }

    /// Reads one ledger, which may be the one that makes the statement for all fail.
    fn read_alone(&mut self, conn: &mut PgConnection, tenant: Unread) -> Result<(), Error> {
        match ledger::read_one(conn, tenant.name().schema()) {
            Ok(contents) => self.add_read(tenant, contents),
            Err(error) if ServerMessage::is_connection_lost(&error) => return Err(cannot_read(error)),
            Err(error) => {
                let reason = unreadable(conn, tenant.name().schema(), &error);
                self.fleet.tenants.push(tenant.with_schema(Schema::Unreadable(reason)));
            }
        }
        Ok(())
    }

    /// Adds a tenant whose ledger was read.
    fn add_read(&mut self, mut tenant: Unread, contents: LedgerContents) {
        let schema = match contents {
            LedgerContents::Versions(applied) => {
                let ledger = self.ledger(applied, std::mem::take(&mut tenant.repeatables));
                Schema::Ledger { oid: tenant.oid, ledger }
            }
            LedgerContents::Invalid(reason) => Schema::InvalidLedger { reason },
        };
        self.fleet.tenants.push(tenant.with_schema(schema));
    }

    /// The ledger that records these versions, shared by all tenants that have it.
    fn ledger(&mut self, applied: Vec<String>, repeatables: Vec<String>) -> Arc<Ledger> {
        let set = self.set;
        let ledger = self.ledgers.entry((applied, repeatables)).or_insert_with_key(|(applied, repeatables)| {
            Arc::new(Ledger::with_repeatables(applied.clone(), repeatables.clone(), set))
        });
        Arc::clone(ledger)
    }
}

/// The reason why a ledger cannot be read that this role may read.
fn unreadable(conn: &mut PgConnection, schema: &SchemaName, error: &DieselError) -> UnreadableLedger {
    match Condition::of(error) {
        Some(Condition::LockTimeout) => {
            UnreadableLedger::Locked(LockHolder::find_exclusive(conn, &ledger::qualified(schema)))
        }
        _ => UnreadableLedger::Failed(Box::new(ServerMessage::from(error))),
    }
}

fn cannot_read(error: DieselError) -> Error {
    Error::doing("read the tenants' ledgers")(error)
}
