-- The tenant migrations that a run used: their source, their number and the newest version. NULL for runs that used none,
-- and for runs of earlier releases.
ALTER TABLE public.schema_run ADD COLUMN migrations text;
