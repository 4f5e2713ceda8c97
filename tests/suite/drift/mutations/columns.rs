//! Columns of tables and of other relations.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [presence(), types(), nulls(), defaults(), identity_and_generation(), storage(), positions()]
        .into_iter()
        .flatten()
        .collect()
}

fn presence() -> Vec<Change> {
    vec![
        change("a column is missing", "ALTER TABLE acme.users DROP COLUMN age")
            .expects("column.missing", "users.age")
            .level("structural"),
        change("a column too many", "ALTER TABLE acme.users ADD COLUMN phone text")
            .expects("column.extra", "users.phone"),
        change("a column is renamed", "ALTER TABLE acme.users RENAME COLUMN bio TO biography")
            .expects("column.missing", "users.bio")
            .expects("column.extra", "users.biography"),
        // The view is unchanged: its column keeps the old name.
        change("a column that a view has is renamed", "ALTER TABLE acme.orders RENAME COLUMN price TO amount")
            .expects("column.missing", "orders.price")
            .expects("column.extra", "orders.amount"),
        change("a column's comment", "COMMENT ON COLUMN acme.users.email IS 'upper case'")
            .expects("column.comment", "users.email")
            .level("cosmetic"),
        change("a column has a comment", "COMMENT ON COLUMN acme.users.bio IS 'new'")
            .expects("column.comment", "users.bio"),
        change(
            "a column's comment is another column's",
            "COMMENT ON COLUMN acme.users.email IS NULL; COMMENT ON COLUMN acme.users.name IS 'lower case'",
        )
        .expects("column.comment", "users.email")
        .expects("column.comment", "users.name"),
        change("the comment of a view's column", "COMMENT ON COLUMN acme.active_users.email IS 'new'")
            .expects("column.comment", "active_users.email"),
    ]
}

