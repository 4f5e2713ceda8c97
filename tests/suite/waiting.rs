//! `--wait`: a server that cannot be reached yet or is starting up is waited for, and no other.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::thread;

use crate::support::{Tenantry, server, set_up, socket_of};

/// A server that answers each of its first connections with an error, and then leaves. Returns its port.
fn server_with_errors(sqlstate: &'static str, message: &'static str, connections: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for _ in 0..connections {
            let Ok((client, _)) = listener.accept() else { return };
            answer(client, sqlstate, message);
        }
    });
    port
}

/// Answers a startup packet with a fatal error. Requests for encryption are declined.
fn answer(mut client: TcpStream, sqlstate: &str, message: &str) {
    loop {
        let mut head = [0; 8];
        if client.read_exact(&mut head).is_err() {
            return;
        }
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mut rest = vec![0; length - 8];
        client.read_exact(&mut rest).expect("the rest of the packet");
        // The protocol's version 3, or a request for encryption.
        if head[4..6] == [0, 3] {
            break;
        }
        client.write_all(b"N").expect("an answer");
    }
    let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    let _ = client.write_all(&[b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat());
}

const WAITING: &str = "waiting up to 1h for PostgreSQL at ";

#[test]
fn a_server_that_starts_late_is_waited_for() {
    let db = set_up();
    let (folder, _) = socket_of(server());
    let places = tempfile::tempdir().expect("a folder");
    let late = places.path().join("late");
    let url = db
        .url()
        .replace(&crate::support::percent_encoded(&folder), &crate::support::percent_encoded(&late.to_string_lossy()));
    assert_ne!(url, db.url());
    for (args, variable) in [(&["list", "--wait", "1h"][..], None), (&["list"], Some("1h"))] {
        let command =
            Tenantry::new().args(args).env("DATABASE_URL", &url).env("TENANTRY_WAIT", variable.unwrap_or_default());
        let running = command.spawn();
        running.wait_for_stderr_line(WAITING);
        symlink(&folder, &late).expect("a link");
        let output = running.wait();
        assert_eq!(output.assert_code(0).stderr.matches("waiting").count(), 1, "{}", output.stderr);
        std::fs::remove_file(&late).expect("the link");
    }
}

#[test]
fn a_server_that_is_starting_up_is_recognized_in_every_language() {
    // Each attempt opens a connection or two, and asks again whether the server is ready.
    let port = server_with_errors("57P03", "das Datenbanksystem startet", 12);
    let url = format!("postgresql://ops@127.0.0.1:{port}/x");
    let running = Tenantry::new().args(["list", "--wait", "1h"]).env("DATABASE_URL", url).spawn();
    running.wait_for_stderr_line(WAITING);
    assert!(running.is_running());
    running.kill();
    running.wait();
}

#[test]
fn a_server_that_refuses_is_not_waited_for() {
    let db = set_up();
    let refused = |url: &str, text: &str| {
        let output = Tenantry::new().args(["list", "--wait", "1h"]).env("DATABASE_URL", url).run();
        assert!(output.assert_code(3).stderr.contains(text) && !output.stderr.contains("waiting"), "{}", output.stderr);
    };
    refused(&db.url().replace(db.name(), "nowhere"), "database \"nowhere\" does not exist");
    refused(&db.url().replace("postgres@", "nobody@"), "role \"nobody\" does not exist");
    let port = server_with_errors("28P01", "password authentication failed", 12);
    refused(&format!("postgresql://ops@127.0.0.1:{port}/x"), "password authentication failed");
}

#[test]
fn without_the_option_nothing_is_waited_for() {
    let run = |args: &[&str]| Tenantry::new().args(args).env("DATABASE_URL", "postgresql://127.0.0.1:1/x").run();
    for args in [&["list"][..], &["list", "--wait", "0s"]] {
        let output = run(args);
        assert!(!output.assert_code(5).stderr.contains("waiting"), "{}", output.stderr);
    }
    // The end of the time.
    let output = run(&["list", "--wait", "10ms"]);
    assert!(output.assert_code(5).stderr.contains("cannot connect to PostgreSQL at 127.0.0.1:1"), "{}", output.stderr);
    run(&["list", "--wait", "2days"]).assert_code(2);
}
