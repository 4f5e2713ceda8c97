SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_type t ON t.typnamespace = n.oid
LEFT JOIN pg_class c ON c.oid = t.typrelid AND t.typrelid <> 0
LEFT JOIN pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_type'::regclass AND o.objoid = t.oid
CROSS JOIN LATERAL (SELECT
    CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' WHEN 'r' THEN 'range type'
        ELSE 'type' END AS kind,
    NULL::text AS "on",
    t.typname AS name,
    CASE WHEN t.typtype = 'e' THEN (
        SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid
    ) END AS labels,
    CASE WHEN t.typtype = 'd' THEN replace(format_type(t.typbasetype, t.typtypmod), n.own, chr(1)) END AS type,
    t.typtype = 'd' AND t.typnotnull AS not_null,
    replace(CASE WHEN t.typtype = 'd' THEN coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault)
        WHEN t.typtype = 'b' THEN t.typdefault END, n.own, chr(1)) AS "default",
    CASE WHEN t.typcollation NOT IN (0, 100) THEN replace(t.typcollation::regcollation::text, n.own, chr(1)) END AS collation,
    CASE WHEN r.rngtypid IS NOT NULL THEN replace(concat_ws(', ',
        'subtype ' || format_type(r.rngsubtype, NULL),
        'opclass ' || (SELECT quote_ident(s.nspname) || '.' || quote_ident(k.opcname)
            FROM pg_opclass k JOIN pg_namespace s ON s.oid = k.opcnamespace WHERE k.oid = r.rngsubopc),
        'collation ' || CASE WHEN r.rngcollation NOT IN (0, 100) THEN r.rngcollation::regcollation END,
        'canonical ' || nullif(r.rngcanonical, 0)::regprocedure, 'subtype_diff ' || nullif(r.rngsubdiff, 0)::regprocedure,
        'multirange ' || format_type(r.rngmultitypid, NULL)
    ), n.own, chr(1)) END AS range,
    CASE WHEN t.typtype = 'b' OR t.typtype = 'p' THEN replace(concat_ws(', ',
        CASE WHEN NOT t.typisdefined THEN 'shell' END,
        'input ' || nullif(t.typinput, 0)::regprocedure, 'output ' || nullif(t.typoutput, 0)::regprocedure, 'receive ' || nullif(t.typreceive, 0)::regprocedure,
        'send ' || nullif(t.typsend, 0)::regprocedure, 'typmod_in ' || nullif(t.typmodin, 0)::regprocedure, 'typmod_out ' || nullif(t.typmodout, 0)::regprocedure,
        'analyze ' || nullif(t.typanalyze, 0)::regprocedure, 'internallength ' || t.typlen, 'passedbyvalue ' || t.typbyval,
        'alignment ' || t.typalign::text, 'storage ' || t.typstorage::text, 'category ' || t.typcategory::text,
        'preferred ' || t.typispreferred, 'delimiter ' || quote_literal(t.typdelim::text),
        'subscript ' || nullif(t.typsubscript, 0)::regprocedure, CASE WHEN t.typcollation <> 0 THEN 'collatable' END,
        'element ' || format_type(nullif(t.typelem, 0), NULL)
    ), n.own, chr(1)) END AS base,
    CASE WHEN t.typowner <> n.nspowner THEN pg_get_userbyid(t.typowner) END AS owner,
    grants(t.typacl, 'T', t.typowner, n.tenant_role) AS grants,
    o.description AS comment
) line
WHERE t.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_type'::regclass)
  /*few AND t.oid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_type'::regclass) */
  -- The server makes, and names, the array of a type, the multirange of a range and the row type of a table.
  AND NOT (t.typcategory = 'A' AND EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid AND e.oid = t.typelem))
  AND t.typtype <> 'm'
  AND (t.typtype <> 'c' OR c.relkind = 'c')
