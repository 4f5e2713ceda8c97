COMMENT ON COLUMN public.schema_tracker.unfinished_version IS 'the non-transactional migration under way, if any';
