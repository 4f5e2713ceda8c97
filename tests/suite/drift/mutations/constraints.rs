//! Constraints of tables.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [keys(), foreign_keys(), checks(), exclusions(), switched_off()].into_iter().flatten().collect()
}

fn keys() -> Vec<Change> {
    vec![
        change("a primary key is missing", "ALTER TABLE acme.cache DROP CONSTRAINT cache_pkey")
            .expects("constraint.missing", "cache.cache_pkey")
            .level("structural"),
        change("a primary key is renamed", "ALTER TABLE acme.cache RENAME CONSTRAINT cache_pkey TO cache_key")
            .expects("constraint.missing", "cache.cache_pkey")
            .expects("constraint.extra", "cache.cache_key"),
        change(
            "the order of a primary key's columns",
            "ALTER TABLE acme.memberships DROP CONSTRAINT memberships_pkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_pkey PRIMARY KEY (team_id, user_id)",
        )
        .expects("constraint.definition", "memberships.memberships_pkey"),
        change(
            "a unique constraint for a primary key",
            "ALTER TABLE acme.cache DROP CONSTRAINT cache_pkey; \
             ALTER TABLE acme.cache ALTER COLUMN key SET NOT NULL; \
             ALTER TABLE acme.cache ADD CONSTRAINT cache_pkey UNIQUE (key)",
        )
        .expects("constraint.", "cache.cache_pkey"),
        change("a unique constraint is missing", "ALTER TABLE acme.users DROP CONSTRAINT users_email_key")
            .expects("constraint.missing", "users.users_email_key"),
        change("a unique constraint too many", "ALTER TABLE acme.users ADD CONSTRAINT users_bio_key UNIQUE (bio)")
            .expects("constraint.extra", "users.users_bio_key"),
        change(
            "a unique constraint of another column",
            "ALTER TABLE acme.users DROP CONSTRAINT users_email_key; \
             ALTER TABLE acme.users ADD CONSTRAINT users_email_key UNIQUE (name)",
        )
        .expects("constraint.definition", "users.users_email_key"),
        change(
            "a unique constraint includes a column",
            "ALTER TABLE acme.users DROP CONSTRAINT users_email_key; \
             ALTER TABLE acme.users ADD CONSTRAINT users_email_key UNIQUE (email) INCLUDE (age)",
        )
        .expects("constraint.definition", "users.users_email_key"),
        change(
            "a unique constraint cannot wait",
            "ALTER TABLE acme.users DROP CONSTRAINT users_nickname_key; \
             ALTER TABLE acme.users ADD CONSTRAINT users_nickname_key UNIQUE (nickname)",
        )
        .expects("constraint.definition", "users.users_nickname_key"),
        change(
            "a unique constraint does not wait at first",
            "ALTER TABLE acme.users DROP CONSTRAINT users_nickname_key; \
             ALTER TABLE acme.users ADD CONSTRAINT users_nickname_key UNIQUE (nickname) DEFERRABLE INITIALLY \
             IMMEDIATE",
        )
        .expects("constraint.definition", "users.users_nickname_key"),
        change(
            "a unique constraint by which nulls are equal",
            "ALTER TABLE acme.users DROP CONSTRAINT users_nickname_key; \
             ALTER TABLE acme.users ADD CONSTRAINT users_nickname_key UNIQUE NULLS NOT DISTINCT (nickname) \
             DEFERRABLE INITIALLY DEFERRED",
        )
        .expects("constraint.definition", "users.users_nickname_key")
        .since(15),
        change(
            "an index for a unique constraint",
            "ALTER TABLE acme.users DROP CONSTRAINT users_email_key; \
             CREATE UNIQUE INDEX users_email_key ON acme.users (email)",
        )
        .expects("constraint.missing", "users.users_email_key"),
        change("the fillfactor of a constraint's index", "ALTER INDEX acme.users_email_key SET (fillfactor = 60)")
            .expects("index.options", "users.users_email_key"),
        change("a constraint's comment", "COMMENT ON CONSTRAINT users_score_check ON acme.users IS 'debts'")
            .expects("constraint.comment", "users.users_score_check")
            .level("cosmetic"),
        change("a constraint has a comment", "COMMENT ON CONSTRAINT users_email_key ON acme.users IS 'new'")
            .expects("constraint.comment", "users.users_email_key"),
    ]
}

