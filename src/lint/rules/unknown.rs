//! Unqualified names that no earlier migration created: they may resolve to a schema after the tenant's.

use super::Look;
use crate::lint::names::{Names, used};
use crate::lint::rule::Rule;
use crate::model::SchemaName;

/// Checks the names in the statements of some code.
pub(in crate::lint) fn check(look: &mut Look<'_>, names: &Names, extension_schemas: &[SchemaName]) {
    let code = look.code;
    for node in code.root().descendants() {
        let Some((kind, name)) = used(&node) else { continue };
        if !code.runs(&node) || names.may_exist(kind, &name) {
            continue;
        }
        let schemas: Vec<&str> = extension_schemas.iter().map(|schema| schema.as_str()).collect();
        let message = format!(
            "no {} {name} exists here according to the earlier migrations: the name may resolve to an object in {}, \
             which all tenants share",
            kind.word(),
            schemas.join(" or ")
        );
        look.find(Rule::UnknownName, &node, name, message);
    }
}
