//! The integration tests: the real binary, or the library, against a real PostgreSQL server that the run starts itself.

mod support;

mod adopt;
mod cleanup;
mod completions;
mod create;
mod demo;
mod diesel_ledger;
mod drift;
mod drop;
mod example;
mod faults;
mod health_check;
mod help;
mod integrity;
mod large_drops;
mod lint;
mod list;
mod local;
mod messages;
mod migrate;
mod names;
mod new_migration;
mod pooler;
mod production;
mod races;
mod repair_plan;
mod revert;
mod runs;
mod settings;
mod structure;
mod stubborn;
mod tls;
