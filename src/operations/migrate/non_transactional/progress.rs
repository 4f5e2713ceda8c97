//! The progress of a migration that is not transactional, in the tracker's row of the tenant.

use crate::migration::{Kind, Migration};
use crate::model::SchemaName;
use crate::operations::migrate::target::SchemaTarget;
use crate::postgres::GuardViolation;
use crate::sql::quote::Literal;
use crate::sql::statement::Statement;

/// The first statements of a migration, which have taken effect.
pub(super) struct StatementProgress<'a> {
    target: SchemaTarget<'a>,
    migration: &'a Migration,
    done: &'a [Statement<'a>],
    /// Whether the next statement may have taken effect, too.
    in_doubt: bool,
}

impl<'a> StatementProgress<'a> {
    pub(super) fn new(target: SchemaTarget<'a>, migration: &'a Migration, done: &'a [Statement<'a>]) -> Self {
        Self { target, migration, done, in_doubt: false }
    }

    /// The same progress, with a next statement that may have taken effect.
    pub(super) fn in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// SQL that records the progress. Public migrations have one statement each and no row to record it in.
    pub(super) fn update(&self) -> String {
        match self.target.kind {
            Kind::Public => String::new(),
            Kind::Tenant => format!(
                "UPDATE public.schema_tracker SET unfinished_version = {}, unfinished_statements = {}, \
                 unfinished_digest = {}, unfinished_in_doubt = {} WHERE name = {};",
                Literal(self.migration.version().as_str()),
                self.done.len(),
                self.digest(),
                self.in_doubt,
                Literal(self.target.schema.as_str())
            ),
        }
    }

    /// SQL that records the progress after a statement that ran outside a transaction, perhaps as another role.
    pub(super) fn note(&self) -> String {
        format!("RESET ROLE; {}", self.update())
    }

    /// A condition that the recorded statements are these.
    pub(super) fn guard(&self) -> String {
        format!(
            "IF (SELECT unfinished_digest FROM public.schema_tracker WHERE name = {}) IS DISTINCT FROM {} \
             THEN RAISE EXCEPTION '{}'; END IF;",
            Literal(self.target.schema.as_str()),
            self.digest(),
            GuardViolation::Edited.message()
        )
    }

    /// An SQL expression for a digest of the statements.
    fn digest(&self) -> String {
        let text: String = self.done.iter().map(|statement| format!("{};", statement.sql())).collect();
        format!("pg_catalog.md5({}::text)", Literal(&text))
    }
}

/// SQL that clears the progress of a tenant whose migration is finished.
pub(super) fn clear(schema: &SchemaName) -> String {
    format!(
        "UPDATE public.schema_tracker SET unfinished_version = NULL, unfinished_statements = NULL, \
         unfinished_digest = NULL, unfinished_in_doubt = NULL WHERE name = {};",
        Literal(schema.as_str())
    )
}
