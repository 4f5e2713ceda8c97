-- Tenants whose structure was as the reference when it was last checked, and what their catalog rows came to then. As
-- long as they come to the same, the structure need not be read again.
CREATE TABLE public.schema_stamp (
    tenant uuid PRIMARY KEY REFERENCES public.schema_tracker (id) ON DELETE CASCADE,
    -- A hash over the oids and xmins of the tenant's catalog rows.
    stamp bigint NOT NULL,
    -- A hash over what the verdict depends on besides: the reference, and the database that the stamp is of.
    context text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
