//! `create`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::model::TenantId;
use crate::operations::IfExists;
use crate::rows::Layout;
use crate::rows::registry::{self, FirstMember};
use crate::tenants::Tenancy;

/// What new tenants get.
#[derive(Debug, Clone)]
pub(crate) struct NewTenant {
    pub(crate) id: Option<TenantId>,
    pub(crate) member: Option<FirstMember>,
    pub(crate) if_exists: IfExists,
}

/// Adds tenants to the registry, each with its first member in one transaction.
pub(crate) fn create(
    context: &Context,
    db: &mut Database,
    (tenancy, layout): (&Tenancy, &Layout),
    names: &[String],
    new: NewTenant,
) -> Result<Exit> {
    let NewTenant { id, member, if_exists } = new;
    if id.is_some() && names.len() != 1 {
        return Err(Usage::new("ambiguous-id", "--id requires exactly one name").into());
    }
    let output = context.output();
    let mut document = Document { created: Vec::new(), unchanged: Vec::new(), failed: Vec::new() };
    for name in names {
        match registry::create(db, tenancy, layout, name, id, member.as_ref()) {
            Ok(id) => document.created.push(RegisteredTenantDocument { id: id.to_string(), name: name.clone() }),
            Err(Error::RowTenancy(RowTenancyError::TenantExists { .. })) if if_exists == IfExists::Leave => {
                document.unchanged.push(name.clone());
            }
            Err(Error::RowTenancy(error)) => {
                output.error(format_args!("{name}: {error}"));
                if let Some(hint) = error.hint(&|line| context.command(line)) {
                    output.hint(hint);
                }
                document.failed.push(FailedRegistrationDocument {
                    name: name.clone(),
                    code: error.code(),
                    message: error.to_string(),
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
    if output.is_json() {
        output.json(&document)?;
    } else {
        output.table(&["id", "tenant"], document.created.iter().map(|one| vec![one.id.clone(), one.name.clone()]))?;
    }
    let mut summary = format!("{} created", count(document.created.len(), "tenant"));
    for (number, what) in [(document.unchanged.len(), "unchanged"), (document.failed.len(), "failed")] {
        if number > 0 {
            summary.push_str(&format!(", {number} {what}"));
        }
    }
    output.summary(summary);
    Ok(if document.failed.is_empty() { Exit::Done } else { Exit::Found })
}

#[derive(Serialize)]
struct Document {
    created: Vec<RegisteredTenantDocument>,
    /// The names of tenants that existed.
    unchanged: Vec<String>,
    failed: Vec<FailedRegistrationDocument>,
}

#[derive(Serialize)]
struct RegisteredTenantDocument {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct FailedRegistrationDocument {
    name: String,
    code: &'static str,
    message: String,
}
