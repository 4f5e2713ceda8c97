//! Moves that are killed at any moment: resumed or aborted, one copy is in use, and nothing else is left.

use crate::docs::documents::problems;

use super::support::{Held, Pair, contents, fill, logical_pair};

const COPY: [&str; 7] = ["planned", "prepared", "copying", "fenced", "left", "switched", "settled"];
const REPLICATE: [&str; 8] = ["planned", "prepared", "copying", "following", "fenced", "left", "switched", "settled"];

/// Kills a move before it records a state, and then continues or undoes it.
fn kill_and(pair: &Pair, method: &str, state: &str, action: &str) {
    let before = contents(&pair.main, "acme");
    Held::new(pair, state, &["move", "acme", "--to", "eu", "--method", method]).kill();
    let output = pair.main.tenantry(["move", action, "acme", "--format", "json"]).run();
    let section = match (action, output.code) {
        (_, Some(3)) => "failed-command",
        ("abort", _) => "move-abort",
        _ => "move",
    };
    assert_eq!(problems(section, &output.json()), [""; 0]);
    let context = format!("{method}, {state}, {action}: {}", output.stderr);
    // A move that has switched cannot be undone, and is completed.
    let stays = action == "abort" && !["switched", "settled"].contains(&state);
    let is_completed = action == "abort" && !stays;
    assert_eq!(output.code, Some(if is_completed { 3 } else { 0 }), "{context}");
    if is_completed {
        assert!(output.stderr.contains("in use on server eu"), "{context}");
    }
    let (db, placement, states) = match stays {
        true => (&pair.main, "main active 1", ["active", ""]),
        false => (&pair.eu, "eu active 2", ["", "active"]),
    };
    assert_eq!(pair.placement("acme"), placement, "{context}");
    assert_eq!(pair.states("acme"), states, "{context}");
    assert_eq!(contents(db, "acme"), before, "{context}");
    assert_eq!(pair.old_schemas().len(), usize::from(!stays), "{context}");
    pair.assert_clean();
    db.execute("INSERT INTO acme.users (email, full_name) VALUES ('after@x', 'n'); UPDATE acme.extra SET note = 'x'");
    // The other server has nothing of it.
    if stays {
        assert_eq!(pair.eu.strings("SELECT 1 FROM pg_namespace WHERE nspname = 'acme'"), [""; 0], "{context}");
    }
    let again = pair.main.tenantry(["move", "resume", "acme"]).run();
    assert_eq!(again.code, Some(3), "no move is open: {}", again.stderr);
}

fn filled(pair: Pair) -> Pair {
    fill(&pair.main, "acme");
    pair
}

#[test]
fn a_copy_that_was_killed_is_resumed() {
    kill_and(&filled(Pair::new()), "copy", "left", "resume");
}

#[test]
fn a_copy_that_was_killed_is_aborted() {
    kill_and(&filled(Pair::new()), "copy", "left", "abort");
}

#[test]
fn a_replication_that_was_killed_is_resumed() {
    kill_and(&filled(logical_pair()), "replicate", "fenced", "resume");
}

#[test]
#[ignore = "long: make test-long"]
fn a_copy_is_resumed_and_aborted_in_every_state() {
    for state in COPY {
        for action in ["resume", "abort"] {
            kill_and(&filled(Pair::new()), "copy", state, action);
        }
    }
}

#[test]
#[ignore = "long: make test-long"]
fn a_replication_is_resumed_and_aborted_in_every_state() {
    for state in REPLICATE {
        for action in ["resume", "abort"] {
            kill_and(&filled(logical_pair()), "replicate", state, action);
        }
    }
}

#[test]
fn a_move_back_that_was_killed_is_resumed_and_aborted() {
    for (state, action, placement) in
        [("fenced", "abort", "eu active 2"), ("left", "resume", "main active 3"), ("left", "abort", "eu active 2")]
    {
        let pair = filled(Pair::new());
        pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run().assert_code(0);
        Held::new(&pair, state, &["move", "back", "acme"]).kill();
        pair.main.tenantry(["move", action, "acme"]).run().assert_code(0);
        assert_eq!(pair.placement("acme"), placement, "{state}, {action}");
        pair.assert_clean();
    }
}
