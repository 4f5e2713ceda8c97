//! Creation with many migrations: from a snapshot, by a replay, and the snapshot's script alone.

use anyhow::Result;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use tenantry::operations::migrate::CreationMethod;
use tenantry::{Tenancy, TenantName};

use crate::report::{Goal, Report};
use crate::world::{Scratch, World, names};
use crate::{Args, floor, ours};

/// The migrations of the set.
const MIGRATIONS: usize = 300;

/// The tables that they create, and then change.
const TABLES: usize = 12;

/// The tenants that are created in a turn.
const SLICE: usize = 4;

/// Adds the ratios of a snapshot to its script alone, and to a replay.
pub fn measure(world: &World, args: &Args, report: &mut Report) -> Result<()> {
    let tenancy = Tenancy::new(crate::sets::set_of_owned(&migrations())?)?;
    let database = world.database("creation", &tenancy)?;
    let turns = if args.test { 1 } else { args.rounds * 4 };
    let all = names(SLICE * (turns * 3 + 1));
    let mut slices = all.chunks(SLICE);
    let mut next = || slices.next().unwrap_or_default();
    // Makes the snapshot.
    create(&database, args, &tenancy, CreationMethod::Snapshot, next())?;
    let script = Script::read(&database)?;
    for turn in 0..turns {
        let (first, second, third) = (next(), next(), next());
        let snapshot = |names| create(&database, args, &tenancy, CreationMethod::Snapshot, names);
        let timed = world.pair(turn, || snapshot(first), || script.run(&database, args, &tenancy, second))?;
        report.add("create, 300 migrations", SLICE, Goal::AtMost(1.3), timed);
        let replay = || create(&database, args, &tenancy, CreationMethod::Replay, third);
        let snapshot = || create(&database, args, &tenancy, CreationMethod::Snapshot, &retaken(first));
        let timed = world.pair(turn, snapshot, replay)?;
        report.add("the same, floor is a replay", SLICE, Goal::AtMost(0.1), timed);
    }
    Ok(())
}

/// Other names for the same number of tenants.
fn retaken(names: &[TenantName]) -> Vec<TenantName> {
    names.iter().map(|name| format!("{name}_2").parse().expect("a tenant's name")).collect()
}

fn create(
    database: &Scratch<'_>,
    args: &Args,
    tenancy: &Tenancy,
    method: CreationMethod,
    names: &[TenantName],
) -> Result<()> {
    ours::create_with(database.url(), args.jobs, tenancy, method, names)
}

/// The script of the snapshot.
#[derive(QueryableByName)]
struct Script {
    #[diesel(sql_type = Text)]
    script: String,
    #[diesel(sql_type = Text)]
    placeholder: String,
}

impl Script {
    fn read(database: &Scratch<'_>) -> Result<Self> {
        let mut conn = PgConnection::establish(database.url())?;
        Ok(sql_query("SELECT script, placeholder FROM public.schema_snapshot").get_result(&mut conn)?)
    }

    /// Creates the tenants with one message each.
    fn run(&self, database: &Scratch<'_>, args: &Args, tenancy: &Tenancy, names: &[TenantName]) -> Result<()> {
        floor::run(database.url(), args.jobs, names, |name| {
            let script = self.script.replace(&self.placeholder, name.as_str());
            Ok(vec![floor::with_ledger(name, tenancy.tenant_migrations(), &script)])
        })
    }
}

/// Migrations as a product has them after some years: tables first, and then mostly changes of them.
fn migrations() -> Vec<(String, String)> {
    let table = |t: usize| {
        let parent =
            t.checked_sub(1).map_or(String::new(), |t| format!(", parent bigint NOT NULL REFERENCES t{t} (id)"));
        format!(
            "CREATE TABLE t{t} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, d int, \
             at timestamptz NOT NULL DEFAULT now(){parent}); CREATE INDEX t{t}_name ON t{t} (name);"
        )
    };
    let change = |n: usize| {
        let (t, round) = (n % TABLES, n / TABLES);
        match round % 8 {
            0 => format!("ALTER TABLE t{t} ADD COLUMN c{round} text NOT NULL DEFAULT 'x';"),
            1 => format!("UPDATE t{t} SET name = lower(name) WHERE name <> lower(name);"),
            2 => format!("CREATE INDEX t{t}_i{round} ON t{t} (d, name);"),
            3 => format!("ALTER TABLE t{t} DROP COLUMN c{};", round - 3),
            4 => format!(
                "CREATE OR REPLACE FUNCTION f{t}() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN NEW.at := now(); RETURN NEW; END $$; DROP TRIGGER IF EXISTS touch ON t{t}; \
                 CREATE TRIGGER touch BEFORE UPDATE ON t{t} FOR EACH ROW EXECUTE FUNCTION f{t}();"
            ),
            5 => format!("ALTER TABLE t{t} ADD CONSTRAINT k{round} CHECK (d > -{round});"),
            6 => format!("DROP INDEX t{t}_i{}; ALTER TABLE t{t} DROP CONSTRAINT k{};", round - 4, round - 1),
            _ => format!("DROP VIEW IF EXISTS v{t}; CREATE VIEW v{t} AS SELECT id, name FROM t{t} WHERE d > {round};"),
        }
    };
    (0..MIGRATIONS)
        .map(|n| {
            let up = if n < TABLES { table(n) } else { change(n - TABLES) };
            (format!("{}_step", 20_200_101_000_000 + n), up)
        })
        .collect()
}
