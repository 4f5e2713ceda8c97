//! Types of columns, for the question whether a change of the type rewrites the table.

use squawk_syntax::ast::{self, AstNode};

/// A type with its PostgreSQL name and its modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlType {
    name: String,
    modifiers: Vec<u32>,
}

/// The effect of a change of a column's type on existing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeChange {
    /// The rows are unchanged.
    InPlace,
    /// The rows are rewritten.
    Rewrite,
    /// The rows are rewritten, unless the session's time zone is UTC.
    RewriteUnlessUtc,
}

/// Aliases of types.
const ALIASES: [(&str, &str); 20] = [
    ("int", "int4"),
    ("integer", "int4"),
    ("serial", "int4"),
    ("serial4", "int4"),
    ("bigint", "int8"),
    ("bigserial", "int8"),
    ("serial8", "int8"),
    ("smallint", "int2"),
    ("smallserial", "int2"),
    ("serial2", "int2"),
    ("boolean", "bool"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("character varying", "varchar"),
    ("char varying", "varchar"),
    ("bit varying", "varbit"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
];

impl SqlType {
    pub(super) fn of(ty: &ast::Type) -> Self {
        let mut words = Vec::new();
        let mut modifiers = Vec::new();
        for token in ty.syntax().descendants_with_tokens().filter_map(|element| element.into_token()) {
            match token.text() {
                "(" | ")" | "," => {}
                text if token.kind().is_trivia() || text.is_empty() => {}
                text => match text.parse() {
                    Ok(number) => modifiers.push(number),
                    Err(_) => words.push(text.to_ascii_lowercase()),
                },
            }
        }
        let words = words.join(" ");
        let words = words.strip_prefix("pg_catalog . ").unwrap_or(&words);
        let name = ALIASES.iter().find(|(alias, _)| *alias == words).map_or(words, |(_, name)| name);
        Self { name: name.to_owned(), modifiers }
    }

    /// Whether it is one of the types that create a sequence.
    pub(super) fn is_serial(ty: &ast::Type) -> bool {
        let text = ty.syntax().text().to_string().to_ascii_lowercase();
        ["serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"].contains(&text.trim())
    }

    /// The effect of a change from this type to another one.
    pub(super) fn change_to(&self, new: &Self) -> TypeChange {
        let (old_name, new_name) = (self.name.as_str(), new.name.as_str());
        let may_be_longer = match (self.modifiers.first(), new.modifiers.first()) {
            (_, None) => true,
            (Some(old), Some(new)) => old <= new,
            (None, Some(_)) => false,
        };
        let in_place = match (old_name, new_name) {
            _ if self == new => true,
            ("varchar", "varchar") | ("varbit", "varbit") | ("timestamp", "timestamp") => may_be_longer,
            ("timestamptz", "timestamptz") => may_be_longer,
            ("numeric", "numeric") => {
                let same_scale = self.modifiers.get(1).unwrap_or(&0) == new.modifiers.get(1).unwrap_or(&0);
                may_be_longer && (new.modifiers.is_empty() || same_scale)
            }
            ("varchar", "text") | ("cidr", "inet") => true,
            ("text", "varchar") => new.modifiers.is_empty(),
            _ => false,
        };
        match (in_place, old_name, new_name) {
            (true, _, _) => TypeChange::InPlace,
            (false, "timestamp", "timestamptz") | (false, "timestamptz", "timestamp") => TypeChange::RewriteUnlessUtc,
            (false, _, _) => TypeChange::Rewrite,
        }
    }
}

#[cfg(test)]
mod tests {
    use squawk_syntax::SourceFile;

    use super::*;

    fn ty(text: &str) -> ast::Type {
        let root = SourceFile::parse(&format!("SELECT NULL::{text}")).syntax_node();
        root.descendants().find_map(ast::Type::cast).expect("a type")
    }

    fn read(text: &str) -> SqlType {
        SqlType::of(&ty(text))
    }

    #[test]
    fn type_aliases_are_equal() {
        for (one, other) in [
            ("integer", "INT"),
            ("character varying(5)", "varchar(5)"),
            ("timestamp (3) with time zone", "timestamptz(3)"),
            ("pg_catalog.int8", "bigint"),
            ("double  precision", "float8"),
            ("decimal(5, 2)", "numeric(5,2)"),
        ] {
            assert_eq!(read(one), read(other), "{one}");
        }
        assert_ne!(read("int[]"), read("int"));
        assert!(SqlType::is_serial(&ty("BigSerial")) && !SqlType::is_serial(&ty("bigint")));
    }

    #[test]
    fn binary_compatible_type_change_does_not_rewrite_the_table() {
        use TypeChange::{InPlace, Rewrite, RewriteUnlessUtc};
        for (old, new, change) in [
            ("varchar(10)", "varchar(20)", InPlace),
            ("varchar(10)", "varchar", InPlace),
            ("varchar(20)", "varchar(10)", Rewrite),
            ("varchar", "varchar(10)", Rewrite),
            ("varchar(10)", "text", InPlace),
            ("text", "varchar", InPlace),
            ("text", "varchar(10)", Rewrite),
            ("text", "char(10)", Rewrite),
            ("char(10)", "text", Rewrite),
            ("numeric(6, 2)", "numeric(8, 2)", InPlace),
            ("numeric(6, 2)", "numeric(8, 3)", Rewrite),
            ("numeric(6)", "numeric(8, 0)", InPlace),
            ("numeric(6, 2)", "numeric", InPlace),
            ("numeric", "numeric(6, 2)", Rewrite),
            ("timestamp(3)", "timestamp", InPlace),
            ("timestamp", "timestamp(3)", Rewrite),
            ("timestamp", "timestamptz", RewriteUnlessUtc),
            ("int", "bigint", Rewrite),
            ("int", "integer", InPlace),
            ("int[]", "bigint[]", Rewrite),
            ("mood", "text", Rewrite),
        ] {
            assert_eq!(read(old).change_to(&read(new)), change, "{old} to {new}");
        }
    }
}
