//! SQL text: quoting, and splitting scripts into statements.
//!
//! Single queries bind their values, and Diesel quotes their identifiers. A message with several statements cannot bind
//! values, so that identifiers and values are quoted with [`quote`].

#[cfg(feature = "cli")]
pub(crate) mod archive;
pub(crate) mod catalog;
#[cfg(feature = "cli")]
pub(crate) mod dump;
mod lexer;
mod printable;
pub mod quote;
pub mod statement;
mod token;

pub(crate) use printable::printable;
