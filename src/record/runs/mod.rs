//! The record of the runs that change tenants: `public.schema_run`, and `public.schema_run_tenant` with one row per tenant.
//!
//! The row of a changed tenant is written in the transaction that changes it. The row of a failed tenant is written with the
//! batch of outcomes in which the failure is reported. A run that is aborted has no end in the record.

mod done;
mod history;
mod outcome;
mod run;
mod unrecorded;
mod write;

pub(crate) use history::last_changes;
#[cfg(feature = "cli")]
pub(crate) use history::of_tenant;
pub use history::{RetryCommand, RunRecord, TenantRecord, failed_in, last_failed, newest, one};
pub(crate) use outcome::Counts;
pub use outcome::{StopReason, TenantOutcome};
pub(crate) use run::Run;
pub use schema::{schema_run, schema_run_tenant};
pub(crate) use write::{DoneRow, FailedRow};

/// The tables as Diesel sees them.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// The runs.
        public.schema_run (id) {
            id -> BigInt,
            command -> Text,
            arguments -> Array<Text>,
            version -> Text,
            role -> Text,
            os_user -> Nullable<Text>,
            host -> Nullable<Text>,
            pid -> Nullable<Integer>,
            backend -> Nullable<Integer>,
            migrations -> Nullable<Text>,
            request -> Nullable<Jsonb>,
            started_at -> Timestamptz,
            ended_at -> Nullable<Timestamptz>,
            outcome -> Nullable<Text>,
            done -> Integer,
            unchanged -> Integer,
            failed -> Integer,
            deferred -> Integer,
            not_reached -> Integer,
        }
    }
    diesel::table! {
        /// The tenants that a run changed or failed to change.
        public.schema_run_tenant (run, tenant) {
            run -> BigInt,
            tenant -> Text,
            outcome -> Text,
            from_version -> Nullable<Text>,
            to_version -> Nullable<Text>,
            started_at -> Timestamptz,
            milliseconds -> BigInt,
            attempts -> Integer,
            code -> Nullable<Text>,
            error -> Nullable<Text>,
        }
    }
    diesel::allow_tables_to_appear_in_same_query!(schema_run, schema_run_tenant);
}
