//! `completions`

use crate::assert_snapshot;
use crate::support::Tenantry;

#[test]
fn scripts_are_generated_for_each_shell() {
    for (shell, mark) in [
        ("bash", "complete -F _tenantry"),
        ("zsh", "#compdef tenantry"),
        ("fish", "complete -c tenantry"),
        ("elvish", "edit:completion:arg-completer[tenantry]"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName 'tenantry'"),
    ] {
        let output = Tenantry::new().args(["completions", shell]).run();
        output.assert_code(0);
        assert!(output.stdout.contains(mark), "{mark} in: {}", output.stdout);
        for word in ["health-check", "new-migration", "include-orphans", "baseline", "psql"] {
            assert!(output.stdout.contains(word), "{word} in the script for {shell}");
        }
        assert_eq!(output.stderr, "", "{shell}");
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
