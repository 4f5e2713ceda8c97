DROP TABLE public.schema_fleet_run_server;
DROP TABLE public.schema_fleet_run;
DROP TABLE public.schema_placement;
DROP TABLE public.schema_server;
DROP TABLE public.schema_identity;
