//! The output at a terminal: tables in a narrow one, the progress of a run, and colors.

use diesel::connection::SimpleConnection;
use regex::Regex;

use crate::support::migrations::Dir;
use crate::support::{Database, Screen, Tenantry, Terminal, fleet, run_with};

/// A fleet with long names, drift and a failed run.
fn shop() -> (Database, Dir) {
    let db = fleet(&["acme", "globex_corporation"]);
    db.execute("CREATE INDEX tmp ON globex_corporation.users (id)");
    db.execute("INSERT INTO acme.users (email, full_name) VALUES ('a@b', 'Same'), ('b@b', 'Same')");
    let up = "ALTER TABLE users ADD CONSTRAINT users_full_name_key UNIQUE (full_name);";
    let migrations = Dir::copy_of_tenant().add("20270101000000_unique_names", up);
    run_with(&db, &migrations, &["migrate-all"]).assert_code(1);
    (db, migrations)
}

fn at(command: Tenantry, columns: u16) -> String {
    Screen::of(&mut Terminal::spawn_in(command, columns)).snapshot()
}

/// The command without messages, so that the screen has only what it prints to standard output.
fn quiet(db: &Database, migrations: &Dir, args: &[&str]) -> Tenantry {
    db.tenantry(args).arg("--quiet").env("TENANTRY_TENANT_MIGRATIONS", migrations.path())
}

const COMMANDS: [&[&str]; 6] = [
    &["list"],
    &["runs"],
    &["runs", "show", "2"],
    &["health-check"],
    &["health-check", "--group"],
    &["migrate-all", "--dry-run"],
];

#[test]
#[ignore = "long: make test-long"]
fn no_line_of_a_table_is_wider_than_the_terminal() {
    let (db, migrations) = shop();
    for args in COMMANDS {
        for columns in [60, 100] {
            let screen = at(quiet(&db, &migrations, args), columns);
            let lines = || screen.lines().filter(|line| !line.starts_with("--- exit"));
            let longest = lines().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(longest > 10 && longest <= usize::from(columns), "{args:?}: {longest} of {columns}\n{screen}");
            assert!(
                ["runs", "migrate-all"].contains(&args[0]) || screen.contains("globex_corporation"),
                "{args:?}\n{screen}"
            );
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_printed_as_records() {
    let (db, migrations) = shop();
    let screen = |args: &[&str]| at(quiet(&db, &migrations, args), 60);
    assert!(screen(&["list"]).starts_with("TENANT "), "{}", screen(&["list"]));
    let checked = screen(&["health-check"]);
    let record = "TENANT   globex_corporation\nCODE     index.extra\nLEVEL    structural\n\
                  FINDING  index users.tmp is unexpected\nFIX      tenantry repair-plan globex_corporation\n";
    assert!(checked.contains(record), "{checked}");
    let run = screen(&["runs", "show", "2"]);
    assert!(run.contains("TENANT    acme\nOUTCOME   failed\nFROM      20260209090000\n"), "{run}");
    assert!(run.contains("ERROR     migration 20270101000000_unique_names/up.sql:1"), "{run}");
}

#[test]
#[ignore = "long: make test-long"]
fn the_width_in_the_environment_takes_precedence_at_a_terminal_only() {
    let (db, migrations) = shop();
    let command = |columns: &str| quiet(&db, &migrations, &["health-check"]).env("COLUMNS", columns);
    assert_eq!(at(command("60"), 200), at(quiet(&db, &migrations, &["health-check"]), 60));
    for columns in ["", "wide", "0"] {
        assert_eq!(at(command(columns), 60), at(command("60"), 60), "{columns:?}");
    }
    let piped = command("60").run();
    let lines: Vec<&str> = piped.stdout.lines().collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.split("  ").count() > 3), "{}", piped.stdout);
}

#[test]
fn progress_fits_a_narrow_terminal_and_shows_a_short_rate() {
    let names: Vec<String> = (1..=8).map(|number| format!("tenant_{number}")).collect();
    let db = fleet(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let migrations = Dir::copy_of_tenant().add("20270101000000_note", "ALTER TABLE users ADD COLUMN note text;");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE tenant_8.users").unwrap();
    let run = db.tenantry(["migrate-all", "--lock-timeout", "60s", "--tenant-migrations"]).arg(migrations.path());
    let mut terminal = Terminal::spawn_in(run.env("TERM", "xterm"), 60);
    terminal.expect("7/8 tenants, ");
    terminal.expect("/s, ");
    holder.batch_execute("ROLLBACK").unwrap();
    let screen = Screen::of(&mut terminal);
    screen.assert_code(0);
    let escapes = Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap();
    let shown = escapes.replace_all(&screen.snapshot(), "").into_owned();
    let bar = Regex::new(r"(\S+) (\d)/8 tenants, (\d\.\d|\d{2,})/s, \d+\w+ left").unwrap();
    let bars: Vec<&str> = bar.find_iter(&shown).map(|found| found.as_str()).collect();
    assert!(!bars.is_empty() && bars.iter().all(|bar| bar.chars().count() <= 60), "{shown}");
}

#[test]
#[ignore = "long: make test-long"]
fn differences_are_colored_at_a_terminal() {
    let (db, migrations) = shop();
    let diff = |more: &[&str]| quiet(&db, &migrations, &[&["diff", "globex_corporation"], more].concat());
    let terminal = |command: Tenantry| at(command.env("TERM", "xterm"), 100);
    const RED: &str = "\u{1b}[31m";
    const GREEN: &str = "\u{1b}[32m";
    let colored = terminal(diff(&[]));
    let extra = format!("{GREEN}+ CREATE INDEX tmp ON globex_corporation.users USING btree (id)\u{1b}[0m");
    assert!(
        colored.contains(&extra) && colored.contains("\u{1b}[1mindex users.tmp (structural, index.extra)"),
        "{colored}"
    );
    db.execute("ALTER TABLE globex_corporation.users ALTER COLUMN full_name DROP NOT NULL");
    let changed = terminal(diff(&[]));
    assert!(changed.contains(&format!("{RED}- ")) && changed.contains(&format!("{GREEN}+ ")), "{changed}");
    for plain in [terminal(diff(&[]).env("NO_COLOR", "1")), terminal(diff(&["--color", "never"])), at(diff(&[]), 100)] {
        assert!(!plain.contains('\u{1b}'), "{plain}");
    }
    assert!(!diff(&[]).run().stdout.contains('\u{1b}'));
    assert!(diff(&["--color", "always"]).run().stdout.contains(GREEN));
}
