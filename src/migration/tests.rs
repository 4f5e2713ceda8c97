//! Tests of loading and checking migrations.

use std::fs;
use std::path::Path;

use diesel::migration::{Migration as _, MigrationSource};
use diesel::pg::Pg;

use super::*;

/// The path and the contents of a file.
pub(super) type TestFile<'a> = (&'a str, &'a [u8]);

pub(super) fn load(files: &[TestFile<'_>]) -> Result<MigrationSet, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    MigrationSet::from_dir(dir.path())
}

fn problems(files: &[TestFile<'_>]) -> Vec<String> {
    match load(files) {
        Ok(set) => panic!("loaded {set:?}"),
        Err(LoadError::Invalid(invalid)) => {
            invalid.problems.iter().map(|problem| format!("{}: {}", problem.location, problem.message)).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn folders_are_sorted_by_version() {
    let set = load(&[
        ("2026-01-02-000000_b/up.sql", b"CREATE TABLE b (i int);"),
        ("2026-01-02-000000_b/down.sql", b"DROP TABLE b;"),
        ("20260101000000_a/up.sql", b"CREATE TABLE a (i int);"),
        ("20260103000000_c/up.sql", b"CREATE INDEX CONCURRENTLY i ON a (i);"),
        ("20260103000000_c/down.sql", b"-- nothing\n"),
        ("20260103000000_c/metadata.toml", b"run_in_transaction = false\n"),
        ("README.md", b"not a folder"),
        (".git/x", b"hidden"),
    ])
    .unwrap();
    let versions: Vec<&str> = set.iter().map(|migration| migration.version().as_str()).collect();
    assert_eq!(versions, ["20260101000000", "20260102000000", "20260103000000"]);
    assert_eq!(set.position("20260102000000"), Some(1));
    assert_eq!(set.position("2026"), None);
    assert!(set.at(0).down().is_none());
    assert_eq!(set.at(1).down().unwrap().text(), "DROP TABLE b;");
    assert!(set.at(2).down().is_none(), "a down.sql without statements counts as missing");
    assert_eq!(set.at(1).mode(), Mode::Transactional);
    assert_eq!(set.at(2).mode(), Mode::NonTransactional);
}

#[test]
fn diesel_reads_the_same_names_versions_and_metadata() {
    let set = load(&[
        ("2026-01-02-000000_b/up.sql", b"SELECT 1"),
        ("2026-01-02-000000_b/metadata.toml", b"run_in_transaction = false"),
    ])
    .unwrap();
    let migrations = MigrationSource::<Pg>::migrations(&set).unwrap();
    assert_eq!(migrations.len(), 1);
    assert_eq!(migrations[0].name().to_string(), "2026-01-02-000000_b");
    assert_eq!(migrations[0].name().version().to_string(), "20260102000000");
    assert!(!migrations[0].metadata().run_in_transaction());
}

#[test]
fn every_violation_is_reported_with_its_location() {
    let table: &[(&[TestFile<'_>], &str)] = &[
        (&[("1_a/down.sql", b"SELECT 1")], "1_a: up.sql is missing"),
        (&[("readme/up.sql", b"SELECT 1")], "readme: the folder name must start with a version"),
        (&[("1_a/up.sql", b"")], "1_a/up.sql: the file contains no statement"),
        (&[("1_a/up.sql", b" -- todo\n;;\n")], "1_a/up.sql: the file contains no statement"),
        (&[("1_a/up.sql", b"\xEF\xBB\xBFSELECT 1")], "1_a/up.sql: the file starts with a byte-order mark"),
        (&[("1_a/up.sql", b"\xFF\xFES\0")], "1_a/up.sql: the file starts with a byte-order mark"),
        (&[("1_a/up.sql", b"SELECT '\xE9'")], "1_a/up.sql: the file is not valid UTF-8"),
        (&[("1_a/up.sql", b"SELECT 1;\nSELECT '\0'")], "1_a/up.sql:2: the file contains a NUL byte"),
        (&[("1_a/up.sql", b"SELECT 1;\n\nSELECT 'x")], "1_a/up.sql:3: "),
        (&[("1_a/up.sql", b"CREATE TABLE a (i int);\nCOMMIT;")], "1_a/up.sql:2: COMMIT is not allowed"),
        (&[("1_a/up.sql", b"BEGIN; SELECT 1; COMMIT")], "1_a/up.sql:1: BEGIN is not allowed"),
        (&[("1_a/up.sql", b"SET search_path TO x")], "1_a/up.sql:1: changing search_path"),
        (&[("1_a/up.sql", b"SELECT set_config('search_path', 'x', false)")], "1_a/up.sql:1: changing search_path"),
        (&[("1_a/up.sql", b"COPY t FROM STDIN;\n1\n\\.\n")], "1_a/up.sql:1: COPY"),
        (&[("1_a/up.sql", b"\\connect other\n")], "1_a/up.sql:1: \\connect"),
        (
            &[("1_a/up.sql", b"\nCREATE INDEX CONCURRENTLY i ON t (x)")],
            "1_a/up.sql:2: CREATE INDEX CONCURRENTLY cannot",
        ),
        (&[("1_a/up.sql", b"SELECT 1"), ("1_a/down.sql", b"ROLLBACK")], "1_a/down.sql:1: ROLLBACK is not allowed"),
        (&[("1_a/up.sql", b"SELECT 1"), ("1_a/metadata.toml", b"")], "1_a/metadata.toml: set run_in_transaction"),
        (
            &[("1_a/up.sql", b"SELECT 1"), ("1_a/metadata.toml", b"run_in_transaktion = false")],
            "1_a/metadata.toml: set run_in_transaction",
        ),
        (&[("1_a/up.sql", b"SELECT 1"), ("1_a/metadata.toml", b"changes_outside = ''")], "1_a/metadata.toml: changes"),
        (&[("1_a/up.sql", b"SELECT 1"), ("1_a/metadata.toml", b"run_in")], "1_a/metadata.toml: set run_in_transaction"),
        (
            &[("1_a/up.sql", b"SELECT 1"), ("01_b/up.sql", b"SELECT 1"), ("1_c/up.sql", b"SELECT 1")],
            "1_c: duplicate version 1",
        ),
        (&[("9_a/up.sql", b"SELECT 1"), ("10_b/up.sql", b"SELECT 1")], "9_a: runs after 10_b"),
    ];
    for (files, expected) in table {
        let found = problems(files);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "expected {expected:?}, found {found:#?}");
    }
}

#[test]
fn all_violations_are_reported_together() {
    let found = problems(&[("1_a/up.sql", b""), ("x/up.sql", b"COMMIT"), ("2_b/up.sql", b"COMMIT")]);
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn statements_in_function_bodies_are_not_rejected() {
    let sql = b"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$\n\
        BEGIN PERFORM 1; EXCEPTION WHEN others THEN ROLLBACK; END $$;\n\
        CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;";
    assert_eq!(load(&[("1_a/up.sql", sql)]).unwrap().at(0).up().statements().len(), 2);
}

#[test]
fn an_acceptance_comment_declares_a_change_outside() {
    let reason = |sql: &str| {
        let set = load(&[("1_a/up.sql", sql.as_bytes())]).expect("a set");
        set.at(0).outside_reason().map(str::to_owned)
    };
    let declared = Some("it is shared".to_owned());
    for comment in [
        "-- tenantry: accept names-other-schema: it is shared",
        "-- first\n  --tenantry:accept   unknown-name :  it is shared\n-- last",
        "/* one */ /* tenantry: accept object-outside-tenant: it is shared */",
    ] {
        assert_eq!(reason(&format!("{comment}\nSELECT 1")), declared, "{comment}");
    }
    for comment in [
        "-- as in: tenantry: accept names-other-schema: it is shared",
        "/* /* tenantry: accept names-other-schema: it is shared */ */ -- x",
        "-- tenantry: accept drop-table: it is shared",
        "-- tenantry: accept names-other-schema:",
        "SELECT '-- tenantry: accept names-other-schema: it is shared';",
    ] {
        assert_eq!(reason(&format!("{comment}\nSELECT 1")), None, "{comment}");
    }
}

#[test]
fn a_missing_directory_is_named_in_the_error() {
    let error = MigrationSet::from_dir(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/at/all");
}

#[test]
fn sets_with_conflicting_versions_do_not_merge() {
    let one = load(&[("1_a/up.sql", b"SELECT 1")]).unwrap();
    let same = load(&[("1_a/up.sql", b"SELECT 1"), ("2_b/up.sql", b"SELECT 2")]).unwrap();
    let other = load(&[("1_a/up.sql", b"SELECT 3")]).unwrap();
    assert_eq!(one.merge(&same).unwrap().len(), 2);
    assert!(one.merge(&other).unwrap_err().to_string().contains("duplicate version 1: 1_a has the same version"));
}

#[test]
fn the_migrations_of_this_repository_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    assert_eq!(MigrationSet::from_dir(&root.join("public")).unwrap().len(), 18);
    let tenant = MigrationSet::from_dir(&root.join("tenant")).unwrap();
    assert_eq!(tenant.len(), 5);
    assert!(tenant.iter().all(|migration| migration.down().is_some()));
}

#[test]
fn a_directory_without_migrations_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let message = || MigrationSet::from_dir(dir.path()).unwrap_err().to_string();
    assert_eq!(message(), format!("no migrations in {}", dir.path().display()));
    fs::write(dir.path().join("README"), "").unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    assert_eq!(message(), format!("no migrations in {}", dir.path().display()));
    let file = MigrationSet::from_dir(&dir.path().join("README")).unwrap_err();
    assert!(matches!(file, LoadError::Read { .. }), "{file}");
}

#[test]
fn unreadable_files_are_named_in_the_error() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("1_a")).unwrap();
    fs::write(root.join("1_a/up.sql"), "SELECT 1;").unwrap();
    let fails = |file: &str| {
        let error = MigrationSet::from_dir(root).unwrap_err();
        match &error {
            LoadError::Read { path, source } => {
                assert_eq!(path, &root.join(file));
                source.to_string()
            }
            other => panic!("{other}"),
        }
    };
    symlink("nowhere", root.join("2_b")).unwrap();
    assert_eq!(fails("2_b"), "broken symbolic link");
    fs::remove_file(root.join("2_b")).unwrap();
    symlink("2_b", root.join("2_b")).unwrap();
    assert!(fails("2_b").contains("ymbolic link"), "a link to itself");
    fs::remove_file(root.join("2_b")).unwrap();
    for file in ["down.sql", "metadata.toml"] {
        let path = root.join("1_a").join(file);
        symlink("nowhere", &path).unwrap();
        assert_eq!(fails(&format!("1_a/{file}")), "broken symbolic link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(fails(&format!("1_a/{file}")), "not a regular file");
        fs::remove_dir(&path).unwrap();
    }
    fs::rename(root.join("1_a/up.sql"), root.join("up.sql")).unwrap();
    symlink("nowhere", root.join("1_a/up.sql")).unwrap();
    assert_eq!(fails("1_a/up.sql"), "broken symbolic link");
    // Valid links are followed, and files that are not part of Diesel's layout are ignored.
    fs::remove_file(root.join("1_a/up.sql")).unwrap();
    symlink("../up.sql", root.join("1_a/up.sql")).unwrap();
    symlink("nowhere", root.join("1_a/notes.txt")).unwrap();
    symlink("1_a", root.join("2_b")).unwrap();
    let set = MigrationSet::from_dir(root).unwrap();
    assert_eq!(set.iter().map(|migration| migration.folder()).collect::<Vec<_>>(), ["1_a", "2_b"]);
}

#[test]
fn a_summary_names_the_origin_and_the_newest_version() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("7_a")).unwrap();
    fs::write(dir.path().join("7_a/up.sql"), "SELECT 1;").unwrap();
    let set = MigrationSet::from_dir(dir.path()).unwrap();
    assert_eq!(set.summary(), format!("{} (1 in all, newest 7)", dir.path().display()));
    assert_eq!((set.first(0).summary(), MigrationSet::none().summary()), (set.origin().to_owned(), "none".to_owned()));
    let retired = set.with_retired(BTreeSet::from(["5".to_owned(), "7".to_owned()]));
    assert!(retired.is_retired("5") && !retired.is_retired("7"), "a version in the set is not retired");
    assert!(retired.first(0).is_retired("7"));
}

mod line_endings {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn crlf_and_lf_give_the_same_script(text in "([ -~\n\t;]|\r[a-z'$-])*") {
            let lf = Script::new(&text);
            let crlf = Script::new(&text.replace('\n', "\r\n"));
            prop_assert_eq!(lf.text(), &text, "LF is kept, and so is a CR that no LF follows");
            prop_assert_eq!(crlf.text(), lf.text());
            prop_assert_eq!(crlf.checksum(), lf.checksum());
        }
    }

    #[test]
    fn line_endings_in_constants_and_bodies_are_normalized() {
        let body =
            |eol: &str| format!("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'a{eol}b'{eol}$$;{eol}");
        let [lf, crlf, cr] = ["\n", "\r\n", "\r"].map(|eol| Script::new(&body(eol)));
        assert_eq!((crlf.text(), crlf.checksum()), (lf.text(), lf.checksum()));
        assert_ne!(cr.checksum(), lf.checksum(), "a CR alone is not a line ending");
        // Earlier releases recorded this checksum.
        assert_eq!(Script::new("SELECT 1;\n").checksum(), Script::new("SELECT 1;").checksum());
    }
}
