-- The directory of a fleet on several servers. A server is a database that has a tracker and tenants of its own; one of
-- them, the registry, also has the directory. The others have a copy of it, so that lookups work without the registry.
-- All tables are empty where there is only one server.

-- Who this database is: one row, which `server add` writes.
CREATE TABLE public.schema_identity (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT schema_identity_singleton_check CHECK (singleton),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The identity of the registry, which is that of this database on the registry itself.
    registry uuid NOT NULL,
    -- On the registry: the number of the newest change of the directory. Elsewhere: the newest change in the copy.
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE public.schema_server (
    -- The identity of its database.
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE
        CONSTRAINT schema_server_name_check CHECK (name ~ '^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$' AND octet_length(name) <= 63),
    region text,
    -- Connection strings without secrets: for tenantry, and for the other servers if they need another one.
    connection text CONSTRAINT schema_server_connection_check CHECK (connection !~* 'password *='),
    peer_connection text CONSTRAINT schema_server_peer_connection_check CHECK (peer_connection !~* 'password *='),
    -- The environment variable that has the password.
    password_variable text,
    -- The number of tenants that `create` may place on it; NULL for no limit.
    capacity bigint CONSTRAINT schema_server_capacity_check CHECK (capacity >= 0),
    -- open      `create` and `move` may place tenants on it
    -- draining  it gets no more tenants
    -- retired   as draining, and it has no tenants any more
    state text NOT NULL DEFAULT 'open' CONSTRAINT schema_server_state_check CHECK (state IN ('open', 'draining', 'retired')),
    is_registry boolean NOT NULL DEFAULT false,
    -- The server on which this database was made for a single tenant; NULL for any other.
    host uuid REFERENCES public.schema_server,
    added_at timestamptz NOT NULL DEFAULT now(),
    -- The newest change of the directory that its copy has.
    copied bigint NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX schema_server_lower_name_key ON public.schema_server (lower(name COLLATE "C"));
CREATE UNIQUE INDEX schema_server_is_registry_key ON public.schema_server (is_registry) WHERE is_registry;

CREATE TABLE public.schema_placement (
    tenant text PRIMARY KEY,
    server uuid NOT NULL REFERENCES public.schema_server,
    -- placing   the name is reserved, and the tenant is not yet on the server
    -- active    the tenant is on the server
    -- moving    the tenant is moved to another server
    -- gone      the tenant was dropped; kept until every copy has no row of it
    state text NOT NULL CONSTRAINT schema_placement_state_check CHECK (state IN ('placing', 'active', 'moving', 'gone')),
    -- Increased when the tenant moves: what an application read about an earlier epoch is outdated.
    epoch bigint NOT NULL DEFAULT 1,
    -- The change of the directory that last changed this row.
    version bigint NOT NULL
);

CREATE UNIQUE INDEX schema_placement_lower_tenant_key ON public.schema_placement (lower(tenant COLLATE "C"));
CREATE INDEX schema_placement_version_idx ON public.schema_placement (version);
CREATE INDEX schema_placement_server_idx ON public.schema_placement (server);

-- The runs over several servers, on the registry: what each server's own record says in detail.
CREATE TABLE public.schema_fleet_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    exit_code integer
);

CREATE TABLE public.schema_fleet_run_server (
    fleet_run bigint NOT NULL REFERENCES public.schema_fleet_run ON DELETE CASCADE,
    server text NOT NULL,
    -- The id in public.schema_run of that server; NULL if it recorded no run.
    run bigint,
    exit_code integer,
    -- The tenants of a server that was not reached.
    not_reached bigint NOT NULL DEFAULT 0,
    error text,
    PRIMARY KEY (fleet_run, server)
);

REVOKE ALL ON public.schema_identity, public.schema_server, public.schema_placement, public.schema_fleet_run,
    public.schema_fleet_run_server FROM PUBLIC;
COMMENT ON TABLE public.schema_identity IS 'The identity of this database in a fleet on several servers. Kept by tenantry.';
COMMENT ON TABLE public.schema_server IS 'The servers of a fleet; empty for a single server. Kept by tenantry.';
COMMENT ON TABLE public.schema_placement IS 'The server of each tenant; empty for a single server. Kept by tenantry.';
COMMENT ON TABLE public.schema_fleet_run IS 'The runs over several servers. Kept by tenantry.';
COMMENT ON TABLE public.schema_fleet_run_server IS 'The servers of the runs over several servers. Kept by tenantry.';
