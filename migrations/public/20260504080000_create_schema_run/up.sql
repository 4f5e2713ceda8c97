-- The record of every run that changes tenants.
CREATE TABLE public.schema_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The command and its arguments, without the URL of the database.
    command text NOT NULL,
    arguments text[] NOT NULL DEFAULT '{}',
    -- The version of the program.
    version text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    -- The user, the machine and the process that ran it, if known.
    os_user text,
    host text,
    pid integer,
    -- The server process that holds the fleet lock for the run, if it holds one.
    backend integer,
    started_at timestamptz NOT NULL DEFAULT now(),
    -- NULL while the run is in progress, and after it was aborted.
    ended_at timestamptz,
    outcome text CONSTRAINT schema_run_outcome_check
        CHECK (outcome IN ('done', 'failed', 'stopped', 'interrupted', 'lost')),
    -- Numbers of tenants.
    done integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    deferred integer NOT NULL DEFAULT 0,
    not_reached integer NOT NULL DEFAULT 0,
    CONSTRAINT schema_run_ended_check CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

CREATE INDEX schema_run_started_at_idx ON public.schema_run (started_at);

-- The outcome of a run for each tenant. The row of a tenant that is done is written in the tenant's transaction.
CREATE TABLE public.schema_run_tenant (
    -- The id of the run. Not a foreign key, because each tenant's transaction would lock the row of the run.
    run bigint NOT NULL,
    tenant text NOT NULL,
    outcome text NOT NULL CONSTRAINT schema_run_tenant_outcome_check CHECK (outcome IN ('done', 'failed', 'deferred')),
    -- The newest version in the ledger before and after the run; NULL if it was empty.
    from_version text,
    to_version text,
    started_at timestamptz NOT NULL,
    milliseconds bigint NOT NULL,
    attempts integer NOT NULL,
    -- The kind of the error and its text; NULL if the outcome is done.
    code text,
    error text,
    PRIMARY KEY (run, tenant)
);

COMMENT ON TABLE public.schema_run IS 'The runs that changed tenants. Kept by tenantry.';
COMMENT ON TABLE public.schema_run_tenant IS 'What each run did, tenant by tenant. Kept by tenantry.';
