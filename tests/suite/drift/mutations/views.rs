//! Views, materialized and not.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [views(), materialized()].into_iter().flatten().collect()
}

fn views() -> Vec<Change> {
    vec![
        change("a view is missing", "DROP VIEW acme.low_scores")
            .expects("view.missing", "low_scores")
            .level("structural"),
        change("a view too many", "CREATE VIEW acme.everyone AS SELECT * FROM acme.users")
            .expects("view.extra", "everyone"),
        change("a view is renamed", "ALTER VIEW acme.low_scores RENAME TO small_scores")
            .expects("view.missing", "low_scores")
            .expects("view.extra", "small_scores"),
        change(
            "a view's condition",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             score FROM acme.users WHERE mood <> 'happy'",
        )
        .expects("view.definition", "active_users"),
        change(
            "a view without its condition",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             score FROM acme.users",
        )
        .expects("view.definition", "active_users"),
        change("a view's column is renamed", "ALTER VIEW acme.active_users RENAME COLUMN score TO points")
            .expects("view.definition", "active_users"),
        change(
            "a view's column is another one",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             karma AS score FROM acme.users WHERE mood <> 'sad'",
        )
        .expects("view.definition", "active_users"),
        change(
            "a view has one more column",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             score, karma FROM acme.users WHERE mood <> 'sad'",
        )
        .expects("view.definition", "active_users"),
        change(
            "a view keeps duplicates out",
            "CREATE OR REPLACE VIEW acme.low_scores AS SELECT DISTINCT id, score FROM acme.users WHERE score < 10",
        )
        .expects("view.definition", "low_scores"),
        change(
            "how a view joins",
            "CREATE OR REPLACE VIEW acme.team_sizes AS SELECT t.id, t.name, count(m.user_id) AS members FROM \
             acme.teams t JOIN acme.memberships m ON m.team_id = t.id GROUP BY t.id",
        )
        .expects("view.definition", "team_sizes"),
        change(
            "a literal in a view",
            "CREATE OR REPLACE VIEW acme.spellings AS SELECT s.id AS s, users.email AS users, 'globex.users' AS \
             acme, 's.' AS dotted FROM acme.users JOIN acme.teams s ON s.owner_id = users.id AND s.name <> \
             'globex.'",
        )
        .expects("view.definition", "spellings"),
        change(
            "a literal in a view that is spelt as a schema",
            "CREATE OR REPLACE VIEW acme.spellings AS SELECT s.id AS s, users.email AS users, 'users' AS acme, \
             's.' AS dotted FROM acme.users JOIN acme.teams s ON s.owner_id = users.id AND s.name <> 'globex.'",
        )
        .expects("view.definition", "spellings"),
        change("a view lets functions see all rows", "ALTER VIEW acme.active_users RESET (security_barrier)")
            .expects("view.security-options", "active_users")
            .level("security"),
        change("a view is a security barrier", "ALTER VIEW acme.low_scores SET (security_barrier = true)")
            .expects("view.security-options", "low_scores"),
        change(
            "a view with the privileges of its reader",
            "ALTER VIEW acme.active_users SET (security_invoker = true)",
        )
        .expects("view.security-options", "active_users")
        .since(15),
        change("what a view checks", "ALTER VIEW acme.low_scores SET (check_option = cascaded)")
            .expects("view.options", "low_scores")
            .level("structural"),
        change("a view checks nothing", "ALTER VIEW acme.low_scores RESET (check_option)")
            .expects("view.options", "low_scores"),
        change("a view's comment", "COMMENT ON VIEW acme.active_users IS 'everyone'")
            .expects("view.comment", "active_users")
            .level("cosmetic"),
        change(
            "a view of another tenant's table",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             score FROM globex.users WHERE mood <> 'sad'",
        )
        .expects("view.definition", "active_users")
        .references_globex(),
        change(
            "a view of another tenant's view",
            "CREATE OR REPLACE VIEW acme.big_teams AS SELECT s.name, s.members FROM globex.team_sizes s WHERE \
             s.members > 5",
        )
        .expects("view.definition", "big_teams")
        .references_globex(),
        change(
            "a view that asks another tenant's table in a subquery",
            "CREATE OR REPLACE VIEW acme.active_users WITH (security_barrier = true) AS SELECT id, email, name, \
             score FROM acme.users WHERE mood <> 'sad' AND EXISTS (SELECT FROM globex.users AS users WHERE \
             users.id = id)",
        )
        .expects("view.definition", "active_users")
        .references_globex(),
        change("a view too many, of another tenant's table", "CREATE VIEW acme.theirs AS SELECT * FROM globex.users")
            .expects("view.extra", "theirs")
            .references_globex(),
    ]
}

fn materialized() -> Vec<Change> {
    vec![
        change("a materialized view is missing", "DROP MATERIALIZED VIEW acme.recent_orders")
            .expects("materialized-view.missing", "recent_orders"),
        change("a materialized view too many", "CREATE MATERIALIZED VIEW acme.one AS SELECT 1 AS one")
            .expects("materialized-view.extra", "one"),
        change(
            "what a materialized view holds",
            "DROP MATERIALIZED VIEW acme.recent_orders; \
             CREATE MATERIALIZED VIEW acme.recent_orders WITH (fillfactor = 60) AS SELECT number, price FROM \
             acme.orders WHERE price > 1 WITH NO DATA",
        )
        .expects("materialized-view.definition", "recent_orders"),
        change("a materialized view's fillfactor", "ALTER MATERIALIZED VIEW acme.recent_orders SET (fillfactor = 70)")
            .expects("materialized-view.options", "recent_orders")
            .level("tuning"),
        change(
            "a materialized view's column is renamed",
            "ALTER MATERIALIZED VIEW acme.score_board RENAME COLUMN best TO top",
        )
        .expects("materialized-view.definition", "score_board"),
        change(
            "a materialized view's tablespace",
            "ALTER MATERIALIZED VIEW acme.score_board SET TABLESPACE drift_space",
        )
        .expects("materialized-view.tablespace", "score_board")
        .since(15),
        change(
            "a materialized view that goes with an extension",
            "ALTER MATERIALIZED VIEW acme.score_board DEPENDS ON EXTENSION plpgsql",
        )
        .expects("materialized-view.", "score_board"),
        change("a materialized view's comment", "COMMENT ON MATERIALIZED VIEW acme.score_board IS 'every day'")
            .expects("materialized-view.comment", "score_board"),
        change(
            "a view stands in for a materialized one",
            "DROP MATERIALIZED VIEW acme.recent_orders; \
             CREATE VIEW acme.recent_orders AS SELECT number, price FROM acme.orders WHERE price > 0",
        )
        .expects("materialized-view.missing", "recent_orders")
        .expects("view.extra", "recent_orders"),
        change(
            "a table stands in for a materialized view",
            "DROP MATERIALIZED VIEW acme.recent_orders; \
             CREATE TABLE acme.recent_orders (number bigint, price numeric(10, 2))",
        )
        .expects("materialized-view.missing", "recent_orders")
        .expects("table.extra", "recent_orders"),
        change(
            "a materialized view of another tenant's table",
            "DROP MATERIALIZED VIEW acme.recent_orders; \
             CREATE MATERIALIZED VIEW acme.recent_orders WITH (fillfactor = 60) AS SELECT number, price FROM \
             globex.orders WHERE price > 0 WITH NO DATA",
        )
        .expects("materialized-view.definition", "recent_orders")
        .references_globex(),
    ]
}
