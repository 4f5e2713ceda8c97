ALTER TABLE public.schema_tracker
    DROP CONSTRAINT schema_tracker_move_check,
    DROP CONSTRAINT schema_tracker_state_check,
    DROP COLUMN move;
ALTER TABLE public.schema_tracker
    ADD CONSTRAINT schema_tracker_state_check CHECK (state IN ('registered', 'creating', 'active', 'archived', 'dropping'));
COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active, archived or dropping';
DROP TABLE public.schema_move;
