-- The repeatable migrations that a tenant has applied: the checksum of each file, such as {"totals.sql": "9f86d08…"}.
ALTER TABLE public.schema_tracker
    ADD COLUMN repeatables jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT schema_tracker_repeatables_check CHECK (jsonb_typeof(repeatables) = 'object');

COMMENT ON COLUMN public.schema_tracker.repeatables IS 'the repeatable migrations that were applied, by file, with their checksums';
