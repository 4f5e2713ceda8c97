//! Owners and grants of all kinds of objects and of the schema, and default privileges.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [schema(), owners(), grants(), column_grants(), default_privileges()].into_iter().flatten().collect()
}

fn schema() -> Vec<Change> {
    vec![
        change("the schema's owner", "ALTER SCHEMA acme OWNER TO drift_owner")
            .expects("schema.owner", "acme")
            .level("privilege"),
        change("a right on the schema is missing", "REVOKE USAGE ON SCHEMA acme FROM drift_writer")
            .expects("schema.grants", "acme")
            .level("privilege"),
        change("a right on the schema", "GRANT CREATE ON SCHEMA acme TO drift_reader").expects("schema.grants", "acme"),
        change(
            "a right on the schema that can be passed on",
            "GRANT USAGE ON SCHEMA acme TO drift_reader WITH GRANT OPTION",
        )
        .expects("schema.grants", "acme"),
        change("everybody may use the schema", "GRANT USAGE ON SCHEMA acme TO PUBLIC").expects("schema.grants", "acme"),
        change("a right of the schema's owner is missing", "REVOKE CREATE ON SCHEMA acme FROM postgres")
            .expects("schema.grants", "acme"),
        change("the schema's comment", "COMMENT ON SCHEMA acme IS 'the tenant'")
            .expects("schema.comment", "acme")
            .level("cosmetic"),
    ]
}

fn owners() -> Vec<Change> {
    vec![
        change("a table's owner", "ALTER TABLE acme.users OWNER TO drift_owner")
            .expects("table.owner", "users")
            .level("privilege"),
        change("a table is the schema owner's", "ALTER TABLE acme.logs OWNER TO postgres")
            .expects("table.owner", "logs"),
        change("a foreign table's owner", "ALTER FOREIGN TABLE acme.remote_items OWNER TO drift_owner")
            .expects("foreign-table.owner", "remote_items"),
        change("a view's owner", "ALTER VIEW acme.active_users OWNER TO drift_owner")
            .expects("view.owner", "active_users")
            .level("privilege"),
        change("a view is the schema owner's", "ALTER VIEW acme.big_teams OWNER TO postgres")
            .expects("view.owner", "big_teams"),
        change("a materialized view's owner", "ALTER MATERIALIZED VIEW acme.score_board OWNER TO drift_owner")
            .expects("materialized-view.owner", "score_board"),
        change("a sequence's owner", "ALTER SEQUENCE acme.order_numbers OWNER TO drift_owner")
            .expects("sequence.owner", "order_numbers"),
        change("a sequence is the schema owner's", "ALTER SEQUENCE acme.ticket_numbers OWNER TO postgres")
            .expects("sequence.owner", "ticket_numbers"),
        change("a function's owner", "ALTER FUNCTION acme.guarded() OWNER TO drift_owner")
            .expects("function.owner", "guarded()")
            .level("privilege"),
        change("a procedure's owner", "ALTER PROCEDURE acme.tidy(integer) OWNER TO drift_owner")
            .expects("procedure.owner", "tidy(integer)"),
        change("an aggregate's owner", "ALTER AGGREGATE acme.longest(text) OWNER TO drift_owner")
            .expects("aggregate.owner", "longest(text)"),
        change("an enum's owner", "ALTER TYPE acme.mood OWNER TO drift_owner").expects("enum.owner", "mood"),
        change("an enum is the schema owner's", "ALTER TYPE acme.spare_label OWNER TO postgres")
            .expects("enum.owner", "spare_label"),
        change("a domain's owner", "ALTER DOMAIN acme.percentage OWNER TO drift_owner")
            .expects("domain.owner", "percentage"),
        change("a composite type's owner", "ALTER TYPE acme.address OWNER TO drift_owner")
            .expects("composite-type.owner", "address"),
        change("a range's owner", "ALTER TYPE acme.price_range OWNER TO drift_owner")
            .expects("range-type.owner", "price_range"),
        change("a base type's owner", "ALTER TYPE acme.token OWNER TO drift_owner").expects("type.owner", "token"),
        change("an operator's owner", "ALTER OPERATOR acme.|<| (integer, integer) OWNER TO drift_owner")
            .expects("operator.owner", "|<| (integer, integer)"),
        change("an operator class's owner", "ALTER OPERATOR CLASS acme.size_ops USING btree OWNER TO drift_owner")
            .expects("operator-class.owner", "size_ops USING btree"),
        change("an operator family's owner", "ALTER OPERATOR FAMILY acme.size_family USING btree OWNER TO drift_owner")
            .expects("operator-family.owner", "size_family USING btree"),
        change("a collation's owner", "ALTER COLLATION acme.plain OWNER TO drift_owner")
            .expects("collation.owner", "plain"),
        change("a conversion's owner", "ALTER CONVERSION acme.latin_to_utf OWNER TO drift_owner")
            .expects("conversion.owner", "latin_to_utf"),
        change(
            "the owner of a text search configuration",
            "ALTER TEXT SEARCH CONFIGURATION acme.search OWNER TO drift_owner",
        )
        .expects("text-search-configuration.owner", "search"),
        change("a dictionary's owner", "ALTER TEXT SEARCH DICTIONARY acme.words OWNER TO drift_owner")
            .expects("text-search-dictionary.owner", "words"),
        change("the owner of statistics", "ALTER STATISTICS acme.users_stats OWNER TO drift_owner")
            .expects("statistics.owner", "users.users_stats"),
    ]
}

