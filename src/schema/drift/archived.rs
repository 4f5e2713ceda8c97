//! Archived tenants: the privileges on their schemas are revoked on purpose.

use crate::model::State;
use crate::schema::structure::{ObjectKind, Structure};
use crate::tenants::Tenant;

/// The fact with the privileges on an object.
const GRANTS: &str = "grants";

/// Counts the privileges on the schema of an archived tenant as held, unless somebody else than the owner holds any.
pub(super) fn restore_grants(tenant: &Tenant, actual: &mut Structure, expected: &Structure) {
    if tenant.state != State::Archived {
        return;
    }
    let is_schema = |kind: ObjectKind| kind == ObjectKind::Schema;
    let expected = expected.objects.values().find(|object| is_schema(object.identity.kind));
    let actual = actual.objects.values_mut().find(|object| is_schema(object.identity.kind));
    if let (Some(expected), Some(actual)) = (expected, actual)
        && actual.facts.get(GRANTS).is_none_or(serde_json::Value::is_null)
        && let Some(grants) = expected.facts.get(GRANTS)
    {
        actual.facts.insert(GRANTS.to_owned(), grants.clone());
    }
}
