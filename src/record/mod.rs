//! The records in the database: the runs of commands, and the migrations as they were first applied.

pub mod integrity;
pub mod runs;
