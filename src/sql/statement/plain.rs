//! Plain statements, whose effects are known from their text.

use super::{Statement, begins};
use crate::sql::token::{Token, TokenKind};

/// The first keywords of plain statements.
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

/// Words that indicate code, changes of rows, or changes of objects that do not belong to the table. A change of a column's
/// type (`type`) and a drop of a key (`drop`) change foreign keys of other tables.
const NOT_PLAIN: [&str; 17] = [
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

/// Keywords and types that may precede an opening parenthesis without being a function call.
const NOT_FUNCTIONS: [&str; 40] = [
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

/// Functions in `pg_catalog` without side effects.
const HARMLESS_FUNCTIONS: [&str; 19] = [
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
    /// Whether the statement is plain: it creates or alters a table, an index or a sequence by an unqualified name, and runs
    /// no code, that is, no query, no trigger and only functions without side effects. If only one schema is on the path, a
    /// plain statement changes nothing outside that schema and leaves no state in the session.
    ///
    /// In case of doubt, the result is `false`.
    pub(crate) fn is_plain(&self) -> bool {
        let tokens = self.tokens();
        COMMANDS.iter().any(|command| begins(&tokens, command))
            && !(0..tokens.len()).any(|at| {
                tokens[at].is_symbol(".")
                    || is_not_plain(&tokens, at)
                    || calls_function(&tokens, at)
                    || has_expression(&tokens[at..])
            })
    }
}

/// Whether the token at an index is one of [`NOT_PLAIN`] outside the `ON DELETE` and `ON UPDATE` of a foreign key.
fn is_not_plain(tokens: &[Token<'_>], at: usize) -> bool {
    let follows = |words: &[&str]| at > 0 && words.iter().any(|word| tokens[at - 1].is(word));
    let token = &tokens[at];
    let is_referential_action = (token.is("CASCADE") && follows(&["DELETE", "UPDATE"]))
        || ((token.is("DELETE") || token.is("UPDATE")) && follows(&["ON"]));
    !is_referential_action && NOT_PLAIN.iter().any(|word| token.is(word))
}

/// Whether the token at an index may be the name in a function call.
fn calls_function(tokens: &[Token<'_>], at: usize) -> bool {
    let token = &tokens[at];
    let opens = tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
    if !opens || !matches!(token.kind, TokenKind::Word | TokenKind::Quoted) {
        return false;
    }
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    // The name of a table or an index method before a list of columns.
    let is_name = ["TABLE", "EXISTS", "REFERENCES", "ON", "ONLY", "USING"]
        .iter()
        .any(|word| before.is_some_and(|before| before.is(word)));
    let is_known = NOT_FUNCTIONS.iter().chain(&HARMLESS_FUNCTIONS).any(|word| token.is(word)) || token.is("WITH");
    !is_name && !is_known
}

/// Whether the tokens start with the `AS` of a query or an expression, and not of an identity column.
fn has_expression(tokens: &[Token<'_>]) -> bool {
    begins(tokens, "AS") && !begins(tokens, "AS IDENTITY")
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::{Statement, split};

    fn is_plain(sql: &str) -> bool {
        split(sql).unwrap().iter().all(Statement::is_plain)
    }

    #[test]
    fn plain_statements_are_recognized() {
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
