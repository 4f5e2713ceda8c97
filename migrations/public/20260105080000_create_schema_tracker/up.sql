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
    -- creating    begun by `tenantry create`; a second `create` or `migrate-all` completes it
    -- active      its schema exists
    -- dropping    begun by `tenantry drop`; a second `drop` completes it
    state text NOT NULL DEFAULT 'registered'
        CONSTRAINT schema_tracker_state_check CHECK (state IN ('registered', 'creating', 'active', 'dropping')),

    created_at timestamptz NOT NULL DEFAULT now(),

    -- A non-transactional migration under way: its version, how many of its statements have taken effect, the md5 of
    -- those, and whether the next one may have, too, because the connection was lost before it was answered. All are NULL
    -- when there is none; a run that finds them goes on after the last statement that took effect.
    unfinished_version varchar(50),
    unfinished_statements integer
        CONSTRAINT schema_tracker_unfinished_statements_check CHECK (unfinished_statements >= 0),
    unfinished_digest text,
    unfinished_in_doubt boolean,
    CONSTRAINT schema_tracker_unfinished_check CHECK (
        num_nulls(unfinished_version, unfinished_statements, unfinished_digest, unfinished_in_doubt) IN (0, 4)
    )
);

-- "Acme" and "acme" are two schemas to PostgreSQL and one customer to a person. The names are ASCII, and so is the folding,
-- whatever the database's locale.
CREATE UNIQUE INDEX schema_tracker_lower_name_key ON public.schema_tracker (lower(name COLLATE "C"));

COMMENT ON TABLE public.schema_tracker IS 'The tenants, one row each; a tenant''s schema has the tenant''s name. Kept by tenantry.';
COMMENT ON COLUMN public.schema_tracker.state IS 'registered, creating, active or dropping';
COMMENT ON COLUMN public.schema_tracker.unfinished_version IS 'the non-transactional migration under way, if any';
COMMENT ON COLUMN public.schema_tracker.unfinished_statements IS 'how many of its statements have taken effect';
COMMENT ON COLUMN public.schema_tracker.unfinished_digest IS 'the md5 of the statements that have taken effect';
COMMENT ON COLUMN public.schema_tracker.unfinished_in_doubt IS 'whether the statement after them may have taken effect';