fn types() -> Vec<Change> {
    vec![
        change("a column's type", "ALTER TABLE acme.users ALTER COLUMN bio TYPE character varying(10)")
            .expects("column.type", "users.bio")
            .level("structural"),
        change("a wider integer", "ALTER TABLE acme.users ALTER COLUMN age TYPE integer")
            .expects("column.type", "users.age"),
        change("a longer text", "ALTER TABLE acme.orders ALTER COLUMN note TYPE varchar(101)")
            .expects("column.type", "orders.note"),
        change("a text without a limit", "ALTER TABLE acme.orders ALTER COLUMN note TYPE varchar")
            .expects("column.type", "orders.note"),
        change("another precision", "ALTER TABLE acme.readings ALTER COLUMN taken_at TYPE timestamp(3)")
            .expects("column.type", "readings.taken_at"),
        change("a time without a zone", "ALTER TABLE acme.users ALTER COLUMN updated_at TYPE timestamp")
            .expects("column.type", "users.updated_at"),
        change(
            "an array of another type",
            "ALTER TABLE acme.memberships ALTER COLUMN since TYPE date[] USING ARRAY[since]",
        )
        .expects("column.type", "memberships.since"),
        change("jsonb for json", "ALTER TABLE acme.logs ALTER COLUMN payload TYPE jsonb")
            .expects("column.type", "logs.payload"),
        change("a domain's base type for the domain", "ALTER TABLE acme.users ALTER COLUMN contact TYPE text")
            .expects("column.type", "users.contact"),
        change(
            "text for an enum",
            "ALTER TABLE acme.orders ALTER COLUMN priority DROP DEFAULT; \
             ALTER TABLE acme.orders ALTER COLUMN priority TYPE text; \
             ALTER TABLE acme.orders ALTER COLUMN priority SET DEFAULT 'normal'",
        )
        .expects("column.type", "orders.priority"),
        change(
            "an enum of another tenant",
            "ALTER TABLE acme.orders ALTER COLUMN priority DROP DEFAULT; \
             ALTER TABLE acme.orders ALTER COLUMN priority TYPE globex.priority USING \
             priority::text::globex.priority; ALTER TABLE acme.orders ALTER COLUMN priority SET DEFAULT 'normal'",
        )
        .expects("column.type", "orders.priority")
        .references_globex(),
        change(
            "an array of another tenant's type",
            "ALTER TABLE acme.users DROP COLUMN tags; ALTER TABLE acme.users ADD COLUMN tags globex.mood[]",
        )
        .expects("column.type", "users.tags")
        .references_globex(),
        change("another tenant's domain", "ALTER TABLE acme.users ALTER COLUMN contact TYPE globex.email_address")
            .expects("column.type", "users.contact")
            .references_globex(),
        change("a column's collation", "ALTER TABLE acme.teams ALTER COLUMN motto TYPE text COLLATE \"POSIX\"")
            .expects("column.collation", "teams.motto")
            .level("structural"),
        change("the default collation", "ALTER TABLE acme.teams ALTER COLUMN motto TYPE text")
            .expects("column.collation", "teams.motto"),
        change("a collation of the schema", "ALTER TABLE acme.teams ALTER COLUMN motto TYPE text COLLATE acme.plain")
            .expects("column.collation", "teams.motto"),
        change(
            "another tenant's collation",
            "ALTER TABLE acme.teams ALTER COLUMN motto TYPE text COLLATE globex.plain",
        )
        .expects("column.collation", "teams.motto")
        .references_globex(),
        change("a composite type's attribute is missing", "ALTER TYPE acme.spare_parts DROP ATTRIBUTE size")
            .expects("attribute.missing", "spare_parts.size"),
        change("an attribute too many", "ALTER TYPE acme.spare_parts ADD ATTRIBUTE colour text")
            .expects("attribute.extra", "spare_parts.colour"),
        change("an attribute is renamed", "ALTER TYPE acme.address RENAME ATTRIBUTE city TO town")
            .expects("attribute.missing", "address.city")
            .expects("attribute.extra", "address.town"),
        change("an attribute's type", "ALTER TYPE acme.spare_parts ALTER ATTRIBUTE weight TYPE numeric(6, 2)")
            .expects("attribute.type", "spare_parts.weight"),
        change("an attribute's collation", "ALTER TYPE acme.spare_parts ALTER ATTRIBUTE label TYPE text")
            .expects("attribute.collation", "spare_parts.label"),
        change("an attribute's comment", "COMMENT ON COLUMN acme.address.zip IS 'digits'")
            .expects("attribute.comment", "address.zip"),
        change(
            "the order of attributes",
            "ALTER TYPE acme.spare_parts DROP ATTRIBUTE size; \
             ALTER TYPE acme.spare_parts ADD ATTRIBUTE size integer",
        )
        .expects("composite-type.column-order", "spare_parts"),
    ]
}

fn nulls() -> Vec<Change> {
    vec![
        change("a column may be null", "ALTER TABLE acme.users ALTER COLUMN email DROP NOT NULL")
            .expects("column.not-null", "users.email")
            .level("structural"),
        change("a column may not be null", "ALTER TABLE acme.users ALTER COLUMN nickname SET NOT NULL")
            .expects("column.not-null", "users.nickname"),
        change(
            "NOT NULL is another column's",
            "ALTER TABLE acme.users ALTER COLUMN email DROP NOT NULL; \
             ALTER TABLE acme.users ALTER COLUMN bio SET NOT NULL",
        )
        .expects("column.not-null", "users.email")
        .expects("column.not-null", "users.bio"),
        change("a partition's column may not be null", "ALTER TABLE acme.events_2025 ALTER COLUMN amount SET NOT NULL")
            .expects("column.not-null", "events_2025.amount"),
        change(
            "NOT NULL that is not validated",
            "ALTER TABLE acme.users ALTER COLUMN email DROP NOT NULL; \
             ALTER TABLE acme.users ADD CONSTRAINT users_email_not_null NOT NULL email NOT VALID",
        )
        .expects("column.not-null-is", "users.email")
        .since(18),
        change(
            "NOT NULL that is not inherited",
            "ALTER TABLE acme.people ALTER COLUMN name DROP NOT NULL; \
             ALTER TABLE acme.people ADD CONSTRAINT people_name_not_null NOT NULL name NO INHERIT",
        )
        .expects("column.not-null-is", "people.name")
        .since(18),
    ]
}

