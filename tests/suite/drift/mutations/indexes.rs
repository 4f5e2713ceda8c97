//! Indexes.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [presence(), definitions(), states(), elsewhere()].into_iter().flatten().collect()
}

fn presence() -> Vec<Change> {
    vec![
        change("an index is missing", "DROP INDEX acme.users_name_idx")
            .expects("index.missing", "users.users_name_idx")
            .level("structural"),
        change("an index too many", "CREATE INDEX users_bio_idx ON acme.users (bio)")
            .expects("index.extra", "users.users_bio_idx"),
        change("an index is renamed", "ALTER INDEX acme.users_name_idx RENAME TO users_names_idx")
            .expects("index.missing", "users.users_name_idx")
            .expects("index.extra", "users.users_names_idx"),
        change(
            "two indexes change names",
            "ALTER INDEX acme.readings_note_idx RENAME TO aside; \
             ALTER INDEX acme.readings_raw_idx RENAME TO readings_note_idx; \
             ALTER INDEX acme.aside RENAME TO readings_raw_idx",
        )
        .expects("index.definition", "readings.readings_note_idx")
        .expects("index.definition", "readings.readings_raw_idx"),
        change(
            "an index of the same name on another table",
            "DROP INDEX acme.readings_note_idx; CREATE INDEX readings_note_idx ON acme.orders (note)",
        )
        .expects("index.missing", "readings.readings_note_idx")
        .expects("index.extra", "orders.readings_note_idx"),
        change("a partition's own index is missing", "DROP INDEX acme.events_2025_amount_idx")
            .expects("index.missing", "events_2025.events_2025_amount_idx"),
        change("a partitioned index is missing", "DROP INDEX acme.events_kind_idx")
            .expects("index.missing", "events.events_kind_idx")
            .expects("index.missing", "events_2025.events_2025_kind_idx"),
        change("a materialized view's index is missing", "DROP INDEX acme.score_board_mood_idx")
            .expects("index.missing", "score_board.score_board_mood_idx"),
        change("an index that goes with an extension", "ALTER INDEX acme.users_name_idx DEPENDS ON EXTENSION plpgsql")
            .expects("index.", "users.users_name_idx"),
        change("an index's comment", "COMMENT ON INDEX acme.users_name_idx IS 'for nothing'")
            .expects("index.comment", "users.users_name_idx")
            .level("cosmetic"),
    ]
}

