//! Removes the qualifier of a schema from a statement.

use super::{Token, begins, tokens};
use crate::sql::token::TokenKind;

/// A statement without the qualifier.
pub(super) struct Unqualified {
    pub(super) sql: String,
    /// The bytes of the statement at which strings start that contain `schema.` and were kept.
    pub(super) mentions: Vec<usize>,
}

/// The types whose constants are names.
const NAME_TYPES: [&str; 4] = ["regclass", "regtype", "regproc", "regcollation"];

/// Statements with queries or expressions, in which the name of the schema may be an alias.
const WITH_ALIASES: [&str; 8] = [
    "CREATE VIEW",
    "CREATE OR REPLACE VIEW",
    "CREATE MATERIALIZED VIEW",
    "CREATE RULE",
    "CREATE POLICY",
    "CREATE FUNCTION",
    "CREATE PROCEDURE",
    "CREATE TRIGGER",
];

/// Removes the qualifier `schema.` from the names in a statement.
///
/// # Errors
/// If it is not certain that a name is that of the schema, or a string may be.
pub(super) fn unqualify(sql: &str, all: &[Token<'_>], schema: &str) -> Result<Unqualified, String> {
    let mut edit = Edit { sql, copied: 0, out: String::with_capacity(sql.len()), mentions: Vec::new() };
    let has_aliases = WITH_ALIASES.iter().any(|command| begins(all, command));
    let body = body_of(all);
    for (at, token) in all.iter().enumerate() {
        if token.kind == TokenKind::Text {
            match body {
                Some(body) if body == at => edit.replace(token, &body_without(token, schema)?),
                _ => string(&mut edit, all, at, schema)?,
            }
            continue;
        }
        if token.identifier().as_deref() != Some(schema) {
            continue;
        }
        match place(all, at) {
            QualifierPlace::Qualifier => {
                if all.get(at + 2).and_then(Token::identifier).as_deref() == Some(schema) {
                    return Err(format!(
                        "an object has the name of the schema, {schema}; rename it, or dump another schema"
                    ));
                }
                edit.remove(token.start, all[at + 2].start);
            }
            QualifierPlace::Bare if has_aliases => {
                return Err(format!("{schema} may be the schema or an alias here; rewrite the statement by hand"));
            }
            QualifierPlace::Bare | QualifierPlace::Member => {}
        }
    }
    let (out, mentions) = edit.finish();
    Ok(Unqualified { sql: out, mentions })
}

/// What an identifier with the name of the schema is.
enum QualifierPlace {
    /// `schema.name`
    Qualifier,
    /// `name.schema`
    Member,
    /// A name of its own, such as a column.
    Bare,
}

fn place(all: &[Token<'_>], at: usize) -> QualifierPlace {
    let is_dot = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(|token| token.is_symbol("."));
    if is_dot(at.checked_sub(1)) {
        QualifierPlace::Member
    } else if is_dot(Some(at + 1)) && all.get(at + 2).is_some() {
        QualifierPlace::Qualifier
    } else {
        QualifierPlace::Bare
    }
}

/// The place of the body of a function in SQL or PL/pgSQL, which is a string.
fn body_of(all: &[Token<'_>]) -> Option<usize> {
    let is_routine =
        ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE OR REPLACE FUNCTION", "CREATE OR REPLACE PROCEDURE"]
            .iter()
            .any(|command| begins(all, command));
    let language = all.windows(2).find(|pair| pair[0].is("LANGUAGE")).map(|pair| pair[1])?;
    let is_known = ["sql", "plpgsql"].iter().any(|known| language.identifier().as_deref() == Some(known));
    let body = all.windows(2).rposition(|pair| pair[0].is("AS") && pair[1].kind == TokenKind::Text)?;
    (is_routine && is_known).then_some(body + 1)
}

/// The text of a function's body, with its quotes.
fn body_without(token: &Token<'_>, schema: &str) -> Result<String, String> {
    let value = token.constant().unwrap_or_default();
    if !contains_qualifier(&value, schema) {
        return Ok(token.text.to_owned());
    }
    let quote = token.text.find('$').filter(|at| *at == 0).map(|_| {
        let end = token.text[1..].find('$').map_or(1, |end| end + 2);
        &token.text[..end]
    });
    let Some(quote) = quote else {
        return Err(format!("the body of a function names {schema}; write it in dollar quotes"));
    };
    let inner = tokens(&value);
    let mut edit = Edit { sql: &value, copied: 0, out: String::new(), mentions: Vec::new() };
    for (at, token) in inner.iter().enumerate() {
        if token.kind == TokenKind::Text {
            if names_type(&inner, at) {
                string(&mut edit, &inner, at, schema)?;
            } else if contains_qualifier(token.text, schema) {
                return Err(format!("a string in the body of a function names {schema}; rewrite it by hand"));
            }
        } else if token.identifier().as_deref() == Some(schema) {
            match place(&inner, at) {
                QualifierPlace::Qualifier => edit.remove(token.start, inner[at + 2].start),
                QualifierPlace::Member | QualifierPlace::Bare => {
                    return Err(format!("{schema} may be the schema or a variable in the body; rewrite it by hand"));
                }
            }
        }
    }
    Ok(format!("{quote}{}{quote}", edit.finish().0))
}

/// Unqualifies a constant that is a name. Another string is kept.
fn string(edit: &mut Edit<'_>, all: &[Token<'_>], at: usize, schema: &str) -> Result<(), String> {
    let token = &all[at];
    let value = token.constant().unwrap_or_default();
    if begins(all, "COMMENT ON") {
        return Ok(());
    }
    let sets_path = all[..at].iter().rev().take_while(|token| token.kind == TokenKind::Text || token.is_symbol(","));
    let before = at.checked_sub(sets_path.count() + 2).and_then(|before| all.get(before));
    if before.is_some_and(|name| name.is("search_path")) {
        return if value == schema {
            Err(format!(
                "a function sets search_path to {schema}; remove the clause, or set the path of tenants' functions"
            ))
        } else {
            Ok(())
        };
    }
    if names_type(all, at) {
        let inner = tokens(&value);
        let [first, dot, name] = inner.as_slice() else { return Ok(()) };
        if first.identifier().as_deref() == Some(schema) && dot.is_symbol(".") {
            edit.replace(token, &format!("'{}'", name.text.replace('\'', "''")));
        }
        return Ok(());
    }
    if contains_qualifier(&value, schema) {
        let is_cast_to_text = matches!(all.get(at + 1..at + 4), Some([a, b, name])
            if a.is_symbol(":") && b.is_symbol(":") && name.is("text"));
        let is_cast_again = matches!(all.get(at + 4..at + 8), Some([end, a, b, name])
            if end.is_symbol(")") && a.is_symbol(":") && b.is_symbol(":") && is_name_type(name));
        if is_cast_to_text && is_cast_again {
            return Err(format!("a text names {schema} and is cast to a name; use a constant of the type regclass"));
        }
        edit.mentions.push(token.start);
    }
    Ok(())
}

/// Whether the constant is cast to a type of names: `'…'::regclass`.
fn names_type(all: &[Token<'_>], at: usize) -> bool {
    matches!(all.get(at + 1..at + 4), Some([a, b, name]) if a.is_symbol(":") && b.is_symbol(":") && is_name_type(name))
}

fn is_name_type(token: &Token<'_>) -> bool {
    NAME_TYPES.iter().any(|name| token.is(name))
}

/// Whether a text contains the schema as a qualifier, or might.
fn contains_qualifier(text: &str, schema: &str) -> bool {
    let (text, schema) = (text.to_lowercase(), schema.to_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&schema).any(|(at, _)| {
        let after = &text[at + schema.len()..];
        !text[..at].ends_with(is_part) && after.strip_prefix('"').unwrap_or(after).starts_with('.')
    })
}

/// A text with replaced parts.
struct Edit<'a> {
    sql: &'a str,
    copied: usize,
    out: String,
    mentions: Vec<usize>,
}

impl Edit<'_> {
    fn remove(&mut self, start: usize, end: usize) {
        self.out.push_str(&self.sql[self.copied..start]);
        self.copied = end;
    }

    fn replace(&mut self, token: &Token<'_>, with: &str) {
        self.remove(token.start, token.end());
        self.out.push_str(with);
    }

    fn finish(mut self) -> (String, Vec<usize>) {
        self.out.push_str(&self.sql[self.copied..]);
        (self.out, self.mentions)
    }
}
