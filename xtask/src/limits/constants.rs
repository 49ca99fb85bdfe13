//! The constants of a Rust file that hold a number or a duration, with what is said beside them.

use super::value;
use crate::tidy::source::{Source, Token};

/// What a limit can be written as.
const TYPES: [&str; 16] = [
    "usize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "isize",
    "i8",
    "i16",
    "i32",
    "i64",
    "f32",
    "f64",
    "Duration",
    "Span",
    "NonZeroUsize",
];

/// A constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: String,
    /// As the table has it.
    pub(super) value: String,
    /// Its doc comment, in one line.
    pub(super) comment: String,
}

/// Those of a file, without those of its tests.
pub(super) fn of(path: &str, text: &str) -> Vec<Constant> {
    let source = Source::of(text);
    let tokens = outside_tests(source.tokens());
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let [name, colon, ..] = &tokens[at + 1..] else { break };
        let is_name = name.text.chars().next().is_some_and(|c| c.is_ascii_uppercase());
        if token.text != "const" || colon.text != ":" || !is_name {
            continue;
        }
        let rest = &tokens[at + 3..];
        let Some(equals) = rest.iter().position(|it| it.text == "=") else { break };
        let is_number = rest[..equals].last().is_some_and(|it| TYPES.contains(&it.text));
        let plain = rest[..equals].iter().all(|it| it.text == "::" || it.text.chars().all(|c| c.is_alphanumeric()));
        let Some(end) = end_of(&rest[equals + 1..]) else { continue };
        if is_number && plain {
            let words: Vec<&str> = rest[equals + 1..equals + 1 + end].iter().map(|it| it.text).collect();
            found.push(Constant {
                path: path.to_owned(),
                line: name.line,
                name: name.text.to_owned(),
                value: value::shown(name.text, &words),
                comment: comment_above(&lines, token.line),
            });
        }
    }
    found
}

/// Where the value ends: at a semicolon that is in no brackets.
fn end_of(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_i32;
    tokens.iter().position(|token| {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        token.text == ";" && depth == 0
    })
}

/// The doc comment that ends above a line, attributes between them left out.
fn comment_above(lines: &[&str], line: usize) -> String {
    let above = lines[..line - 1].iter().rev().map(|line| line.trim());
    let mut said: Vec<&str> = above
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter_map(|line| line.strip_prefix("///"))
        .map(str::trim)
        .collect();
    said.reverse();
    said.join(" ").replace('|', "\\|")
}

/// Leaves modules of tests out: `#[cfg(test)] … mod NAME { … }`.
pub(super) fn outside_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let is = |words: &[&str]| {
            words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|it| it.text == *word))
        };
        if is(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            let item = tokens[at..].iter().position(|it| matches!(it.text, "{" | ";")).map(|n| at + n);
            let is_module = item.is_some_and(|end| tokens[at..end].iter().any(|it| it.text == "mod"));
            if let (Some(open), true) = (item, is_module) {
                at = if tokens[open].text == "{" { behind(&tokens, open) } else { open + 1 };
                continue;
            }
        }
        kept.push(tokens[at]);
        at += 1;
    }
    kept
}

/// What follows the bracket that closes the one at `open`.
fn behind(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_i32;
    for (n, token) in tokens[open..].iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + n + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_with_a_number_are_found_with_their_comment_and_others_are_not() {
        let text = "/// How long: as\n/// people wait.\n#[allow(unused)]\npub(super) const WAIT: std::time::Duration = Duration::from_secs(2 * 60);\nconst NAME: &str = \"5\";\nconst ALL: [u8; 2] = [1, 2];\nconst fn f() {}\nimpl X { const BYTES: usize = 4 << 10; }\n";
        let found = of("a.rs", text);
        let shown: Vec<_> = found.iter().map(|it| (it.line, it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(shown, [(4, "WAIT", "2 min"), (8, "BYTES", "4 KiB")]);
        assert_eq!(found[0].comment, "How long: as people wait.");
    }

    #[test]
    fn what_is_in_tests_is_no_limit() {
        let text = "#[cfg(test)]\nmod probes;\n#[cfg(test)]\n#[expect(x)]\nmod tests { const A: u8 = 1; fn f() { { } } }\nconst B: u8 = 2;\n";
        assert_eq!(of("a.rs", text).iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["B"]);
    }
}