fn definitions() -> Vec<Change> {
    vec![
        change(
            "an index's method",
            "DROP INDEX acme.readings_sensor_idx; CREATE INDEX readings_sensor_idx ON acme.readings (sensor)",
        )
        .expects("index.definition", "readings.readings_sensor_idx"),
        change(
            "an index's column",
            "DROP INDEX acme.readings_sensor_idx; \
             CREATE INDEX readings_sensor_idx ON acme.readings USING hash (value)",
        )
        .expects("index.definition", "readings.readings_sensor_idx"),
        change(
            "the order of an index's columns",
            "DROP INDEX acme.users_cover_idx; \
             CREATE UNIQUE INDEX users_cover_idx ON acme.users (age, nickname) INCLUDE (email) WITH (fillfactor = \
             80)",
        )
        .expects("index.definition", "users.users_cover_idx"),
        change(
            "an index includes another column",
            "DROP INDEX acme.users_cover_idx; \
             CREATE UNIQUE INDEX users_cover_idx ON acme.users (nickname, age) INCLUDE (name) WITH (fillfactor = \
             80)",
        )
        .expects("index.definition", "users.users_cover_idx"),
        change(
            "an included column is part of the key",
            "DROP INDEX acme.users_cover_idx; \
             CREATE UNIQUE INDEX users_cover_idx ON acme.users (nickname, age, email) WITH (fillfactor = 80)",
        )
        .expects("index.definition", "users.users_cover_idx"),
        change(
            "an index is not unique",
            "DROP INDEX acme.users_cover_idx; \
             CREATE INDEX users_cover_idx ON acme.users (nickname, age) INCLUDE (email) WITH (fillfactor = 80)",
        )
        .expects("index.definition", "users.users_cover_idx"),
        change(
            "an index is unique",
            "DROP INDEX acme.readings_raw_idx; CREATE UNIQUE INDEX readings_raw_idx ON acme.readings (raw)",
        )
        .expects("index.definition", "readings.readings_raw_idx"),
        change(
            "an index by which nulls are equal",
            "DROP INDEX acme.users_cover_idx; \
             CREATE UNIQUE INDEX users_cover_idx ON acme.users (nickname, age) INCLUDE (email) NULLS NOT DISTINCT \
             WITH (fillfactor = 80)",
        )
        .expects("index.definition", "users.users_cover_idx")
        .since(15),
        change(
            "an index's operator class",
            "DROP INDEX acme.users_pattern_idx; CREATE INDEX users_pattern_idx ON acme.users (email)",
        )
        .expects("index.definition", "users.users_pattern_idx"),
        change(
            "an inverted index's operator class",
            "DROP INDEX acme.users_prefs_idx; CREATE INDEX users_prefs_idx ON acme.users USING gin (prefs)",
        )
        .expects("index.definition", "users.users_prefs_idx"),
        change(
            "an operator class has an option",
            "DROP INDEX acme.documents_search_idx; \
             CREATE INDEX documents_search_idx ON acme.documents USING gist (to_tsvector('acme.search', title) \
             tsvector_ops (siglen = 100))",
        )
        .expects("index.definition", "documents.documents_search_idx"),
        change(
            "an index's collation",
            "DROP INDEX acme.users_collated_idx; \
             CREATE INDEX users_collated_idx ON acme.users (name COLLATE \"default\")",
        )
        .expects("index.definition", "users.users_collated_idx"),
        change(
            "an index's direction",
            "DROP INDEX acme.users_recent_idx; \
             CREATE INDEX users_recent_idx ON acme.users (created_at NULLS LAST, score ASC NULLS FIRST)",
        )
        .expects("index.definition", "users.users_recent_idx"),
        change(
            "where an index has its nulls",
            "DROP INDEX acme.users_recent_idx; \
             CREATE INDEX users_recent_idx ON acme.users (created_at DESC NULLS FIRST, score ASC NULLS FIRST)",
        )
        .expects("index.definition", "users.users_recent_idx"),
        change(
            "an index's predicate",
            "DROP INDEX acme.users_active_idx; \
             CREATE INDEX users_active_idx ON acme.users (score) WHERE mood <> 'ok'",
        )
        .expects("index.definition", "users.users_active_idx"),
        change(
            "an index without its predicate",
            "DROP INDEX acme.users_active_idx; CREATE INDEX users_active_idx ON acme.users (score)",
        )
        .expects("index.definition", "users.users_active_idx"),
        change(
            "an index's expression",
            "DROP INDEX acme.users_lower_idx; CREATE INDEX users_lower_idx ON acme.users (upper(email))",
        )
        .expects("index.definition", "users.users_lower_idx"),
        change("an index's fillfactor", "ALTER INDEX acme.users_cover_idx SET (fillfactor = 70)")
            .expects("index.options", "users.users_cover_idx")
            .level("tuning"),
        change("an index's options are reset", "ALTER INDEX acme.users_tags_idx RESET (fastupdate)")
            .expects("index.options", "users.users_tags_idx"),
        change("an index has options", "ALTER INDEX acme.users_name_idx SET (deduplicate_items = off)")
            .expects("index.options", "users.users_name_idx"),
        change(
            "how much of a table an index sums up",
            "ALTER INDEX acme.readings_taken_at_idx SET (pages_per_range = 64)",
        )
        .expects("index.options", "readings.readings_taken_at_idx"),
        change(
            "the statistics of an index's expression",
            "ALTER INDEX acme.users_expr_idx ALTER COLUMN 1 SET STATISTICS 100",
        )
        .expects("index-column.statistics", "users_expr_idx.expr")
        .level("tuning"),
        change("an index's tablespace", "ALTER INDEX acme.users_name_idx SET TABLESPACE drift_space")
            .expects("index.tablespace", "users.users_name_idx")
            .since(15),
    ]
}

