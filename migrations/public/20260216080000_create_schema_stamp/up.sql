-- Tenants that matched the reference schema at the last check, with a hash over their catalog rows. A check does not read
-- a tenant again while the hash is the same.
CREATE TABLE public.schema_stamp (
    tenant uuid PRIMARY KEY REFERENCES public.schema_tracker (id) ON DELETE CASCADE,
    -- A hash over the oids and xmins of the tenant's catalog rows.
    stamp bigint NOT NULL,
    -- A hash over the reference schema and the identity of the database.
    context text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
