DROP TABLE public.row_isolation;
DROP TABLE public.row_tenancy;
