-- How tenants share tables: the one row exists in a database whose tenants are rows of a registry.
CREATE TABLE public.row_tenancy (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT row_tenancy_one_row_check CHECK (id),
    -- The schema that contains the shared tables.
    shared_schema text NOT NULL,
    -- The table of that schema that has a row for each tenant.
    registry text NOT NULL,
    -- The column of each isolated table that refers to the registry.
    tenant_column text NOT NULL,
    -- The role that owns the shared tables, the role that owns the schema tenantry with the signing keys, the role that
    -- runs migrations, and the role of the application.
    owner_role text NOT NULL,
    verifier_role text NOT NULL,
    admin_role text NOT NULL,
    app_role text NOT NULL,
    -- How a transaction proves which tenant it works for.
    context text NOT NULL CONSTRAINT row_tenancy_context_check CHECK (context IN ('signed', 'setting')),
    -- Ids that no tenant gets, such as 1,80-99.
    reserved_ids text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The keys and indexes that isolation replaced, so that it can be undone.
CREATE TABLE public.row_isolation (
    table_name text NOT NULL,
    kind text NOT NULL CONSTRAINT row_isolation_kind_check CHECK (kind IN ('constraint', 'index', 'column')),
    name text NOT NULL,
    -- The definition before, as the server printed it; NULL for a column that did not exist.
    definition text,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, kind, name)
);

COMMENT ON TABLE public.row_tenancy IS 'How tenants share tables. Kept by tenantry.';
COMMENT ON TABLE public.row_isolation IS 'The keys and indexes that isolation replaced. Kept by tenantry.';
