//! `man`

use std::collections::BTreeSet;
use std::fs;

use crate::support::Tenantry;

#[test]
fn each_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    let output = Tenantry::new().without_migrations().arg("man").arg(&pages).run();
    assert_eq!(output.assert_code(0).stdout, "");
    let names: BTreeSet<String> = fs::read_dir(&pages)
        .expect("the directory was created")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    for name in ["tenantry.1", "tenantry-create.1", "tenantry-migrate-all.1", "tenantry-runs-show.1", "tenantry-man.1"]
    {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    assert!(!names.contains("tenantry-help.1"), "{names:?}");
    let page = fs::read_to_string(pages.join("tenantry-migrate-all.1")).expect("the page");
    for text in [".SH NAME", "Apply pending migrations to all tenants", "lock\\-timeout", "TENANTRY_LOCK_TIMEOUT"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let completions = fs::read_to_string(pages.join("tenantry-completions.1")).expect("the page");
    assert!(!completions.contains("lock\\-timeout"), "{completions}");
}

#[test]
fn a_directory_that_cannot_be_created_is_an_error() {
    let output = Tenantry::new().without_migrations().args(["man", "/dev/null/man1"]).run();
    assert!(output.assert_code(2).stderr.starts_with("error: cannot create /dev/null/man1"), "{}", output.stderr);
}
