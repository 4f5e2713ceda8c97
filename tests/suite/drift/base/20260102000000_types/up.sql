CREATE COLLATION plain (LOCALE = 'C');
CREATE COLLATION spare_plain (LOCALE = 'C');

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE priority AS ENUM ('low', 'normal', 'high');
CREATE TYPE spare_label AS ENUM ('one', 'two', 'three');
-- Labels between others have fractions for their order.
ALTER TYPE priority ADD VALUE 'elevated' BEFORE 'high';

CREATE DOMAIN email_address AS text COLLATE plain DEFAULT 'nobody@example.com'
    CONSTRAINT email_address_at CHECK (VALUE ~ '@')
    CONSTRAINT email_address_short CHECK (length(VALUE) < 255);
CREATE DOMAIN percentage AS numeric(5, 2) NOT NULL CONSTRAINT percentage_range CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN moods AS mood[];

CREATE TYPE address AS (street text, city text COLLATE "C", zip varchar(10));
CREATE TYPE spare_parts AS (size integer, label text COLLATE "C", weight numeric(5, 2));
CREATE TYPE place AS (id integer, title text, mood mood);

CREATE TYPE price_range AS RANGE (SUBTYPE = numeric);
CREATE TYPE spare_range AS RANGE (SUBTYPE = text, COLLATION = "C");
CREATE FUNCTION seconds_between(time, time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT extract(epoch FROM $1 - $2)::float8';
CREATE TYPE time_range AS RANGE (SUBTYPE = time, SUBTYPE_DIFF = seconds_between, MULTIRANGE_TYPE_NAME = time_ranges);

-- A type of one's own needs no C: the functions of text serve.
CREATE TYPE token;
CREATE FUNCTION token_in(cstring) RETURNS token LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION token_out(token) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE token (INPUT = token_in, OUTPUT = token_out, LIKE = text, CATEGORY = 'U');
CREATE TYPE spare_token;
CREATE FUNCTION spare_token_in(cstring) RETURNS spare_token LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION spare_token_out(spare_token) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE spare_token (INPUT = spare_token_in, OUTPUT = spare_token_out, LIKE = text, CATEGORY = 'U');

CREATE CONVERSION latin_to_utf FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = pg_catalog.simple, ACCEPT = false);
CREATE TEXT SEARCH DICTIONARY spare_words (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION search (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION search ALTER MAPPING FOR asciiword, word WITH words, simple;
CREATE TEXT SEARCH PARSER spare_parser (
    START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline
);
CREATE TEXT SEARCH TEMPLATE spare_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
