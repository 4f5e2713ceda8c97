COMMENT ON COLUMN public.schema_tracker.unfinished_version IS 'the version of the non-transactional migration in progress; NULL if there is none';
