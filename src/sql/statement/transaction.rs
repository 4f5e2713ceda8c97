//! Statements that a transaction block rejects, and transaction commands.

use std::borrow::Cow;

use super::{Statement, begins};
use crate::sql::token::{Token, TokenKind};

impl<'a> Statement<'a> {
    /// The command, if the statement starts or ends a transaction or a subtransaction, such as `COMMIT` or `SAVEPOINT`.
    pub fn transaction_command(&self) -> Option<&'static str> {
        let tokens = self.tokens();
        if begins(&tokens, "PREPARE TRANSACTION") {
            // `PREPARE transaction AS …` names a prepared statement.
            return tokens.get(2).filter(|token| token.kind == TokenKind::Text).map(|_| "PREPARE TRANSACTION");
        }
        TRANSACTION_COMMANDS.into_iter().find(|command| begins(&tokens, command))
    }

    /// The command, if PostgreSQL (14 to 18) rejects the statement in a transaction block.
    ///
    /// The result depends on the text alone: `DROP SUBSCRIPTION` is listed although the server accepts it for a
    /// subscription without a slot; `REINDEX TABLE` and `CLUSTER` of a table are not although the server rejects them for
    /// a partitioned table.
    pub fn refused_in_transaction(&self) -> Option<&'static str> {
        let tokens = self.tokens();
        if let Some((command, _)) = built_concurrently(&tokens) {
            return Some(command);
        }
        REJECTED_COMMANDS
            .into_iter()
            .find(|command| begins(&tokens, command))
            .or_else(|| refused_maintenance(&tokens))
            .or_else(|| refused_subscription(&tokens))
            .or_else(|| {
                let moved = begins(&tokens, "ALTER DATABASE") && begins(tokens.get(3..)?, "SET TABLESPACE");
                moved.then_some("ALTER DATABASE SET TABLESPACE")
            })
    }

    /// The index of a `CREATE INDEX CONCURRENTLY`, folded as in PostgreSQL. `None` for other statements and for an index
    /// without a name.
    pub fn concurrent_index(&self) -> Option<String> {
        let tokens = self.tokens();
        let (command, concurrently) = built_concurrently(&tokens)?;
        let mut rest = &tokens[concurrently + 1..];
        if begins(rest, "IF NOT EXISTS") {
            rest = &rest[3..];
        }
        let name = rest.first().filter(|token| command.starts_with("CREATE") && !token.is("ON"))?;
        name.identifier()
    }

    /// The index of a `DROP INDEX CONCURRENTLY` with a single unqualified name, folded as in PostgreSQL.
    pub fn dropped_index(&self) -> Option<String> {
        let tokens = self.tokens();
        let (command, concurrently) = built_concurrently(&tokens)?;
        let mut rest = &tokens[concurrently + 1..];
        if begins(rest, "IF EXISTS") {
            rest = &rest[2..];
        }
        if !command.starts_with("DROP") {
            return None;
        }
        let name = rest.first()?;
        let alone = rest.get(1).is_none_or(|next| next.is("CASCADE") || next.is("RESTRICT"));
        alone.then(|| name.identifier()).flatten()
    }

    /// Whether the statement is a `CREATE INDEX CONCURRENTLY`, with or without a name.
    pub fn builds_concurrently(&self) -> bool {
        built_concurrently(&self.tokens()).is_some_and(|(command, _)| command.starts_with("CREATE"))
    }

    /// A statement with the same effect on the structure that a transaction accepts: the statement itself, without
    /// `CONCURRENTLY` if necessary.
    ///
    /// `None` for statements without effect on the structure (`VACUUM`, `ANALYZE`, `REINDEX`, `CLUSTER`, `CHECKPOINT`),
    /// for statements without such a form (`CREATE DATABASE`), for [transaction commands](Self::transaction_command) and
    /// for [psql commands](Self::psql_command).
    pub fn transactional_form(&self) -> Option<Cow<'a, str>> {
        let tokens = self.tokens();
        if let Some((_, concurrently)) = built_concurrently(&tokens) {
            return Some(Cow::Owned(self.without(&tokens, concurrently)));
        }
        let has_none = MAINTENANCE_COMMANDS.iter().any(|command| begins(&tokens, command))
            || self.psql_command().is_some()
            || self.transaction_command().is_some()
            || self.refused_in_transaction().is_some();
        (!has_none).then_some(Cow::Borrowed(self.sql))
    }

    /// Whether the statement maintains tables or the server, without an effect on the structure or on rows.
    pub(crate) fn is_maintenance(&self) -> bool {
        let tokens = self.tokens();
        MAINTENANCE_COMMANDS.iter().any(|command| begins(&tokens, command))
    }

    /// The statement without one of its tokens and the white space after it. White space before the token is kept, because a
    /// line break may end a comment.
    fn without(&self, tokens: &[Token<'_>], removed: usize) -> String {
        let (before, after) = self.sql.split_at(tokens[removed].start);
        let after = after[tokens[removed].text.len()..].trim_ascii_start();
        if after.is_empty() {
            return self.sql[..tokens[removed - 1].end()].to_owned();
        }
        format!("{before}{after}")
    }

    /// Whether the statement creates, drops or detaches an object with `CONCURRENTLY`.
    pub(crate) fn is_concurrent(&self) -> bool {
        built_concurrently(&self.tokens()).is_some()
    }

    /// The names of the relations on which a statement that a transaction block rejects acts, as SQL text. `None` if it acts on
    /// other objects or names none.
    pub(crate) fn target_relations(&self) -> Option<Vec<String>> {
        let tokens = self.tokens();
        let after = |word: &str| tokens.iter().position(|token| token.is(word)).map(|at| at + 1);
        let from = |at: usize| listed_names(&tokens[at..]);
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

/// Transaction commands except `PREPARE TRANSACTION`. `ROLLBACK TO` starts with `ROLLBACK`.
const TRANSACTION_COMMANDS: [&str; 10] = [
    "COMMIT PREPARED",
    "ROLLBACK PREPARED",
    "START TRANSACTION",
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
];

/// Commands that a transaction block always rejects.
const REJECTED_COMMANDS: [&str; 10] = [
    "CREATE DATABASE",
    "DROP DATABASE",
    "CREATE TABLESPACE",
    "DROP TABLESPACE",
    "DROP SUBSCRIPTION",
    "ALTER SYSTEM",
    "DISCARD ALL",
    "COMMIT PREPARED",
    "ROLLBACK PREPARED",
    "VACUUM",
];

/// Commands without effect on the structure of a database.
const MAINTENANCE_COMMANDS: [&str; 6] = ["VACUUM", "ANALYZE", "ANALYSE", "REINDEX", "CLUSTER", "CHECKPOINT"];

/// The command and the index of its token `CONCURRENTLY`, if a transaction would accept the command without that keyword,
/// which is reserved and cannot be an unquoted name.
fn built_concurrently(tokens: &[Token<'_>]) -> Option<(&'static str, usize)> {
    let index = ["CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY"]
        .into_iter()
        .find(|command| begins(tokens, command))
        .map(|command| (command, command.split(' ').count() - 1));
    index.or_else(|| {
        let (last, rest) = tokens.split_last()?;
        let detached = last.is("CONCURRENTLY")
            && begins(rest, "ALTER TABLE")
            && (0..rest.len()).any(|at| begins(&rest[at..], "DETACH PARTITION"));
        detached.then_some(("ALTER TABLE DETACH PARTITION CONCURRENTLY", rest.len()))
    })
}

/// The command, if it is a `REINDEX` or `CLUSTER` that a transaction block rejects.
fn refused_maintenance(tokens: &[Token<'_>]) -> Option<&'static str> {
    let (command, rest) = tokens.split_first()?;
    let (options, rest) = match rest.iter().position(|token| token.is_symbol(")")) {
        Some(end) if rest[0].is_symbol("(") => rest.split_at(end + 1),
        _ => rest.split_at(0),
    };
    if command.is("CLUSTER") {
        let target = rest.iter().find(|token| !token.is("VERBOSE"));
        return target.is_none().then_some("CLUSTER");
    }
    if !command.is("REINDEX") {
        return None;
    }
    let whole = [("SCHEMA", "REINDEX SCHEMA"), ("DATABASE", "REINDEX DATABASE"), ("SYSTEM", "REINDEX SYSTEM")];
    let concurrently =
        rest.get(1).is_some_and(|token| token.is("CONCURRENTLY")) || option(options, "concurrently") == Some(true);
    whole
        .into_iter()
        .find_map(|(target, command)| begins(rest, target).then_some(command))
        .or(concurrently.then_some("REINDEX CONCURRENTLY"))
}

/// The command, if it is a `CREATE` or `ALTER SUBSCRIPTION` that a transaction block rejects because it changes the
/// publisher.
fn refused_subscription(tokens: &[Token<'_>]) -> Option<&'static str> {
    let options = tokens.iter().position(|token| token.is("WITH")).map_or(&[][..], |with| &tokens[with..]);
    let is_on = |name| option(options, name).unwrap_or(true);
    if begins(tokens, "CREATE SUBSCRIPTION") {
        return (is_on("connect") && is_on("create_slot")).then_some("CREATE SUBSCRIPTION");
    }
    if !begins(tokens, "ALTER SUBSCRIPTION") {
        return None;
    }
    let action = tokens.get(3..)?;
    let refreshes = begins(action, "REFRESH PUBLICATION")
        || ["SET PUBLICATION", "ADD PUBLICATION", "DROP PUBLICATION"].iter().any(|change| begins(action, change))
            && is_on("refresh");
    // PostgreSQL 17 and 18 change the replication slot.
    let changes_slot =
        begins(action, "SET") && (option(action, "failover").is_some() || option(action, "two_phase") == Some(false));
    refreshes.then_some("ALTER SUBSCRIPTION with refresh").or(changes_slot.then_some("ALTER SUBSCRIPTION SET"))
}

/// The value of a Boolean option such as `name`, `name = off` or `name 0` in a list of options, if it is present.
fn option(tokens: &[Token<'_>], name: &str) -> Option<bool> {
    let at = tokens.iter().position(|token| token.identifier().is_some_and(|option| option == name))?;
    let value = tokens[at + 1..].iter().find(|token| !token.is_symbol("="));
    let value = value.map(|token| token.constant().unwrap_or_else(|| token.text.to_owned())).unwrap_or_default();
    Some(!["false", "off", "0"].iter().any(|off| value.eq_ignore_ascii_case(off)))
}

/// Skips keywords and parenthesized options before a list of names.
fn skip_options<'a, 't>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
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
            _ => return tokens,
        }
    }
}

/// The names in a comma-separated list, after keywords and options.
fn listed_names(tokens: &[Token<'_>]) -> Vec<String> {
    let mut tokens = skip_options(tokens);
    let mut names = Vec::new();
    while let Some(first) = tokens.first().filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted)) {
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

#[cfg(test)]
mod tests;
