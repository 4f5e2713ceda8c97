use super::*;

#[test]
fn error_position_is_mapped_to_its_script() {
    let mut batch = Batch::default();
    batch.push("BEGIN; -- é");
    batch.script(3, "SELECT 1;\nSELECT é");
    batch.script(4, "SELECT 2 -- no end");
    let at = |what: &str| batch.sql().find(what).map(|byte| batch.sql()[..byte].chars().count() + 1).unwrap();
    assert_eq!(batch.locate(1), None);
    assert_eq!(batch.locate(at("SELECT 1")), Some((3, 0)));
    assert_eq!(batch.locate(at("SELECT é")), Some((3, 10)));
    assert_eq!(batch.locate(at("2 -- no end")), Some((4, 7)));
    assert_eq!(batch.locate(0), None);
    assert_eq!(batch.locate(1_000), None);
    assert!(batch.sql().ends_with("-- no end\n;\n"), "a comment does not swallow what follows");
}
