-- For each schema of $1 a hash over the oids and xmins of all catalog rows that its structure is read from: whatever is
-- changed has another xmin. Neither VACUUM nor ANALYZE changes one, for both write in place.
WITH namespace AS MATERIALIZED (
    SELECT n.oid, n.xmin FROM pg_namespace n WHERE n.oid = ANY ($1)
),
relation AS MATERIALIZED (
    SELECT c.oid, c.xmin, c.relnamespace AS schema FROM pg_class c JOIN namespace n ON n.oid = c.relnamespace
),
type AS MATERIALIZED (
    SELECT t.oid, t.xmin, t.typnamespace AS schema FROM pg_type t JOIN namespace n ON n.oid = t.typnamespace
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
    -- Whose a sequence is.
    UNION ALL SELECT r.schema, hash_record_extended(ROW (d.objid, d.refobjid, d.refobjsubid, d.xmin), 16)
        FROM pg_depend d JOIN relation r ON r.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
          AND d.deptype IN ('a', 'i')
    UNION ALL SELECT t.schema, hash_record_extended(ROW (t.oid, t.xmin), 17) FROM type t
    UNION ALL SELECT t.schema, hash_record_extended(ROW (e.oid, e.xmin), 18)
        FROM pg_enum e JOIN type t ON t.oid = e.enumtypid
    UNION ALL SELECT t.schema, hash_record_extended(ROW (g.rngtypid, g.xmin), 19)
        FROM pg_range g JOIN type t ON t.oid = g.rngtypid
    UNION ALL SELECT t.schema, hash_record_extended(ROW (k.oid, k.xmin), 20)
        FROM pg_cast k JOIN type t ON t.oid IN (k.castsource, k.casttarget) WHERE k.oid >= 16384
    UNION ALL SELECT p.pronamespace, hash_record_extended(ROW (p.oid, p.xmin), 21)
        FROM pg_proc p JOIN namespace n ON n.oid = p.pronamespace
    UNION ALL SELECT p.pronamespace, hash_record_extended(ROW (g.aggfnoid::oid, g.xmin), 22)
        FROM pg_aggregate g JOIN pg_proc p ON p.oid = g.aggfnoid JOIN namespace n ON n.oid = p.pronamespace
    UNION ALL SELECT o.oprnamespace, hash_record_extended(ROW (o.oid, o.xmin), 23)
        FROM pg_operator o JOIN namespace n ON n.oid = o.oprnamespace
    UNION ALL SELECT k.opcnamespace, hash_record_extended(ROW (k.oid, k.xmin), 24)
        FROM pg_opclass k JOIN namespace n ON n.oid = k.opcnamespace
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (f.oid, f.xmin), 25)
        FROM pg_opfamily f JOIN namespace n ON n.oid = f.opfnamespace
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (m.oid, m.xmin), 26)
        FROM pg_amop m JOIN pg_opfamily f ON f.oid = m.amopfamily JOIN namespace n ON n.oid = f.opfnamespace
    UNION ALL SELECT f.opfnamespace, hash_record_extended(ROW (m.oid, m.xmin), 27)
        FROM pg_amproc m JOIN pg_opfamily f ON f.oid = m.amprocfamily JOIN namespace n ON n.oid = f.opfnamespace
    UNION ALL SELECT k.collnamespace, hash_record_extended(ROW (k.oid, k.xmin), 28)
        FROM pg_collation k JOIN namespace n ON n.oid = k.collnamespace
    UNION ALL SELECT k.connamespace, hash_record_extended(ROW (k.oid, k.xmin), 29)
        FROM pg_conversion k JOIN namespace n ON n.oid = k.connamespace
    UNION ALL SELECT g.cfgnamespace, hash_record_extended(ROW (g.oid, g.xmin), 30)
        FROM pg_ts_config g JOIN namespace n ON n.oid = g.cfgnamespace
    UNION ALL SELECT g.cfgnamespace, hash_record_extended(ROW (m.mapcfg, m.maptokentype, m.mapseqno, m.xmin), 31)
        FROM pg_ts_config_map m JOIN pg_ts_config g ON g.oid = m.mapcfg JOIN namespace n ON n.oid = g.cfgnamespace
    UNION ALL SELECT d.dictnamespace, hash_record_extended(ROW (d.oid, d.xmin), 32)
        FROM pg_ts_dict d JOIN namespace n ON n.oid = d.dictnamespace
    UNION ALL SELECT p.prsnamespace, hash_record_extended(ROW (p.oid, p.xmin), 33)
        FROM pg_ts_parser p JOIN namespace n ON n.oid = p.prsnamespace
    UNION ALL SELECT t.tmplnamespace, hash_record_extended(ROW (t.oid, t.xmin), 34)
        FROM pg_ts_template t JOIN namespace n ON n.oid = t.tmplnamespace
    UNION ALL SELECT e.stxnamespace, hash_record_extended(ROW (e.oid, e.xmin), 35)
        FROM pg_statistic_ext e JOIN namespace n ON n.oid = e.stxnamespace
    UNION ALL SELECT a.defaclnamespace, hash_record_extended(ROW (a.oid, a.xmin), 36)
        FROM pg_default_acl a JOIN namespace n ON n.oid = a.defaclnamespace
    UNION ALL SELECT e.extnamespace, hash_record_extended(ROW (e.oid, e.xmin), 37)
        FROM pg_extension e JOIN namespace n ON n.oid = e.extnamespace
    -- Comments and labels, by the object that they are on.
    UNION ALL SELECT x.schema, hash_record_extended(ROW (o.classoid, o.objoid, o.objsubid, o.xmin), 38)
        FROM pg_description o JOIN (
            SELECT 'pg_class'::regclass AS class, r.oid, r.schema FROM relation r
            UNION ALL SELECT 'pg_type'::regclass, t.oid, t.schema FROM type t
            UNION ALL SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM namespace n
            UNION ALL SELECT 'pg_constraint'::regclass, k.oid, k.connamespace FROM pg_constraint k JOIN namespace n ON n.oid = k.connamespace
            UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc p JOIN namespace n ON n.oid = p.pronamespace
            UNION ALL SELECT 'pg_trigger'::regclass, g.oid, r.schema FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid
            UNION ALL SELECT 'pg_policy'::regclass, p.oid, r.schema FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
            UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, r.schema FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
            UNION ALL SELECT 'pg_operator'::regclass, p.oid, p.oprnamespace FROM pg_operator p JOIN namespace n ON n.oid = p.oprnamespace
            UNION ALL SELECT 'pg_opclass'::regclass, k.oid, k.opcnamespace FROM pg_opclass k JOIN namespace n ON n.oid = k.opcnamespace
            UNION ALL SELECT 'pg_opfamily'::regclass, f.oid, f.opfnamespace FROM pg_opfamily f JOIN namespace n ON n.oid = f.opfnamespace
            UNION ALL SELECT 'pg_collation'::regclass, k.oid, k.collnamespace FROM pg_collation k JOIN namespace n ON n.oid = k.collnamespace
            UNION ALL SELECT 'pg_conversion'::regclass, k.oid, k.connamespace FROM pg_conversion k JOIN namespace n ON n.oid = k.connamespace
            UNION ALL SELECT 'pg_statistic_ext'::regclass, e.oid, e.stxnamespace FROM pg_statistic_ext e JOIN namespace n ON n.oid = e.stxnamespace
            UNION ALL SELECT 'pg_ts_config'::regclass, g.oid, g.cfgnamespace FROM pg_ts_config g JOIN namespace n ON n.oid = g.cfgnamespace
            UNION ALL SELECT 'pg_ts_dict'::regclass, d.oid, d.dictnamespace FROM pg_ts_dict d JOIN namespace n ON n.oid = d.dictnamespace
            UNION ALL SELECT 'pg_ts_parser'::regclass, p.oid, p.prsnamespace FROM pg_ts_parser p JOIN namespace n ON n.oid = p.prsnamespace
            UNION ALL SELECT 'pg_ts_template'::regclass, t.oid, t.tmplnamespace FROM pg_ts_template t JOIN namespace n ON n.oid = t.tmplnamespace
        ) x ON x.class = o.classoid AND x.oid = o.objoid
)
-- Mixed once more: else what two rows exchange would cancel out.
SELECT schema, bit_xor(hashint8extended(hash, 0)) AS stamp FROM catalog GROUP BY schema
