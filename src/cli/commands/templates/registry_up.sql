-- The registry of tenants that share tables.
CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Users belong to no tenant: one may be a member of several.
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE
);
COMMENT ON TABLE users IS 'tenantry: exempt, users are members of tenants';

CREATE TABLE memberships (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE rights (
    tenant_id uuid NOT NULL,
    user_id bigint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (tenant_id, user_id, name),
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships ON DELETE CASCADE
);

-- Creates a tenant, its first member and the member's right, atomically.
CREATE FUNCTION register_tenant(tenant text, member text, member_right text) RETURNS uuid
    LANGUAGE sql
    BEGIN ATOMIC
        WITH new_tenant AS (
            INSERT INTO tenants (name) VALUES (tenant) RETURNING id
        ), new_user AS (
            INSERT INTO users (email) VALUES (member)
            ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING id
        ), new_membership AS (
            INSERT INTO memberships (tenant_id, user_id) SELECT new_tenant.id, new_user.id FROM new_tenant, new_user
            RETURNING tenant_id, user_id
        ), new_right AS (
            INSERT INTO rights (tenant_id, user_id, name)
            SELECT tenant_id, user_id, member_right FROM new_membership
        )
        SELECT id FROM new_tenant;
    END;
