//! `completions`

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::{Database, Output, Tenantry, fleet};

/// The shells, and what their scripts contain.
const SHELLS: [(&str, &str); 5] = [
    ("bash", "complete -o nospace -o bashdefault -o nosort -F _clap_complete_tenantry tenantry"),
    ("zsh", "#compdef tenantry"),
    ("fish", "complete --keep-order --exclusive --command tenantry"),
    ("elvish", "edit:completion:arg-completer[tenantry]"),
    ("powershell", "Register-ArgumentCompleter -Native -CommandName tenantry"),
];

#[test]
fn script_of_each_shell_asks_the_program() {
    for (shell, mark) in SHELLS {
        let output = Tenantry::new().args(["completions", shell]).run();
        output.assert_code(0);
        assert!(output.stdout.contains(mark), "{mark} in: {}", output.stdout);
        assert!(output.stdout.contains("_TENANTRY_COMPLETE"), "{}", output.stdout);
        assert_eq!(output.stderr, "", "{shell}");
    }
}

/// The script for a program whose commands are subcommands of another has the commands, but no values.
#[test]
fn script_of_a_program_in_two_words_has_the_commands() {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_tenantry")).parent().expect("the folder of the programs");
    let output = Tenantry::of_program(folder.join("examples/shop")).args(["tenants", "completions", "bash"]).run();
    output.assert_code(0);
    for word in ["health-check", "new-migration", "include-orphans"] {
        assert!(output.stdout.contains(word), "{word}");
    }
}

