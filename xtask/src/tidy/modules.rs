//! How a Rust module begins, which words it may be called by, which marks it may not hold, how long it gets.

use super::Violation;
use super::source::Source;
use crate::tree::{File, Tree};

/// A file longer than this has more than one concern. Most have less than a third of it; the room above is for
/// a table or a test that would be worse when cut in two.
const LINES_AT_MOST: usize = 900;

/// How many of the longest files are shown.
const SHOWN: usize = 10;

/// Words that say nothing about what a thing is.
const BANNED_WORDS: [&str; 10] =
    ["manager", "managers", "helper", "helpers", "util", "utils", "utility", "utilities", "common", "misc"];

/// Words after which a name is made.
const NAMING: [&str; 6] = ["mod", "struct", "enum", "union", "trait", "type"];

/// Marks of something unfinished, in comments.
const UNFINISHED: [&str; 2] = ["FIXME", "XXX"];

/// Macros that stand for something unfinished, or were forgotten. Clippy knows them too, where it looks.
const UNFINISHED_MACROS: [&str; 3] = ["dbg", "todo", "unimplemented"];

/// Judges every Rust source.
pub fn judge(tree: &Tree, violations: &mut Vec<Violation>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        judge_opening(file, violations);
        judge_path(file, violations);
        let lines = file.text.lines().count();
        if lines > LINES_AT_MOST {
            violations.push(Violation::new(&file.path, 0, format!("{lines} lines, more than {LINES_AT_MOST}")));
        }
        let source = Source::of(&file.text);
        judge_names(file, &source, violations);
        judge_unfinished(file, &source, violations);
    }
}

/// The longest Rust sources, longest first.
pub fn longest(tree: &Tree) -> Vec<(usize, &str)> {
    let sources = tree.files.iter().filter(|file| file.is_rust());
    let mut lengths: Vec<(usize, &str)> = sources.map(|file| (file.text.lines().count(), file.path.as_str())).collect();
    lengths.sort_by(|a, b| b.cmp(a));
    lengths.truncate(SHOWN);
    lengths
}

fn judge_opening(file: &File, violations: &mut Vec<Violation>) {
    let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if !first.starts_with("//!") {
        violations.push(Violation::new(&file.path, 1, "a module opens with `//!`: what it is for, and who calls it"));
    }
}

fn judge_path(file: &File, violations: &mut Vec<Violation>) {
    for part in file.path.trim_end_matches(".rs").split('/') {
        if let Some(word) = banned_word(part) {
            violations.push(Violation::new(&file.path, 0, format!("`{word}` names nothing; say what it is")));
        }
    }
}

fn judge_names(file: &File, source: &Source, violations: &mut Vec<Violation>) {
    for pair in source.tokens().windows(2) {
        let [keyword, name] = pair else { continue };
        if NAMING.contains(&keyword.text)
            && let Some(word) = banned_word(name.text)
        {
            let what = format!("`{word}` in `{}` names nothing; say what it is", name.text);
            violations.push(Violation::new(&file.path, name.line, what));
        }
    }
}

fn judge_unfinished(file: &File, source: &Source, violations: &mut Vec<Violation>) {
    for (index, line) in source.comments.lines().enumerate() {
        let mut words = line.split(|character: char| !character.is_alphanumeric());
        if let Some(mark) = words.find(|word| UNFINISHED.contains(word)) {
            violations.push(Violation::new(&file.path, index + 1, format!("{mark}: finish it or open an issue")));
        }
    }
    for pair in source.tokens().windows(2) {
        let [name, mark] = pair else { continue };
        if mark.text == "!" && UNFINISHED_MACROS.contains(&name.text) {
            violations.push(Violation::new(&file.path, name.line, format!("`{}!` is unfinished work", name.text)));
        }
    }
}

/// The first banned word among those that make up `name`, written in either case.
fn banned_word(name: &str) -> Option<&'static str> {
    let mut words: Vec<String> = Vec::new();
    let mut in_lower = false;
    for character in name.chars() {
        if !character.is_alphanumeric() {
            in_lower = false;
            words.push(String::new());
            continue;
        }
        if words.is_empty() || (in_lower && character.is_uppercase()) {
            words.push(String::new());
        }
        in_lower = !character.is_uppercase();
        if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
    }
    BANNED_WORDS.into_iter().find(|banned| words.iter().any(|word| word == banned))
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_module_without_an_opening_is_found() {
        let files = [("src/a.rs", "use std::fs;\n"), ("src/b.rs", "\n//! Says it.\n"), ("src/empty.rs", "")];
        let wrong = found(judge, &files);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("src/a.rs:1: "), "{wrong:?}");
        assert!(wrong[1].starts_with("src/empty.rs:1: "), "{wrong:?}");
    }

    #[test]
    fn a_name_that_says_nothing_is_found_in_paths_and_in_code() {
        let files = [
            ("src/log_utils.rs", "//! Doc.\n"),
            ("src/x.rs", "//! Doc.\nstruct ChildManager;\nfn common() {}\nmod misc {}\nstruct Commonwealth;\n"),
        ];
        assert_eq!(
            found(judge, &files),
            [
                "src/log_utils.rs: `utils` names nothing; say what it is",
                "src/x.rs:2: `manager` in `ChildManager` names nothing; say what it is",
                "src/x.rs:4: `misc` in `misc` names nothing; say what it is",
            ]
        );
    }

    #[test]
    fn unfinished_work_is_found_but_not_in_strings() {
        let text = "//! Doc.\n// FIXME later\nfn f() { todo!() }\nconst A: &str = \"FIXME todo!()\"; // XXXX\n";
        assert_eq!(
            found(judge, &[("src/x.rs", text)]),
            ["src/x.rs:2: FIXME: finish it or open an issue", "src/x.rs:3: `todo!` is unfinished work",]
        );
    }

    #[test]
    fn a_file_past_the_ceiling_is_found() {
        let long = format!("//! Doc.\n{}", "//\n".repeat(LINES_AT_MOST));
        let just_short = format!("//! Doc.\n{}", "//\n".repeat(LINES_AT_MOST - 1));
        let files = [("src/long.rs", long.as_str()), ("src/short.rs", just_short.as_str())];
        assert_eq!(found(judge, &files), ["src/long.rs: 901 lines, more than 900"]);
        assert_eq!(longest(&Tree::of(&files))[0], (901, "src/long.rs"));
    }
}