fn states() -> Vec<Change> {
    vec![
        change(
            "an index that is not valid",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'acme.users_name_idx'::regclass",
        )
        .expects("index.valid", "users.users_name_idx")
        .level("structural"),
        change(
            "an index that is not ready",
            "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = \
             'acme.users_name_idx'::regclass",
        )
        .expects("index.ready", "users.users_name_idx"),
        change(
            "an index that is about to go",
            "UPDATE pg_index SET indislive = false, indisready = false, indisvalid = false WHERE indexrelid = \
             'acme.users_name_idx'::regclass",
        )
        .expects("index.live", "users.users_name_idx"),
        // The server leaves an invalid index behind.
        change("an index whose building failed", "INSERT INTO acme.readings (sensor) VALUES (1), (1)")
            .then_refused("CREATE UNIQUE INDEX CONCURRENTLY readings_unique_idx ON acme.readings (sensor)")
            .expects("index.extra", "readings.readings_unique_idx")
            .not_in_dump(),
        change(
            "an index whose building failed, in the place of a good one",
            "DROP INDEX acme.users_age_idx; INSERT INTO acme.users (email, age) VALUES ('a@b', 0)",
        )
        .then_refused("CREATE INDEX CONCURRENTLY users_age_idx ON acme.users ((1 / age))")
        .expects("index.valid", "users.users_age_idx")
        .expects("index.definition", "users.users_age_idx"),
        change("a table is clustered by another index", "ALTER TABLE acme.teams CLUSTER ON teams_slug_key")
            .expects("index.clustered", "teams.teams_pkey")
            .expects("index.clustered", "teams.teams_slug_key"),
        change("a table is not clustered", "ALTER TABLE acme.teams SET WITHOUT CLUSTER")
            .expects("index.clustered", "teams.teams_pkey")
            .level("tuning"),
        change("a table is clustered", "ALTER TABLE acme.users CLUSTER ON users_name_idx")
            .expects("index.clustered", "users.users_name_idx"),
        change(
            "a partition's index stands alone",
            "DROP INDEX acme.events_kind_idx; CREATE INDEX events_kind_idx ON ONLY acme.events (kind); \
             CREATE INDEX events_2025_kind_idx ON acme.events_2025 (kind); \
             CREATE INDEX events_2026_kind_idx ON acme.events_2026 (kind); \
             CREATE INDEX events_rest_kind_idx ON acme.events_rest (kind); \
             ALTER INDEX acme.events_kind_idx ATTACH PARTITION acme.events_2026_kind_idx; \
             ALTER INDEX acme.events_kind_idx ATTACH PARTITION acme.events_rest_kind_idx",
        )
        .expects("index.partition-of", "events_2025.events_2025_kind_idx")
        .expects("index.valid", "events.events_kind_idx"),
    ]
}

fn elsewhere() -> Vec<Change> {
    vec![
        change(
            "an index by another tenant's operators",
            "DROP INDEX acme.readings_value_idx; \
             CREATE INDEX readings_value_idx ON acme.readings (value globex.size_ops)",
        )
        .expects("index.definition", "readings.readings_value_idx")
        .references_globex(),
        change(
            "an index of what another tenant's function says",
            "DROP INDEX acme.readings_raw_idx; \
             CREATE INDEX readings_raw_idx ON acme.readings (globex.add_up(sensor, value))",
        )
        .expects("index.definition", "readings.readings_raw_idx")
        .references_globex(),
        change(
            "an index by another tenant's text search",
            "DROP INDEX acme.documents_search_idx; \
             CREATE INDEX documents_search_idx ON acme.documents USING gin (to_tsvector('globex.search', title))",
        )
        .expects("index.definition", "documents.documents_search_idx")
        .references_globex(),
    ]
}
