//! The table of limits: each constant of the product that bounds something has a row in `docs/design/limits.md`, each
//! row a constant, and both the same value. And each queue between two threads is bounded by a constant with a name.
//!
//! Called by `check`, and by `generate` never: reasons and behaviours are a person's to write. What is missing is told
//! as the row to paste.
//!
//! - [`constants`] has the constants of the code, with their comments, and [`value`] what they are, for people;
//! - [`page`] has the rows of the document;
//! - [`queues`] looks at channels.
//!
//! What is a limit: every constant with a number or a duration, outside of tests. The few that are none (numbers of
//! protocols, layouts of bytes) are listed in the document too, with their kind, so that nothing is left out by silence.

mod constants;
mod page;
mod queues;
mod value;

use crate::tree::Tree;
use anyhow::{Result, bail};
use constants::Constant;
use page::Page;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the table is.
const DOCUMENT: &str = "docs/design/limits.md";

/// Every limit of the code is in the table as it is, and no queue is without one.
pub fn step(root: &Path) -> Result<String> {
    let tree = Tree::read(root)?;
    let (found, count) = judge(&tree);
    if !found.is_empty() {
        bail!("{} things are not as {DOCUMENT} has them\n  {}", found.len(), found.join("\n  "));
    }
    Ok(format!("{count} constants"))
}

/// What is wrong, in words, and how many constants there are.
fn judge(tree: &Tree) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut constants: BTreeMap<(String, String), Constant> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| is_product(&file.path)) {
        for constant in constants::of(&file.path, &file.text) {
            constants.insert((constant.path.clone(), constant.name.clone()), constant);
        }
        queues::judge(&file.path, &file.text, &mut found);
    }
    let text = tree.files.iter().find(|file| file.path == DOCUMENT).map_or("", |file| file.text.as_str());
    let page = Page::of(text, &mut found);
    for (key, constant) in &constants {
        if page.others.contains_key(key) {
            continue;
        }
        match page.limits.get(key) {
            Some(row) if row.value == constant.value => {}
            Some(row) => found.push(format!(
                "{DOCUMENT}:{}: {} is {}, the code has {}",
                row.line, constant.name, row.value, constant.value
            )),
            None => found.push(format!(
                "{}:{}: {} has no row; put this into '## {}', and say what happens when it is reached:\n    {}",
                constant.path,
                constant.line,
                constant.name,
                page::room(&constant.path),
                page::row(constant)
            )),
        }
    }
    let gone =
        page.limits.iter().map(|(key, row)| (key, row.line)).chain(page.others.iter().map(|(key, line)| (key, *line)));
    for ((path, name), line) in gone.filter(|(key, _)| !constants.contains_key(*key)) {
        found.push(format!("{DOCUMENT}:{line}: {path} has no constant {name}"));
    }
    (found, constants.len())
}

/// Whether a file is a part of what users run, and no test.
fn is_product(path: &str) -> bool {
    let is_test = path.contains("/tests/")
        || path.contains("_tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs");
    path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs") && !is_test
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "/// Lines that wait: a screen.\nconst LINES_MAX: usize = 2 * 32;\nconst KIND: u8 = 7;\nfn f() { channel(LINES_MAX) }\n#[cfg(test)]\nmod tests { const MANY: u8 = 9; fn g() { channel(9) } }\n";

    fn judged(page: &str, code: &str) -> Vec<String> {
        judge(&Tree::of(&[(DOCUMENT, page), ("crates/tutela/src/a.rs", code)])).0
    }

    #[test]
    fn files_of_tests_are_no_part_of_the_product() {
        for path in ["src/tests/a.rs", "src/a/tests.rs", "src/a_tests.rs", "src/a_tests/b.rs", "tests/a.rs"] {
            assert!(!is_product(&format!("crates/tutela/{path}")), "{path}");
        }
        assert!(is_product("crates/tutela/src/tests_of/a.rs") && !is_product("xtask/src/a.rs"));
    }

    fn page(row: &str) -> String {
        format!(
            "## tutela\n\n| constant | value | what it bounds, and why | when it is reached |\n|---|---|---|---|\n{row}\n## What bounds nothing\n\n| constant | kind |\n|---|---|\n| `KIND` [a.rs](../../crates/tutela/src/a.rs) | number of a protocol |\n"
        )
    }

    const ROW: &str =
        "| `LINES_MAX` [a.rs](../../crates/tutela/src/a.rs) | 64 | Lines that wait: a screen. | the sender waits |\n";

    #[test]
    fn a_table_that_is_as_the_code_is_let_pass() {
        assert_eq!(judged(&page(ROW), CODE), Vec::<String>::new());
    }

    #[test]
    fn a_missing_row_is_told_as_the_row_to_paste() {
        let found = judged(&page(""), CODE);
        assert_eq!(found.len(), 1, "{found:?}");
        let row = ROW.trim_end().replace("the sender waits", "…");
        assert!(found[0].contains("a.rs:2: LINES_MAX has no row") && found[0].contains(&row), "{found:?}");
        let pasted = judged(&page(&format!("{row}\n")), CODE);
        assert!(pasted.len() == 1 && pasted[0].contains("does not say what happens"), "{pasted:?}");
    }

    #[test]
    fn another_value_a_constant_that_is_gone_and_one_in_both_tables_are_told() {
        let found = judged(&page(ROW), &CODE.replace("2 * 32", "2 * 64"));
        assert!(found.len() == 1 && found[0].contains("LINES_MAX is 64, the code has 128"), "{found:?}");
        let found = judged(&page(ROW), &CODE.replace("LINES_MAX", "ROWS_MAX"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].contains("has no constant LINES_MAX"), "{found:?}");
        let both = ROW.replace("LINES_MAX", "KIND").replace("64", "7");
        let found = judged(&page(&format!("{ROW}{both}")), CODE);
        assert!(found.len() == 1 && found[0].contains("the row of KIND is there twice"), "{found:?}");
    }
}
