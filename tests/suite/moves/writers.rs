//! Moves while sessions write: each acknowledged row exists once, and the gap is short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::support::{Pair, logical_pair};
use crate::support::fleet;

/// What a writer got acknowledged, and the longest time without.
struct Written {
    emails: Vec<String>,
    gap: Duration,
}

/// Inserts rows until it is stopped, on the server that has the tenant.
fn write(pair: &Pair, writer: usize, stop: &AtomicBool) -> Written {
    let mut conns: [PgConnection; 2] = [pair.main.connect(), pair.eu.connect()];
    let (mut at, mut number, mut last) = (0, 0, Instant::now());
    let mut written = Written { emails: Vec::new(), gap: Duration::ZERO };
    while !stop.load(Ordering::Relaxed) {
        let email = format!("w{writer}n{number}@x");
        let sql = format!(
            "BEGIN; INSERT INTO acme.users (email, full_name) VALUES ('{email}', 'w'); \
             UPDATE acme.users SET full_name = 'written' WHERE email = '{email}'; COMMIT"
        );
        match conns[at].batch_execute(&sql) {
            Ok(()) => {
                written.gap = written.gap.max(last.elapsed());
                last = Instant::now();
                written.emails.push(email);
                number += 1;
            }
            Err(_) => {
                // A row that was not acknowledged is not written again under its name.
                let _ = conns[at].batch_execute("ROLLBACK");
                number += 1;
                at = 1 - at;
            }
        }
    }
    written
}

/// Moves acme back and forth with this method while three writers work.
fn rounds(pair: &Pair, method: &str, rounds: usize) -> Duration {
    let stop = AtomicBool::new(false);
    let written: Vec<Written> = thread::scope(|scope| {
        let stop = &stop;
        let writers: Vec<_> = (0..3).map(|writer| scope.spawn(move || write(pair, writer, stop))).collect();
        for round in 0..rounds {
            let to = ["eu", "main"][round % 2];
            let output =
                pair.main.tenantry(["move", "acme", "--to", to, "--method", method, "--max-pause", "10s"]).run();
            if output.code != Some(0) {
                stop.store(true, Ordering::Relaxed);
            }
            output.assert_code(0);
            pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(0);
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    });
    let db = if rounds.is_multiple_of(2) { &pair.main } else { &pair.eu };
    let mut found = db.strings("SELECT email FROM acme.users ORDER BY id");
    let total = found.len();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), total, "no row is doubled");
    for email in written.iter().flat_map(|written| &written.emails) {
        assert!(found.binary_search(email).is_ok(), "{email} was acknowledged and is lost");
    }
    assert!(written.iter().all(|written| !written.emails.is_empty()));
    assert_eq!(db.count("SELECT count(*) FROM acme.users WHERE full_name <> 'written'"), 0);
    db.execute("INSERT INTO acme.users (email, full_name) VALUES ('after@x', 'n')");
    pair.assert_clean();
    written.iter().map(|written| written.gap).max().unwrap_or_default()
}

#[test]
fn copies_lose_no_row() {
    rounds(&Pair::of(fleet(&["acme"]), crate::support::set_up()), "copy", 2);
}

#[test]
fn replications_lose_no_row() {
    rounds(&logical_pair(), "replicate", 2);
}

#[test]
#[ignore = "long: make test-long"]
fn many_moves_lose_no_row_and_block_writes_for_a_moment() {
    let gap = rounds(&logical_pair(), "replicate", 20);
    // In a debug build beside other tests; half a second where nothing else runs.
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    rounds(&Pair::of(fleet(&["acme"]), crate::support::set_up()), "copy", 20);
}
