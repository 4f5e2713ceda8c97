//! Roles and the surroundings of the tables.

use super::super::{Attack, Case};
use super::{NONE, READ_BY_SETTING, READ_WITHOUT_CONTEXT};

/// Roles and the surroundings of the tables.
pub const ROLES: &[Case] = &[
    Case { codes: &["role.superuser"], plant: "ALTER ROLE {user} SUPERUSER", attack: READ_WITHOUT_CONTEXT, ..NONE },
    Case { codes: &["role.bypassrls"], plant: "ALTER ROLE {user} BYPASSRLS", attack: READ_WITHOUT_CONTEXT, ..NONE },
    Case {
        // By a membership: the other role stays unchanged.
        codes: &["role.bypassrls"],
        plant: "CREATE ROLE {db}_auditor BYPASSRLS; GRANT {db}_auditor TO {user}",
        attack: Attack::ReadsOutside(&[
            "SET LOCAL ROLE {db}_auditor",
            "SELECT count(*) FROM pg_roles WHERE rolname = current_user AND rolbypassrls",
        ]),
        clean_up: "DROP ROLE {db}_auditor",
        ..NONE
    },
    Case {
        codes: &["role.createrole"],
        plant: "ALTER ROLE {user} CREATEROLE",
        attack: Attack::Runs(&["CREATE ROLE {db}_mallory"]),
        ..NONE
    },
    Case {
        codes: &["role.replication"],
        plant: "ALTER ROLE {user} REPLICATION",
        // A temporary slot, which its session drops.
        attack: Attack::RunsOutside(&["SELECT pg_create_physical_replication_slot('{db}', true, true)"]),
        ..NONE
    },
    Case { codes: &["role.reaches-owner"], plant: "GRANT {owner} TO {user}", attack: READ_WITHOUT_CONTEXT, ..NONE },
    Case {
        codes: &["role.predefined"],
        plant: "GRANT pg_read_all_data TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM tenantry.context_key"]),
        ..NONE
    },
    Case {
        codes: &["role.parameter"],
        plant: "GRANT SET ON PARAMETER session_replication_role TO {user}",
        attack: Attack::Runs(&[
            "SET LOCAL session_replication_role = replica",
            "INSERT INTO app.orders (customer_id, number) VALUES (99, 'x')",
        ]),
        oldest: 15,
        ..NONE
    },
    Case { codes: &["role.settings"], plant: "ALTER ROLE {user} IN DATABASE {db} SET row_security = off", ..NONE },
    Case { codes: &["role.settings"], plant: "ALTER DATABASE {db} SET tenantry.tenant = '{globex}'", ..NONE },
    Case {
        // A temporary table takes the place of the shared one.
        codes: &["database.temp", "role.settings"],
        plant: "ALTER ROLE {user} SET search_path = pg_temp, app; GRANT TEMPORARY ON DATABASE {db} TO {user}",
        attack: Attack::Reads(&[
            "CREATE TEMPORARY TABLE customers AS SELECT 'planted'::text AS email",
            "SELECT count(*) FROM customers WHERE email = 'planted'",
        ]),
        ..NONE
    },
    Case {
        codes: &["database.owner"],
        plant: "ALTER DATABASE {db} OWNER TO {user}",
        attack: Attack::Runs(&["CREATE SCHEMA mine"]),
        ..NONE
    },
    Case {
        codes: &["database.temp"],
        plant: "GRANT TEMPORARY ON DATABASE {db} TO {user}",
        attack: Attack::Runs(&["CREATE TEMPORARY TABLE customers (id bigint)"]),
        ..NONE
    },
    Case {
        codes: &["database.temp"],
        plant: "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC",
        attack: Attack::Runs(&["CREATE TEMPORARY TABLE customers (id bigint)"]),
        ..NONE
    },
    Case {
        codes: &["schema.owner"],
        plant: "CREATE SCHEMA side AUTHORIZATION {user}",
        attack: Attack::Runs(&["CREATE TABLE side.mine (id bigint)"]),
        clean_up: "DROP SCHEMA side",
        ..NONE
    },
    Case {
        codes: &["schema.create"],
        plant: "GRANT CREATE ON SCHEMA app TO {user}",
        attack: Attack::Runs(&["CREATE TABLE app.mine (id bigint)"]),
        ..NONE
    },
    Case {
        codes: &["default-privileges"],
        plant: "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA app GRANT ALL ON TABLES TO {user}; \
                ALTER DEFAULT PRIVILEGES FOR ROLE {admin} GRANT SELECT ON TABLES TO PUBLIC; \
                ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON SEQUENCES TO {user}",
        before_attack: "SET ROLE {owner}; CREATE TABLE app.fresh (id bigint)",
        attack: Attack::RunsOutside(&["TRUNCATE app.fresh"]),
        after_attack: "DROP TABLE app.fresh",
        ..NONE
    },
    Case {
        codes: &["default-privileges"],
        plant: "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        before_attack: "SET ROLE {owner}; CREATE FUNCTION app.fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        attack: Attack::RunsOutside(&["SELECT app.fresh()"]),
        after_attack: "DROP FUNCTION app.fresh()",
        ..NONE
    },
    Case {
        codes: &["isolation.incomplete"],
        plant: "REVOKE SELECT ON app.orders FROM {user}; REVOKE USAGE ON SCHEMA app FROM {user}",
        attack: Attack::Breaks(&["SELECT FROM app.orders"]),
        ..NONE
    },
    Case {
        codes: &["verifier.key-readable"],
        plant: "GRANT SELECT (id, inner_pad) ON tenantry.context_key TO {user}",
        attack: Attack::Reads(&["SELECT count(inner_pad) FROM tenantry.context_key"]),
        ..NONE
    },
    Case {
        codes: &["verifier.changed"],
        plant: "SET ROLE {verifier}; CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS uuid LANGUAGE plpgsql STABLE \
                PARALLEL RESTRICTED SECURITY DEFINER SET search_path TO pg_catalog, pg_temp \
                AS 'BEGIN RETURN current_setting(''tenantry.tenant'')::uuid; END'",
        attack: READ_BY_SETTING,
        ..NONE
    },
    Case { codes: &["verifier.changed"], plant: "ALTER FUNCTION tenantry.current_tenant() OWNER TO {owner}", ..NONE },
];
