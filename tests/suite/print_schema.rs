//! `print-schema`: Diesel's definitions of a tenant's tables.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::set_up;

#[test]
fn every_kind_of_column_is_printed() {
    let db = set_up();
    db.execute("CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions; CREATE TYPE public.size AS (w int, h int)");
    let migrations = Dir::new().add(
        "1_all",
        "CREATE TYPE order_state AS ENUM ('open', 'paid'); CREATE DOMAIN cents AS bigint NOT NULL CHECK (VALUE >= 0); \
         CREATE TABLE customers (id uuid PRIMARY KEY, email extensions.citext NOT NULL, name varchar(80), \
            code char(3) NOT NULL, \"type\" text, born date, tags text[] NOT NULL, scores int[], data jsonb, \
            created_at timestamptz NOT NULL DEFAULT now(), document tsvector, size public.size); \
         CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
            customer_id uuid NOT NULL REFERENCES customers, state order_state NOT NULL, total cents, \
            period tstzrange, raw bytea, ratio double precision, price numeric(10, 2), small smallint, yes boolean, \
            parent_id bigint REFERENCES orders); \
         CREATE TABLE items (order_id bigint REFERENCES orders, line int, \"full name\" text, \
            buyer uuid REFERENCES customers, payer uuid REFERENCES customers, PRIMARY KEY (order_id, line)); \
         CREATE TABLE log (at timestamptz, line text); \
         CREATE VIEW open_orders AS SELECT id FROM orders WHERE state = 'open';",
    );
    let dir = migrations.path().display().to_string();
    let with = |args: &[&str]| db.tenantry(args).env("TENANTRY_TENANT_MIGRATIONS", &dir).hide(&dir, "DIR").run();
    with(&["create", "acme", "--extension-schema", "extensions"]).assert_code(0);
    let printed = with(&["print-schema", "acme"]);
    printed.assert_code(0);
    assert_snapshot!(printed);
    assert!(
        with(&["print-schema", "acme", "--format", "json"])
            .stdout
            .contains("\"without_primary_key\": [\n    \"log\"\n  ]")
    );
}

#[test]
fn unknown_tenant_is_refused() {
    let db = set_up();
    assert_snapshot!(db.tenantry(["print-schema", "acme"]).run(), @r"
        --- stderr
        error: tenant acme: not tracked in public.schema_tracker
        hint: 'tenantry create acme' creates it
        --- exit 3
    ");
}
