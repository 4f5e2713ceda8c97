DROP TABLE public.schema_run_tenant;
DROP TABLE public.schema_run;
