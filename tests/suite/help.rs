//! The help, and unknown commands and options.

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
    help_of_untrack: "untrack";
    help_of_clone: "clone";
    help_of_dump: "dump";
    help_of_restore: "restore";
    help_of_rename: "rename";
    help_of_label: "label";
    help_of_archive: "archive";
    help_of_unarchive: "unarchive";
    help_of_purge: "purge";
    help_of_list: "list";
    help_of_stats: "stats";
    help_of_metrics: "metrics";
    help_of_psql: "psql";
    help_of_browse: "browse";
    help_of_exec: "exec";
    help_of_migrate_one: "migrate-one";
    help_of_migrate_all: "migrate-all";
    help_of_revert_one: "revert-one";
    help_of_revert_all: "revert-all";
    help_of_redo: "redo";
    help_of_runs: "runs";
    help_of_runs_show: "runs" "show";
    help_of_repair: "repair";
    help_of_health_check: "health-check";
    help_of_probe: "probe";
    help_of_diff: "diff";
    help_of_repair_plan: "repair-plan";
    help_of_reference: "reference";
    help_of_print_schema: "print-schema";
    help_of_lint: "lint";
    help_of_server: "server";
    help_of_server_add: "server" "add";
    help_of_where: "where";
    help_of_shared: "shared";
    help_of_shared_add: "shared" "add";
    help_of_drop: "drop";
    help_of_cleanup: "cleanup";
    help_of_grants: "grants";
    help_of_new_migration: "new-migration";
    help_of_local: "local";
    help_of_local_start: "local" "start";
    help_of_local_stop: "local" "stop";
    help_of_local_status: "local" "status";
    help_of_local_url: "local" "url";
    help_of_local_psql: "local" "psql";
    help_of_move: "move";
    help_of_move_status: "move" "status";
    help_of_move_resume: "move" "resume";
    help_of_move_abort: "move" "abort";
    help_of_move_back: "move" "back";
    help_of_move_finish: "move" "finish";
    help_of_place: "place";
    help_of_demo: "demo";
    help_of_completions: "completions";
    help_of_man: "man";
}

#[test]
fn the_main_help_lists_the_commands_by_purpose() {
    let help = run(&["-h"]).stdout;
    let (_, commands) = help.split_once("\n\n").expect("the commands follow the usage");
    let (commands, _) = commands.split_once("Options:").expect("the options follow the commands");
    let (_, commands) = commands.split_once("\n\n").expect("the usage is a paragraph");
    let groups: Vec<(&str, Vec<&str>)> = commands
        .trim_end()
        .split("\n\n")
        .map(|group| {
            let (heading, lines) = group.split_once(":\n").expect("a heading");
            (heading, lines.lines().filter_map(|line| line.split_whitespace().next()).collect())
        })
        .collect();
    assert_eq!(
        groups,
        [
            (
                "Tenants",
                vec![
                    "create",
                    "adopt",
                    "untrack",
                    "rename",
                    "clone",
                    "dump",
                    "restore",
                    "label",
                    "archive",
                    "unarchive",
                    "list",
                    "stats",
                    "browse",
                    "exec",
                    "psql",
                    "drop",
                    "purge",
                    "cleanup"
                ]
            ),
            (
                "Migrations",
                vec!["migrate-public", "migrate-one", "migrate-all", "revert-one", "revert-all", "redo", "runs"]
            ),
            ("Servers", vec!["server", "where", "move", "place", "shared"]),
            ("Isolation", vec!["isolate", "key", "benchmark"]),
            (
                "Checks and repair",
                vec!["health-check", "probe", "diff", "repair-plan", "reference", "repair", "metrics"]
            ),
            ("Development", vec!["new-migration", "seed", "lint", "print-schema", "grants", "local", "demo"]),
            ("Shell", vec!["completions", "man", "help"]),
        ]
    );
}

/// The shared options in the help of a command.
fn shared_options(command: &[&str]) -> Vec<&'static str> {
    const SHARED: [&str; 12] = [
        "--database-url",
        "--connect-timeout",
        "--tenant-migrations",
        "--public-migrations",
        "--extension-schema",
        "--as-owner",
        "--jobs",
        "--lock-timeout",
        "--statement-timeout",
        "--retries",
        "--reconnect-for",
        "--keep",
    ];
    let help = run(&[command, &["-h"]].concat()).stdout;
    SHARED.into_iter().filter(|option| help.contains(&format!("{option} "))).collect()
}

