//! Comments that accept a finding of lint: `-- tenantry: accept RULE: reason`.

/// The text of a comment without its marks.
pub(crate) fn content(comment: &str) -> &str {
    let comment = comment.trim();
    let comment = comment.strip_prefix("--").unwrap_or(comment);
    comment.trim_start_matches("/*").trim_end_matches("*/").trim()
}

/// The name of the rule and the reason, either of which may be empty, of a comment that is meant as an acceptance. `None`
/// for any other comment.
pub(crate) fn read(comment: &str) -> Option<Result<(&str, &str), &'static str>> {
    let text = content(comment).strip_prefix("tenantry:")?.trim();
    let accepted = text.strip_prefix("accept").filter(|rest| rest.starts_with(char::is_whitespace));
    let (rule, reason) = match accepted {
        Some(accepted) => accepted.split_once(':').unwrap_or((accepted, "")),
        None => return Some(Err("it does not say accept RULE: reason")),
    };
    Some(Ok((rule.trim(), reason.trim())))
}
