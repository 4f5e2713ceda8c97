-- The tracker: one row for each tenant. The tenant's schema has the tenant's name.
--
-- Every column but the name has a default, so that a row written by hand registers a tenant:
--   INSERT INTO schema_tracker (name) VALUES ('acme');
CREATE TABLE public.schema_tracker (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),

    -- The form of a name that never needs quoting. PostgreSQL cuts an identifier off at 63 bytes, and reserves pg_.
    -- Reserved words are refused by tenantry, which knows the list of the server's version.
    name text NOT NULL UNIQUE
        CONSTRAINT schema_tracker_name_check CHECK (
            name ~ '^[A-Za-z_][A-Za-z0-9_]*$' AND octet_length(name) <= 63 AND name !~* '^pg_'
        ),

    -- registered  written by hand; its schema may not exist yet
    -- creating    `create` is running or was interrupted; `create` or `migrate-all` completes it
    -- active      its schema exists
    -- dropping    `drop` is running or was interrupted; `drop` completes it
    state text NOT NULL DEFAULT 'registered'
        CONSTRAINT schema_tracker_state_check CHECK (state IN ('registered', 'creating', 'active', 'dropping')),

    created_at timestamptz NOT NULL DEFAULT now(),

    -- A non-transactional migration in progress: its version, the number of its statements that have taken effect, the md5
    -- of these statements, and whether the next one may have taken effect, too, because the connection was lost before the
    -- server answered. All are NULL if there is none. A run resumes after the last statement that took effect.
    unfinished_version varchar(50),
    unfinished_statements integer
        CONSTRAINT schema_tracker_unfinished_statements_check CHECK (unfinished_statements >= 0),
    unfinished_digest text,
    unfinished_in_doubt boolean,
    CONSTRAINT schema_tracker_unfinished_check CHECK (
        num_nulls(unfinished_version, unfinished_statements, unfinished_digest, unfinished_in_doubt) IN (0, 4)
    )
);

-- Names that differ only in case are refused: "Acme" and "acme" would be two schemas. The names are ASCII, and are folded
-- as such in every locale.
CREATE UNIQUE INDEX schema_tracker_lower_name_key ON public.schema_tracker (lower(name COLLATE "C"));

COMMENT ON TABLE public.schema_tracker IS 'The tenants, one row each; a tenant''s schema has the tenant''s name. Kept by tenantry.';
COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active or dropping';
COMMENT ON COLUMN public.schema_tracker.unfinished_version IS 'the non-transactional migration under way, if any';
COMMENT ON COLUMN public.schema_tracker.unfinished_statements IS 'how many of its statements have taken effect';
COMMENT ON COLUMN public.schema_tracker.unfinished_digest IS 'the md5 of the statements that have taken effect';
COMMENT ON COLUMN public.schema_tracker.unfinished_in_doubt IS 'whether the statement after them may have taken effect';
