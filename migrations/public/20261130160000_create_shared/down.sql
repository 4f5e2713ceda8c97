DROP TABLE public.schema_shared;
