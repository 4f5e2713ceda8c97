//! Statements whose effects are known by their text.

use super::{Statement, begins, built_concurrently};
use crate::sql::lexer::{Kind, Token};

/// What a plain statement begins with.
const COMMANDS: [&str; 8] = [
    "CREATE TABLE",
    "CREATE UNLOGGED TABLE",
    "CREATE INDEX",
    "CREATE UNIQUE INDEX",
    "CREATE SEQUENCE",
    "ALTER TABLE",
    "ALTER INDEX",
    "ALTER SEQUENCE",
];

/// Words that lead to code, rows, other objects than the table's own, or other schemas. `type`: changing a column's type
/// alters the foreign keys of other tables. `drop`: so does dropping a key.
const OTHERS: [&str; 17] = [
    "drop",
    "cascade",
    "schema",
    "owner",
    "type",
    "execute",
    "select",
    "insert",
    "update",
    "delete",
    "temp",
    "temporary",
    "trigger",
    "rule",
    "concurrently",
    "attach",
    "detach",
];

/// What may stand before an opening parenthesis without being a function that is called: keywords, and types.
const NO_CALLS: [&str; 40] = [
    "and",
    "bit",
    "by",
    "char",
    "character",
    "check",
    "dec",
    "decimal",
    "default",
    "exclude",
    "float",
    "from",
    "hash",
    "identity",
    "in",
    "include",
    "inherits",
    "interval",
    "key",
    "list",
    "not",
    "numeric",
    "on",
    "or",
    "range",
    "reset",
    "restart",
    "set",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "to",
    "unique",
    "using",
    "values",
    "varbit",
    "varchar",
    "varying",
    "where",
];

/// Functions of the catalog that change nothing.
const HARMLESS: [&str; 19] = [
    "abs",
    "btrim",
    "char_length",
    "clock_timestamp",
    "coalesce",
    "gen_random_uuid",
    "greatest",
    "least",
    "length",
    "lower",
    "md5",
    "now",
    "nullif",
    "octet_length",
    "round",
    "statement_timestamp",
    "transaction_timestamp",
    "trim",
    "upper",
];

impl Statement<'_> {
    /// Whether the statement creates or alters a table, an index or a sequence without a schema before its name, and runs
    /// no code: no query, no trigger, no function but those that are known to change nothing. On a path that leads to
    /// one schema alone such a statement changes nothing outside that schema, and leaves nothing in the session.
    ///
    /// What is not known is not plain.
    pub(crate) fn is_plain(&self) -> bool {
        let tokens = self.tokens();
        COMMANDS.iter().any(|command| begins(&tokens, command))
            && !(0..tokens.len()).any(|at| {
                tokens[at].is_symbol(".")
                    || leads_further(&tokens, at)
                    || calls(&tokens, at)
                    || generates(&tokens[at..])
            })
    }
}

impl Statement<'_> {
    /// Whether it builds, drops or detaches something concurrently.
    pub(crate) fn is_concurrent(&self) -> bool {
        built_concurrently(&self.tokens()).is_some()
    }

    /// The relations that a statement names which no transaction takes, as they stand in it. None where it acts on
    /// something else, or names nothing.
    pub(crate) fn names_outside_transaction(&self) -> Option<Vec<String>> {
        let tokens = self.tokens();
        let after = |word: &str| tokens.iter().position(|token| token.is(word)).map(|at| at + 1);
        let from = |at: usize| names(&tokens[at..]);
        let found = match built_concurrently(&tokens) {
            Some((command, _)) if command.starts_with("CREATE") => from(after("ON")?),
            Some((command, concurrently)) if command.starts_with("DROP") => from(concurrently + 1),
            Some(_) => [from(2), from(after("PARTITION")?)].concat(),
            None if begins(&tokens, "VACUUM") || begins(&tokens, "CLUSTER") || begins(&tokens, "REINDEX") => from(1),
            None => Vec::new(),
        };
        (!found.is_empty()).then_some(found)
    }
}

/// The names of a list, behind keywords and options.
fn names(mut tokens: &[Token<'_>]) -> Vec<String> {
    const KEYWORDS: [&str; 12] = [
        "ONLY",
        "IF",
        "NOT",
        "EXISTS",
        "INDEX",
        "TABLE",
        "CONCURRENTLY",
        "FULL",
        "FREEZE",
        "VERBOSE",
        "ANALYZE",
        "ANALYSE",
    ];
    loop {
        match tokens {
            [first, rest @ ..] if KEYWORDS.iter().any(|word| first.is(word)) => tokens = rest,
            [first, rest @ ..] if first.is_symbol("(") => {
                let end = rest.iter().position(|token| token.is_symbol(")")).map_or(rest.len(), |end| end + 1);
                tokens = &rest[end..];
            }
            _ => break,
        }
    }
    let mut names = Vec::new();
    while let Some(first) = tokens.first().filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted)) {
        let mut name = first.text.to_owned();
        tokens = &tokens[1..];
        while let [dot, part, rest @ ..] = tokens
            && dot.is_symbol(".")
        {
            name = format!("{name}.{}", part.text);
            tokens = rest;
        }
        names.push(name);
        match tokens {
            [comma, rest @ ..] if comma.is_symbol(",") => tokens = rest,
            _ => break,
        }
    }
    names
}

