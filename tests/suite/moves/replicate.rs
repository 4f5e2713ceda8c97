//! The method `replicate`, on a server with `wal_level = logical`.

use super::support::{Held, contents, fill, logical_pair};

#[test]
fn a_replicated_tenant_is_the_same_on_the_target() {
    let pair = logical_pair();
    fill(&pair.main, "acme");
    pair.main.execute(
        "CREATE TABLE acme.keyless (a int, b text); INSERT INTO acme.keyless VALUES (1, 'x'); \
         CREATE TABLE acme.silent (a int); ALTER TABLE acme.silent REPLICA IDENTITY NOTHING; INSERT INTO acme.silent VALUES (1); \
         CREATE FUNCTION acme.double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO acme.silent VALUES (99); RETURN NEW; END'; \
         CREATE TRIGGER double AFTER INSERT ON acme.keyless FOR EACH ROW EXECUTE FUNCTION acme.double()",
    );
    // Changes while the target follows.
    let mut held = Held::new(&pair, "following", &["move", "acme", "--to", "eu", "--verify", "before"]);
    pair.main.execute(
        "UPDATE acme.keyless SET b = 'y'; INSERT INTO acme.keyless VALUES (2, 'z'); UPDATE acme.silent SET a = a + 1; \
         DELETE FROM acme.users WHERE id = 3; UPDATE acme.users SET full_name = 'new' WHERE id = 4",
    );
    let before = contents(&pair.main, "acme");
    held.release();
    let moved = held.running.wait();
    moved.assert_code(0);
    assert!(moved.stderr.contains("acme moved to server eu (replicate, writes blocked for "), "{}", moved.stderr);
    assert_eq!(contents(&pair.eu, "acme"), before);
    assert_eq!(pair.placement("acme"), "eu active 2");
    pair.assert_clean();
    let identity = "SELECT relreplident FROM pg_class WHERE oid = 'acme.silent'::regclass";
    assert_eq!(pair.eu.string(identity), "n");
    assert_eq!(pair.main.string(&identity.replace("acme", &pair.old_schemas()[0])), "n");
    pair.eu.execute("INSERT INTO acme.extra (note) VALUES ('new'); INSERT INTO acme.keyless VALUES (3, 'n')");
    // And back, because something was written, by another move.
    pair.main.tenantry(["move", "acme", "--to", "main", "--method", "replicate"]).run().assert_code(0);
    pair.assert_clean();
}

#[test]
fn a_change_of_the_structure_stops_the_replication_by_name() {
    let pair = logical_pair();
    fill(&pair.main, "acme");
    let mut held = Held::new(&pair, "following", &["move", "acme", "--to", "eu", "--method", "replicate"]);
    pair.main.execute("CREATE INDEX surprise ON acme.users (full_name)");
    held.release();
    let output = held.running.wait();
    output.assert_code(3);
    assert!(
        output.stderr.contains("was changed during the move: index users.surprise is unexpected"),
        "{}",
        output.stderr
    );
    assert_eq!(pair.states("acme")[0], "moving");
    pair.main.tenantry(["move", "abort", "acme"]).run().assert_code(0);
    assert_eq!(pair.states("acme"), ["active", ""]);
    pair.assert_clean();
}

#[test]
fn what_is_missing_for_a_replication_is_named() {
    let pair = logical_pair();
    let plain = format!("mover_{}", pair.eu.name());
    pair.main.execute("CREATE UNLOGGED TABLE acme.cache (a int); CREATE MATERIALIZED VIEW acme.counts AS SELECT count(*) FROM acme.users");
    pair.eu.execute(&format!("CREATE ROLE {plain} LOGIN CREATEROLE IN ROLE pg_read_all_data"));
    pair.eu.execute(&format!(
        "GRANT CREATE ON DATABASE {} TO {plain}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {plain}",
        pair.eu.name()
    ));
    let url = pair.eu.url().replace("postgres@", &format!("{plain}@"));
    pair.main.tenantry(["server", "set", "eu", "--url", &url]).run().assert_code(0);
    let output = pair.main.tenantry(["move", "acme", "--to", "eu", "--dry-run", "--format", "json"]).run();
    let missing = output.json()["plans"][0]["missing"].to_string();
    for text in
        ["unlogged tables are not replicated: cache", "are not replicated: counts", "only a superuser can subscribe"]
    {
        assert!(missing.contains(text), "{missing}");
    }
    assert_eq!(output.json()["plans"][0]["method"], "copy");
    pair.eu.execute(&format!("DROP OWNED BY {plain}; DROP ROLE {plain}"));
}
