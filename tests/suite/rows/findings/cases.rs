//! Defects, and the attacks that they make possible.
//!
//! In the statements, `{db}` is the database, and `{user}`, `{owner}`, `{verifier}` and `{admin}` are the roles.

mod grants;
mod roles;
mod tables;

use super::{Attack, Case};

pub use grants::GRANTS;
pub use roles::ROLES;
pub use tables::TABLES;

const NONE: Case = Case {
    codes: &[],
    prepare: "",
    plant: "",
    before_attack: "",
    attack: Attack::None,
    after_attack: "",
    clean_up: "",
    oldest: 0,
};

/// Reads the rows of the other tenant.
const READ_OTHER: Attack = Attack::Reads(&["SELECT count(*) FROM app.customers WHERE email LIKE '%globex%'"]);

/// The same without a context.
const READ_WITHOUT_CONTEXT: Attack =
    Attack::ReadsOutside(&["SELECT count(*) FROM app.customers WHERE email LIKE '%globex%'"]);

/// Chooses the other tenant in the setting, which is not signed.
const READ_BY_SETTING: Attack = Attack::Reads(&[
    "SELECT set_config('tenantry.tenant', '{globex}', true)",
    "SELECT count(*) FROM app.customers WHERE email LIKE '%globex%'",
]);

/// The rows of the tenant itself are hidden.
const READS_NOTHING: Attack = Attack::Breaks(&["SELECT 1 / count(*) FROM app.customers"]);

/// Functions.
pub const FUNCTIONS: &[Case] = &[
    Case {
        codes: &["function.owner"],
        plant: "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION app.f() OWNER TO {user}",
        attack: Attack::Runs(&["ALTER FUNCTION app.f() SECURITY DEFINER"]),
        clean_up: "DROP FUNCTION app.f()",
        ..NONE
    },
    Case {
        codes: &["function.definer-bypasses"],
        plant: "CREATE FUNCTION app.everyone() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER \
                SET search_path = pg_catalog, pg_temp AS 'SELECT email FROM app.customers'",
        attack: Attack::Reads(&["SELECT count(*) FROM app.everyone() AS email WHERE email LIKE '%globex%'"]),
        clean_up: "DROP FUNCTION app.everyone()",
        ..NONE
    },
    Case {
        codes: &["function.definer-path"],
        plant: "CREATE FUNCTION app.f(text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint'; \
                CREATE FUNCTION app.g() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp, app \
                AS 'SELECT 1::bigint'; \
                CREATE FUNCTION app.h() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = '' \
                AS 'SELECT 1::bigint'; \
                ALTER FUNCTION app.f(text) OWNER TO {owner}; ALTER FUNCTION app.g() OWNER TO {owner}; \
                ALTER FUNCTION app.h() OWNER TO {owner}",
        clean_up: "DROP FUNCTION app.f(text), app.g(), app.h()",
        ..NONE
    },
    Case {
        // The function calls what its caller's search path has first, as the owner of the tables.
        codes: &["function.definer-path", "schema.create"],
        plant: "CREATE SCHEMA side; GRANT USAGE, CREATE ON SCHEMA side TO {user}; GRANT USAGE ON SCHEMA side TO {owner}; \
                CREATE FUNCTION app.total(bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS \
                $$ BEGIN RETURN with_tax($1); END $$; \
                ALTER FUNCTION app.total(bigint) OWNER TO {owner}; GRANT EXECUTE ON FUNCTION app.total(bigint) TO {user}",
        attack: Attack::Reads(&[
            "CREATE FUNCTION side.with_tax(bigint) RETURNS bigint LANGUAGE plpgsql AS \
             $$ BEGIN ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY; RETURN 1; END $$",
            "SET LOCAL search_path = side",
            "SELECT app.total(1)",
            "SELECT count(*) FROM app.customers WHERE email LIKE '%globex%'",
        ]),
        clean_up: "DROP FUNCTION app.total(bigint); DROP SCHEMA side",
        ..NONE
    },
    Case {
        codes: &["function.leakproof"],
        plant: "CREATE FUNCTION app.leak(text) RETURNS boolean LANGUAGE plpgsql LEAKPROOF COST 0.0001 AS \
                $$ BEGIN IF $1 LIKE '%globex%' THEN RAISE unique_violation USING MESSAGE = $1; END IF; RETURN true; END $$",
        attack: Attack::Reveals(&[
            "SET LOCAL enable_indexscan = off",
            "SET LOCAL enable_bitmapscan = off",
            "SELECT FROM app.customers WHERE app.leak(email)",
        ]),
        clean_up: "DROP FUNCTION app.leak(text)",
        ..NONE
    },
    Case {
        codes: &["dblink"],
        plant: "CREATE EXTENSION dblink SCHEMA app",
        attack: Attack::Runs(&["SELECT app.dblink_get_connections()"]),
        clean_up: "DROP EXTENSION dblink",
        ..NONE
    },
];

/// Policies where contexts are settings: no restrictive policy limits what they allow.
pub const SETTINGS: &[Case] = &[
    Case {
        codes: &["policy.foreign"],
        plant: "CREATE POLICY everyone ON app.customers USING (true)",
        attack: READ_WITHOUT_CONTEXT,
        ..NONE
    },
    Case {
        codes: &["policy.foreign"],
        plant: "CREATE POLICY unset ON app.customers TO {user} \
                USING (current_setting('app.tenant', true) IS NULL OR tenant_id::text = current_setting('app.tenant', true))",
        attack: READ_WITHOUT_CONTEXT,
        ..NONE
    },
    Case {
        codes: &["role.settings"],
        plant: "ALTER DATABASE {db} SET tenantry.tenant = '{globex}'",
        attack: READ_WITHOUT_CONTEXT,
        ..NONE
    },
    Case {
        codes: &["policy.admin-open"],
        plant: "DROP POLICY tenantry_admin ON app.customers; \
                CREATE POLICY tenantry_admin ON app.customers TO {user} USING (true) WITH CHECK (true)",
        attack: READ_WITHOUT_CONTEXT,
        ..NONE
    },
];
