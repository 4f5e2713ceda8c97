-- What a run was asked to do, as JSON: its command, target version, selection and options, without connection settings. It is
-- needed to retry the run. NULL for commands that are not retried by run, and for runs of earlier releases.
ALTER TABLE public.schema_run ADD COLUMN request jsonb;
