//! Keeps a tenant that has not arrived yet from being written to, also by sessions that do not ask where the tenant is.
//!
//! A trigger on each table refuses what is neither replicated nor copied by the move: triggers do not fire for the replication.
//! When the tenant is put into use, the function of the triggers is replaced, which waits for no lock. The triggers are dropped
//! afterwards.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::mover::Moving;
use super::record::TenantMove;
use super::tables;
use crate::error::Error;
use crate::model::SchemaName;
use crate::postgres::{Condition, path};
use crate::schema::drift::Difference;
use crate::sql::quote::{Identifier, Literal};

/// The name of the triggers and of their function.
const NAME: &str = "tenantry_arriving";

/// How often a trigger is tried to be dropped while other sessions use its table.
const ATTEMPTS: u32 = 30;

/// Whether a difference of structures is one of these triggers, or their function.
pub(super) fn is_own(difference: &Difference) -> bool {
    difference.identity.name == NAME || difference.identity.name == format!("{NAME}()")
}

/// SQL that lets a transaction write to the tables.
pub(super) fn open_for_move(moved: &TenantMove) -> String {
    format!("SET LOCAL tenantry.move TO {};", Literal(&moved.id.to_string()))
}

/// Creates the triggers in the transaction that made the tables.
pub(super) fn close(conn: &mut PgConnection, moved: &TenantMove, schema: &SchemaName) -> QueryResult<()> {
    let body = format!(
        "BEGIN IF pg_catalog.current_setting('tenantry.move', true) IS DISTINCT FROM {} THEN \
         RAISE EXCEPTION 'the tenant has not arrived on this server yet' USING ERRCODE = 'object_not_in_prerequisite_state'; \
         END IF; RETURN NULL; END",
        Literal(&moved.id.to_string())
    );
    let mut sql = function(schema, &body);
    for table in tables::tables(conn, schema)? {
        sql.push_str(&format!(
            "CREATE TRIGGER {NAME} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {} FOR EACH STATEMENT \
             EXECUTE FUNCTION {}.{NAME}();",
            table.qualified(schema),
            Identifier::from(schema)
        ));
    }
    conn.batch_execute(&sql)
}

/// SQL that makes the triggers refuse nothing, in the transaction that puts the tenant into use.
pub(super) fn open(schema: &SchemaName) -> String {
    function(schema, "BEGIN RETURN NULL; END")
}

fn function(schema: &SchemaName, body: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {}.{NAME}() RETURNS trigger LANGUAGE plpgsql {} AS {};",
        Identifier::from(schema),
        path::CATALOG_OF_FUNCTION,
        Literal(body)
    )
}

impl Moving<'_> {
    /// Drops the triggers on the target, if there are any.
    pub(super) fn drop_triggers(&mut self) -> Result<(), Error> {
        let (tenant, schema) = (self.moved.tenant.clone(), self.moved.tenant.schema().clone());
        let failed = self.target.failed(&tenant, "drop the triggers of the move");
        let found = tables::tables(self.target.conn(), &schema).map_err(&failed)?;
        let mut statements: Vec<String> = found
            .iter()
            .map(|table| format!("DROP TRIGGER IF EXISTS {NAME} ON {};", table.qualified(&schema)))
            .collect();
        statements.push(format!("DROP FUNCTION IF EXISTS {}.{NAME}();", Identifier::from(&schema)));
        for statement in statements {
            let sql = format!("BEGIN; SET LOCAL lock_timeout TO 300; {statement} COMMIT");
            let mut attempts = 0;
            while let Err(error) = self.target.conn().batch_execute(&sql) {
                self.target.conn().batch_execute("ROLLBACK").map_err(&failed)?;
                attempts += 1;
                let is_contention = matches!(Condition::of(&error), Some(Condition::LockTimeout | Condition::Deadlock));
                if !is_contention || attempts == ATTEMPTS || !self.stop.pause(Duration::from_millis(300)) {
                    return Err(failed(error));
                }
            }
        }
        Ok(())
    }
}
