DROP TABLE public.schema_stamp;