fn grants() -> Vec<Change> {
    vec![
        change("a right on a table", "GRANT DELETE ON acme.users TO drift_reader")
            .expects("table.grants", "users")
            .level("privilege"),
        change("a right on a table is missing", "REVOKE INSERT ON acme.users FROM drift_reader")
            .expects("table.grants", "users"),
        change("a right on a table that had none", "GRANT SELECT ON acme.readings TO drift_reader")
            .expects("table.grants", "readings"),
        change("all privileges on a table are missing", "REVOKE ALL ON acme.users FROM drift_reader")
            .expects("table.grants", "users"),
        change("everybody may read a table", "GRANT SELECT ON acme.readings TO PUBLIC")
            .expects("table.grants", "readings"),
        change(
            "a right is another role's",
            "REVOKE ALL ON acme.users FROM drift_reader; GRANT SELECT, INSERT ON acme.users TO drift_writer",
        )
        .expects("table.grants", "users"),
        change("a right that can be passed on", "GRANT SELECT ON acme.users TO drift_reader WITH GRANT OPTION")
            .expects("table.grants", "users"),
        change(
            "a right that can be passed on no more",
            "REVOKE GRANT OPTION FOR SELECT ON acme.teams FROM drift_reader",
        )
        .expects("table.grants", "teams"),
        change(
            "a right that was passed on",
            "SET ROLE drift_reader; GRANT SELECT ON acme.teams TO drift_owner; RESET ROLE",
        )
        .expects("table.grants", "teams"),
        // The grant is revoked when the grantor loses its own.
        change(
            "a right that another role passed on",
            "REVOKE SELECT ON acme.teams FROM drift_writer; SET ROLE drift_reader; \
             GRANT SELECT ON acme.teams TO drift_writer; RESET ROLE",
        )
        .expects("table.grants", "teams"),
        change("a right of a table's owner is missing", "REVOKE DELETE ON acme.readings FROM postgres")
            .expects("table.grants", "readings"),
        change("a table's owner has no rights", "REVOKE ALL ON acme.readings FROM postgres")
            .expects("table.grants", "readings"),
        change("a right to maintain a table", "GRANT MAINTAIN ON acme.users TO drift_reader")
            .expects("table.grants", "users")
            .since(17),
        change("a right on a foreign table is missing", "REVOKE SELECT ON acme.remote_items FROM drift_reader")
            .expects("foreign-table.grants", "remote_items"),
        change("a right on a view", "GRANT SELECT ON acme.low_scores TO drift_reader")
            .expects("view.grants", "low_scores"),
        change("a right on a view is missing", "REVOKE SELECT ON acme.active_users FROM PUBLIC")
            .expects("view.grants", "active_users"),
        change("a right on a materialized view is missing", "REVOKE SELECT ON acme.score_board FROM drift_reader")
            .expects("materialized-view.grants", "score_board"),
        change("a right on a sequence", "GRANT UPDATE ON SEQUENCE acme.order_numbers TO drift_writer")
            .expects("sequence.grants", "order_numbers")
            .level("privilege"),
        change("a right on a sequence is missing", "REVOKE USAGE ON SEQUENCE acme.order_numbers FROM drift_writer")
            .expects("sequence.grants", "order_numbers"),
        change("everybody may call a function", "GRANT EXECUTE ON FUNCTION acme.guarded() TO PUBLIC")
            .expects("function.grants", "guarded()")
            .level("privilege"),
        change("nobody may call a function", "REVOKE EXECUTE ON FUNCTION acme.add_up(integer, integer) FROM PUBLIC")
            .expects("function.grants", "add_up(integer, integer)"),
        change("a right on a function is missing", "REVOKE EXECUTE ON FUNCTION acme.guarded() FROM drift_reader")
            .expects("function.grants", "guarded()"),
        change("a right on a procedure is missing", "REVOKE EXECUTE ON PROCEDURE acme.tidy(integer) FROM drift_writer")
            .expects("procedure.grants", "tidy(integer)"),
        change("a right on an aggregate is missing", "REVOKE EXECUTE ON FUNCTION acme.longest(text) FROM PUBLIC")
            .expects("aggregate.grants", "longest(text)"),
        change("everybody may use an enum", "GRANT USAGE ON TYPE acme.mood TO PUBLIC").expects("enum.grants", "mood"),
        change("a right on an enum is missing", "REVOKE USAGE ON TYPE acme.mood FROM drift_writer")
            .expects("enum.grants", "mood"),
        change("a right on a domain is missing", "REVOKE USAGE ON DOMAIN acme.percentage FROM drift_writer")
            .expects("domain.grants", "percentage"),
        change("nobody may use a composite type", "REVOKE USAGE ON TYPE acme.address FROM PUBLIC")
            .expects("composite-type.grants", "address"),
        change("nobody may use a range", "REVOKE USAGE ON TYPE acme.price_range FROM PUBLIC")
            .expects("range-type.grants", "price_range"),
    ]
}