#[test]
fn a_command_shows_only_the_options_that_apply_to_it() {
    let none: [&str; 0] = [];
    assert_eq!(shared_options(&["completions"]), none);
    assert_eq!(shared_options(&["local", "start"]), none);
    assert_eq!(
        shared_options(&["new-migration"]),
        ["--database-url", "--connect-timeout", "--tenant-migrations", "--public-migrations"]
    );
    assert_eq!(shared_options(&["lint"]), ["--tenant-migrations", "--public-migrations", "--extension-schema"]);
    assert_eq!(shared_options(&["runs", "show"]), ["--database-url", "--connect-timeout", "--public-migrations"]);
    assert_eq!(shared_options(&["migrate-all"]).len(), 12);
    for command in ["completions", "local", "new-migration", "list", "migrate-all"] {
        let help = run(&[command, "-h"]).stdout;
        assert!(help.contains("--format") && help.contains("--quiet"), "{help}");
    }
}

#[test]
fn an_option_can_precede_the_command_that_it_applies_to() {
    assert_eq!(run(&["--database-url", "host=/nonexistent", "list"]).code, Some(5));
    assert_eq!(run(&["--lock-timeout", "soon", "migrate-all"]).code, Some(2));
    assert_snapshot!(run(&["--lock-timeout", "1s", "completions", "bash"]), @r"
        --- stderr
        error: --lock-timeout does not apply to 'completions'

        Usage: tenantry [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["completions", "bash", "--lock-timeout", "1s"]), @r"
        --- stderr
        error: --lock-timeout does not apply to 'completions'

        Usage: tenantry [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["--jobs", "2", "runs", "show", "1"]), @r"
        --- stderr
        error: --jobs does not apply to 'runs show'

        Usage: tenantry [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
}

#[test]
fn the_variable_of_an_option_that_does_not_apply_is_ignored() {
    let output = Tenantry::new().args(["completions", "bash"]).env("TENANTRY_LOCK_TIMEOUT", "soon").run();
    output.assert_code(0);
}

#[test]
fn help_without_a_database_reads_no_settings() {
    // An invalid setting does not prevent anyone from reading the help.
    Tenantry::new().args(["list", "--help"]).env("TENANTRY_JOBS", "many").run().assert_code(0);
    assert_eq!(run(&["help", "create"]).stdout, run(&["create", "--help"]).stdout);
}

#[test]
fn version_is_printed() {
    assert_snapshot!(run(&["--version"]), @r"
        tenantry VERSION
        --- stderr
        --- exit 0
    ");
    assert_eq!(run(&["-V"]).assert_code(0).stdout, run(&["--version"]).stdout);
}

#[test]
fn missing_command_prints_the_help() {
    assert_snapshot!(run(&[]));
}

#[test]
fn unknown_command_is_refused() {
    assert_snapshot!(run(&["migrate"]));
    assert_snapshot!(run(&["help", "nonsense"]), @r"
        --- stderr
        error: unrecognized subcommand 'nonsense'

        Usage: tenantry [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["local", "restart"]));
}

#[test]
fn unknown_flag_is_refused() {
    assert_snapshot!(run(&["list", "--name"]));
    assert_snapshot!(run(&["--nonsense", "list"]), @r"
        --- stderr
        error: unexpected argument '--nonsense' found

        Usage: tenantry [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
}

#[test]
fn missing_and_extra_arguments_are_refused() {
    assert_snapshot!(run(&["create"]), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>...

        Usage: tenantry create <NAME>...

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["drop", "--yes"]), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>...

        Usage: tenantry drop --yes <NAME>...

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["migrate-one"]), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>

        Usage: tenantry migrate-one <NAME>

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(run(&["list", "acme"]), @r"
        --- stderr
        error: unexpected argument 'acme' found

        Usage: tenantry list [OPTIONS]

        For more information, try '--help'.
        --- exit 2
    ");
}
