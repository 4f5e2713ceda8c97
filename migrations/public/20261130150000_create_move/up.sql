-- Moves of tenants from one server of a fleet to another. The rows are on the registry.
CREATE TABLE public.schema_move (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant text NOT NULL,
    source uuid NOT NULL REFERENCES public.schema_server,
    target uuid NOT NULL REFERENCES public.schema_server,
    -- copy        writes are blocked while the rows are copied
    -- replicate   logical replication copies the rows, and writes are blocked for a moment
    -- back        the schema that an earlier move left on the target is put back
    method text NOT NULL CONSTRAINT schema_move_method_check CHECK (method IN ('copy', 'replicate', 'back')),
    -- planned    recorded; the source may be marked
    -- prepared   the target has the tables
    -- copying    the rows are being copied
    -- following  the target has the rows, and follows the source
    -- fenced     writes on the source are blocked
    -- left       the source's schema is renamed, and nothing can write to it
    -- switched   the tenant is in use on the target
    -- settled    nothing is left but the old schema on the source
    -- finished   the old schema is dropped
    -- aborted    the tenant is on the source as before
    state text NOT NULL DEFAULT 'planned' CONSTRAINT schema_move_state_check CHECK (
        state IN ('planned', 'prepared', 'copying', 'following', 'fenced', 'left', 'switched', 'settled', 'finished', 'aborted')
    ),
    -- When the rows are compared: before the switch, or after it.
    verify text NOT NULL CONSTRAINT schema_move_verify_check CHECK (verify IN ('before', 'after')),
    -- The result of the comparison: NULL until the rows were compared.
    verified boolean,
    -- The name of the old schema on the source.
    old_schema text NOT NULL,
    -- For method back: the schema on the target that is put back.
    kept_schema text,
    -- The tracker row of the tenant on the source.
    tracked jsonb,
    -- The replica identities that were changed for the replication, by table: what they are set to afterwards.
    identities jsonb NOT NULL DEFAULT '{}',
    -- The position in the WAL of the source up to which the target had to follow.
    fence_lsn pg_lsn,
    -- Rows and checksum of each table at the switch.
    checksums jsonb,
    -- How long the old schema is kept after the switch, in seconds, and until when.
    keep_source bigint NOT NULL,
    keep_until timestamptz,
    -- What the last attempt failed with; NULL if it did not fail.
    error text,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- How long writes were blocked, in milliseconds.
    blocked_for bigint,
    switched_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT schema_move_servers_check CHECK (source <> target)
);

-- One move of a tenant at a time.
CREATE UNIQUE INDEX schema_move_lower_tenant_key ON public.schema_move (lower(tenant COLLATE "C"))
    WHERE state NOT IN ('settled', 'finished', 'aborted');

-- moving     on the server that a tenant is moved from: in use there, and not changed by other commands
-- arriving   on the server that it is moved to: not in use there yet
ALTER TABLE public.schema_tracker DROP CONSTRAINT schema_tracker_state_check;
ALTER TABLE public.schema_tracker
    ADD CONSTRAINT schema_tracker_state_check
        CHECK (state IN ('registered', 'creating', 'active', 'archived', 'dropping', 'moving', 'arriving')),
    -- The move, in public.schema_move of the registry.
    ADD COLUMN move uuid,
    ADD CONSTRAINT schema_tracker_move_check CHECK ((move IS NOT NULL) = (state IN ('moving', 'arriving')));

COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active, archived, dropping, moving or arriving';
COMMENT ON COLUMN public.schema_tracker.move IS 'the move to another server; NULL if there is none';
REVOKE ALL ON public.schema_move FROM PUBLIC;
COMMENT ON TABLE public.schema_move IS 'The moves of tenants between servers. Kept by tenantry.';