fn foreign_keys() -> Vec<Change> {
    vec![
        change("a foreign key is missing", "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey")
            .expects("constraint.missing", "orders.orders_placed_by_fkey")
            .level("structural"),
        change(
            "a foreign key too many",
            "ALTER TABLE acme.bookings ADD CONSTRAINT bookings_room_fkey FOREIGN KEY (room) REFERENCES acme.teams",
        )
        .expects("constraint.extra", "bookings.bookings_room_fkey"),
        change(
            "a foreign key is renamed",
            "ALTER TABLE acme.orders RENAME CONSTRAINT orders_placed_by_fkey TO orders_user_fkey",
        )
        .expects("constraint.missing", "orders.orders_placed_by_fkey")
        .expects("constraint.extra", "orders.orders_user_fkey"),
        change(
            "what a foreign key does on delete",
            "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey; \
             ALTER TABLE acme.orders ADD CONSTRAINT orders_placed_by_fkey FOREIGN KEY (placed_by) REFERENCES \
             acme.users (id) ON DELETE CASCADE",
        )
        .expects("constraint.definition", "orders.orders_placed_by_fkey"),
        change(
            "what a foreign key does on update",
            "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey; \
             ALTER TABLE acme.orders ADD CONSTRAINT orders_placed_by_fkey FOREIGN KEY (placed_by) REFERENCES \
             acme.users (id) ON UPDATE RESTRICT",
        )
        .expects("constraint.definition", "orders.orders_placed_by_fkey"),
        change(
            "a foreign key cannot wait",
            "ALTER TABLE acme.memberships ALTER CONSTRAINT memberships_user_id_fkey NOT DEFERRABLE",
        )
        .expects("constraint.definition", "memberships.memberships_user_id_fkey"),
        change(
            "a foreign key does not wait at first",
            "ALTER TABLE acme.memberships ALTER CONSTRAINT memberships_user_id_fkey DEFERRABLE INITIALLY IMMEDIATE",
        )
        .expects("constraint.definition", "memberships.memberships_user_id_fkey"),
        change(
            "a foreign key may wait",
            "ALTER TABLE acme.memberships ALTER CONSTRAINT memberships_team_id_fkey DEFERRABLE",
        )
        .expects("constraint.definition", "memberships.memberships_team_id_fkey"),
        change(
            "how a foreign key matches",
            "ALTER TABLE acme.memberships DROP CONSTRAINT memberships_team_fkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_team_fkey FOREIGN KEY (team_name, team_slug) \
             REFERENCES acme.teams (name, slug)",
        )
        .expects("constraint.definition", "memberships.memberships_team_fkey"),
        change(
            "a foreign key's columns change places",
            "ALTER TABLE acme.memberships DROP CONSTRAINT memberships_team_fkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_team_fkey FOREIGN KEY (team_slug, team_name) \
             REFERENCES acme.teams (name, slug) MATCH FULL",
        )
        .expects("constraint.definition", "memberships.memberships_team_fkey"),
        change(
            "a foreign key to another column",
            "ALTER TABLE acme.teams ADD CONSTRAINT teams_size_key UNIQUE (size); \
             ALTER TABLE acme.memberships DROP CONSTRAINT memberships_team_id_fkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_team_id_fkey FOREIGN KEY (team_id) REFERENCES \
             acme.teams (size)",
        )
        .expects("constraint.definition", "memberships.memberships_team_id_fkey"),
        change(
            "a foreign key to another table",
            "ALTER TABLE acme.memberships DROP CONSTRAINT memberships_team_id_fkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_team_id_fkey FOREIGN KEY (team_id) REFERENCES \
             acme.bookings (id)",
        )
        .expects("constraint.definition", "memberships.memberships_team_id_fkey"),
        change(
            "a foreign key that nulls only one column",
            "ALTER TABLE acme.memberships DROP CONSTRAINT memberships_team_fkey; \
             ALTER TABLE acme.memberships ADD CONSTRAINT memberships_team_fkey FOREIGN KEY (team_name, team_slug) \
             REFERENCES acme.teams (name, slug) MATCH FULL ON DELETE SET NULL (team_slug)",
        )
        .expects("constraint.definition", "memberships.memberships_team_fkey")
        .since(15),
        change(
            "a foreign key that is not validated",
            "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey; \
             ALTER TABLE acme.orders ADD CONSTRAINT orders_placed_by_fkey FOREIGN KEY (placed_by) REFERENCES \
             acme.users (id) NOT VALID",
        )
        .expects("constraint.validated", "orders.orders_placed_by_fkey"),
        change(
            "a foreign key that is not enforced",
            "ALTER TABLE acme.orders ALTER CONSTRAINT orders_placed_by_fkey NOT ENFORCED",
        )
        .expects("constraint.", "orders.orders_placed_by_fkey")
        .since(18),
        change(
            "a foreign key to another tenant's table",
            "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey; \
             ALTER TABLE acme.orders ADD CONSTRAINT orders_placed_by_fkey FOREIGN KEY (placed_by) REFERENCES \
             globex.users (id)",
        )
        .expects("constraint.definition", "orders.orders_placed_by_fkey")
        .references_globex(),
        change(
            "a partition's foreign key that the table has not",
            "ALTER TABLE acme.events_2025 ADD CONSTRAINT events_2025_amount_fkey FOREIGN KEY (amount) REFERENCES \
             acme.teams",
        )
        .expects("constraint.extra", "events_2025.events_2025_amount_fkey"),
        change(
            "a partitioned table's foreign key is missing",
            "ALTER TABLE acme.events DROP CONSTRAINT events_user_id_fkey",
        )
        .expects("constraint.missing", "events.events_user_id_fkey")
        .expects("constraint.missing", "events_2025.events_user_id_fkey"),
    ]
}

