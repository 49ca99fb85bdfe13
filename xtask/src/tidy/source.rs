//! Takes Rust text apart, just enough to ask about words and paths: comments on one side, code on the other,
//! the insides of literals gone, so that a word in a string is never mistaken for one in the code.
//!
//! It is no parser: it knows nothing of grammar beyond comments, literals and `a::{b, c::d}`. A macro that
//! builds a path from pieces would get past it; clippy's bans and the floors stand behind.

/// Rust text in two layers of equal shape: same lines, same columns, blanks where the other layer has text.
#[derive(Debug)]
pub struct Source {
    /// Everything but comments and the insides of literals.
    pub code: String,
    /// The comments alone.
    pub comments: String,
}

/// A word of the code, or one mark; `::` is one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its text.
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

impl Source {
    /// Takes `text` apart. Text that is no Rust gives some answer, never a panic.
    pub fn of(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let mut source = Source { code: String::new(), comments: String::new() };
        let mut at = 0;
        while at < characters.len() {
            let (end, layer) = piece(&characters, at);
            for (offset, &character) in characters[at..end].iter().enumerate() {
                let edge = offset == 0 || at + offset + 1 == end;
                let (code, comment) = match layer {
                    _ if character == '\n' => ('\n', '\n'),
                    Layer::Code => (character, ' '),
                    Layer::Comment => (' ', character),
                    Layer::Literal if edge => (character, ' '),
                    Layer::Literal => (' ', ' '),
                };
                source.code.push(code);
                source.comments.push(comment);
            }
            at = end;
        }
        source
    }

    /// The code, word by word.
    pub fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = Vec::new();
        for (index, line) in self.code.lines().enumerate() {
            let mut rest = line.trim_start();
            while let Some(first) = rest.chars().next() {
                let length = if is_word(first) {
                    rest.find(|character| !is_word(character)).unwrap_or(rest.len())
                } else if rest.starts_with("::") {
                    2
                } else {
                    first.len_utf8()
                };
                tokens.push(Token { text: &rest[..length], line: index + 1 });
                rest = rest[length..].trim_start();
            }
        }
        tokens
    }

    /// Every path that starts with `std`, written out: `std::{fs, env::args}` gives two.
    pub fn std_paths(&self) -> Vec<(usize, String)> {
        let tokens = self.tokens();
        let mut paths = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            if token.text == "std" && tokens.get(at + 1).is_some_and(|next| next.text == "::") {
                written_out(&tokens, at, "", &mut paths);
            }
        }
        paths
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Code,
    Comment,
    Literal,
}

/// The piece that begins at `at`: where it ends, and what it is.
fn piece(text: &[char], at: usize) -> (usize, Layer) {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => {
            (text[at..].iter().position(|&c| c == '\n').map_or(text.len(), |n| at + n), Layer::Comment)
        }
        '/' if next == Some('*') => (end_of_block_comment(text, at), Layer::Comment),
        '"' => (end_of_quoted(text, at, '"'), Layer::Literal),
        // A lifetime is a quote with no second one right after its first character.
        '\'' if next == Some('\\') || text.get(at + 2) == Some(&'\'') => {
            (end_of_quoted(text, at, '\''), Layer::Literal)
        }
        'r' => match end_of_raw(text, at) {
            Some(end) => (end, Layer::Literal),
            None => (end_of_word(text, at), Layer::Code),
        },
        // A literal's prefix is code; what follows it is looked at anew.
        'b' | 'c' if matches!(next, Some('"' | '\'')) || (next == Some('r') && end_of_raw(text, at + 1).is_some()) => {
            (at + 1, Layer::Code)
        }
        character if is_word(character) => (end_of_word(text, at), Layer::Code),
        _ => (at + 1, Layer::Code),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn end_of_word(text: &[char], at: usize) -> usize {
    text[at..].iter().position(|&c| !is_word(c)).map_or(text.len(), |n| at + n)
}

/// Block comments nest.
fn end_of_block_comment(text: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end < text.len() {
        match (text[end], text.get(end + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                end += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                end += 2;
                if depth == 0 {
                    return end;
                }
            }
            _ => end += 1,
        }
    }
    text.len()
}

fn end_of_quoted(text: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < text.len() {
        match text[end] {
            '\\' => end += 2,
            character if character == quote => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

/// The end of `r"…"` or `r#"…"#`; `None` where `r` begins a word or a raw identifier.
fn end_of_raw(text: &[char], at: usize) -> Option<usize> {
    let hashes = text[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let mut end = open + 1;
    while end < text.len() {
        if text[end] == '"' && text[end + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(text.len())
}

/// Follows the path whose next name is at `at`; adds all its ends to `paths`. Answers where it stopped.
fn written_out(tokens: &[Token<'_>], at: usize, before: &str, paths: &mut Vec<(usize, String)>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    let path = match before {
        "" => token.text.to_owned(),
        before => format!("{before}::{}", token.text),
    };
    if tokens.get(at + 1).is_none_or(|next| next.text != "::") {
        paths.push((token.line, path));
        let renamed = tokens.get(at + 1).is_some_and(|next| next.text == "as");
        return if renamed { at + 3 } else { at + 1 };
    }
    match tokens.get(at + 2) {
        Some(open) if open.text == "{" => {
            let mut next = at + 3;
            while let Some(token) = tokens.get(next) {
                match token.text {
                    "}" => return next + 1,
                    "," => next += 1,
                    _ => next = written_out(tokens, next, &path, paths),
                }
            }
            next
        }
        // `Vec::<u8>::new` and the like: what is before the turbofish is all that is asked about.
        Some(open) if open.text == "<" => {
            paths.push((token.line, path));
            at + 2
        }
        _ => written_out(tokens, at + 2, &path, paths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_strings_and_comments_are_no_code() {
        let text = "let a = \"std::fs \\\" //\"; // std::env\n/* /* std::net */ */ let b = r#\"std::os \" \"#;";
        let source = Source::of(text);
        assert!(!source.code.contains("std"), "{}", source.code);
        assert!(source.comments.contains("std::env"), "{}", source.comments);
        assert!(source.comments.contains("std::net"), "{}", source.comments);
        assert!(!source.comments.contains("std::os"), "{}", source.comments);
        assert_eq!(source.code.lines().count(), 2);
    }

    #[test]
    fn a_lifetime_does_not_open_a_literal() {
        let source = Source::of("fn f<'a>(x: &'a str) -> char { '\"' } // '");
        assert!(source.code.contains("-> char"), "{}", source.code);
        assert_eq!(source.comments.trim(), "// '");
    }

    #[test]
    fn a_raw_identifier_is_code() {
        assert!(Source::of("let r#type = b\"x\"; let y = b'z';").code.contains("r#type = b\" \""));
    }

    #[test]
    fn a_tree_of_imports_is_written_out() {
        let source = Source::of("use std::{fs, env::{self, args as words}, io::Read};\nlet x = ::std::net::lookup();");
        let paths: Vec<String> = source.std_paths().into_iter().map(|(line, path)| format!("{line} {path}")).collect();
        assert_eq!(
            paths,
            ["1 std::fs", "1 std::env::self", "1 std::env::args", "1 std::io::Read", "2 std::net::lookup"]
        );
    }

    #[test]
    fn broken_text_is_no_reason_to_panic() {
        for text in ["\"", "'\\", "r#\"", "/*", "use std::{", "use std::", "b'", "r"] {
            let source = Source::of(text);
            let _ = source.std_paths();
        }
    }
}
