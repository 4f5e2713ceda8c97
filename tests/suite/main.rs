//! The integration tests: the real binary, or the library, against a real PostgreSQL server that the run starts itself.

mod support;

mod create;
mod diesel_ledger;
mod faults;
mod messages;
mod migrate;
mod pooler;
mod races;
