//! Code that runs while a tenant is dumped, restored, and backed up before a drop.

use super::Attacked;
use crate::support::schemas;

/// Code in each place where reading or restoring a table runs some. It tries to get the rights of the connected role, and to keep
/// them in the functions of Tenantry.
const PLANTED: &str = "
    CREATE FUNCTION mallory.spring(what text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ DECLARE attempt text; BEGIN
        FOREACH attempt IN ARRAY ARRAY['RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET ROLE postgres',
            (SELECT string_agg(format('ALTER FUNCTION %s SECURITY INVOKER', oid::regprocedure), ';') FROM pg_proc
             WHERE proname LIKE 'tenantry%')] LOOP
            BEGIN EXECUTE attempt; EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;
        PERFORM set_config('search_path', 'mallory, pg_catalog', false);
        PERFORM trap.spring(what);
        RETURN true; END $$;
    CREATE FUNCTION mallory.count(int) RETURNS bigint LANGUAGE sql AS $$ SELECT mallory.spring('count')::int::bigint $$;
    CREATE DOMAIN mallory.checked AS int CHECK (mallory.spring('domain'));
    CREATE TABLE mallory.traps (i mallory.checked, j int CHECK (mallory.spring('check')),
        k bool GENERATED ALWAYS AS (mallory.spring('generated')) STORED);
    INSERT INTO mallory.traps VALUES (1, 2), (3, 4);
    CREATE INDEX ON mallory.traps (mallory.spring('index')) WHERE mallory.spring('predicate');
    CREATE MATERIALIZED VIEW mallory.materialized AS SELECT mallory.spring('materialized view');
    CREATE FUNCTION mallory.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.spring('trigger'); RETURN NEW; END $$;
    CREATE TRIGGER fire BEFORE INSERT OR DELETE ON mallory.traps FOR EACH ROW EXECUTE FUNCTION mallory.fire();
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON mallory.traps DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION mallory.fire();
    CREATE RULE instead AS ON UPDATE TO mallory.traps DO ALSO SELECT mallory.spring('rule')";

#[test]
fn planted_code_never_runs_with_the_operators_privileges_in_archives() {
    let attacked = Attacked::new();
    let (db, attacker) = (&attacked.db, &attacked.attacker);
    db.execute(&format!("GRANT USAGE ON SCHEMA trap TO PUBLIC; ALTER SCHEMA mallory OWNER TO {attacker}"));
    attacked.plant(PLANTED);
    assert_eq!(attacked.executed(), None);
    db.execute("INSERT INTO mallory.traps VALUES (5, 6)");
    assert!(attacked.executed().is_some(), "the traps work");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mallory.dump").display().to_string();
    let migrations = super::older();
    let run = |args: &[&str]| {
        let command = db.tenantry(args);
        let needs_migrations = args[0] != "dump";
        let output = match needs_migrations {
            true => command.arg("--tenant-migrations").arg(migrations.path()).run(),
            false => command.run(),
        };
        attacked.assert_nothing_executed(&format!("{args:?}: {}", output.stderr));
        output.assert_code(0);
    };
    run(&["dump", "mallory", "-o", &file]);
    let directory = folder.path().to_str().unwrap();
    run(&["drop", "mallory", "--yes", "--backup", directory]);
    run(&["restore", &file, "mallory"]);
    assert_eq!(db.count("SELECT pg_catalog.count(*) FROM mallory.traps"), 3);
    attacked.executed();
    assert_eq!(schemas(db), ["acme", "mallory", "trap"]);
    let owners = "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'mallory'::regnamespace";
    assert_eq!(db.strings(owners), [attacker.as_str()]);
}