/// Whether the token at a place is one of [`OTHERS`], but in what a foreign key does when its row goes.
fn leads_further(tokens: &[Token<'_>], at: usize) -> bool {
    let follows = |words: &[&str]| at > 0 && words.iter().any(|word| tokens[at - 1].is(word));
    let token = &tokens[at];
    let of_key = (token.is("CASCADE") && follows(&["DELETE", "UPDATE"]))
        || ((token.is("DELETE") || token.is("UPDATE")) && follows(&["ON"]));
    !of_key && OTHERS.iter().any(|word| token.is(word))
}

/// Whether the token at a place may be a function that is called there.
fn calls(tokens: &[Token<'_>], at: usize) -> bool {
    let token = &tokens[at];
    let opens = tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
    if !opens || !matches!(token.kind, Kind::Word | Kind::Quoted) {
        return false;
    }
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    // A table before its columns, or a method before them.
    let is_name = ["TABLE", "EXISTS", "REFERENCES", "ON", "ONLY", "USING"]
        .iter()
        .any(|word| before.is_some_and(|before| before.is(word)));
    let is_known = NO_CALLS.iter().chain(&HARMLESS).any(|word| token.is(word)) || token.is("WITH");
    !is_name && !is_known
}

/// Whether a query or an expression follows `AS`: only an identity column has the word without one.
fn generates(tokens: &[Token<'_>]) -> bool {
    begins(tokens, "AS") && !begins(tokens, "AS IDENTITY")
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::{Statement, split};

    fn is_plain(sql: &str) -> bool {
        split(sql).unwrap().iter().all(Statement::is_plain)
    }

    #[test]
    fn names_of_statements_that_no_transaction_takes() {
        let names = |sql: &str| split(sql).unwrap()[0].names_outside_transaction();
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names("CREATE INDEX CONCURRENTLY i ON ONLY t (a)"), list(&["t"]));
        assert_eq!(
            names("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"on\" ON public . \"T\" (a)"),
            list(&["public.\"T\""])
        );
        assert_eq!(names("DROP INDEX CONCURRENTLY IF EXISTS a, s.b"), list(&["a", "s.b"]));
        assert_eq!(names("ALTER TABLE p DETACH PARTITION q CONCURRENTLY"), list(&["p", "q"]));
        assert_eq!(names("VACUUM (ANALYZE, VERBOSE) t"), list(&["t"]));
        assert_eq!(names("REINDEX TABLE CONCURRENTLY t"), list(&["t"]));
        assert_eq!(names("VACUUM"), None);
        assert_eq!(names("CREATE DATABASE d"), None);
    }

    #[test]
    fn plain_statements_are_known_by_their_text() {
        for sql in [
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
            "CREATE TABLE IF NOT EXISTS t (a varchar(10) UNIQUE, b numeric(10, 2) CHECK (b > 0), UNIQUE (a, b))",
            "CREATE TABLE t (a int REFERENCES u (id) ON DELETE CASCADE ON UPDATE SET NULL)",
            "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0; CREATE INDEX t_c_idx ON t USING btree (c) WITH (fillfactor = 70)",
            "CREATE UNIQUE INDEX t_a_idx ON t (lower(a)) WHERE a IS NOT NULL",
        ] {
            assert!(is_plain(sql), "{sql}");
        }
        for sql in [
            "DROP TABLE t",
            "ALTER TABLE public.t ADD c int",
            "ALTER TABLE t ALTER c TYPE bigint",
            "ALTER TABLE t ADD c int DEFAULT next_number()",
            "ALTER TABLE t ADD c int DEFAULT \"now\"() , ADD d int DEFAULT set_config('a.b', 'c', false)::int",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t AS TABLE u",
            "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (f(a)) STORED)",
            "CREATE TEMP TABLE t (i int)",
            "UPDATE t SET a = 1",
            "DO $$ BEGIN END $$",
            "CREATE INDEX ON t (f(a))",
            "SET LOCAL ROLE x",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES public.plan (id)",
        ] {
            assert!(!is_plain(sql), "{sql}");
        }
    }
}
