ALTER TABLE public.schema_tracker DROP COLUMN repeatables;
