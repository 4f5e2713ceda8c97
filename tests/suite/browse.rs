//! `browse`, in a pseudo-terminal: the pages show what the database has, nothing is changed, and the terminal is restored.

use crate::support::{Database, Screen, Signal, Terminal, fleet};

/// What restores the terminal: the main screen and the cursor.
const RESTORED: &str = "\u{1b}[?1049l";

fn browse(db: &Database) -> Terminal {
    let mut terminal = Terminal::spawn(db.tenantry(["browse"]));
    terminal.expect("tenants").expect("acme").expect("quit");
    terminal
}

#[track_caller]
fn assert_restored(terminal: &mut Terminal, code: i32) -> String {
    let (shown, status) = terminal.wait();
    assert_eq!(status, Some(code), "{shown}");
    let restored = shown.rfind(RESTORED).unwrap_or_else(|| panic!("the terminal is not restored:\n{shown}"));
    assert!(shown[restored..].contains("\u{1b}[?25h"), "the cursor is hidden:\n{shown}");
    shown
}

#[test]
fn pages_of_a_tenant_are_shown_and_nothing_is_changed() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "CREATE TABLE acme.things (id int, name text); CREATE TABLE acme.empty (i int); \
         INSERT INTO acme.things SELECT i, 'thing-' || i || chr(27) || '[31m' FROM generate_series(1, 150) i; \
         ALTER TABLE globex.users ADD COLUMN extra int",
    );
    let mut terminal = browse(&db);
    terminal.type_text("r").expect("globex").expect("quit");
    // The tables, the first rows, the runs and the findings of a tenant.
    terminal.type_text("\r").expect("acme:").expect("tables").expect("empty").expect("things");
    terminal.type_text("/things\r\r").expect("rows").expect("thing-1\\u{1b}[31m").expect("thing-2");
    // Back to the tables, and without the filter.
    terminal.type_text("\u{1b}").expect("tables").expect("removes");
    terminal.type_text("\u{1b}").expect("quit");
    terminal.type_text("\t").expect("runs").expect("create").expect("quit");
    terminal.type_text("\t").expect("findings").expect("table.extra").expect("quit");
    // A tenant that is checked in the list.
    terminal.type_text("\u{1b}").expect("quit");
    terminal.type_text("j").type_text("c").expect("difference").expect("quit");
    terminal.type_text("q");
    let shown = assert_restored(&mut terminal, 0);
    assert!(!shown.contains("\u{1b}[31m"), "control characters of a value are printed");
    assert_eq!(db.count("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenantry_reader%'"), 0);
    assert_eq!(db.count("SELECT count(*) FROM pg_proc WHERE proname LIKE 'tenantry%'"), 0);
}

#[test]
fn terminal_is_restored_after_an_interrupt() {
    let db = fleet(&["acme"]);
    let mut terminal = browse(&db);
    terminal.type_text("\u{3}");
    assert_restored(&mut terminal, 130);
    let mut terminal = browse(&db);
    terminal.signal(Signal::TERM);
    assert_restored(&mut terminal, 130);
}

#[test]
fn errors_are_shown_and_the_next_page_is_read() {
    let db = fleet(&["acme"]);
    let mut terminal = browse(&db);
    db.execute("CREATE TABLE acme.things (id int)");
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    terminal.type_text("\r").expect("error:");
    terminal.type_text("\r").expect("tables").expect("things").expect("quit");
    db.execute("DROP TABLE acme.things");
    terminal.type_text("/things\r\r").expect("error:").expect("exist");
    terminal.type_text("q");
    assert_restored(&mut terminal, 0);
}

#[test]
fn command_without_a_terminal_is_refused() {
    let db = fleet(&["acme"]);
    let output = db.tenantry(["browse"]).run();
    assert_eq!(output.assert_code(2).stdout, "");
    assert!(output.stderr.contains("error: browse needs a terminal"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: in scripts, use 'tenantry list'"), "{}", output.stderr);
    let unknown = Screen::of(&mut Terminal::spawn(Database::new().tenantry(["browse"])));
    unknown.assert_code(3);
}
