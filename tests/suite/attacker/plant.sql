-- Plants traps in the schema :schema. Each is an operator or function with a name that tenantry's statements use, for operand
-- types that pg_catalog has no exact match for: PostgreSQL prefers an exact match later on the search path.
DO $plant$
DECLARE
    types text[] := ARRAY[
        'text', 'varchar', 'name', 'oid', 'regclass', 'regnamespace', 'regtype', 'int2', 'int4', 'int8', 'numeric', 'float8',
        'bool', 'interval', 'timestamptz', 'text[]', 'oid[]', '"char"', 'xid', 'uuid'
    ];
    comparisons text[] := ARRAY['=', '<>', '<', '>', '<=', '>=', '~', '!~'];
    others text[] := ARRAY['||', '+', '-', '*', '/', '&', '<<', '|'];
    functions text[] := ARRAY[
        'unnest', 'lower', 'count', 'sum', 'max', 'array_agg', 'quote_ident', 'current_setting', 'set_config', 'to_regclass',
        'to_regnamespace', 'has_schema_privilege', 'has_table_privilege', 'has_database_privilege', 'row_security_active',
        'pg_get_expr', 'pg_get_userbyid', 'pg_describe_object', 'pg_total_relation_size', 'octet_length', 'strpos',
        'starts_with', 'md5', 'concat_ws', 'bit_xor', 'hashtext', 'hashtextextended', 'hashint8extended',
        'hash_record_extended', 'row_to_json', 'cardinality', 'greatest', 'pg_blocking_pids', 'now', 'extract'
    ];
    l text;
    r text;
    name text;
    place text := ':schema';
BEGIN
    FOREACH l IN ARRAY types LOOP
        FOREACH r IN ARRAY types LOOP
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION %1$I.trap_bool(%2$s, %3$s) RETURNS bool IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog '
                'AS $$ BEGIN PERFORM trap.spring(''operator on %2$s, %3$s''); RETURN true; END $$', place, l, r);
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION %1$I.trap_value(%2$s, %3$s) RETURNS %2$s IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog '
                'AS $$ BEGIN PERFORM trap.spring(''operator on %2$s, %3$s''); RETURN $1; END $$', place, l, r);
            FOREACH name IN ARRAY comparisons || others LOOP
                IF NOT EXISTS (
                    SELECT FROM pg_catalog.pg_operator AS o
                    WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname = name
                        AND o.oprleft = l::regtype AND o.oprright = r::regtype
                ) THEN
                    EXECUTE pg_catalog.format(
                        'CREATE OPERATOR %1$I.%4$s (LEFTARG = %2$s, RIGHTARG = %3$s, FUNCTION = %1$I.%5$I)',
                        place, l, r, name, CASE WHEN name = ANY (comparisons) THEN 'trap_bool' ELSE 'trap_value' END);
                END IF;
            END LOOP;
        END LOOP;
        FOREACH name IN ARRAY functions LOOP
            FOREACH r IN ARRAY ARRAY['', ', text', ', int4', ', bool', ', int8'] LOOP
                CONTINUE WHEN EXISTS (
                    SELECT FROM pg_catalog.pg_proc AS p
                    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = name
                        AND pg_catalog.oidvectortypes(p.proargtypes) = pg_catalog.concat(l::regtype, r)
                );
                EXECUTE pg_catalog.format(
                    'CREATE FUNCTION %1$I.%2$I(%3$s%4$s) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog '
                    'AS $$ BEGIN PERFORM trap.spring(''function %2$s(%3$s%4$s)''); RETURN ''''; END $$', place, name, l, r);
            END LOOP;
        END LOOP;
    END LOOP;
END
$plant$;
