//! Probes of functions with parameters, and the page of probes.

use super::probes::shop;

/// Functions are called with ids of tenants, with values of rows, and with patterns. One that returns what it is given is no
/// breach.
#[test]
fn functions_are_called_with_sample_arguments() {
    let shop = shop();
    for (create, is_breach) in [
        ("app.f(uuid) RETURNS SETOF text {definer} AS 'SELECT email FROM app.customers WHERE tenant_id = $1'", true),
        ("app.f(text) RETURNS SETOF text {definer} AS 'SELECT email FROM app.customers WHERE email LIKE $1'", true),
        ("app.f(text, int) RETURNS SETOF bigint {definer} AS 'SELECT 1 WHERE $1 = $1 AND $2 = $2'", false),
        ("app.f(text) RETURNS text {definer} AS 'SELECT $1'", false),
        (
            "app.f(bigint, boolean) RETURNS SETOF text {definer} AS \
             'SELECT email FROM app.customers WHERE id > $1 AND $2'",
            true,
        ),
    ] {
        let definer = "LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp";
        shop.db.execute(&format!("CREATE FUNCTION {}", create.replace("{definer}", definer)));
        let output = shop.probe(&["--only", "function.definer", "--format", "json"]);
        let document = output.json();
        let results = document["results"].as_array().unwrap();
        let found = results.iter().find(|it| it["object"].as_str().unwrap().starts_with("app.f(")).unwrap();
        let expected = if is_breach { "breach" } else { "not-tried" };
        assert_eq!(found["outcome"], expected, "{create}: {found}");
        output.assert_code(i32::from(is_breach));
        shop.db.execute("DROP FUNCTION app.f");
    }
}

/// The page lists every probe.
#[test]
fn page_lists_every_probe() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/isolation.md")).unwrap();
    for kind in tenantry::probe::ProbeKind::ALL {
        let (name, meaning) = (format!("| `{kind}` |"), format!("| {} |", kind.meaning()));
        assert!(page.lines().any(|line| line.starts_with(&name) && line.ends_with(&meaning)), "{kind}");
    }
}
