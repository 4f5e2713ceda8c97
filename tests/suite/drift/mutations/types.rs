//! Enums, domains, composite types, ranges and base types.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [enums(), domains(), composites(), ranges_and_others()].into_iter().flatten().collect()
}

fn enums() -> Vec<Change> {
    vec![
        change("an enum has one more label", "ALTER TYPE acme.mood ADD VALUE 'angry'")
            .expects("enum.labels", "mood")
            .level("structural"),
        change("an enum has one more label, between others", "ALTER TYPE acme.mood ADD VALUE 'angry' BEFORE 'ok'")
            .expects("enum.labels", "mood"),
        change("an enum's label is renamed", "ALTER TYPE acme.mood RENAME VALUE 'sad' TO 'down'")
            .expects("enum.labels", "mood"),
        change(
            "two labels of an enum change places",
            "ALTER TYPE acme.mood RENAME VALUE 'sad' TO 'aside'; \
             ALTER TYPE acme.mood RENAME VALUE 'happy' TO 'sad'; \
             ALTER TYPE acme.mood RENAME VALUE 'aside' TO 'happy'",
        )
        .expects("enum.labels", "mood"),
        change(
            "an enum without one of its labels",
            "DROP TYPE acme.spare_label; CREATE TYPE acme.spare_label AS ENUM ('one', 'two'); \
             ALTER TYPE acme.spare_label OWNER TO drift_owner",
        )
        .expects("enum.labels", "spare_label"),
        change(
            "the order of an enum's labels",
            "DROP TYPE acme.spare_label; CREATE TYPE acme.spare_label AS ENUM ('one', 'three', 'two'); \
             ALTER TYPE acme.spare_label OWNER TO drift_owner",
        )
        .expects("enum.labels", "spare_label"),
        change("an enum is missing", "DROP TYPE acme.spare_label").expects("enum.missing", "spare_label"),
        change("an enum too many", "CREATE TYPE acme.colour AS ENUM ('red')").expects("enum.extra", "colour"),
        change("an enum without labels too many", "CREATE TYPE acme.nothing AS ENUM ()")
            .expects("enum.extra", "nothing"),
        change("an enum is renamed", "ALTER TYPE acme.spare_label RENAME TO label")
            .expects("enum.missing", "spare_label")
            .expects("enum.extra", "label"),
        change("an enum's comment", "COMMENT ON TYPE acme.mood IS 'new'")
            .expects("enum.comment", "mood")
            .level("cosmetic"),
    ]
}

fn domains() -> Vec<Change> {
    vec![
        change("a domain's default", "ALTER DOMAIN acme.email_address SET DEFAULT 'somebody@example.com'")
            .expects("domain.default", "email_address"),
        change("a domain's default is missing", "ALTER DOMAIN acme.email_address DROP DEFAULT")
            .expects("domain.default", "email_address"),
        change("a domain may be null", "ALTER DOMAIN acme.percentage DROP NOT NULL")
            .expects("domain.not-null", "percentage"),
        change("a domain may not be null", "ALTER DOMAIN acme.email_address SET NOT NULL")
            .expects("domain.not-null", "email_address")
            .level("structural"),
        change("a domain's check is missing", "ALTER DOMAIN acme.email_address DROP CONSTRAINT email_address_short")
            .expects("domain-constraint.missing", "email_address.email_address_short")
            .level("structural"),
        change(
            "a domain's check too many",
            "ALTER DOMAIN acme.email_address ADD CONSTRAINT lower_case CHECK (VALUE = lower(VALUE))",
        )
        .expects("domain-constraint.extra", "email_address.lower_case"),
        change(
            "a domain's check",
            "ALTER DOMAIN acme.percentage DROP CONSTRAINT percentage_range; \
             ALTER DOMAIN acme.percentage ADD CONSTRAINT percentage_range CHECK (VALUE BETWEEN 0 AND 1)",
        )
        .expects("domain-constraint.definition", "percentage.percentage_range"),
        change(
            "a domain's check is renamed",
            "ALTER DOMAIN acme.percentage RENAME CONSTRAINT percentage_range TO percentage_check",
        )
        .expects("domain-constraint.missing", "percentage.percentage_range")
        .expects("domain-constraint.extra", "percentage.percentage_check"),
        change(
            "a domain's check that is not validated",
            "ALTER DOMAIN acme.percentage DROP CONSTRAINT percentage_range; \
             ALTER DOMAIN acme.percentage ADD CONSTRAINT percentage_range CHECK (VALUE BETWEEN 0 AND 100) NOT \
             VALID",
        )
        .expects("domain-constraint.validated", "percentage.percentage_range"),
        change(
            "the comment of a domain's check",
            "COMMENT ON CONSTRAINT email_address_at ON DOMAIN acme.email_address IS 'new'",
        )
        .expects("domain-constraint.comment", "email_address.email_address_at"),
        change("a domain's type", "DROP DOMAIN acme.moods; CREATE DOMAIN acme.moods AS text[]")
            .expects("domain.type", "moods"),
        change("a domain's collation", "DROP DOMAIN acme.moods; CREATE DOMAIN acme.moods AS text COLLATE \"C\"")
            .expects("domain.collation", "moods"),
        change("a domain is missing", "DROP DOMAIN acme.moods").expects("domain.missing", "moods"),
        change("a domain too many", "CREATE DOMAIN acme.years AS integer").expects("domain.extra", "years"),
        change("a domain's comment", "COMMENT ON DOMAIN acme.email_address IS 'new'")
            .expects("domain.comment", "email_address"),
        change(
            "a domain of another tenant's type",
            "DROP DOMAIN acme.moods; CREATE DOMAIN acme.moods AS globex.mood[]",
        )
        .expects("domain.type", "moods")
        .references_globex(),
        change(
            "a domain that another tenant's function checks",
            "ALTER DOMAIN acme.percentage ADD CONSTRAINT trusted CHECK (globex.add_up(VALUE::integer, 0) >= 0)",
        )
        .expects("domain-constraint.extra", "percentage.trusted")
        .references_globex(),
    ]
}

