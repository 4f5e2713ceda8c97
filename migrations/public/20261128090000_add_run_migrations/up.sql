-- The tenant migrations that a run used: where they came from, how many they were, and the newest version. NULL for runs
-- that used none, and those of earlier releases.
ALTER TABLE public.schema_run ADD COLUMN migrations text;
