-- The labels of a tenant: an object whose values are strings, such as {"ring": "canary"}.
ALTER TABLE public.schema_tracker
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT schema_tracker_labels_check CHECK (jsonb_typeof(labels) = 'object');

COMMENT ON COLUMN public.schema_tracker.labels IS 'keys and values by which commands select tenants';
