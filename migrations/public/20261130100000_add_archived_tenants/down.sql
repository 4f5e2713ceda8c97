ALTER TABLE public.schema_tracker
    DROP CONSTRAINT schema_tracker_archived_check,
    DROP CONSTRAINT schema_tracker_state_check,
    DROP COLUMN archived_at,
    DROP COLUMN archived_rights,
    DROP COLUMN purge_after;
ALTER TABLE public.schema_tracker
    ADD CONSTRAINT schema_tracker_state_check CHECK (state IN ('registered', 'creating', 'active', 'dropping'));
COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active or dropping';
