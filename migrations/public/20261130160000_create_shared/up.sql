-- The tables of the schema public that the servers of a fleet share by logical replication. The table is empty where there
-- is only one server.
-- On the registry: the shared tables. On another server: the tables whose rows are copies of the registry's, which may
-- therefore be replaced by the registry's.
CREATE TABLE public.schema_shared (
    table_name text PRIMARY KEY,
    -- out  the registry publishes the table to the other servers
    -- in   the other servers publish it to the registry
    direction text NOT NULL CONSTRAINT schema_shared_direction_check CHECK (direction IN ('out', 'in')),
    added_at timestamptz NOT NULL DEFAULT now()
);

REVOKE ALL ON public.schema_shared FROM PUBLIC;
COMMENT ON TABLE public.schema_shared IS 'The tables that the servers of a fleet share; empty for a single server. Kept by tenantry.';
