DROP TABLE public.schema_tracker;
