-- A tenant that is out of service: its schema is kept and migrated, and nobody but its owner may use it.
ALTER TABLE public.schema_tracker DROP CONSTRAINT schema_tracker_state_check;
ALTER TABLE public.schema_tracker
    ADD CONSTRAINT schema_tracker_state_check
        CHECK (state IN ('registered', 'creating', 'active', 'archived', 'dropping')),
    ADD COLUMN archived_at timestamptz,
    -- What archiving has taken, to be restored: the privileges on the schema, and whether the tenant's role could log in.
    ADD COLUMN archived_rights jsonb,
    -- From when on purge drops the tenant; NULL if never.
    ADD COLUMN purge_after timestamptz,
    ADD CONSTRAINT schema_tracker_archived_check CHECK (
        (archived_at IS NULL) = (archived_rights IS NULL)
        AND (archived_at IS NOT NULL OR (state <> 'archived' AND purge_after IS NULL))
    );

COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active, archived or dropping';
COMMENT ON COLUMN public.schema_tracker.archived_at IS 'when the tenant was archived; NULL if it is not';
COMMENT ON COLUMN public.schema_tracker.archived_rights IS 'the rights that archiving has revoked';
COMMENT ON COLUMN public.schema_tracker.purge_after IS 'when an archived tenant may be purged; NULL if never';