fn defaults() -> Vec<Change> {
    vec![
        change("a column's default", "ALTER TABLE acme.users ALTER COLUMN score SET DEFAULT 1")
            .expects("column.default", "users.score")
            .level("structural"),
        change("a default is missing", "ALTER TABLE acme.users ALTER COLUMN created_at DROP DEFAULT")
            .expects("column.default", "users.created_at"),
        change("a column has a default", "ALTER TABLE acme.users ALTER COLUMN bio SET DEFAULT ''")
            .expects("column.default", "users.bio"),
        change(
            "two columns' defaults change places",
            "ALTER TABLE acme.users ALTER COLUMN karma SET DEFAULT 20, ALTER COLUMN bonus SET DEFAULT 10",
        )
        .expects("column.default", "users.karma")
        .expects("column.default", "users.bonus"),
        change(
            "a default of a function that is as good",
            "ALTER TABLE acme.users ALTER COLUMN created_at SET DEFAULT clock_timestamp()",
        )
        .expects("column.default", "users.created_at"),
        change(
            "a default that is evaluated at once",
            "ALTER TABLE acme.orders ALTER COLUMN placed_on SET DEFAULT '2026-01-01'",
        )
        .expects("column.default", "orders.placed_on"),
        change(
            "a default of another sequence",
            "ALTER TABLE acme.orders ALTER COLUMN ticket SET DEFAULT nextval('acme.order_numbers')",
        )
        .expects("column.default", "orders.ticket"),
        change(
            "a default of another tenant's sequence",
            "ALTER TABLE acme.orders ALTER COLUMN number SET DEFAULT nextval('globex.order_numbers')",
        )
        .expects("column.default", "orders.number")
        .references_globex(),
        change(
            "a default of another tenant's function",
            "ALTER TABLE acme.users ALTER COLUMN score SET DEFAULT globex.add_up(0, 0)",
        )
        .expects("column.default", "users.score")
        .references_globex(),
        // The name is resolved at each use, and not in this schema.
        change(
            "a default of a sequence that is named by a text",
            "ALTER TABLE acme.orders ALTER COLUMN number SET DEFAULT nextval('globex.order_numbers'::text)",
        )
        .expects("column.default", "orders.number")
        .references_globex(),
        change(
            "a default with another tenant's name",
            "ALTER TABLE acme.preferences ALTER COLUMN tenant SET DEFAULT 'globex'",
        )
        .expects("column.default", "preferences.tenant"),
        change("a serial column's default is missing", "ALTER TABLE acme.orders ALTER COLUMN line DROP DEFAULT")
            .expects("column.default", "orders.line"),
        change("a view's column has a default", "ALTER VIEW acme.sign_ups ALTER COLUMN name SET DEFAULT 'nobody'")
            .expects("column.default", "sign_ups.name"),
    ]
}

