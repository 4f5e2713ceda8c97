//! Rare kinds of objects: operators, collations, text search, statistics; and objects outside the schema that refer to
//! it.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [operators(), operator_classes(), collations_and_conversions(), text_search(), statistics(), outside()]
        .into_iter()
        .flatten()
        .collect()
}

fn operators() -> Vec<Change> {
    vec![
        change("an operator is missing", "DROP OPERATOR acme.|~| (text, text)")
            .expects("operator.missing", "|~| (text, text)"),
        change(
            "an operator too many",
            "CREATE OPERATOR acme.|~| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = acme.add_up)",
        )
        .expects("operator.extra", "|~| (integer, integer)"),
        change(
            "an operator's function",
            "DROP OPERATOR acme.|~| (text, text); \
             CREATE OPERATOR acme.|~| (LEFTARG = text, RIGHTARG = text, FUNCTION = acme.longest_step)",
        )
        .expects("operator.definition", "|~| (text, text)")
        .level("structural"),
        change("how selective an operator is", "ALTER OPERATOR acme.|<| (integer, integer) SET (RESTRICT = NONE)")
            .expects("operator.definition", "|<| (integer, integer)"),
        change(
            "how selective an operator is in a join",
            "ALTER OPERATOR acme.|<| (integer, integer) SET (JOIN = scalargtjoinsel)",
        )
        .expects("operator.definition", "|<| (integer, integer)"),
        change(
            "an operator's commutator",
            "DROP OPERATOR acme.|~| (text, text); \
             CREATE OPERATOR acme.|~| (LEFTARG = text, RIGHTARG = text, FUNCTION = acme.add_up, COMMUTATOR = \
             OPERATOR(acme.|~|))",
        )
        .expects("operator.definition", "|~| (text, text)"),
        change(
            "an operator that can be hashed",
            "DROP OPERATOR acme.|~| (text, text); \
             CREATE OPERATOR acme.|~| (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq, HASHES)",
        )
        .expects("operator.definition", "|~| (text, text)"),
        change("an operator's comment", "COMMENT ON OPERATOR acme.|<| (integer, integer) IS 'new'")
            .expects("operator.comment", "|<| (integer, integer)")
            .level("cosmetic"),
        change(
            "an operator of another tenant's function",
            "DROP OPERATOR acme.|~| (text, text); \
             CREATE OPERATOR acme.|~| (LEFTARG = text, RIGHTARG = text, FUNCTION = globex.add_up)",
        )
        .expects("operator.definition", "|~| (text, text)")
        .references_globex(),
    ]
}

