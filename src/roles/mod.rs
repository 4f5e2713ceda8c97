//! Login roles of tenants: each has privileges in one tenant's schema, and in no other.
//!
//! The tracker records the role of a tenant, and a comment marks the role in the server, because roles belong to all databases
//! of a server: a role without the mark of this database and tenant is never changed or dropped. [`RoleChange`]s are what a
//! role and the privileges in its schema differ by from what they should be. `isolate` executes them and `health-check` reports
//! them, so that both agree.

mod attributes;
pub(crate) mod findings;
mod grants;
mod kind;
mod limits;
mod mark;
mod password;
mod plan;
mod recorded;
mod removal;
mod state;

pub use findings::RoleFinding;
pub use kind::RoleFindingKind;
pub use limits::{RoleLimit, RoleLimitError, RoleLimits};
pub(crate) use mark::of_tenant as mark_of;
pub use password::{InvalidPassword, RolePassword};
pub use plan::{RoleChange, RoleOptions, RolePlan};
pub(crate) use plan::{plan_roles, shortened};
pub(crate) use recorded::TenantRole;
pub(crate) use removal::{Removal, RoleRemoval, drop_group, mark_guard, removals};
pub(crate) use state::exists;
