//! A page of documentation: its commands, their output, and the files that it shows.

use std::ops::Range;

/// A page and its steps in order.
pub struct Page {
    lines: Vec<String>,
    pub steps: Vec<Step>,
}

/// A step of a page.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// A command, and the lines of the page that show its output.
    Command { script: String, output: Range<usize> },
    /// Commands that the page does not show.
    Hidden(String),
    /// A file that the page shows.
    File { path: String, content: String },
}

impl Page {
    /// Finds the steps of a page.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut steps = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].as_str();
            let start = at + 1;
            let end_at = |mark: &str| {
                let length = lines[start..].iter().position(|line| line == mark);
                length.map(|length| start + length).ok_or_else(|| format!("line {start}: no {mark} ends the block"))
            };
            if let Some(info) = line.strip_prefix("```") {
                let end = end_at("```")?;
                if info == "console" {
                    steps.extend(commands(&lines, start..end)?);
                } else if let Some((_, path)) = info.split_once(" file=") {
                    steps.push(Step::File { path: path.to_owned(), content: joined(&lines[start..end]) });
                }
                at = end;
            } else if line == "<!-- run" {
                let end = end_at("-->")?;
                steps.push(Step::Hidden(joined(&lines[start..end])));
                at = end;
            }
            at += 1;
        }
        Ok(Self { lines, steps })
    }

    /// The page with other outputs, one per command. An output that is `same` as the new one is kept.
    pub fn with_outputs(&self, printed: &[String], same: impl Fn(&str, &str) -> bool) -> String {
        let outputs = self.steps.iter().filter_map(|step| match step {
            Step::Command { output, .. } => Some(output.clone()),
            Step::Hidden(_) | Step::File { .. } => None,
        });
        let mut lines = self.lines.clone();
        for (output, new) in outputs.zip(printed).collect::<Vec<_>>().into_iter().rev() {
            if !same(joined(&self.lines[output.clone()]).trim_end(), new.trim_end()) {
                let kept = keep_same(&self.lines[output.clone()], new.trim_end(), &same);
                lines.splice(output, kept);
            }
        }
        joined(&lines)
    }
}

/// The lines of `new`, but as in `old` where they are the same, so that only what has changed is rewritten.
fn keep_same(old: &[String], new: &str, same: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut rest = old;
    let mut kept = Vec::new();
    for line in new.lines() {
        let found = rest.iter().position(|old| same(old, line));
        kept.push(found.map_or_else(|| line.to_owned(), |at| rest[at].clone()));
        rest = found.map_or(rest, |at| &rest[at + 1..]);
    }
    kept
}

#[test]
fn an_update_keeps_the_lines_that_are_the_same() {
    let old = ["took 12 ms", "one", "took 13 ms"].map(str::to_owned);
    let same = |a: &str, b: &str| a == b || a.starts_with("took") && b.starts_with("took");
    assert_eq!(keep_same(&old, "took 99 ms\ntwo\ntook 1 ms", same), ["took 12 ms", "two", "took 13 ms"]);
}

/// The commands of a block.
fn commands(lines: &[String], block: Range<usize>) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut at = block.start;
    while at < block.end {
        let first = lines[at].strip_prefix("$ ").ok_or_else(|| format!("line {}: this is no command", at + 1))?;
        let mut script = vec![first];
        at += 1;
        while let Some(more) = lines[..block.end].get(at).and_then(|line| line.strip_prefix("> ")) {
            script.push(more);
            at += 1;
        }
        let output = lines[at..block.end].iter().take_while(|line| !line.starts_with("$ ")).count();
        steps.push(Step::Command { script: script.join("\n"), output: at..at + output });
        at += output;
    }
    Ok(steps)
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn page_is_parsed_into_commands_files_and_hidden_commands() {
    let text = "\
text
```console
$ echo a
a
$ cat <<END
> b
> END
b
```
```toml file=a/b.toml
x = 1
```
<!-- run
true
-->
```sh
not run
```
";
    let page = Page::parse(text).unwrap();
    let expected = [
        Step::Command { script: "echo a".into(), output: 3..4 },
        Step::Command { script: "cat <<END\nb\nEND".into(), output: 7..8 },
        Step::File { path: "a/b.toml".into(), content: "x = 1\n".into() },
        Step::Hidden("true\n".into()),
    ];
    assert_eq!(page.steps, expected);
    let outputs = ["a\n".to_owned(), "c\nd\n".to_owned()];
    let rewritten = page.with_outputs(&outputs, |old, new| old == new);
    assert_eq!(rewritten, text.replace("\nb\n```", "\nc\nd\n```"));
    assert!(Page::parse("```console\noutput\n```\n").is_err());
    assert!(Page::parse("```console\n$ true\n").is_err());
}