fn operator_classes() -> Vec<Change> {
    vec![
        change("an operator class is missing", "DROP OPERATOR CLASS acme.size_ops USING btree CASCADE")
            .expects("operator-class.missing", "size_ops USING btree"),
        change(
            "an operator class too many",
            "CREATE OPERATOR CLASS acme.hashed FOR TYPE integer USING hash FAMILY acme.spare_family AS OPERATOR 1 \
             pg_catalog.=, FUNCTION 1 hashint4(integer)",
        )
        .expects("operator-class.extra", "hashed USING hash"),
        change("an operator class is renamed", "ALTER OPERATOR CLASS acme.size_ops USING btree RENAME TO length_ops")
            .expects("operator-class.missing", "size_ops USING btree")
            .expects("operator-class.extra", "length_ops USING btree"),
        change(
            "an operator class is in another family",
            "DROP INDEX acme.readings_value_idx; DROP OPERATOR CLASS acme.size_ops USING btree; \
             CREATE OPERATOR FAMILY acme.other_family USING btree; \
             CREATE OPERATOR CLASS acme.size_ops FOR TYPE integer USING btree FAMILY acme.other_family AS OPERATOR \
             1 acme.|<|, OPERATOR 2 acme.|<=|, OPERATOR 3 acme.|=|, OPERATOR 4 acme.|>=|, OPERATOR 5 acme.|>|, \
             FUNCTION 1 acme.size_cmp(integer, integer); \
             CREATE INDEX readings_value_idx ON acme.readings (value acme.size_ops)",
        )
        .expects("operator-class.definition", "size_ops USING btree"),
        change("an operator class's comment", "COMMENT ON OPERATOR CLASS acme.size_ops USING btree IS 'new'")
            .expects("operator-class.comment", "size_ops USING btree"),
        change("an operator family is missing", "DROP OPERATOR FAMILY acme.spare_family USING hash")
            .expects("operator-family.missing", "spare_family USING hash"),
        change("an operator family too many", "CREATE OPERATOR FAMILY acme.nothing USING gin")
            .expects("operator-family.extra", "nothing USING gin"),
        change(
            "an operator family has one more operator",
            "ALTER OPERATOR FAMILY acme.size_family USING btree ADD OPERATOR 1 pg_catalog.< (bigint, bigint)",
        )
        .expects("operator-family.members", "size_family USING btree"),
        change(
            "an operator family has one more function",
            "ALTER OPERATOR FAMILY acme.size_family USING btree ADD FUNCTION 1 btint8cmp(bigint, bigint)",
        )
        .expects("operator-family.members", "size_family USING btree"),
        change(
            "an operator class compares by another function",
            "DROP INDEX acme.readings_value_idx; DROP OPERATOR CLASS acme.size_ops USING btree; \
             CREATE OPERATOR CLASS acme.size_ops FOR TYPE integer USING btree FAMILY acme.size_family AS OPERATOR \
             1 acme.|<|, OPERATOR 2 acme.|<=|, OPERATOR 3 acme.|=|, OPERATOR 4 acme.|>=|, OPERATOR 5 acme.|>|, \
             FUNCTION 1 pg_catalog.btint4cmp(integer, integer); \
             CREATE INDEX readings_value_idx ON acme.readings (value acme.size_ops)",
        )
        .expects("operator-family.members", "size_family USING btree"),
        change("an operator family's comment", "COMMENT ON OPERATOR FAMILY acme.size_family USING btree IS 'new'")
            .expects("operator-family.comment", "size_family USING btree"),
        change(
            "an operator class of another tenant's function",
            "DROP INDEX acme.readings_value_idx; DROP OPERATOR CLASS acme.size_ops USING btree; \
             CREATE OPERATOR CLASS acme.size_ops FOR TYPE integer USING btree FAMILY acme.size_family AS OPERATOR \
             1 acme.|<|, OPERATOR 2 acme.|<=|, OPERATOR 3 acme.|=|, OPERATOR 4 acme.|>=|, OPERATOR 5 acme.|>|, \
             FUNCTION 1 globex.size_cmp(integer, integer); \
             CREATE INDEX readings_value_idx ON acme.readings (value acme.size_ops)",
        )
        .expects("operator-family.members", "size_family USING btree")
        .references_globex(),
    ]
}