fn checks() -> Vec<Change> {
    vec![
        change("a check is missing", "ALTER TABLE acme.users DROP CONSTRAINT users_score_check")
            .expects("constraint.missing", "users.users_score_check")
            .level("structural"),
        change("a check too many", "ALTER TABLE acme.users ADD CONSTRAINT users_age_check CHECK (age > 0)")
            .expects("constraint.extra", "users.users_age_check"),
        change(
            "a check is renamed",
            "ALTER TABLE acme.users RENAME CONSTRAINT users_score_check TO users_points_check",
        )
        .expects("constraint.missing", "users.users_score_check")
        .expects("constraint.extra", "users.users_points_check"),
        change(
            "a check's expression",
            "ALTER TABLE acme.users DROP CONSTRAINT users_score_check; \
             ALTER TABLE acme.users ADD CONSTRAINT users_score_check CHECK (score > 0); \
             COMMENT ON CONSTRAINT users_score_check ON acme.users IS 'no debts'",
        )
        .expects("constraint.definition", "users.users_score_check"),
        change(
            "a check that children inherit",
            "ALTER TABLE acme.users DROP CONSTRAINT users_karma_check; \
             ALTER TABLE acme.users ADD CONSTRAINT users_karma_check CHECK (karma < 1000)",
        )
        .expects("constraint.definition", "users.users_karma_check"),
        change(
            "a check that is not validated",
            "ALTER TABLE acme.logs DROP CONSTRAINT logs_message_check; \
             ALTER TABLE acme.logs ADD CONSTRAINT logs_message_check CHECK (message <> '') NOT VALID",
        )
        .expects("constraint.validated", "logs.logs_message_check"),
        change("a check that is validated", "ALTER TABLE acme.logs VALIDATE CONSTRAINT logs_level_check")
            .expects("constraint.validated", "logs.logs_level_check"),
        change(
            "two checks change names",
            "ALTER TABLE acme.logs RENAME CONSTRAINT logs_message_check TO aside; \
             ALTER TABLE acme.logs RENAME CONSTRAINT logs_level_check TO logs_message_check; \
             ALTER TABLE acme.logs RENAME CONSTRAINT aside TO logs_level_check",
        )
        .expects("constraint.definition", "logs.logs_message_check")
        .expects("constraint.definition", "logs.logs_level_check"),
        change(
            "a check for another tenant's name",
            "ALTER TABLE acme.preferences DROP CONSTRAINT preferences_tenant_check; \
             ALTER TABLE acme.preferences ADD CONSTRAINT preferences_tenant_check CHECK (tenant = 'globex')",
        )
        .expects("constraint.definition", "preferences.preferences_tenant_check"),
        change(
            "a check that calls another tenant's function",
            "ALTER TABLE acme.users ADD CONSTRAINT users_sum_check CHECK (globex.add_up(score, 1) > 0)",
        )
        .expects("constraint.extra", "users.users_sum_check")
        .references_globex(),
        change("a partitioned table's check is missing", "ALTER TABLE acme.events DROP CONSTRAINT events_amount_check")
            .expects("constraint.missing", "events.events_amount_check"),
        change(
            "a check that is not enforced",
            "ALTER TABLE acme.users DROP CONSTRAINT users_karma_check; \
             ALTER TABLE acme.users ADD CONSTRAINT users_karma_check CHECK (karma < 1000) NO INHERIT NOT ENFORCED",
        )
        .expects("constraint.", "users.users_karma_check")
        .since(18),
    ]
}

