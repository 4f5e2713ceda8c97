-- Schemas that were made in advance: create renames one instead of making another. Each has everything that the tenant
-- migrations produce, and no rows.
CREATE TABLE public.schema_spare (
    name text PRIMARY KEY CONSTRAINT schema_spare_name_check CHECK (name ~ '^tenantry_spare_[0-9a-f]{32}$'),
    -- The key of the snapshot that it was made from, as in public.schema_snapshot.
    migrations text NOT NULL,
    environment text NOT NULL,
    -- A hash over its catalog rows. It is used only while they are the same; NULL until they were read.
    stamp bigint,
    made_at timestamptz NOT NULL DEFAULT now()
);

REVOKE ALL ON public.schema_spare FROM PUBLIC;
COMMENT ON TABLE public.schema_spare IS 'Schemas made in advance by create --prewarm. Kept by tenantry.';
