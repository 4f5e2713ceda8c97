//! `probe` where tenants share tables: a clean database holds, and each planted leak is a breach that names its probe, although
//! no finding is looked for.

use std::collections::BTreeSet;

use super::{ACME, Case, GLOBEX, Shop, cases, with_safe_constructs};
use crate::support::{Output, strings};

/// A shop in which both tenants have rows in every table.
fn shop() -> Shop {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(&format!(
        "INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{ACME}', 1, 'A-1'), ('{GLOBEX}', 2, 'G-1'); \
         INSERT INTO app.events (tenant_id, id, at) VALUES ('{ACME}', 1, '2026-02-01'), ('{GLOBEX}', 1, '2026-02-01')"
    ));
    shop
}

impl Shop {
    /// Probes the application with its key.
    fn probe(&self, args: &[&str]) -> Output {
        self.tenantry(&["probe"]).args(args).env("TENANTRY_CONTEXT_KEY", self.key.reveal()).run()
    }

    /// The probes with breaches.
    fn breaches(&self) -> BTreeSet<String> {
        let output = self.probe(&["--format", "json"]);
        let names = names(&output, "breach");
        output.assert_code(i32::from(!names.is_empty()));
        for name in &names {
            assert!(output.stderr.contains(&format!("error: breach: {name}: ")), "{}", output.stderr);
        }
        names
    }
}

/// The probes that have a result with an outcome.
fn names(output: &Output, outcome: &str) -> BTreeSet<String> {
    let document = output.json();
    let results = document["results"].as_array().unwrap_or_else(|| panic!("{document}"));
    let of_outcome = results.iter().filter(|it| it["outcome"] == outcome);
    of_outcome.map(|it| it["probe"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn clean_database_holds_every_probe() {
    let shop = shop();
    let output = shop.probe(&["--require-all", "--format", "json"]);
    output.assert_code(0);
    assert_eq!(names(&output, "breach"), BTreeSet::new());
    assert_eq!(names(&output, "not-tried"), BTreeSet::new());
    let document = output.json();
    let absent: Vec<&str> = document["absent"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(
        absent,
        [
            "read.materialized-view",
            "read.foreign-table",
            "write.rule",
            "guess.leakproof",
            "function.trigger",
            "function.path",
            "large-object",
            "server.connections",
        ]
    );
    let tried: BTreeSet<String> =
        names(&output, "held").into_iter().chain(absent.iter().map(|it| (*it).to_owned())).collect();
    let applicable: BTreeSet<String> = tenantry::probe::ProbeKind::ALL
        .iter()
        .map(|kind| kind.to_string())
        .filter(|name| !["function.call", "table.maintain"].contains(&name.as_str()))
        .collect();
    assert!(tried.is_superset(&applicable), "{:?}", applicable.difference(&tried));
}

/// The leaks that a statement of the application's role shows, with the probes that show them.
fn expected(case: &Case) -> &'static [&'static str] {
    match case.codes {
        ["role.bypassrls"] if case.plant.contains("auditor") => &["role.set"],
        ["role.bypassrls"] => &["count.rows"],
        _ => &[],
    }
}

fn check(cases: &[Case]) {
    let shop = shop();
    assert_eq!(shop.breaches(), BTreeSet::new(), "at the beginning");
    for case in cases {
        if shop.db.count("SELECT current_setting('server_version_num')::int / 10000") < case.oldest {
            continue;
        }
        let name = format!("{:?}: {}", case.codes, case.plant);
        shop.db.execute(&shop.fill(case.plant));
        if case.codes == ["role.superuser"] {
            let refused = shop.probe(&[]);
            refused.assert_code(3);
            assert!(
                refused.stderr.contains("is a superuser, to whom no rule of isolation applies"),
                "{}",
                refused.stderr
            );
        } else {
            let breaches = shop.breaches();
            println!("BREACH {name} => {breaches:?}");
            let missing: Vec<&&str> = expected(case).iter().filter(|probe| !breaches.contains(**probe)).collect();
            assert!(missing.is_empty(), "{name}: {missing:?} not in {breaches:?}");
        }
        let plan = shop.tenantry(&["repair-plan"]).run();
        shop.psql(plan.stdout);
        if case.codes == ["data.orphans"] {
            shop.db.execute("DELETE FROM app.orders WHERE number = 'of another tenant'");
        } else {
            shop.clean_up(case);
        }
        assert_eq!(shop.breaches(), BTreeSet::new(), "{name}: after the repair");
    }
}

#[test]
fn leaks_of_roles_are_breaches() {
    check(cases::ROLES);
}

#[test]
fn leaks_of_tables_are_breaches() {
    check(cases::TABLES);
}

#[test]
fn leaks_of_grants_are_breaches() {
    check(cases::GRANTS);
}

#[test]
fn leaks_of_functions_are_breaches() {
    check(cases::FUNCTIONS);
}

/// Everything in the catalogs, tables, sequences and large objects of a database.
fn dump(shop: &Shop) -> Vec<String> {
    let mut conn = shop.db.connect();
    let tables = strings(
        &mut conn,
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname NOT IN ('information_schema', 'pg_toast') \
         AND c.relname NOT IN ('pg_statistic', 'pg_stat_activity') ORDER BY 1",
    );
    assert!(tables.len() > 60, "{tables:?}");
    let digest = |table: &String| {
        let digest = format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t");
        format!("{table} {}", strings(&mut conn, &digest).remove(0))
    };
    tables.iter().map(digest).collect()
}

/// Also where attempts succeed, nothing remains of them.
#[test]
fn probes_leave_nothing_behind() {
    let shop = shop();
    let before = dump(&shop);
    shop.probe(&[]).assert_code(0);
    assert_eq!(dump(&shop), before);
    shop.db.execute(&shop.fill(
        "ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY; ALTER TABLE app.orders DISABLE ROW LEVEL SECURITY; \
         GRANT ALL ON ALL TABLES IN SCHEMA app TO {user}; GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO {user}; \
         GRANT ALL ON SCHEMA app TO {user}; GRANT ALL ON DATABASE {db} TO {user}; ALTER ROLE {user} CREATEROLE; \
         GRANT {owner} TO {user}; SELECT lo_from_bytea(4711, 'secret'); GRANT ALL ON LARGE OBJECT 4711 TO {user}",
    ));
    let before = dump(&shop);
    let output = shop.probe(&[]);
    output.assert_code(1);
    for probe in
        ["write.insert", "write.update", "write.move", "write.copy", "create.object", "role.create", "owner.alter"]
    {
        assert!(output.stderr.contains(&format!("breach: {probe}: ")), "{probe}: {}", output.stderr);
    }
    assert_eq!(dump(&shop), before);
    shop.db.execute("SELECT lo_unlink(4711)");
}