fn collations_and_conversions() -> Vec<Change> {
    vec![
        change("a collation is missing", "DROP COLLATION acme.spare_plain").expects("collation.missing", "spare_plain"),
        change("a collation too many", "CREATE COLLATION acme.other (LOCALE = 'POSIX')")
            .expects("collation.extra", "other"),
        change(
            "a collation's locale",
            "DROP COLLATION acme.spare_plain; CREATE COLLATION acme.spare_plain (LOCALE = 'POSIX')",
        )
        .expects("collation.definition", "spare_plain"),
        change(
            "a collation's kinds of characters",
            "DROP COLLATION acme.spare_plain; \
             CREATE COLLATION acme.spare_plain (LC_COLLATE = 'C', LC_CTYPE = 'POSIX')",
        )
        .expects("collation.definition", "spare_plain"),
        change("a collation is renamed", "ALTER COLLATION acme.spare_plain RENAME TO simple")
            .expects("collation.missing", "spare_plain")
            .expects("collation.extra", "simple"),
        change("a collation's comment", "COMMENT ON COLLATION acme.plain IS 'new'")
            .expects("collation.comment", "plain"),
        change("a conversion is missing", "DROP CONVERSION acme.latin_to_utf")
            .expects("conversion.missing", "latin_to_utf"),
        change("a conversion too many", "CREATE CONVERSION acme.cyrillic FOR 'KOI8R' TO 'UTF8' FROM koi8r_to_utf8")
            .expects("conversion.extra", "cyrillic"),
        change(
            "a conversion that is the default",
            "DROP CONVERSION acme.latin_to_utf; \
             CREATE DEFAULT CONVERSION acme.latin_to_utf FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        )
        .expects("conversion.definition", "latin_to_utf"),
        change(
            "a conversion's encodings",
            "DROP CONVERSION acme.latin_to_utf; \
             CREATE CONVERSION acme.latin_to_utf FOR 'LATIN2' TO 'UTF8' FROM iso8859_to_utf8",
        )
        .expects("conversion.definition", "latin_to_utf"),
        change("a conversion's comment", "COMMENT ON CONVERSION acme.latin_to_utf IS 'new'")
            .expects("conversion.comment", "latin_to_utf"),
    ]
}

fn text_search() -> Vec<Change> {
    vec![
        change(
            "a text search configuration too many",
            "CREATE TEXT SEARCH CONFIGURATION acme.other (COPY = acme.search)",
        )
        .expects("text-search-configuration.extra", "other"),
        change("a text search configuration is missing", "DROP TEXT SEARCH CONFIGURATION acme.search CASCADE")
            .expects("text-search-configuration.missing", "search"),
        change(
            "how words are looked up",
            "ALTER TEXT SEARCH CONFIGURATION acme.search ALTER MAPPING FOR asciiword WITH simple",
        )
        .expects("text-search-configuration.mappings", "search")
        .level("structural"),
        change(
            "the order in which words are looked up",
            "ALTER TEXT SEARCH CONFIGURATION acme.search ALTER MAPPING FOR asciiword WITH simple, acme.words",
        )
        .expects("text-search-configuration.mappings", "search"),
        change("words that are not looked up", "ALTER TEXT SEARCH CONFIGURATION acme.search DROP MAPPING FOR email")
            .expects("text-search-configuration.mappings", "search"),
        change(
            "a text search configuration's parser",
            "DROP INDEX acme.documents_search_idx; DROP TEXT SEARCH CONFIGURATION acme.search; \
             CREATE TEXT SEARCH CONFIGURATION acme.search (PARSER = acme.spare_parser); \
             CREATE INDEX documents_search_idx ON acme.documents USING gin (to_tsvector('acme.search', title))",
        )
        .expects("text-search-configuration.definition", "search"),
        change(
            "the comment of a text search configuration",
            "COMMENT ON TEXT SEARCH CONFIGURATION acme.search IS 'new'",
        )
        .expects("text-search-configuration.comment", "search"),
        change(
            "words that are looked up with another tenant",
            "ALTER TEXT SEARCH CONFIGURATION acme.search ALTER MAPPING FOR asciiword WITH globex.words, simple",
        )
        .expects("text-search-configuration.mappings", "search")
        .references_globex(),
        change("a dictionary's options", "ALTER TEXT SEARCH DICTIONARY acme.words (ACCEPT = true)")
            .expects("text-search-dictionary.definition", "words"),
        change(
            "a dictionary's template",
            "DROP TEXT SEARCH DICTIONARY acme.spare_words; \
             CREATE TEXT SEARCH DICTIONARY acme.spare_words (TEMPLATE = acme.spare_template)",
        )
        .expects("text-search-dictionary.definition", "spare_words"),
        change("a dictionary is missing", "DROP TEXT SEARCH DICTIONARY acme.spare_words")
            .expects("text-search-dictionary.missing", "spare_words"),
        change("a dictionary too many", "CREATE TEXT SEARCH DICTIONARY acme.more (TEMPLATE = pg_catalog.simple)")
            .expects("text-search-dictionary.extra", "more"),
        change("a dictionary's comment", "COMMENT ON TEXT SEARCH DICTIONARY acme.words IS 'new'")
            .expects("text-search-dictionary.comment", "words"),
        change("a text search parser is missing", "DROP TEXT SEARCH PARSER acme.spare_parser")
            .expects("text-search-parser.missing", "spare_parser"),
        change(
            "a text search parser's functions",
            "DROP TEXT SEARCH PARSER acme.spare_parser; \
             CREATE TEXT SEARCH PARSER acme.spare_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = \
             prsd_end, LEXTYPES = prsd_lextype)",
        )
        .expects("text-search-parser.definition", "spare_parser"),
        change("the comment of a text search parser", "COMMENT ON TEXT SEARCH PARSER acme.spare_parser IS 'new'")
            .expects("text-search-parser.comment", "spare_parser"),
        change("a text search template is missing", "DROP TEXT SEARCH TEMPLATE acme.spare_template")
            .expects("text-search-template.missing", "spare_template"),
        change(
            "a text search template's functions",
            "DROP TEXT SEARCH TEMPLATE acme.spare_template; \
             CREATE TEXT SEARCH TEMPLATE acme.spare_template (LEXIZE = dsimple_lexize)",
        )
        .expects("text-search-template.definition", "spare_template"),
    ]
}

fn statistics() -> Vec<Change> {
    vec![
        change("statistics are missing", "DROP STATISTICS acme.readings_stats")
            .expects("statistics.missing", "readings.readings_stats")
            .level("tuning"),
        change("statistics too many", "CREATE STATISTICS acme.more_stats ON karma, bonus FROM acme.users")
            .expects("statistics.extra", "users.more_stats"),
        change("statistics are renamed", "ALTER STATISTICS acme.readings_stats RENAME TO more_stats")
            .expects("statistics.missing", "readings.readings_stats")
            .expects("statistics.extra", "readings.more_stats"),
        change(
            "kinds of statistics",
            "DROP STATISTICS acme.readings_stats; \
             CREATE STATISTICS acme.readings_stats (ndistinct) ON sensor, value FROM acme.readings",
        )
        .expects("statistics.definition", "readings.readings_stats"),
        change(
            "the columns of statistics",
            "DROP STATISTICS acme.readings_stats; \
             CREATE STATISTICS acme.readings_stats (mcv) ON sensor, note FROM acme.readings",
        )
        .expects("statistics.definition", "readings.readings_stats"),
        change(
            "the expression of statistics",
            "DROP STATISTICS acme.readings_expression_stats; \
             CREATE STATISTICS acme.readings_expression_stats ON (value % 11), sensor FROM acme.readings",
        )
        .expects("statistics.definition", "readings.readings_expression_stats"),
        change("the target of statistics", "ALTER STATISTICS acme.users_stats SET STATISTICS 100")
            .expects("statistics.target", "users.users_stats")
            .level("tuning"),
        change("the target of statistics is the default", "ALTER STATISTICS acme.users_stats SET STATISTICS -1")
            .expects("statistics.target", "users.users_stats"),
        change("the comment of statistics", "COMMENT ON STATISTICS acme.users_stats IS 'new'")
            .expects("statistics.comment", "users.users_stats"),
    ]
}

/// Objects in no schema that belong to one: publications, casts, extensions, labels.
fn outside() -> Vec<Change> {
    vec![
        change("a table is published no more", "ALTER PUBLICATION drift_feed DROP TABLE acme.users")
            .expects("publication.missing", "users.drift_feed")
            .not_in_dump(),
        change("a table is published", "ALTER PUBLICATION drift_feed ADD TABLE acme.orders")
            .expects("publication.extra", "orders.drift_feed")
            .not_in_dump(),
        change("a table is published elsewhere", "ALTER PUBLICATION drift_other_feed ADD TABLE acme.users")
            .expects("publication.extra", "users.drift_other_feed")
            .not_in_dump(),
        change(
            "only some rows are published",
            "ALTER PUBLICATION drift_feed DROP TABLE acme.users; \
             ALTER PUBLICATION drift_feed ADD TABLE acme.users WHERE (score > 0)",
        )
        .expects("publication.definition", "users.drift_feed")
        .not_in_dump()
        .since(15),
        change(
            "only some columns are published",
            "ALTER PUBLICATION drift_feed DROP TABLE acme.users; \
             ALTER PUBLICATION drift_feed ADD TABLE acme.users (id, email)",
        )
        .expects("publication.definition", "users.drift_feed")
        .not_in_dump()
        .since(15),
        change("the whole schema is published", "ALTER PUBLICATION drift_other_feed ADD TABLES IN SCHEMA acme")
            .expects("publication.extra", "drift_other_feed")
            .not_in_dump()
            .since(15),
        change("a cast is missing", "DROP CAST (acme.mood AS integer)")
            .expects("cast.missing", "(mood AS integer)")
            .not_in_dump(),
        change("a cast too many", "CREATE CAST (acme.priority AS acme.mood) WITH INOUT")
            .expects("cast.extra", "(priority AS mood)")
            .not_in_dump(),
        change(
            "a cast that nobody asks for",
            "DROP CAST (acme.mood AS integer); \
             CREATE CAST (acme.mood AS integer) WITH FUNCTION acme.rank_of(acme.mood) AS IMPLICIT",
        )
        .expects("cast.definition", "(mood AS integer)")
        .level("structural")
        // An operator of the enum becomes ambiguous, and is written with its schema.
        .in_dump(),
        change(
            "a cast by way of text",
            "DROP CAST (acme.mood AS integer); CREATE CAST (acme.mood AS integer) WITH INOUT AS ASSIGNMENT",
        )
        .expects("cast.definition", "(mood AS integer)")
        .not_in_dump(),
        change("a cast's comment", "COMMENT ON CAST (acme.mood AS integer) IS 'new'")
            .expects("cast.comment", "(mood AS integer)")
            .not_in_dump(),
        change("a cast to another tenant's type", "CREATE CAST (acme.mood AS globex.mood) WITH INOUT AS IMPLICIT")
            .expects("cast.extra", "(mood AS globex.mood)")
            .references_globex()
            .not_in_dump(),
        // As CREATE EXTENSION … SCHEMA does; but the available extensions differ between machines.
        change(
            "an extension in the schema",
            "UPDATE pg_extension SET extnamespace = 'acme'::regnamespace WHERE extname = 'plpgsql'; \
             INSERT INTO pg_depend SELECT 'pg_extension'::regclass, oid, 0, 'pg_namespace'::regclass, \
             extnamespace, 0, 'n' FROM pg_extension WHERE extname = 'plpgsql'",
        )
        .expects("extension.extra", "plpgsql")
        .not_in_dump(),
        // A label can exist without a loaded provider.
        change(
            "a table has a security label",
            "INSERT INTO pg_seclabel VALUES ('acme.users'::regclass, 'pg_class'::regclass, 0, 'drift', 'secret')",
        )
        .expects("security-label.extra", "table users for drift")
        .level("security"),
        change(
            "a column has a security label",
            "INSERT INTO pg_seclabel VALUES ('acme.users'::regclass, 'pg_class'::regclass, 3, 'drift', 'secret')",
        )
        .expects("security-label.extra", "table column users.email for drift"),
        change(
            "a function has a security label",
            "INSERT INTO pg_seclabel VALUES ('acme.user_count()'::regprocedure, 'pg_proc'::regclass, 0, 'drift', \
             'secret')",
        )
        .expects("security-label.extra", "function user_count() for drift"),
        change(
            "the schema has a security label",
            "INSERT INTO pg_seclabel VALUES ('acme'::regnamespace, 'pg_namespace'::regclass, 0, 'drift', 'secret')",
        )
        .expects("security-label.extra", "schema for drift"),
    ]
}
