//! What the command line says of itself, and of words that it does not know.

use crate::assert_snapshot;
use crate::support::{Output, Tenantry};

fn run(args: &[&str]) -> Output {
    Tenantry::new().without_migrations().args(args).hide(env!("CARGO_PKG_VERSION"), "VERSION").run()
}

macro_rules! helps {
    ($($test:ident: $($word:literal)*;)*) => {$(
        #[test]
        fn $test() {
            assert_snapshot!(run(&[$($word,)* "--help"]));
            assert_snapshot!(run(&[$($word,)* "-h"]));
        }
    )*};
}

helps! {
    help_of_all: ;
    help_of_migrate_public: "migrate-public";
    help_of_create: "create";
    help_of_adopt: "adopt";
    help_of_list: "list";
    help_of_migrate_one: "migrate-one";
    help_of_migrate_all: "migrate-all";
    help_of_revert_one: "revert-one";
    help_of_revert_all: "revert-all";
    help_of_runs: "runs";
    help_of_runs_show: "runs" "show";
    help_of_repair: "repair";
    help_of_health_check: "health-check";
    help_of_diff: "diff";
    help_of_repair_plan: "repair-plan";
    help_of_reference: "reference";
    help_of_print_schema: "print-schema";
    help_of_lint: "lint";
    help_of_drop: "drop";
    help_of_cleanup: "cleanup";
    help_of_new_migration: "new-migration";
    help_of_local: "local";
    help_of_local_start: "local" "start";
    help_of_local_stop: "local" "stop";
    help_of_local_status: "local" "status";
    help_of_local_url: "local" "url";
    help_of_local_psql: "local" "psql";
    help_of_demo: "demo";
    help_of_completions: "completions";
}

/// The first words of the lines below `heading`, up to the next blank line.
fn words_below<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, below) = help.split_once(heading).unwrap_or_else(|| panic!("{heading} in {help}"));
    below.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split(' ').nth(2)).collect()
}

#[test]
fn every_command_is_tried_here() {
    let all = run(&["-h"]).stdout;
    let tried = [
        "migrate-public",
        "create",
        "adopt",
        "list",
        "migrate-one",
        "migrate-all",
        "revert-one",
        "revert-all",
        "runs",
        "repair",
        "health-check",
        "diff",
        "repair-plan",
        "reference",
        "print-schema",
        "lint",
        "drop",
        "cleanup",
        "new-migration",
        "local",
        "demo",
        "completions",
        "help",
    ];
    let mut told = words_below(&all, "Commands:");
    told.retain(|word| !word.is_empty());
    assert_eq!(told, tried);
}

#[test]
fn help_without_a_database_reads_no_settings() {
    // A setting that is wrong does not keep anyone from reading how it is to be.
    Tenantry::new().args(["list", "--help"]).env("TENANTRY_JOBS", "many").run().assert_code(0);
    assert_eq!(run(&["help", "create"]).stdout, run(&["create", "--help"]).stdout);
}

#[test]
fn version() {
    assert_snapshot!(run(&["--version"]));
    assert_eq!(run(&["-V"]).assert_code(0).stdout, run(&["--version"]).stdout);
}

#[test]
fn nothing_asked_for() {
    assert_snapshot!(run(&[]));
}

#[test]
fn an_unknown_command() {
    assert_snapshot!(run(&["migrate"]));
    assert_snapshot!(run(&["help", "nonsense"]));
    assert_snapshot!(run(&["local", "restart"]));
}

#[test]
fn an_unknown_flag() {
    assert_snapshot!(run(&["list", "--name"]));
    assert_snapshot!(run(&["--nonsense", "list"]));
}

#[test]
fn arguments_that_are_missing_or_too_many() {
    assert_snapshot!(run(&["create"]));
    assert_snapshot!(run(&["drop", "--yes"]));
    assert_snapshot!(run(&["migrate-one"]));
    assert_snapshot!(run(&["list", "acme"]));
}
