//! Keys and passwords are in no log, catalog, dump or output, although the server logs all that it can.

use std::fs;
use std::process::Command;

use diesel::connection::SimpleConnection;
use tenantry::{RowTenancy, TenantId};

use super::{ACME, Shop};
use crate::support::{Database, binaries, fleet, server};

/// Makes sessions of a database log every statement with its parameters.
fn log_everything(db: &Database) {
    for (setting, value) in [
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_parameter_max_length", "-1"),
        ("log_parameter_max_length_on_error", "-1"),
        ("log_min_error_statement", "debug5"),
        ("log_error_verbosity", "verbose"),
    ] {
        db.execute(&format!("ALTER DATABASE {} SET {setting} = '{value}'", db.name()));
    }
}

/// The log of the server, what its sessions show, and the dumps of a database and of the roles.
fn everything(db: &Database) -> Vec<(&'static str, String)> {
    let log = fs::read(server().log_file()).expect("the server's log");
    let mut texts = vec![
        ("log", String::from_utf8_lossy(&log).into_owned()),
        ("activity", db.string("SELECT string_agg(query, E'\n') FROM pg_stat_activity")),
        ("record", db.string("SELECT COALESCE(string_agg(r::text, E'\n'), '') FROM public.schema_run r")),
        ("roles", db.string("SELECT string_agg(concat_ws(' ', rolname, rolpassword), E'\n') FROM pg_authid")),
    ];
    // The downloaded servers of the matrix have no pg_dump.
    for (program, args) in [("pg_dumpall", ["--roles-only", "--dbname"]), ("pg_dump", ["--create", "--dbname"])] {
        let program = binaries().folder().join(program);
        if program.exists() {
            let dump = Command::new(&program).args(args).arg(db.url()).output().expect("a dump");
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            texts.push(("dump", String::from_utf8_lossy(&dump.stdout).into_owned()));
        }
    }
    texts
}

#[track_caller]
fn assert_absent(db: &Database, secrets: &[&str], outputs: &[String]) {
    let texts = everything(db);
    let outputs = outputs.iter().map(|output| ("output", output.clone()));
    for (place, text) in texts.into_iter().chain(outputs) {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in the {place}");
        }
    }
}

#[test]
fn passwords_of_roles_are_shown_once_and_nowhere_else() {
    let db = fleet(&["acme", "globex"]);
    log_everything(&db);
    let created = db.tenantry(["isolate", "acme", "--yes", "--format", "json"]).run();
    created.assert_code(0);
    let generated = created.json()["roles"][0]["password"].as_str().unwrap().to_owned();
    assert_eq!(created.stdout.matches(&generated).count(), 1, "{}", created.stdout);
    assert!(!created.stderr.contains(&generated), "{}", created.stderr);
    let given = "correct horse battery staple";
    let refused = "sh0rt!x";
    let mut outputs = Vec::new();
    for (args, password, code) in [
        (&["isolate", "globex", "--yes", "--password-stdin"][..], given, 0),
        (&["isolate", "globex", "--yes", "--password-stdin"], refused, 2),
        (&["health-check", "--ignore", "tenant-role.public-create"], "", 0),
    ] {
        let output = db.tenantry(args).arg("-v").stdin(format!("{password}\n")).run();
        assert_eq!(output.code, Some(code), "{args:?}: {}", output.stderr);
        outputs.extend([output.stdout, output.stderr]);
    }
    let log = fs::read_to_string(server().log_file()).unwrap();
    assert!(log.contains(&format!("CREATE ROLE \"{}_globex\"", db.name())), "the log contains the statements");
    assert_absent(&db, &[&generated, given, refused], &outputs);
}

#[test]
fn context_keys_are_shown_once_and_nowhere_else() {
    let shop = Shop::isolated();
    log_everything(&shop.db);
    let key = shop.key.reveal();
    let mut outputs = Vec::new();
    let with_key = |args: &[&str]| shop.tenantry(args).arg("-v").env("TENANTRY_CONTEXT_KEY", &key).run();
    for args in [&["key", "install"][..], &["key", "list"], &["health-check"], &["probe"], &["repair-plan"]] {
        let output = with_key(args);
        assert!(matches!(output.code, Some(0 | 1)), "{args:?}: {}", output.stderr);
        outputs.extend([output.stdout, output.stderr]);
    }
    let malformed = shop.tenantry(&["key", "install"]).env("TENANTRY_CONTEXT_KEY", format!("{key}x")).run();
    assert_ne!(malformed.code, Some(0));
    outputs.extend([malformed.stdout, malformed.stderr]);
    // The application signs with it; the server sees only the signature, of one transaction.
    let tenant: TenantId = ACME.parse().unwrap();
    let mut conn = shop.application();
    RowTenancy::new(shop.key.clone())
        .with_tenant(&mut conn, tenant, |conn| conn.batch_execute("TABLE app.customers"))
        .unwrap();
    let rotated = shop.tenantry(&["key", "rotate"]).run();
    rotated.assert_code(0);
    let new = rotated.stdout.trim().to_owned();
    assert!(new.len() > 40 && !rotated.stderr.contains(&new), "{}", rotated.stderr);
    let pads: Vec<String> = shop.db.strings(
        "SELECT encode(inner_pad, 'hex') FROM tenantry.context_key UNION ALL \
         SELECT encode(outer_pad, 'hex') FROM tenantry.context_key",
    );
    assert_eq!(pads.len(), 4);
    let secrets: Vec<String> = [key.clone(), new].into_iter().chain(pads).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let log = fs::read_to_string(server().log_file()).unwrap();
    assert!(log.contains("context_key"), "the log contains the statements that install keys");
    assert_absent(&shop.db, &secrets, &outputs);
}
