DROP TABLE public.schema_snapshot;
