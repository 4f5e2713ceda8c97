//! SQL as text: quoting it, and taking a script apart into its statements.
//!
//! Where a query goes alone its values are bound and its identifiers pushed by Diesel. A message of several statements
//! can bind nothing, so there each identifier and each value goes through [`quote`].

pub(crate) mod catalog;
mod lexer;
mod printable;
pub mod quote;
pub mod statement;

pub(crate) use printable::printable;
