DROP TABLE public.schema_spare;