/// What the program answers a shell that completes the last of these words.
fn candidates(db: Option<&Database>, words: &[&str]) -> Vec<String> {
    let tenantry = match db {
        Some(db) => db.tenantry(["--"]),
        None => Tenantry::new().arg("--"),
    };
    let output = tenantry
        .arg("tenantry")
        .args(words)
        .env("_TENANTRY_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n")
        .run();
    output.assert_code(0);
    assert_eq!(output.stderr, "", "{words:?}");
    output.stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A fleet, one of whose tenants has a name that a shell would execute.
fn odd_fleet() -> Database {
    let db = fleet(&["acme", "acquired", "globex"]);
    db.execute("ALTER TABLE schema_tracker DROP CONSTRAINT schema_tracker_name_check");
    db.execute("INSERT INTO schema_tracker (name, state) VALUES ('ac$(touch planted)', 'active'), ('ac me', 'active')");
    db
}

#[test]
fn names_of_tenants_are_completed_unless_a_shell_interprets_them() {
    let db = odd_fleet();
    let commands: [&[&str]; 7] = [
        &["migrate-one"],
        &["revert-one"],
        &["drop", "globex"],
        &["diff"],
        &["repair-plan"],
        &["print-schema"],
        &["reference", "--of"],
    ];
    for command in commands {
        let words = [command, &["ac"]].concat();
        assert_eq!(candidates(Some(&db), &words), ["acme", "acquired"], "{command:?}");
    }
    assert_eq!(candidates(Some(&db), &["create", "ac"]), [""; 0]);
    let url = db.url();
    let given = ["drop", "--database-url", &url, "glob"];
    assert_eq!(candidates(None, &given), ["globex"]);
}

#[test]
fn runs_versions_and_codes_are_completed() {
    let db = fleet(&["acme"]);
    db.tenantry(["revert-one", "acme", "--steps", "1", "--yes"]).run().assert_code(0);
    assert_eq!(candidates(Some(&db), &["runs", "show", ""]).iter().filter(|id| !id.starts_with('-')).count(), 2);
    assert_eq!(candidates(Some(&db), &["migrate-all", "--retry-failed", ""]), ["2", "1"]);
    let versions = candidates(None, &["migrate-all", "--to", "202602"]);
    assert!(versions.contains(&"20260209090000".to_owned()), "{versions:?}");
    assert!(candidates(None, &["health-check", "--ignore", "column.t"]).contains(&"column.type".to_owned()));
    assert!(candidates(None, &["health-check", "--fail-on", "orph"]).contains(&"orphaned-schema".to_owned()));
    assert!(candidates(None, &["diff", "--fail-on", "index.e"]).contains(&"index.extra".to_owned()));
    assert_eq!(candidates(None, &["health-check", "--fail-on", "warn"]), ["warning"]);
    assert!(candidates(None, &["migr"]).contains(&"migrate-all".to_owned()));
}

/// Nothing is printed, and the shell does not hang, if there is no database or it does not answer.
#[test]
fn completion_without_a_database_offers_no_names() {
    assert_eq!(candidates(None, &["drop", "ac"]), [""; 0]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://postgres@{}/x", silent.local_addr().unwrap());
    for url in [url.as_str(), "postgresql://nobody@127.0.0.1:1/x", "not a url"] {
        assert_eq!(candidates(None, &["drop", "--database-url", url, "ac"]), [""; 0], "{url}");
    }
    let db = fleet(&["acme"]);
    let mut locked = db.connect();
    locked.batch_execute("BEGIN; LOCK TABLE public.schema_tracker").unwrap();
    assert_eq!(candidates(Some(&db), &["drop", "ac"]), [""; 0]);
}

/// Runs a script in a real shell that has the completions of the program.
fn in_shell(db: &Database, shell: &str, script: &str) -> Output {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tenantry")).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let output = Tenantry::of_program(shell).args(["-c", script]).env("PATH", path).env("DATABASE_URL", db.url()).run();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output
}

#[test]
fn bash_completes_the_names_of_tenants() {
    let db = odd_fleet();
    let script = "source <(tenantry completions bash); COMP_WORDS=(tenantry drop ac); COMP_CWORD=2; COMP_TYPE=9; \
                  _clap_complete_tenantry tenantry ac drop 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"; ls";
    let output = in_shell(&db, "bash", script);
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(words, ["acme", "acquired"], "{}", output.stderr);
}

#[test]
fn fish_and_zsh_take_the_script() {
    let db = odd_fleet();
    let has =
        |shell: &str| Tenantry::of_program("sh").args(["-c", &format!("command -v {shell}")]).run().code == Some(0);
    if has("fish") {
        let output = in_shell(&db, "fish", "tenantry completions fish | source; complete -C 'tenantry drop ac'");
        let names: Vec<&str> = output.stdout.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, ["acme", "acquired"], "{}", output.stderr);
    }
    if has("zsh") {
        in_shell(
            &db,
            "zsh",
            "autoload -U compinit; compinit -u; source <(tenantry completions zsh); \
                              [[ ${_comps[tenantry]} = _clap_dynamic_completer_tenantry ]]",
        );
    }
}

#[test]
fn bash_parses_the_script() {
    let script = Tenantry::new().args(["completions", "bash"]).run().stdout;
    Tenantry::of_program("bash").args(["-n"]).stdin(script).run().assert_code(0);
}

#[test]
fn unknown_shell_is_refused() {
    assert_snapshot!(Tenantry::new().without_migrations().args(["completions", "tcsh"]).run(), @r"
        --- stderr
        error: invalid value 'tcsh' for '<SHELL>'
          [possible values: bash, elvish, fish, powershell, zsh]

          tip: a similar value exists: 'zsh'

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(Tenantry::new().without_migrations().args(["completions"]).run(), @r"
        --- stderr
        error: the following required arguments were not provided:
          <SHELL>

        Usage: tenantry completions <SHELL>

        For more information, try '--help'.
        --- exit 2
    ");
}

/// A script that cannot be written is an error, not a panic.
#[cfg(target_os = "linux")]
#[test]
fn full_output_is_an_error_without_a_panic() {
    for words in ["completions bash", "completions fish", "--help", "new-migration tenant x --tenant-migrations ."] {
        let line = format!("'{}' {words} >/dev/full", env!("CARGO_BIN_EXE_tenantry"));
        let output = Tenantry::of_program("bash").args(["-c", &line]).run();
        assert!(!output.stderr.contains("panicked"), "{words}: {}", output.stderr);
        assert_ne!(output.code, Some(101), "{words}");
    }
}
