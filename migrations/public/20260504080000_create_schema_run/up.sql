-- The record of every run that changes tenants.
CREATE TABLE public.schema_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The command and its arguments, without the URL of the database.
    command text NOT NULL,
    arguments text[] NOT NULL DEFAULT '{}',
    -- The version of the tool.
    version text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    -- Who ran it, where and as which process, where the command line tells.
    os_user text,
    host text,
    pid integer,
    -- The server's process that holds the lock of the fleet for it, where the run has that.
    backend integer,
    started_at timestamptz NOT NULL DEFAULT now(),
    -- NULL while the run goes on, and when it was cut off.
    ended_at timestamptz,
    outcome text CONSTRAINT schema_run_outcome_check
        CHECK (outcome IN ('done', 'failed', 'stopped', 'interrupted', 'lost')),
    -- How many tenants.
    done integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    deferred integer NOT NULL DEFAULT 0,
    not_reached integer NOT NULL DEFAULT 0,
    CONSTRAINT schema_run_ended_check CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

CREATE INDEX schema_run_started_at_idx ON public.schema_run (started_at);

-- What a run did for a tenant. The row of one that is done is written in the transaction that did it.
CREATE TABLE public.schema_run_tenant (
    -- The id of the run. No foreign key: each tenant's transaction would lock the run's row.
    run bigint NOT NULL,
    tenant text NOT NULL,
    outcome text NOT NULL CONSTRAINT schema_run_tenant_outcome_check CHECK (outcome IN ('done', 'failed', 'deferred')),
    -- The newest version in the ledger before and after; NULL where it had none.
    from_version text,
    to_version text,
    started_at timestamptz NOT NULL,
    milliseconds bigint NOT NULL,
    attempts integer NOT NULL,
    -- Of one that is not done: the kind of the error, and its text.
    code text,
    error text,
    PRIMARY KEY (run, tenant)
);

COMMENT ON TABLE public.schema_run IS 'The runs that changed tenants. Kept by tenantry.';
COMMENT ON TABLE public.schema_run_tenant IS 'What each run did, tenant by tenant. Kept by tenantry.';