fn column_grants() -> Vec<Change> {
    vec![
        change("a right on a column", "GRANT UPDATE (name) ON acme.users TO drift_reader")
            .expects("column.grants", "users.name")
            .level("privilege"),
        change("a right on a column is missing", "REVOKE UPDATE (title) ON acme.documents FROM drift_reader")
            .expects("column.grants", "documents.title"),
        change(
            "a right on another column",
            "REVOKE SELECT (id) ON acme.documents FROM drift_reader; \
             GRANT SELECT (secret) ON acme.documents TO drift_reader",
        )
        .expects("column.grants", "documents.id")
        .expects("column.grants", "documents.secret"),
        change(
            "a right on a column that can be passed on",
            "GRANT SELECT (id) ON acme.documents TO drift_reader WITH GRANT OPTION",
        )
        .expects("column.grants", "documents.id"),
        change("a right on a view's column", "GRANT SELECT (id) ON acme.low_scores TO drift_reader")
            .expects("column.grants", "low_scores.id"),
        change(
            "a right on a table instead of its columns",
            "REVOKE ALL (id, title) ON acme.documents FROM drift_reader; \
             GRANT SELECT, UPDATE ON acme.documents TO drift_reader",
        )
        .expects("column.grants", "documents.title")
        .expects("table.grants", "documents"),
    ]
}

fn default_privileges() -> Vec<Change> {
    vec![
        change(
            "a default right more",
            "ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme GRANT INSERT ON TABLES TO drift_reader",
        )
        .expects("default-privileges.grants", "drift_owner on tables")
        .level("privilege"),
        change(
            "default privileges are missing",
            "ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme REVOKE USAGE ON SEQUENCES FROM \
             drift_writer",
        )
        .expects("default-privileges.missing", "drift_owner on sequences"),
        change(
            "default rights too many",
            "ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme GRANT EXECUTE ON FUNCTIONS TO \
             drift_reader",
        )
        .expects("default-privileges.extra", "drift_owner on functions"),
        change(
            "default rights of the owner",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT SELECT ON TABLES TO PUBLIC",
        )
        .expects("default-privileges.extra", "(owner) on tables"),
        change(
            "default rights on types",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT USAGE ON TYPES TO drift_reader",
        )
        .expects("default-privileges.extra", "(owner) on types"),
        change(
            "a default right of another role",
            "ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme REVOKE SELECT ON TABLES FROM \
             drift_reader; \
             ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme GRANT SELECT ON TABLES TO drift_writer",
        )
        .expects("default-privileges.grants", "drift_owner on tables"),
        change(
            "a default right that can be passed on",
            "ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA acme GRANT SELECT ON TABLES TO drift_reader \
             WITH GRANT OPTION",
        )
        .expects("default-privileges.grants", "drift_owner on tables"),
    ]
}
