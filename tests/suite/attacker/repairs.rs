//! Trial runs of repair plans, which validate constraints, rewrite tables and read rows.

use super::Attacked;
use crate::support::migrations::Dir;

/// The structure that the migrations produce.
fn expected() -> Dir {
    Dir::new()
        .add(
            "1_a",
            "CREATE TABLE a (i int PRIMARY KEY, n bigint, CONSTRAINT positive CHECK (n > 0)); \
             CREATE TABLE b (a int CONSTRAINT b_a_fkey REFERENCES a);",
        )
        .down("DROP TABLE b; DROP TABLE a;")
}

/// Drift that the owner of tables plants, so that the repair of it evaluates a function of theirs.
const DRIFT: &[(&str, &str)] = &[
    (
        "an index of a table that a foreign key refers to",
        "ALTER TABLE mallory.b DROP CONSTRAINT b_a_fkey; CREATE INDEX ON mallory.a ((mallory.trap(1)), i)",
    ),
    (
        "a cast of a column whose type is changed",
        "CREATE TYPE mallory.t AS (n int); CREATE FUNCTION mallory.cast_t(mallory.t) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM mallory.trap(1); RETURN ($1).n; END $$; \
         CREATE CAST (mallory.t AS bigint) WITH FUNCTION mallory.cast_t(mallory.t) AS ASSIGNMENT; \
         ALTER TABLE mallory.a DROP COLUMN n, ADD COLUMN n mallory.t DEFAULT ROW(1)::mallory.t",
    ),
];

/// The code runs without the rights of the connected role, also if it resets the role.
#[test]
#[ignore = "long: make test-long"]
fn trial_runs_contain_code_of_tables() {
    let migrations = expected();
    for (what, drift) in DRIFT {
        let attacked = Attacked::with(&migrations);
        attacked.db.execute(&format!(
            "ALTER TABLE mallory.a OWNER TO {0}; ALTER TABLE mallory.b OWNER TO {0}",
            attacked.attacker
        ));
        attacked.plant(
            "SET check_function_bodies TO off; \
             CREATE FUNCTION mallory.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
             $$ BEGIN BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN END; PERFORM trap.spring('planted'); RETURN 1; END $$; \
             INSERT INTO mallory.a VALUES (1, 1); INSERT INTO mallory.b VALUES (1)",
        );
        attacked.plant(drift);
        // It may have run when it was planted: the session is that of a superuser.
        attacked.executed();
        let plan = |option: &[&str]| {
            let output = attacked.db.tenantry(["repair-plan", "mallory", "--tenant-migrations"]);
            let output = output.arg(migrations.path()).args(["--ignore", "index.extra"]).args(option).run();
            assert!(matches!(output.code, Some(0 | 1)), "{what}: {}", output.stderr);
            attacked.assert_nothing_executed(&format!("{what}: {}{}", output.stdout, output.stderr));
            output.stdout.clone()
        };
        plan(&[]);
        let script = plan(&["--allow-data-loss"]);
        // The trap works: the operator's own execution of the plan is not contained.
        attacked.db.execute(&script);
        assert_eq!(attacked.executed().as_deref(), Some("planted"), "{what}: {script}");
    }
}
