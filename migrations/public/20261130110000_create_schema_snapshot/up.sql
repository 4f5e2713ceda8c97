-- Scripts that create everything that the tenant migrations produce, each proven against a replay of the migrations. A script
-- is executed when a tenant is created: no role but the owner of the tracker and the one that creates tenants may write here.
CREATE TABLE public.schema_snapshot (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 over the checksums of the migrations and the settings of the program.
    migrations text NOT NULL,
    -- SHA-256 over what the script depends on in the database: the role, settings, extensions and default privileges.
    environment text NOT NULL,
    -- The name of the schema in the script, which is replaced with the tenant's.
    placeholder text,
    -- The script; NULL if tenants are created by a replay of the migrations.
    script text,
    -- Whether the schema may be renamed after the script has run: nothing in it contains its name as text.
    renamable boolean,
    -- Why there is no script.
    reason text,
    -- SHA-256 over the other columns but id and made_at. A row with another one is not used.
    checksum text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (migrations, environment),
    CONSTRAINT schema_snapshot_check CHECK (
        (script IS NULL) = (reason IS NOT NULL)
        AND (script IS NULL) = (placeholder IS NULL)
        AND (script IS NULL) = (renamable IS NULL)
    )
);

REVOKE ALL ON public.schema_snapshot FROM PUBLIC;
COMMENT ON TABLE public.schema_snapshot IS 'Snapshots of what the tenant migrations produce. Kept by tenantry.';
