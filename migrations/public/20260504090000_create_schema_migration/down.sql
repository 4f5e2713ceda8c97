DROP TABLE public.schema_acceptance;
DROP TABLE public.schema_migration;
