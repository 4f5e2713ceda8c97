-- For each schema of $1 a hash over the oids and xmins of all catalog rows that its structure is read from: a changed row
-- has another xmin. Neither VACUUM nor ANALYZE changes an xmin, because both write in place.
--
-- Has two readings with the same result: one scans each catalog once; the other, for few schemas, has what the comments
-- that begin with few and inside hold, and looks up all rows by index.
WITH namespace AS MATERIALIZED (
    SELECT n.oid, n.xmin FROM pg_namespace n WHERE n.oid = ANY ($1)
),
/*few
-- No index leads from a schema to its objects except that of the dependencies. An index depends on its table, the relation
-- of a composite type on the type, and the row type of a table on the table.
dependent AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY ($1)
),
relation_oid AS MATERIALIZED (
    SELECT d.objid AS oid FROM dependent d WHERE d.classid = 'pg_class'::regclass
    UNION SELECT i.indexrelid FROM dependent d JOIN pg_index i ON i.indrelid = d.objid WHERE d.classid = 'pg_class'::regclass
    UNION SELECT t.typrelid FROM dependent d JOIN pg_type t ON t.oid = d.objid
        WHERE d.classid = 'pg_type'::regclass AND t.typrelid <> 0
),
element_oid AS MATERIALIZED (
    SELECT d.objid AS oid FROM dependent d WHERE d.classid = 'pg_type'::regclass
    UNION SELECT c.reltype FROM relation_oid r JOIN pg_class c ON c.oid = r.oid WHERE c.reltype <> 0
    UNION SELECT g.rngmultitypid FROM dependent d JOIN pg_range g ON g.rngtypid = d.objid WHERE d.classid = 'pg_type'::regclass
),
inside AS MATERIALIZED (
    SELECT 'pg_class'::regclass AS classid, r.oid AS objid FROM relation_oid r
    UNION SELECT 'pg_type'::regclass, e.oid FROM element_oid e
    UNION SELECT 'pg_type'::regclass, t.typarray FROM element_oid e JOIN pg_type t ON t.oid = e.oid WHERE t.typarray <> 0
    UNION SELECT d.classid, d.objid FROM dependent d
),
*/
relation AS MATERIALIZED (
    SELECT c.oid, c.xmin, c.relnamespace AS schema FROM pg_class c JOIN namespace n ON n.oid = c.relnamespace
        /*inside pg_class c*/
),
type AS MATERIALIZED (
    SELECT t.oid, t.xmin, t.typnamespace AS schema FROM pg_type t JOIN namespace n ON n.oid = t.typnamespace
        /*inside pg_type t*/
),
catalog AS (
    SELECT n.oid AS schema, hash_record_extended(ROW (n.oid, n.xmin), 1) AS hash FROM namespace n
    UNION ALL SELECT r.schema, hash_record_extended(ROW (r.oid, r.xmin), 2) FROM relation r
    UNION ALL SELECT r.schema, hash_record_extended(ROW (a.attrelid, a.attnum, a.xmin), 3)
        FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL SELECT r.schema, hash_record_extended(ROW (d.oid, d.xmin), 4)
        FROM pg_attrdef d JOIN relation r ON r.oid = d.adrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (k.oid, k.xmin), 5)
        FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid
    UNION ALL SELECT t.schema, hash_record_extended(ROW (k.oid, k.xmin), 6)
        FROM pg_constraint k JOIN type t ON t.oid = k.contypid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (i.indexrelid, i.xmin), 7)
        FROM pg_index i JOIN relation r ON r.oid = i.indexrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (g.oid, g.xmin), 8)
        FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (p.oid, p.xmin), 9)
        FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (w.oid, w.xmin), 10)
        FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
    UNION ALL SELECT r.schema, hash_record_extended(ROW (q.seqrelid, q.xmin), 11)
        FROM pg_sequence q JOIN relation r ON r.oid = q.seqrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (h.inhrelid, h.inhseqno, h.xmin), 12)
        FROM pg_inherits h JOIN relation r ON r.oid = h.inhrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (p.partrelid, p.xmin), 13)
        FROM pg_partitioned_table p JOIN relation r ON r.oid = p.partrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (f.ftrelid, f.xmin), 14)
        FROM pg_foreign_table f JOIN relation r ON r.oid = f.ftrelid
    UNION ALL SELECT r.schema, hash_record_extended(ROW (p.oid, p.xmin), 15)
        FROM pg_publication_rel p JOIN relation r ON r.oid = p.prrelid
    -- The column that owns a sequence.
    UNION ALL SELECT r.schema, hash_record_extended(ROW (d.objid, d.refobjid, d.refobjsubid, d.xmin), 16)
        FROM pg_depend d JOIN relation r ON r.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
          AND d.deptype IN ('a', 'i')
    UNION ALL SELECT t.schema, hash_record_extended(ROW (t.oid, t.xmin), 17) FROM type t
    UNION ALL SELECT t.schema, hash_record_extended(ROW (e.oid, e.xmin), 18)
        FROM pg_enum e JOIN type t ON t.oid = e.enumtypid
    UNION ALL SELECT t.schema, hash_record_extended(ROW (g.rngtypid, g.xmin), 19)
        FROM pg_range g JOIN type t ON t.oid = g.rngtypid
    UNION ALL SELECT t.schema, hash_record_extended(ROW (k.oid, k.xmin, t.oid), 20)
        FROM pg_cast k JOIN type t ON t.oid IN (k.castsource, k.casttarget) WHERE k.oid >= 16384
    UNION ALL SELECT p.pronamespace, hash_record_extended(ROW (p.oid, p.xmin), 21)
        FROM pg_proc p JOIN namespace n ON n.oid = p.pronamespace /*inside pg_proc p*/
    UNION ALL SELECT p.pronamespace, hash_record_extended(ROW (g.aggfnoid::oid, g.xmin), 22)
        FROM pg_aggregate g JOIN pg_proc p ON p.oid = g.aggfnoid JOIN namespace n ON n.oid = p.pronamespace /*inside pg_proc p*/
    UNION ALL SELECT o.oprnamespace, hash_record_extended(ROW (o.oid, o.xmin), 23)
        FROM pg_operator o JOIN namespace n ON n.oid = o.oprnamespace /*inside pg_operator o*/
    UNION ALL SELECT k.opcnamespace, hash_record_extended(ROW (k.oid, k.xmin), 24)
        FROM pg_opclass k JOIN namespace n ON n.oid = k.opcnamespace /*inside pg_opclass k*/
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (f.oid, f.xmin), 25)
        FROM pg_opfamily f JOIN namespace n ON n.oid = f.opfnamespace /*inside pg_opfamily f*/
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (m.oid, m.xmin), 26)
        FROM pg_amop m JOIN pg_opfamily f ON f.oid = m.amopfamily JOIN namespace n ON n.oid = f.opfnamespace /*inside pg_opfamily f*/
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (m.oid, m.xmin), 27)
        FROM pg_amproc m JOIN pg_opfamily f ON f.oid = m.amprocfamily JOIN namespace n ON n.oid = f.opfnamespace /*inside pg_opfamily f*/
    UNION ALL SELECT k.collnamespace, hash_record_extended(ROW (k.oid, k.xmin), 28)
        FROM pg_collation k JOIN namespace n ON n.oid = k.collnamespace /*inside pg_collation k*/
    UNION ALL SELECT k.connamespace, hash_record_extended(ROW (k.oid, k.xmin), 29)
        FROM pg_conversion k JOIN namespace n ON n.oid = k.connamespace /*inside pg_conversion k*/
    UNION ALL SELECT g.cfgnamespace, hash_record_extended(ROW (g.oid, g.xmin), 30)
        FROM pg_ts_config g JOIN namespace n ON n.oid = g.cfgnamespace /*inside pg_ts_config g*/
    UNION ALL SELECT g.cfgnamespace, hash_record_extended(ROW (m.mapcfg, m.maptokentype, m.mapseqno, m.xmin), 31)
        FROM pg_ts_config_map m JOIN pg_ts_config g ON g.oid = m.mapcfg JOIN namespace n ON n.oid = g.cfgnamespace /*inside pg_ts_config g*/
    UNION ALL SELECT d.dictnamespace, hash_record_extended(ROW (d.oid, d.xmin), 32)
        FROM pg_ts_dict d JOIN namespace n ON n.oid = d.dictnamespace /*inside pg_ts_dict d*/
    UNION ALL SELECT p.prsnamespace, hash_record_extended(ROW (p.oid, p.xmin), 33)
        FROM pg_ts_parser p JOIN namespace n ON n.oid = p.prsnamespace /*inside pg_ts_parser p*/
    UNION ALL SELECT t.tmplnamespace, hash_record_extended(ROW (t.oid, t.xmin), 34)
        FROM pg_ts_template t JOIN namespace n ON n.oid = t.tmplnamespace /*inside pg_ts_template t*/
    UNION ALL SELECT e.stxnamespace, hash_record_extended(ROW (e.oid, e.xmin), 35)
        FROM pg_statistic_ext e JOIN namespace n ON n.oid = e.stxnamespace /*inside pg_statistic_ext e*/
    UNION ALL SELECT a.defaclnamespace, hash_record_extended(ROW (a.oid, a.xmin), 36)
        FROM pg_default_acl a JOIN namespace n ON n.oid = a.defaclnamespace /*inside pg_default_acl a*/
    UNION ALL SELECT e.extnamespace, hash_record_extended(ROW (e.oid, e.xmin), 37)
        FROM pg_extension e JOIN namespace n ON n.oid = e.extnamespace /*inside pg_extension e*/
    -- Comments and labels, by the object that they are on.
    UNION ALL SELECT x.schema, hash_record_extended(ROW (o.classoid, o.objoid, o.objsubid, o.provider, o.xmin), 38)
        FROM (
            SELECT d.classoid, d.objoid, d.objsubid, '' AS provider, d.xmin FROM pg_description d
            UNION ALL SELECT l.classoid, l.objoid, l.objsubid, l.provider, l.xmin FROM pg_seclabel l
        ) o JOIN (
            SELECT 'pg_class'::regclass AS class, r.oid, r.schema FROM relation r
            UNION ALL SELECT 'pg_type'::regclass, t.oid, t.schema FROM type t
            UNION ALL SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM namespace n
            UNION ALL SELECT 'pg_constraint'::regclass, k.oid, r.schema FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid
            UNION ALL SELECT 'pg_constraint'::regclass, k.oid, t.schema FROM pg_constraint k JOIN type t ON t.oid = k.contypid
            UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc p JOIN namespace n ON n.oid = p.pronamespace /*inside pg_proc p*/
            UNION ALL SELECT 'pg_trigger'::regclass, g.oid, r.schema FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid
            UNION ALL SELECT 'pg_policy'::regclass, p.oid, r.schema FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
            UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, r.schema FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
            UNION ALL SELECT 'pg_operator'::regclass, p.oid, p.oprnamespace FROM pg_operator p JOIN namespace n ON n.oid = p.oprnamespace /*inside pg_operator p*/
            UNION ALL SELECT 'pg_opclass'::regclass, k.oid, k.opcnamespace FROM pg_opclass k JOIN namespace n ON n.oid = k.opcnamespace /*inside pg_opclass k*/
            UNION ALL SELECT 'pg_opfamily'::regclass, f.oid, f.opfnamespace FROM pg_opfamily f JOIN namespace n ON n.oid = f.opfnamespace /*inside pg_opfamily f*/
            UNION ALL SELECT 'pg_collation'::regclass, k.oid, k.collnamespace FROM pg_collation k JOIN namespace n ON n.oid = k.collnamespace /*inside pg_collation k*/
            UNION ALL SELECT 'pg_conversion'::regclass, k.oid, k.connamespace FROM pg_conversion k JOIN namespace n ON n.oid = k.connamespace /*inside pg_conversion k*/
            UNION ALL SELECT 'pg_statistic_ext'::regclass, e.oid, e.stxnamespace FROM pg_statistic_ext e JOIN namespace n ON n.oid = e.stxnamespace /*inside pg_statistic_ext e*/
            UNION ALL SELECT 'pg_ts_config'::regclass, g.oid, g.cfgnamespace FROM pg_ts_config g JOIN namespace n ON n.oid = g.cfgnamespace /*inside pg_ts_config g*/
            UNION ALL SELECT 'pg_ts_dict'::regclass, d.oid, d.dictnamespace FROM pg_ts_dict d JOIN namespace n ON n.oid = d.dictnamespace /*inside pg_ts_dict d*/
            UNION ALL SELECT 'pg_ts_parser'::regclass, p.oid, p.prsnamespace FROM pg_ts_parser p JOIN namespace n ON n.oid = p.prsnamespace /*inside pg_ts_parser p*/
            UNION ALL SELECT 'pg_ts_template'::regclass, t.oid, t.tmplnamespace FROM pg_ts_template t JOIN namespace n ON n.oid = t.tmplnamespace /*inside pg_ts_template t*/
        ) x ON x.class = o.classoid AND x.oid = o.objoid
    -- What else belongs to the schema, for example its place in a publication.
    UNION ALL SELECT n.oid, hash_record_extended(ROW (d.classid, d.objid, d.xmin), 39)
        FROM pg_depend d JOIN namespace n ON n.oid = d.refobjid WHERE d.refclassid = 'pg_namespace'::regclass
)
-- Hashed again, so that values that two rows exchange do not cancel out.
SELECT schema, bit_xor(hashint8extended(hash, 0)) AS stamp FROM catalog GROUP BY schema
