//! `move`: a tenant is in use on one server at every moment, and no acknowledged row is lost or doubled.

mod back;
mod copy;
mod interrupted;
mod place;
mod refused;
mod replicate;
mod roles;
mod support;
mod writers;
