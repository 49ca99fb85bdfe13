//! The document: rows of limits, room by room, and the list of constants that bound nothing.
//!
//! A row of limits has four cells: the constant with a link to its file, the value, what it bounds and why, and what
//! happens when it is reached. A row of the others has two: the constant, and which kind it is.

use super::DOCUMENT;
use super::constants::Constant;
use std::collections::BTreeMap;

/// What a constant with a number can be that bounds nothing.
pub(super) const KINDS: [&str; 9] = [
    "number of a protocol",
    "number of the OS",
    "layout of bytes",
    "version",
    "exit code",
    "default where the spec is silent",
    "default of another tool",
    "what people see",
    "of tests",
];

/// The heading below which the others stand.
const OTHERS: &str = "## What bounds nothing";

/// What stands in a row that nobody has finished.
const UNSAID: &str = "…";

type Key = (String, String);

/// What the document says.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) limits: BTreeMap<Key, Row>,
    /// The line of each.
    pub(super) others: BTreeMap<Key, usize>,
}

/// A row of limits.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) value: String,
}

impl Page {
    /// Reads the document; what is wrong with its rows is added to `found`.
    pub(super) fn of(text: &str, found: &mut Vec<String>) -> Self {
        let (mut page, mut heading) = (Page::default(), "");
        for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
            if text.starts_with("## ") {
                heading = text.trim();
            }
            let Some(key) = key(text) else { continue };
            let mut refuse = |what: &str| found.push(format!("{DOCUMENT}:{line}: the row of {} {what}", key.1));
            let cells = cells(text);
            if page.limits.contains_key(&key) || page.others.contains_key(&key) {
                refuse("is there twice");
                continue;
            }
            if heading == OTHERS {
                if !cells.get(1).is_some_and(|kind| KINDS.contains(&kind.as_str())) {
                    refuse(&format!("has another kind than these: {}", KINDS.join(", ")));
                }
                page.others.insert(key, line);
                continue;
            }
            if heading.strip_prefix("## ") != Some(room(&key.0)) {
                refuse(&format!("stands below '{heading}', and its place is '## {}'", room(&key.0)));
            }
            match cells.as_slice() {
                [_, value, why, reached] => {
                    if why.is_empty() || why == UNSAID {
                        refuse("does not say what it bounds, and why");
                    }
                    if reached.is_empty() || reached == UNSAID {
                        refuse("does not say what happens when it is reached");
                    }
                    page.limits.insert(key, Row { line, value: value.clone() });
                }
                _ => refuse("has not four cells"),
            }
        }
        page
    }
}

/// Of a row: the path of the file and the name of the constant.
fn key(text: &str) -> Option<Key> {
    let (name, rest) = text.strip_prefix("| `")?.split_once("` [")?;
    let path = rest.split_once("](../../")?.1.split_once(')')?.0;
    Some((path.to_owned(), name.to_owned()))
}

fn cells(text: &str) -> Vec<String> {
    let inside = text.trim().trim_matches('|').replace("\\|", "\u{1}");
    inside.split('|').map(|cell| cell.trim().replace('\u{1}', "\\|")).collect()
}

/// The room of a file: its crate.
pub(super) fn room(path: &str) -> &str {
    path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or(path)
}

/// The row of a constant, but for what happens when it is reached.
pub(super) fn row(constant: &Constant) -> String {
    let Constant { path, name, value, comment, .. } = constant;
    let file = path.split_once("/src/").map_or(path.as_str(), |(_, file)| file);
    let why = if comment.is_empty() { UNSAID } else { comment };
    format!("| `{name}` [{file}](../../{path}) | {value} | {why} | {UNSAID} |")
}
