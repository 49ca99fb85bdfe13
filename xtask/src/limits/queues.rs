//! Queues between threads and tasks: each is bounded, by a constant that has a name and so a row.
//!
//! A channel for one value and one that holds the latest are bounded by what they are.

use super::constants::outside_tests;
use crate::tidy::source::{Source, Token};

/// What makes a queue with a bound in its brackets.
const BOUNDED: [(&str, &str); 4] =
    [("", "channel"), ("", "sync_channel"), ("VecDeque", "with_capacity"), ("Semaphore", "new")];

/// What makes one that has no bound.
const UNBOUNDED: [&str; 3] = ["unbounded", "unbounded_channel", "unbounded_send"];

/// Tells of queues without a bound, and of bounds without a name.
pub(super) fn judge(path: &str, text: &str, found: &mut Vec<String>) {
    let source = Source::of(text);
    let tokens = outside_tests(source.tokens());
    for at in 0..tokens.len() {
        let Token { text, line } = tokens[at];
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text);
        if UNBOUNDED.contains(&text) {
            found.push(format!("{path}:{line}: `{text}` makes a queue without a bound; give it one, with a name"));
            continue;
        }
        let made = BOUNDED.iter().any(|(owner, name)| {
            text == *name && before(1) != "fn" && (owner.is_empty() || (before(1) == "::" && before(2) == *owner))
        });
        let bounded_by_nature = before(1) == "::" && matches!(before(2), "oneshot" | "watch");
        if !made || bounded_by_nature {
            continue;
        }
        let Some(inside) = brackets(&tokens[at + 1..]) else { continue };
        match inside {
            [] => {
                found.push(format!("{path}:{line}: `{text}()` makes a queue without a bound; give it one, with a name"))
            }
            [words @ .., last]
                if is_name(last.text)
                    && words.iter().all(|it| it.text == "::" || it.text.starts_with(|c: char| c.is_alphabetic())) => {}
            _ => found.push(format!("{path}:{line}: the bound of this `{text}` is no constant with a name")),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// What is in the brackets of a call, types before them left out; `None`: it is none.
fn brackets<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let mut open = 0;
    if tokens.first()?.text == "::" && tokens.get(1)?.text == "<" {
        let mut depth = 0_i32;
        open =
            1 + tokens[1..].iter().position(|token| {
                match token.text {
                    "<" => depth += 1,
                    ">" => depth -= 1,
                    _ => {}
                }
                depth == 0
            })? + 1;
    }
    if tokens.get(open)?.text != "(" {
        return None;
    }
    let mut depth = 0_i32;
    let close = tokens[open..].iter().position(|token| {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some(&tokens[open + 1..open + close])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        judge("a.rs", text, &mut found);
        found
    }

    #[test]
    fn queues_whose_bound_has_a_name_and_those_that_need_none_are_let_pass() {
        for text in [
            "let (a, b) = mpsc::channel(INPUTS_MAX);",
            "let (a, b) = sync_channel::<Vec<u8>>(super::LINES_MAX);",
            "broadcast::channel(FEED_MAX).0",
            "let (a, b) = oneshot::channel();",
            "let (a, b) = watch::channel(first);",
            "use tokio::sync::mpsc::channel;",
            "fn channel(bound: usize) {}",
            "Vec::with_capacity(count)",
            "#[cfg(test)] mod tests { fn f() { channel(9) } }",
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn queues_without_a_bound_or_a_name_for_it_are_told() {
        for (text, words) in [
            ("let (a, b) = mpsc::unbounded_channel();", "without a bound"),
            ("let (a, b) = std::sync::mpsc::channel();", "without a bound"),
            ("let (a, b) = mpsc::channel(64);", "no constant with a name"),
            ("sync_channel::<u8>(list.len())", "no constant with a name"),
            ("VecDeque::with_capacity(count)", "no constant with a name"),
            ("Semaphore::new(4)", "no constant with a name"),
        ] {
            let found = told(text);
            assert!(
                found.len() == 1 && found[0].contains(words) && found[0].starts_with("a.rs:1:"),
                "{text}: {found:?}"
            );
        }
    }
}
