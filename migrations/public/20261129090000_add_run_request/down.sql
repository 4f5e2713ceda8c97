ALTER TABLE public.schema_run DROP COLUMN request;