fn exclusions() -> Vec<Change> {
    vec![
        change("an exclusion is missing", "ALTER TABLE acme.bookings DROP CONSTRAINT bookings_during_excl")
            .expects("constraint.missing", "bookings.bookings_during_excl"),
        change(
            "an exclusion's operator",
            "ALTER TABLE acme.bookings DROP CONSTRAINT bookings_during_excl; \
             ALTER TABLE acme.bookings ADD CONSTRAINT bookings_during_excl EXCLUDE USING gist (during WITH -|-) \
             WHERE (NOT cancelled)",
        )
        .expects("constraint.definition", "bookings.bookings_during_excl"),
        change(
            "an exclusion's condition",
            "ALTER TABLE acme.bookings DROP CONSTRAINT bookings_during_excl; \
             ALTER TABLE acme.bookings ADD CONSTRAINT bookings_during_excl EXCLUDE USING gist (during WITH &&) \
             WHERE (cancelled)",
        )
        .expects("constraint.definition", "bookings.bookings_during_excl"),
        change(
            "an exclusion that may wait",
            "ALTER TABLE acme.bookings DROP CONSTRAINT bookings_during_excl; \
             ALTER TABLE acme.bookings ADD CONSTRAINT bookings_during_excl EXCLUDE USING gist (during WITH &&) \
             WHERE (NOT cancelled) DEFERRABLE",
        )
        .expects("constraint.definition", "bookings.bookings_during_excl"),
    ]
}

/// Constraints whose triggers are disabled, so that they exist but are not enforced.
fn switched_off() -> Vec<Change> {
    vec![
        change("a foreign key is switched off where it refers", "ALTER TABLE acme.memberships DISABLE TRIGGER ALL")
            .expects("constraint.switched-off", "memberships.memberships_user_id_fkey")
            .level("structural")
            .expects("constraint.switched-off", "memberships.memberships_team_id_fkey")
            .not_in_dump(),
        change(
            "a foreign key is switched off where it is referred to",
            "ALTER TABLE acme.users DISABLE TRIGGER ALL; ALTER TABLE acme.users ENABLE TRIGGER USER",
        )
        .expects("constraint.switched-off", "memberships.memberships_user_id_fkey")
        .expects("constraint.switched-off", "teams.teams_owner_id_fkey")
        .expects("constraint.switched-off", "users.users_nickname_key")
        .not_in_dump(),
        change(
            "one of a foreign key's triggers is switched off",
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE acme.users DISABLE TRIGGER %I', tgname) FROM \
             pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint WHERE c.conrelid = \
             'acme.memberships'::regclass AND t.tgrelid = 'acme.users'::regclass AND tgfoid = \
             'pg_catalog.\"RI_FKey_cascade_del\"'::regproc); END $$",
        )
        .expects("constraint.switched-off", "memberships.memberships_user_id_fkey")
        .not_in_dump(),
        change(
            "a foreign key's trigger fires on replicas only",
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE acme.orders ENABLE REPLICA TRIGGER %I', tgname) FROM \
             pg_trigger WHERE tgrelid = 'acme.orders'::regclass AND tgisinternal LIMIT 1); END $$",
        )
        .expects("constraint.switched-off", "orders.orders_placed_by_fkey")
        .not_in_dump(),
        change(
            "a foreign key is switched off in a partition",
            "ALTER TABLE ONLY acme.events_2025 DISABLE TRIGGER ALL; \
             ALTER TABLE ONLY acme.events_2025 ENABLE TRIGGER USER",
        )
        .expects("constraint.switched-off", "events_2025.events_user_id_fkey"),
    ]
}