fn identity_and_generation() -> Vec<Change> {
    vec![
        change("an identity that yields", "ALTER TABLE acme.users ALTER COLUMN id SET GENERATED BY DEFAULT")
            .expects("column.identity", "users.id")
            .level("structural"),
        change("an identity that insists", "ALTER TABLE acme.teams ALTER COLUMN id SET GENERATED ALWAYS")
            .expects("column.identity", "teams.id"),
        change("an identity is missing", "ALTER TABLE acme.teams ALTER COLUMN id DROP IDENTITY")
            .expects("column.identity", "teams.id"),
        change("an identity too many", "ALTER TABLE acme.bookings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY")
            .expects("column.identity", "bookings.id"),
        change(
            "an identity instead of a sequence's default",
            "ALTER TABLE acme.logs ALTER COLUMN id DROP DEFAULT; DROP SEQUENCE acme.logs_id_seq; \
             ALTER TABLE acme.logs ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY",
        )
        .expects("column.identity", "logs.id"),
        change("a generated column is a plain one", "ALTER TABLE acme.users ALTER COLUMN label DROP EXPRESSION")
            .expects("column.generated", "users.label")
            .level("structural"),
        change(
            "a generated column's expression",
            "ALTER TABLE acme.users DROP COLUMN label; \
             ALTER TABLE acme.users ADD COLUMN label text GENERATED ALWAYS AS (email || coalesce(name, '')) STORED",
        )
        .expects("column.", "users.label"),
        change(
            "a generated column's expression, in place",
            "ALTER TABLE acme.users ALTER COLUMN label SET EXPRESSION AS (email)",
        )
        .expects("column.", "users.label")
        .since(17),
        change(
            "a generated column that is not stored",
            "ALTER TABLE acme.users DROP COLUMN label; \
             ALTER TABLE acme.users ADD COLUMN label text GENERATED ALWAYS AS (coalesce(name, '') || ' <' || email \
             || '>') VIRTUAL",
        )
        .expects("column.generated", "users.label")
        .since(18),
        change(
            "a default in place of a generated value",
            "ALTER TABLE acme.users ALTER COLUMN label DROP EXPRESSION; \
             ALTER TABLE acme.users ALTER COLUMN label SET DEFAULT ''",
        )
        .expects("column.generated", "users.label"),
    ]
}

fn storage() -> Vec<Change> {
    vec![
        change("a column's storage", "ALTER TABLE acme.users ALTER COLUMN bio SET STORAGE MAIN")
            .expects("column.storage", "users.bio")
            .level("tuning"),
        change("a column's storage is set", "ALTER TABLE acme.users ALTER COLUMN picture SET STORAGE EXTERNAL")
            .expects("column.storage", "users.picture"),
        change("a column's compression", "ALTER TABLE acme.users ALTER COLUMN picture SET COMPRESSION pglz")
            .expects("column.compression", "users.picture")
            .level("tuning"),
        change(
            "a column's compression is the default",
            "ALTER TABLE acme.users ALTER COLUMN prefs SET COMPRESSION default",
        )
        .expects("column.compression", "users.prefs"),
        change("a column's statistics", "ALTER TABLE acme.users ALTER COLUMN email SET STATISTICS 100")
            .expects("column.statistics", "users.email")
            .level("tuning"),
        change("a column's statistics are the default", "ALTER TABLE acme.users ALTER COLUMN email SET STATISTICS -1")
            .expects("column.statistics", "users.email"),
        change("a column without statistics", "ALTER TABLE acme.users ALTER COLUMN bio SET STATISTICS 0")
            .expects("column.statistics", "users.bio"),
        change("a column's options", "ALTER TABLE acme.users ALTER COLUMN score SET (n_distinct = -0.7)")
            .expects("column.options", "users.score")
            .level("tuning"),
        change("a column's options are reset", "ALTER TABLE acme.users ALTER COLUMN score RESET (n_distinct)")
            .expects("column.options", "users.score"),
        change(
            "the statistics of a materialized view's column",
            "ALTER MATERIALIZED VIEW acme.score_board ALTER COLUMN best SET STATISTICS 10",
        )
        .expects("column.statistics", "score_board.best"),
    ]
}

fn positions() -> Vec<Change> {
    vec![
        change(
            "a column is dropped and added again, behind the others",
            "ALTER TABLE acme.orders DROP COLUMN placed_on; \
             ALTER TABLE acme.orders ADD COLUMN placed_on date DEFAULT CURRENT_DATE",
        )
        .expects("table.column-order", "orders"),
        change(
            "two columns change places",
            "ALTER TABLE acme.readings RENAME COLUMN note TO aside; \
             ALTER TABLE acme.readings RENAME COLUMN raw TO note; \
             ALTER TABLE acme.readings RENAME COLUMN aside TO raw",
        )
        .expects("table.column-order", "readings"),
    ]
}
