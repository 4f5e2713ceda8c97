-- Each migration as it was when it was first applied. Edited migrations are found by it.
CREATE TABLE public.schema_migration (
    kind text NOT NULL CONSTRAINT schema_migration_kind_check CHECK (kind IN ('public', 'tenant')),
    version varchar(50) NOT NULL,
    folder text NOT NULL,
    -- SHA-256 over the tokens of up.sql, without white space and comments.
    checksum text NOT NULL,
    -- up.sql, to show what was changed.
    script text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, version)
);

-- Accepted changes of migrations that were edited, removed or out of order: who accepted them, and why.
CREATE TABLE public.schema_acceptance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CONSTRAINT schema_acceptance_kind_check CHECK (kind IN ('public', 'tenant')),
    version varchar(50) NOT NULL,
    change text NOT NULL
        CONSTRAINT schema_acceptance_change_check CHECK (change IN ('edited', 'removed', 'out-of-order')),
    -- The recorded migration before the change; NULL if none was recorded.
    old_checksum text,
    old_script text,
    reason text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    os_user text,
    host text,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE public.schema_migration IS 'The migrations as they were first applied. Kept by tenantry.';
COMMENT ON TABLE public.schema_acceptance IS 'Changes of applied migrations that were accepted. Kept by tenantry.';
