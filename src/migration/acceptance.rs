//! Comments that accept a lint finding: `-- tenantry: accept RULE: reason`.

/// The text of a comment without its delimiters.
pub(crate) fn content(comment: &str) -> &str {
    let comment = comment.trim();
    let comment = comment.strip_prefix("--").unwrap_or(comment);
    comment.trim_start_matches("/*").trim_end_matches("*/").trim()
}

/// Parses an acceptance comment into the name of the rule and the reason; either may be empty. `None` if the comment is not an
/// acceptance.
pub(crate) fn read(comment: &str) -> Option<Result<(&str, &str), &'static str>> {
    let text = content(comment).strip_prefix("tenantry:")?.trim();
    let accepted = text.strip_prefix("accept").filter(|rest| rest.starts_with(char::is_whitespace));
    let (rule, reason) = match accepted {
        Some(accepted) => accepted.split_once(':').unwrap_or((accepted, "")),
        None => return Some(Err("expected accept RULE: reason")),
    };
    Some(Ok((rule.trim(), reason.trim())))
}
