//! `probe` where tenants share tables: a clean database holds, and each planted leak is a breach that names its probe, although
//! no finding is looked for.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;

use super::{ACME, Case, GLOBEX, Shop, cases, sample, with_safe_constructs};
use crate::support::{Output, strings};

/// A shop in which both tenants have rows in every table.
pub fn shop() -> Shop {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(&format!(
        "INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{ACME}', 1, 'A-1'), ('{GLOBEX}', 2, 'G-1'); \
         INSERT INTO app.events (tenant_id, id, at) VALUES ('{ACME}', 1, '2026-02-01'), ('{GLOBEX}', 1, '2026-02-01')"
    ));
    shop
}

impl Shop {
    /// Probes the application with its key.
    pub fn probe(&self, args: &[&str]) -> Output {
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
    let mut absent: Vec<&str> = document["absent"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    // The privilege exists since PostgreSQL 17.
    if !absent.contains(&"table.maintain") {
        assert!(names(&output, "held").contains("table.maintain"), "{document}");
        absent.insert(3, "table.maintain");
    }
    assert_eq!(
        absent,
        [
            "read.materialized-view",
            "read.foreign-table",
            "write.rule",
            "table.maintain",
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
        .filter(|name| name != "function.call")
        .collect();
    assert!(tried.is_superset(&applicable), "{:?}", applicable.difference(&tried));
}

/// The probes that show a leak. Where there are none, no statement of the application reaches another tenant by it alone.
fn expected(case: &Case) -> &'static [&'static str] {
    match case.codes {
        ["role.bypassrls"] if case.plant.contains("auditor") => &["role.set"],
        ["role.bypassrls"] | ["rls.off"] => &[
            "read.rows",
            "read.without-context",
            "read.copy",
            "count.rows",
            "write.insert",
            "write.update",
            "write.delete",
            "write.move",
            "write.copy",
            "guess.error",
            "setting.row-security",
        ],
        ["role.createrole"] => &["role.create"],
        ["role.replication"] => &["role.replication"],
        ["role.reaches-owner"] => &["role.set", "read.rows", "owner.alter", "write.update"],
        ["role.predefined"] => &["role.set", "read.elsewhere", "sequence.read"],
        ["role.parameter"] => &["setting.replication"],
        ["role.settings"] | ["database.temp", "role.settings"] => &["session.settings"],
        ["database.owner"] => &["owner.alter", "create.schema"],
        ["database.temp"] => &["create.temporary"],
        ["schema.owner"] => &["owner.alter", "create.object"],
        ["schema.create"] => &["create.object"],
        ["default-privileges"] => &["default-privileges"],
        ["verifier.key-readable"] => &["read.elsewhere"],
        ["verifier.changed"] if case.plant.contains("REPLACE") => {
            &["context.bare", "context.forged", "context.replayed", "context.other-tenant", "context.override"]
        }
        ["table.owner"] => &["owner.alter", "table.truncate"],
        ["column.missing", ..] | ["column.nullable", ..] => &["write.insert"],
        ["unique.without-tenant"] => &["guess.unique"],
        ["fk.without-tenant", ..] | ["trigger.disabled"] => &["reference.row"],
        ["rls.not-forced"] => &["function.definer"],
        ["policy.missing"] if case.plant.contains("CHECK (true)") => &["write.insert"],
        // Without the policy that verifies contexts, the application sees nothing.
        ["policy.missing"] if !case.attack.is_breach() => &[],
        ["policy.missing"] => &["context.bare", "context.override"],
        ["policy.foreign"] | ["policy.admin-open"] => &["read.rows", "read.without-context", "write.update"],
        ["trigger.definer"] => &["function.trigger"],
        ["rule"] => &["write.rule"],
        ["grant.partition"] | ["inherit.child"] | ["table.elsewhere"] => &["read.elsewhere", "read.copy"],
        [.., "grant.truncate"] => &["table.truncate"],
        ["grant.references", ..] => &["reference.privilege"],
        ["grant.trigger"] => &["table.trigger"],
        ["grant.public", "grant.exempt-write"] => &["write.insert"],
        ["grant.exempt-write"] | ["grant.registry-write"] => &["write.update"],
        ["view.definer"] => &["read.view"],
        ["matview"] => &["read.materialized-view"],
        ["foreign-table", ..] => &["read.foreign-table", "server.connections"],
        ["sequence.writable"] => &["sequence.set"],
        ["large-objects"] => &["large-object"],
        ["function.owner"] => &["owner.alter"],
        ["function.definer-bypasses"] => &["function.definer"],
        ["function.definer-path", ..] => &["function.path"],
        ["function.leakproof"] => &["guess.leakproof"],
        ["dblink"] => &["server.connections"],
        _ => &[],
    }
}

fn check(cases: impl IntoIterator<Item = &'static Case>) {
    check_in(&shop(), cases);
}

fn check_in(shop: &Shop, cases: impl IntoIterator<Item = &'static Case>) {
    assert_eq!(shop.breaches(), BTreeSet::new(), "at the beginning");
    for case in cases {
        if !shop.can_plant(case) {
            continue;
        }
        let name = format!("{:?}: {}", case.codes, case.plant);
        if !case.prepare.is_empty() {
            shop.db.execute(&shop.fill(case.prepare));
        }
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
            let is_breach = case.attack.is_breach();
            assert!(!is_breach || !expected(case).is_empty(), "{name}: an attack without a probe: {breaches:?}");
            assert_eq!(expected(case).is_empty(), breaches.is_empty(), "{name}: {breaches:?}");
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
#[ignore = "long: make test-long"]
fn sampled_leaks_are_breaches() {
    check(sample());
}

#[test]
#[ignore = "long: make test-long"]
fn leaks_of_roles_are_breaches() {
    check(cases::ROLES);
}

#[test]
#[ignore = "long: make test-long"]
fn leaks_of_tables_are_breaches() {
    check(cases::TABLES);
}

#[test]
#[ignore = "long: make test-long"]
fn leaks_of_grants_are_breaches() {
    check(cases::GRANTS);
}

#[test]
#[ignore = "long: make test-long"]
fn leaks_of_functions_are_breaches() {
    check(cases::FUNCTIONS);
}

/// Where contexts are settings, SQL can choose the tenant, so that nothing is forged.
#[test]
#[ignore = "long: make test-long"]
fn leaks_are_breaches_where_contexts_are_settings() {
    let shop = Shop::migrated();
    shop.db.execute("UPDATE public.row_tenancy SET context = 'setting'");
    shop.run(&["isolate", "--yes"]);
    shop.db.execute(&format!("INSERT INTO app.tenants (id, name) VALUES ('{ACME}', 'acme'), ('{GLOBEX}', 'globex')"));
    let shop = with_safe_constructs(shop);
    let output = shop.probe(&["--only", "context.bare,read.rows"]);
    output.assert_code(0);
    assert!(
        output.stdout.contains("contexts of this database are settings, which SQL can choose"),
        "{}",
        output.stdout
    );
    check_in(&shop, cases::SETTINGS);
}

/// What cannot be tried is reported as such: without a key, with the wrong key, and without rows to aim at.
#[test]
fn what_cannot_be_tried_is_not_held() {
    let shop = with_safe_constructs(Shop::isolated());
    let reasons = |output: &Output| -> BTreeSet<String> {
        let document = output.json();
        let results = document["results"].as_array().unwrap();
        results.iter().filter_map(|it| it["detail"].as_str().map(str::to_owned)).collect()
    };
    let args = ["probe", "--only", "setting.row-security,context.replayed", "--format", "json"];
    let without = shop.tenantry(&args).run();
    without.assert_code(0);
    assert!(names(&without, "held").is_empty(), "{}", without.stdout);
    assert!(reasons(&without).contains("no context key specified"));
    assert!(without.stderr.contains("hint: set TENANTRY_CONTEXT_KEY or --key-file"), "{}", without.stderr);
    shop.tenantry(&args).arg("--require-all").run().assert_code(1);
    let other = tenantry::rows::ContextKey::generate();
    let wrong = shop.tenantry(&args).env("TENANTRY_CONTEXT_KEY", other.reveal()).run();
    assert!(names(&wrong, "held").is_empty(), "{}", wrong.stdout);
    let refused = "the database refuses contexts with this key: the tenant context is not valid in this transaction";
    assert!(reasons(&wrong).contains(refused), "{}", wrong.stdout);
    let key = shop.probe(&["--only", "read.rows", "--format", "json"]);
    assert_eq!(reasons(&key), BTreeSet::from(["no other tenant has rows in the table".to_owned()]));
    assert_eq!((names(&key, "held").len(), names(&key, "not-tried").len()), (1, 1), "{}", key.stdout);
    // A trigger may advance a sequence, which no rollback undoes.
    shop.db.execute(
        "CREATE FUNCTION app.numbered() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM nextval('app.orders_id_seq'); RETURN NEW; END $$; \
         CREATE TRIGGER numbered BEFORE INSERT ON app.customers FOR EACH ROW EXECUTE FUNCTION app.numbered()",
    );
    let trigger = shop.probe(&["--only", "write.insert,guess.unique,write.move", "--format", "json"]);
    trigger.assert_code(0);
    assert!(reasons(&trigger).contains("a trigger of the table may do what a rollback does not undo"));
}

/// No attempt needs a lock that reads and writes of others conflict with, also where attempts succeed.
#[test]
fn reads_and_writes_of_others_block_no_attempt() {
    let shop = shop();
    shop.db.execute(&shop.fill(
        "ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY; GRANT ALL ON ALL TABLES IN SCHEMA app TO {user}; \
         GRANT {owner} TO {user}",
    ));
    let mut other = shop.db.connect();
    other
        .batch_execute(&format!(
            "BEGIN; LOCK TABLE app.customers, app.orders, app.events, app.countries, app.tenants IN ROW EXCLUSIVE MODE; \
             SELECT * FROM app.customers, app.orders, app.events, app.countries, app.tenants; \
             INSERT INTO app.customers (tenant_id, id, email) VALUES ('{ACME}', 9, 'new@acme.example')"
        ))
        .unwrap();
    let output = shop.probe(&["--format", "json"]);
    output.assert_code(1);
    assert!(!output.stdout.contains("lock timeout"), "{}", output.stdout);
    assert!(names(&output, "breach").len() > 15, "{}", output.stdout);
    other.batch_execute("ROLLBACK").unwrap();
}

/// The tenants are chosen by name.
#[test]
fn tenants_are_chosen_by_name() {
    let shop = shop();
    shop.db.execute("ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY");
    let statement = |args: &[&str]| {
        let output = shop.probe(&[&["--only", "count.rows", "--format", "json"], args].concat());
        let document = output.json();
        let results = document["results"].as_array().unwrap_or_else(|| panic!("{document}")).clone();
        let breach = results.into_iter().find(|it| it["outcome"] == "breach");
        breach.unwrap_or_else(|| panic!("{document}"))["statement"].to_string()
    };
    assert!(statement(&[]).contains(GLOBEX));
    assert!(statement(&["globex"]).contains(GLOBEX));
    assert!(statement(&["acme"]).contains(ACME));
    assert!(statement(&["--tenant", "globex"]).contains(ACME));
    let unknown = shop.probe(&["globx"]);
    unknown.assert_code(3);
    assert!(unknown.stderr.contains("hint: did you mean globex?"), "{}", unknown.stderr);
}

/// The operator may be the administrator, who is no superuser.
#[test]
fn administrator_may_probe() {
    let shop = shop();
    shop.db.execute(
        &shop.fill("GRANT USAGE ON SCHEMA public TO {admin}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {admin}"),
    );
    let url = shop.db.url().replacen("://postgres@", &format!("://{}@", shop.role("admin")), 1);
    let output = shop
        .tenantry(&["probe", "--require-all"])
        .env("DATABASE_URL", &url)
        .env("TENANTRY_CONTEXT_KEY", shop.key.reveal())
        .run();
    output.assert_code(0);
    assert!(!format!("{}{}", output.stdout, output.stderr).contains(&shop.key.reveal()));
}

/// Everything in the catalogs, tables, sequences and large objects of a database.
fn dump(shop: &Shop) -> Vec<String> {
    let mut conn = shop.db.connect();
    let tables = strings(
        &mut conn,
        "SELECT format('%s %I.%I', c.relkind, n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname NOT IN ('information_schema', 'pg_toast') \
         AND c.relname <> 'pg_statistic' AND NOT c.relisshared ORDER BY 1",
    );
    assert!(tables.len() > 60, "{tables:?}");
    // Other databases of the server change what they share.
    let shared = [
        "FROM pg_roles AS t WHERE rolname LIKE '{db}%' OR rolname LIKE 'tenantry_probe%'",
        "FROM pg_auth_members AS t WHERE pg_get_userbyid(member) LIKE '{db}%'",
        "FROM pg_database AS t WHERE datname = current_database()",
        "FROM pg_db_role_setting AS t WHERE pg_get_userbyid(setrole) LIKE '{db}%'",
        "FROM pg_shdepend AS t WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        "FROM pg_shdescription AS t WHERE objoid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    ];
    let shared: Vec<String> = shared
        .iter()
        .map(|from| shop.fill(&format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) {from}")))
        .map(|sql| strings(&mut conn, &sql).remove(0))
        .collect();
    let digest = |table: &String| {
        let (kind, table) = table.split_once(' ').unwrap();
        let digest = match kind {
            "S" => format!("SELECT concat_ws(' ', last_value, is_called) FROM {table}"),
            _ => format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"),
        };
        format!("{table} {}", strings(&mut conn, &digest).remove(0))
    };
    tables.iter().map(digest).chain(shared).collect()
}

/// Also where attempts succeed, nothing remains of them.
#[test]
#[ignore = "long: make test-long"]
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
