//! Messages without the name of their tenant.

/// Replaces the tenant's name with `NAME` where it is a whole word, so that equal errors of several tenants can be grouped.
pub(crate) fn mask_tenant_name(text: &str, tenant: &str) -> String {
    if tenant.is_empty() {
        return text.to_owned();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(tenant) {
        let (before, after) = (&rest[..at], &rest[at + tenant.len()..]);
        let inside =
            before.ends_with(is_part) || after.starts_with(is_part) || (before.is_empty() && out.ends_with(is_part));
        out.push_str(before);
        out.push_str(if inside { tenant } else { "NAME" });
        rest = after;
    }
    out + rest
}
