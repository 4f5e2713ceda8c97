CREATE FUNCTION add_up(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 5
    AS 'SELECT $1 + $2';
CREATE FUNCTION add_up(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1 || $2';
CREATE FUNCTION ranked(integer) RETURNS SETOF users LANGUAGE sql STABLE ROWS 50
    AS 'SELECT * FROM users WHERE score > $1';
CREATE FUNCTION described(mood DEFAULT 'ok', OUT word text, OUT weight integer) LANGUAGE sql
    AS 'SELECT $1::text, length($1::text)';
CREATE FUNCTION summed(VARIADIC integer[]) RETURNS bigint LANGUAGE sql AS 'SELECT sum(v) FROM unnest($1) v';
CREATE FUNCTION greeted(person text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    -- Says hello.
    RETURN 'hello, ' || person;
END
$$;
CREATE FUNCTION user_count() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM users; END;
CREATE FUNCTION trusted(integer) RETURNS integer LANGUAGE sql LEAKPROOF SECURITY DEFINER SET work_mem = '8MB'
    AS 'SELECT $1';
-- The safe way for SECURITY DEFINER: the setting holds the name of the schema.
CREATE FUNCTION guarded() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
    AS 'SELECT count(*) FROM users';
CREATE PROCEDURE tidy(integer) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM logs WHERE id < $1;
END
$$;

-- Names of the schema in bodies, literals and comments.
DO $outer$
BEGIN
    EXECUTE format($$
        CREATE FUNCTION own_users() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM %1$I.users';
        CREATE TABLE preferences (
            tenant text NOT NULL DEFAULT %1$L CONSTRAINT preferences_tenant_check CHECK (tenant = %1$L),
            value text
        );
        COMMENT ON TABLE preferences IS %2$L
    $$, current_schema(), 'preferences of ' || current_schema());
END
$outer$;

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.logs (level, message) VALUES (''info'', %L)', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    RETURN NULL;
END
$$;
CREATE FUNCTION checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEW;
END
$$;

CREATE FUNCTION longest_step(text, text) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT CASE WHEN length($1) >= length($2) THEN $1 ELSE $2 END';
CREATE AGGREGATE longest(text) (SFUNC = longest_step, STYPE = text, INITCOND = '', COMBINEFUNC = longest_step, PARALLEL = SAFE);
CREATE AGGREGATE joined(text) (SFUNC = textcat, STYPE = text, INITCOND = '');

CREATE FUNCTION size_lt(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) < abs($2)';
CREATE FUNCTION size_le(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) <= abs($2)';
CREATE FUNCTION size_eq(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) = abs($2)';
CREATE FUNCTION size_ge(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) >= abs($2)';
CREATE FUNCTION size_gt(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) > abs($2)';
CREATE FUNCTION size_cmp(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp(abs($1), abs($2))';
CREATE OPERATOR |<| (
    LEFTARG = integer, RIGHTARG = integer, FUNCTION = size_lt, COMMUTATOR = |>|, NEGATOR = |>=|,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR |>=| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = size_ge, COMMUTATOR = |<=|, NEGATOR = |<|);
CREATE OPERATOR |>| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = size_gt, COMMUTATOR = |<|, NEGATOR = |<=|);
CREATE OPERATOR |<=| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = size_le, COMMUTATOR = |>=|, NEGATOR = |>|);
CREATE OPERATOR |=| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = size_eq, COMMUTATOR = |=|, MERGES);
CREATE OPERATOR |~| (LEFTARG = text, RIGHTARG = text, FUNCTION = add_up);
CREATE OPERATOR FAMILY size_family USING btree;
CREATE OPERATOR CLASS size_ops FOR TYPE integer USING btree FAMILY size_family AS
    OPERATOR 1 |<|, OPERATOR 2 |<=|, OPERATOR 3 |=|, OPERATOR 4 |>=|, OPERATOR 5 |>|, FUNCTION 1 size_cmp(integer, integer);
CREATE OPERATOR FAMILY spare_family USING hash;
CREATE OPERATOR FAMILY near_family USING gist;
ALTER OPERATOR FAMILY near_family USING gist ADD OPERATOR 15 <-> (point, point) FOR ORDER BY size_family;

CREATE FUNCTION rank_of(mood) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$SELECT CASE $1::text WHEN 'sad' THEN 1 WHEN 'ok' THEN 2 ELSE 3 END$$;
CREATE CAST (mood AS integer) WITH FUNCTION rank_of(mood) AS ASSIGNMENT;