fn composites() -> Vec<Change> {
    vec![
        change("a composite type is missing", "DROP TYPE acme.spare_parts")
            .expects("composite-type.missing", "spare_parts"),
        change("a composite type too many", "CREATE TYPE acme.pair AS (a integer, b integer)")
            .expects("composite-type.extra", "pair"),
        change("a composite type is renamed", "ALTER TYPE acme.spare_parts RENAME TO parts")
            .expects("composite-type.missing", "spare_parts")
            .expects("composite-type.extra", "parts"),
        change("a composite type's comment", "COMMENT ON TYPE acme.address IS 'new'")
            .expects("composite-type.comment", "address"),
        change(
            "an enum stands in for a composite type",
            "DROP TYPE acme.spare_parts; CREATE TYPE acme.spare_parts AS ENUM ('size', 'label', 'weight')",
        )
        .expects("composite-type.missing", "spare_parts")
        .expects("enum.extra", "spare_parts"),
        change("an attribute of another tenant's type", "ALTER TYPE acme.spare_parts ADD ATTRIBUTE mood globex.mood")
            .expects("attribute.extra", "spare_parts.mood")
            .references_globex(),
    ]
}

fn ranges_and_others() -> Vec<Change> {
    vec![
        change("a range is missing", "DROP TYPE acme.spare_range").expects("range-type.missing", "spare_range"),
        change("a range too many", "CREATE TYPE acme.text_range AS RANGE (SUBTYPE = text)")
            .expects("range-type.extra", "text_range"),
        change(
            "a range's subtype",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = varchar, COLLATION = \"C\")",
        )
        .expects("range-type.range", "spare_range"),
        change(
            "a range's collation",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = text, COLLATION = \"POSIX\")",
        )
        .expects("range-type.range", "spare_range"),
        change(
            "a range's operator class",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = text, COLLATION = \"C\", SUBTYPE_OPCLASS = \
             text_pattern_ops)",
        )
        .expects("range-type.range", "spare_range"),
        change(
            "the name of a range's multirange",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = text, COLLATION = \"C\", MULTIRANGE_TYPE_NAME = \
             acme.spare_ranges)",
        )
        .expects("range-type.range", "spare_range"),
        change(
            "a range with a subtype difference function",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = time, SUBTYPE_DIFF = acme.seconds_between)",
        )
        .expects("range-type.range", "spare_range"),
        change(
            "a range of another tenant's type",
            "DROP TYPE acme.spare_range; CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = globex.mood)",
        )
        .expects("range-type.range", "spare_range")
        .references_globex(),
        change("a range's comment", "COMMENT ON TYPE acme.price_range IS 'new'")
            .expects("range-type.comment", "price_range"),
        change("a base type's storage", "ALTER TYPE acme.token SET (STORAGE = main)").expects("type.base", "token"),
        change(
            "a base type's binary form",
            "CREATE FUNCTION acme.token_send(acme.token) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS \
             'textsend'; ALTER TYPE acme.token SET (SEND = acme.token_send)",
        )
        .expects("type.base", "token"),
        change(
            "a base type with a subscript function",
            "ALTER TYPE acme.token SET (SUBSCRIPT = raw_array_subscript_handler)",
        )
        .expects("type.base", "token"),
        change(
            "a base type's category",
            "DROP TYPE acme.spare_token CASCADE; CREATE TYPE acme.spare_token; \
             CREATE FUNCTION acme.spare_token_in(cstring) RETURNS acme.spare_token LANGUAGE internal IMMUTABLE \
             STRICT AS 'textin'; \
             CREATE FUNCTION acme.spare_token_out(acme.spare_token) RETURNS cstring LANGUAGE internal IMMUTABLE \
             STRICT AS 'textout'; \
             CREATE TYPE acme.spare_token (INPUT = acme.spare_token_in, OUTPUT = acme.spare_token_out, LIKE = \
             text, CATEGORY = 'S')",
        )
        .expects("type.base", "spare_token"),
        change(
            "a base type that can be collated",
            "DROP TYPE acme.spare_token CASCADE; CREATE TYPE acme.spare_token; \
             CREATE FUNCTION acme.spare_token_in(cstring) RETURNS acme.spare_token LANGUAGE internal IMMUTABLE \
             STRICT AS 'textin'; \
             CREATE FUNCTION acme.spare_token_out(acme.spare_token) RETURNS cstring LANGUAGE internal IMMUTABLE \
             STRICT AS 'textout'; \
             CREATE TYPE acme.spare_token (INPUT = acme.spare_token_in, OUTPUT = acme.spare_token_out, LIKE = \
             text, CATEGORY = 'U', COLLATABLE = true)",
        )
        .expects("type.", "spare_token"),
        change("a base type's comment", "COMMENT ON TYPE acme.token IS 'new'").expects("type.comment", "token"),
        change("a base type is missing", "DROP TYPE acme.token CASCADE").expects("type.missing", "token"),
        change("a type that is only a name", "CREATE TYPE acme.later").expects("type.extra", "later"),
    ]
}
