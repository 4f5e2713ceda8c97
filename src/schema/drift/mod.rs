//! Drift: any difference of a tenant's structure from the reference.

mod accept;
mod archived;
mod candidate;
mod check;
mod compare;
mod difference;
mod level;
mod mentions;
mod one;
mod pass;
mod property;
pub mod repair;
mod stamp;
mod words;

pub use accept::{Accepted, ParsePatternError, Pattern};
pub use check::{Drift, Group, Member, Uncompared, check};
pub use compare::compare;
pub use difference::{Aspect, Difference};
pub use level::{Level, UnknownLevel};
pub use one::{Compared, Diff, against_reference, against_tenant};
pub use property::PROPERTIES;
pub use stamp::Stamps;
pub(crate) use stamp::read_current as current_stamps;
