//! Functions, procedures and aggregates.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [presence(), bodies(), attributes(), signatures(), procedures(), aggregates()].into_iter().flatten().collect()
}

fn presence() -> Vec<Change> {
    vec![
        change("a function is missing", "DROP FUNCTION acme.user_count()")
            .expects("function.missing", "user_count()")
            .level("structural"),
        change("a function too many", "CREATE FUNCTION acme.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
            .expects("function.extra", "one()"),
        change(
            "a function of the same name for other arguments",
            "CREATE FUNCTION acme.add_up(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1 + $2'",
        )
        .expects("function.extra", "add_up(bigint, bigint)"),
        change("a function is renamed", "ALTER FUNCTION acme.user_count() RENAME TO count_users")
            .expects("function.missing", "user_count()")
            .expects("function.extra", "count_users()"),
        change(
            "two functions change names",
            "ALTER FUNCTION acme.noted() RENAME TO aside; ALTER FUNCTION acme.checked() RENAME TO noted; \
             ALTER FUNCTION acme.aside() RENAME TO checked",
        )
        .expects("function.body", "noted()")
        .expects("function.body", "checked()"),
        change("a function's comment", "COMMENT ON FUNCTION acme.add_up(integer, integer) IS 'the difference'")
            .expects("function.comment", "add_up(integer, integer)")
            .level("cosmetic"),
        change(
            "a function that goes with an extension",
            "ALTER FUNCTION acme.add_up(integer, integer) DEPENDS ON EXTENSION plpgsql",
        )
        .expects("function.", "add_up(integer, integer)"),
        // The routine depends on the extension, and no dump contains it.
        change(
            "a function that is part of an extension",
            "ALTER EXTENSION plpgsql ADD FUNCTION acme.add_up(integer, integer)",
        )
        .expects("function.", "add_up(integer, integer)"),
    ]
}

fn bodies() -> Vec<Change> {
    vec![
        change(
            "a function's body",
            "CREATE OR REPLACE FUNCTION acme.add_up(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE \
             STRICT PARALLEL SAFE COST 5 AS 'SELECT $1 - $2'",
        )
        .expects("function.body", "add_up(integer, integer)")
        .level("structural"),
        change(
            "a space in a function's body",
            "CREATE OR REPLACE FUNCTION acme.add_up(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE \
             STRICT PARALLEL SAFE COST 5 AS 'SELECT $1  + $2'",
        )
        .expects("function.body", "add_up(integer, integer)"),
        change(
            "a comment in a function's body",
            "CREATE OR REPLACE FUNCTION acme.greeted(person text) RETURNS text LANGUAGE plpgsql AS $$\nBEGIN\n    -- \
             Says good-bye.\n    RETURN 'hello, ' || person;\nEND\n$$",
        )
        .expects("function.body", "greeted(text)"),
        change(
            "the case of a word in a function's body",
            "CREATE OR REPLACE FUNCTION acme.add_up(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE \
             STRICT PARALLEL SAFE COST 5 AS 'select $1 + $2'",
        )
        .expects("function.body", "add_up(integer, integer)"),
        change(
            "a body that was parsed",
            "CREATE OR REPLACE FUNCTION acme.user_count() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT \
             count(*) FROM acme.users WHERE score > 0; END",
        )
        .expects("function.body", "user_count()"),
        change(
            "a body that was parsed is a text",
            "SET check_function_bodies = off; \
             CREATE OR REPLACE FUNCTION acme.user_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) \
             FROM users'",
        )
        .expects("function.body", "user_count()"),
        change(
            "a parsed body with another tenant's table",
            "CREATE OR REPLACE FUNCTION acme.user_count() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT \
             count(*) FROM globex.users; END",
        )
        .expects("function.body", "user_count()")
        .references_globex(),
        change(
            "a body with another tenant's table",
            "CREATE OR REPLACE FUNCTION acme.own_users() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM \
             globex.users'",
        )
        .expects("function.body", "own_users()")
        .references_globex(),
        change(
            "a body without the schema's name",
            "SET check_function_bodies = off; \
             CREATE OR REPLACE FUNCTION acme.own_users() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM \
             public.users'",
        )
        .expects("function.body", "own_users()"),
        change(
            "a function's language",
            "CREATE OR REPLACE FUNCTION acme.add_up(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1 \
             || $2; END'",
        )
        .expects("function.language", "add_up(text, text)"),
        change(
            "the symbol of an internal function",
            "CREATE OR REPLACE FUNCTION acme.token_out(acme.token) RETURNS cstring LANGUAGE internal IMMUTABLE \
             STRICT AS 'byteaout'",
        )
        .expects("function.body", "token_out(token)"),
    ]
}

fn attributes() -> Vec<Change> {
    vec![
        change("a function's volatility", "ALTER FUNCTION acme.add_up(integer, integer) VOLATILE")
            .expects("function.volatility", "add_up(integer, integer)")
            .level("structural"),
        change(
            "a function that is called with nulls",
            "ALTER FUNCTION acme.add_up(integer, integer) CALLED ON NULL INPUT",
        )
        .expects("function.strict", "add_up(integer, integer)"),
        change("a function that is not called with nulls", "ALTER FUNCTION acme.add_up(text, text) STRICT")
            .expects("function.strict", "add_up(text, text)"),
        change("a function runs as its owner", "ALTER FUNCTION acme.own_users() SECURITY DEFINER")
            .expects("function.security-definer", "own_users()")
            .level("security"),
        change("a function runs as its caller", "ALTER FUNCTION acme.guarded() SECURITY INVOKER")
            .expects("function.security-definer", "guarded()")
            .level("security"),
        change("a function that may leak", "ALTER FUNCTION acme.trusted(integer) NOT LEAKPROOF")
            .expects("function.leakproof", "trusted(integer)"),
        change("a function that does not leak", "ALTER FUNCTION acme.add_up(integer, integer) LEAKPROOF")
            .expects("function.leakproof", "add_up(integer, integer)"),
        change("a function not for workers", "ALTER FUNCTION acme.add_up(integer, integer) PARALLEL RESTRICTED")
            .expects("function.parallel", "add_up(integer, integer)"),
        change("a function's cost", "ALTER FUNCTION acme.add_up(integer, integer) COST 6")
            .expects("function.cost", "add_up(integer, integer)")
            .level("tuning"),
        change("how many rows a function returns", "ALTER FUNCTION acme.ranked(integer) ROWS 51")
            .expects("function.rows", "ranked(integer)")
            .level("tuning"),
        change(
            "a function's planner support",
            "ALTER FUNCTION acme.add_up(integer, integer) SUPPORT pg_catalog.numeric_support",
        )
        .expects("function.support", "add_up(integer, integer)"),
        change("a function's setting", "ALTER FUNCTION acme.trusted(integer) SET work_mem = '9MB'")
            .expects("function.settings", "trusted(integer)"),
        change("a function's setting is missing", "ALTER FUNCTION acme.trusted(integer) RESET work_mem")
            .expects("function.settings", "trusted(integer)"),
        change("a function has a setting", "ALTER FUNCTION acme.add_up(integer, integer) SET work_mem = '8MB'")
            .expects("function.settings", "add_up(integer, integer)"),
        change("a function's path is the caller's", "ALTER FUNCTION acme.guarded() RESET search_path")
            .expects("function.settings", "guarded()")
            .level("security"),
        change(
            "a function's path ends elsewhere",
            "ALTER FUNCTION acme.guarded() SET search_path = acme, public, pg_temp",
        )
        .expects("function.settings", "guarded()"),
        change(
            "a function's path leads to another tenant",
            "ALTER FUNCTION acme.guarded() SET search_path = globex, pg_temp",
        )
        .expects("function.settings", "guarded()")
        .references_globex(),
        change(
            "a function's path leads to another tenant, too",
            "ALTER FUNCTION acme.guarded() SET search_path = acme, globex, pg_temp",
        )
        .expects("function.settings", "guarded()")
        .references_globex(),
    ]
}

fn signatures() -> Vec<Change> {
    vec![
        change(
            "what a function returns",
            "DROP FUNCTION acme.user_count(); \
             CREATE FUNCTION acme.user_count() RETURNS numeric LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) \
             FROM acme.users; END",
        )
        .expects("function.result", "user_count()"),
        change(
            "a function that returns one row",
            "SET check_function_bodies = off; DROP FUNCTION acme.ranked(integer); \
             CREATE FUNCTION acme.ranked(integer) RETURNS acme.users LANGUAGE sql STABLE AS 'SELECT * FROM users \
             WHERE score > $1'",
        )
        .expects("function.result", "ranked(integer)"),
        change(
            "a function that returns another tenant's rows",
            "SET check_function_bodies = off; DROP FUNCTION acme.ranked(integer); \
             CREATE FUNCTION acme.ranked(integer) RETURNS SETOF globex.users LANGUAGE sql STABLE ROWS 50 AS \
             'SELECT * FROM users WHERE score > $1'",
        )
        .expects("function.result", "ranked(integer)")
        .references_globex(),
        change(
            "an argument's default",
            "CREATE OR REPLACE FUNCTION acme.described(acme.mood DEFAULT 'sad', OUT word text, OUT weight integer) \
             LANGUAGE sql AS 'SELECT $1::text, length($1::text)'",
        )
        .expects("function.arguments", "described(mood)"),
        change(
            "an argument's default is missing",
            "DROP FUNCTION acme.described(acme.mood); \
             CREATE FUNCTION acme.described(acme.mood, OUT word text, OUT weight integer) LANGUAGE sql AS 'SELECT \
             $1::text, length($1::text)'",
        )
        .expects("function.arguments", "described(mood)"),
        change(
            "the name of an argument that comes out",
            "DROP FUNCTION acme.described(acme.mood); \
             CREATE FUNCTION acme.described(acme.mood DEFAULT 'ok', OUT term text, OUT weight integer) LANGUAGE \
             sql AS 'SELECT $1::text, length($1::text)'",
        )
        .expects("function.", "described(mood)"),
        change(
            "an argument's name",
            "DROP FUNCTION acme.greeted(text); \
             CREATE FUNCTION acme.greeted(whom text) RETURNS text LANGUAGE plpgsql AS $$\nBEGIN\n    -- Says \
             hello.\n    RETURN 'hello, ' || person;\nEND\n$$",
        )
        .expects("function.arguments", "greeted(text)"),
        change(
            "an argument of another tenant's type",
            "DROP FUNCTION acme.described(acme.mood); \
             CREATE FUNCTION acme.described(globex.mood DEFAULT 'ok', OUT word text, OUT weight integer) LANGUAGE \
             sql AS 'SELECT $1::text, length($1::text)'",
        )
        .expects("function.missing", "described(mood)")
        .expects("function.extra", "described(globex.mood)")
        .references_globex(),
        change(
            "an argument is an array",
            "DROP FUNCTION acme.summed(integer[]); \
             CREATE FUNCTION acme.summed(integer[]) RETURNS bigint LANGUAGE sql AS 'SELECT sum(v) FROM unnest($1) \
             v'; ALTER FUNCTION acme.summed(integer[]) OWNER TO drift_owner",
        )
        .expects("function.arguments", "summed(integer[])"),
        change(
            "a procedure stands in for a function",
            "DROP FUNCTION acme.own_users(); \
             CREATE PROCEDURE acme.own_users() LANGUAGE sql AS 'SELECT count(*) FROM acme.users'",
        )
        .expects("function.missing", "own_users()")
        .expects("procedure.extra", "own_users()"),
    ]
}

fn procedures() -> Vec<Change> {
    vec![
        change("a procedure is missing", "DROP PROCEDURE acme.tidy(integer)")
            .expects("procedure.missing", "tidy(integer)"),
        change("a procedure too many", "CREATE PROCEDURE acme.nothing() LANGUAGE sql AS ''")
            .expects("procedure.extra", "nothing()"),
        change(
            "a procedure's body",
            "CREATE OR REPLACE PROCEDURE acme.tidy(integer) LANGUAGE plpgsql AS 'BEGIN DELETE FROM logs; END'",
        )
        .expects("procedure.body", "tidy(integer)"),
        change("a procedure runs as its owner", "ALTER PROCEDURE acme.tidy(integer) SECURITY DEFINER")
            .expects("procedure.security-definer", "tidy(integer)")
            .level("security"),
        change("a procedure has a setting", "ALTER PROCEDURE acme.tidy(integer) SET lock_timeout = '1s'")
            .expects("procedure.settings", "tidy(integer)"),
        change("a procedure's comment", "COMMENT ON PROCEDURE acme.tidy(integer) IS 'at noon'")
            .expects("procedure.comment", "tidy(integer)"),
        change(
            "a procedure's path leads to another tenant",
            "ALTER PROCEDURE acme.tidy(integer) SET search_path = globex",
        )
        .expects("procedure.settings", "tidy(integer)")
        .references_globex(),
    ]
}

fn aggregates() -> Vec<Change> {
    vec![
        change("an aggregate is missing", "DROP AGGREGATE acme.joined(text)")
            .expects("aggregate.missing", "joined(text)"),
        change("an aggregate too many", "CREATE AGGREGATE acme.most(integer) (SFUNC = int4larger, STYPE = integer)")
            .expects("aggregate.extra", "most(integer)"),
        change(
            "an aggregate's beginning",
            "CREATE OR REPLACE AGGREGATE acme.joined(text) (SFUNC = textcat, STYPE = text, INITCOND = '>')",
        )
        .expects("aggregate.aggregate", "joined(text)"),
        change(
            "an aggregate's step",
            "CREATE OR REPLACE AGGREGATE acme.joined(text) (SFUNC = text_larger, STYPE = text, INITCOND = '')",
        )
        .expects("aggregate.aggregate", "joined(text)"),
        change(
            "an aggregate's end",
            "CREATE OR REPLACE AGGREGATE acme.joined(text) (SFUNC = textcat, STYPE = text, INITCOND = '', \
             FINALFUNC = upper)",
        )
        .expects("aggregate.aggregate", "joined(text)"),
        change(
            "an aggregate that cannot be combined",
            "CREATE OR REPLACE AGGREGATE acme.longest(text) (SFUNC = acme.longest_step, STYPE = text, INITCOND = \
             '', PARALLEL = SAFE)",
        )
        .expects("aggregate.aggregate", "longest(text)"),
        change(
            "an aggregate not for workers",
            "CREATE OR REPLACE AGGREGATE acme.longest(text) (SFUNC = acme.longest_step, STYPE = text, INITCOND = \
             '', COMBINEFUNC = acme.longest_step, PARALLEL = RESTRICTED)",
        )
        .expects("aggregate.parallel", "longest(text)"),
        change("an aggregate's comment", "COMMENT ON AGGREGATE acme.longest(text) IS 'the shortest'")
            .expects("aggregate.comment", "longest(text)"),
        change(
            "an aggregate of another tenant's function",
            "CREATE OR REPLACE AGGREGATE acme.joined(text) (SFUNC = globex.longest_step, STYPE = text, INITCOND = \
             '')",
        )
        .expects("aggregate.aggregate", "joined(text)")
        .references_globex(),
    ]
}
