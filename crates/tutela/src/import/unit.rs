//! Unit files as systemd reads them: sections, keys that may stand several times, lines that go on after a backslash.

use super::source::ImportError;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: u32,
}

/// Reads every assignment in order.
pub(super) fn parse(text: &str, shown: &str) -> Result<Vec<Assignment>, Box<ImportError>> {
    let mut out: Vec<Assignment> = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = (1_u32..).zip(text.lines());
    while let Some((number, raw)) = lines.next() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let bad = |message: &str| {
            let column = u32::try_from(raw.chars().count() - raw.trim_start().chars().count() + 1).unwrap_or(1);
            Err(ImportError::at(shown, number, column, message).help("a unit has [Sections] with lines of Key=value"))
        };
        if let Some(rest) = line.strip_prefix('[') {
            let Some(name) = rest.strip_suffix(']') else { return bad("the name of a section ends with ']'") };
            section = Some(name.to_owned());
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { return bad("a line is Key=value") };
        let mut value = value.trim_start().to_owned();
        while value.ends_with('\\') {
            value.pop();
            value.push(' ');
            // Comments between the lines are none of the value.
            match lines.find(|(_, next)| !next.trim_start().starts_with(['#', ';'])) {
                Some((_, next)) => value.push_str(next.trim()),
                None => break,
            }
        }
        let Some(section) = &section else { return bad("a key stands before the first section") };
        out.push(Assignment {
            section: section.clone(),
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
            line: number,
        });
    }
    Ok(out)
}

/// The words of a value: split at white space, with quotes and the escapes of C.
pub(super) fn words(value: &str) -> Result<Vec<Word>, String> {
    let mut out = Vec::new();
    let mut chars = value.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(out);
        }
        let mut word = Word::default();
        while let Some(c) = chars.peek().copied().filter(|c| !c.is_whitespace()) {
            chars.next();
            match c {
                '"' | '\'' => {
                    word.quoted = true;
                    loop {
                        match chars.next() {
                            None => return Err("a quote is never closed".to_owned()),
                            Some(end) if end == c => break,
                            Some('\\') => word.text.push_str(&escape(&mut chars)?),
                            Some(inner) => word.text.push(inner),
                        }
                    }
                }
                '\\' => word.text.push_str(&escape(&mut chars)?),
                c => word.text.push(c),
            }
        }
        out.push(word);
    }
}

/// One word, and whether any of it stood in quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) quoted: bool,
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let plain = |c: char| Ok(c.to_string());
    match chars.next() {
        None => Err("a backslash stands at the end".to_owned()),
        Some('a') => plain('\u{7}'),
        Some('b') => plain('\u{8}'),
        Some('f') => plain('\u{c}'),
        Some('n') => plain('\n'),
        Some('r') => plain('\r'),
        Some('t') => plain('\t'),
        Some('v') => plain('\u{b}'),
        Some('s') => plain(' '),
        Some(c @ ('\\' | '"' | '\'')) => plain(c),
        Some('x') => digits(chars, None, 2, 16),
        Some('u') => digits(chars, None, 4, 16),
        Some('U') => digits(chars, None, 8, 16),
        Some(c) if c.is_digit(8) => digits(chars, Some(c), 3, 8),
        // What is no escape stays as it is.
        Some(c) => Ok(format!("\\{c}")),
    }
}

fn digits(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    first: Option<char>,
    count: usize,
    radix: u32,
) -> Result<String, String> {
    let mut text: String = first.into_iter().collect();
    while text.len() < count
        && let Some(c) = chars.next_if(|c| c.is_digit(radix))
    {
        text.push(c);
    }
    let code = u32::from_str_radix(&text, radix).ok().and_then(char::from_u32).filter(|c| *c != '\0');
    code.map(String::from).ok_or_else(|| "an escape is no character".to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn lines_go_on_after_a_backslash_and_comments_between_them_are_left_out() {
        let text = "# c\n[Service]\nExecStart=/bin/a \\\n  # not this\n  --b \\\n  c\nRestart=always\n";
        let read = parse(text, "x").unwrap();
        assert_eq!((read[0].value.as_str(), read[0].line), ("/bin/a  --b  c", 3));
        assert_eq!((read[1].key.as_str(), read[1].line), ("Restart", 7));
    }

    #[test]
    fn words_have_quotes_and_escapes() {
        let read = words(r#"a "b c" 'd "e' f\x20g "h\n" \u00e9 i\sj \d"#).unwrap();
        let read: Vec<_> = read.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(read, ["a", "b c", "d \"e", "f g", "h\n", "é", "i j", "\\d"]);
        assert!(words("\"a").is_err() && words("a\\").is_err() && words("\\x00").is_err());
    }

    #[test]
    fn what_is_no_unit_is_refused_with_its_place() {
        for (text, place) in [("A=b", (1, 1)), ("[a\n", (1, 1)), ("[a]\n  nothing", (2, 3))] {
            let error = parse(text, "x").unwrap_err();
            assert_eq!((error.line, error.column), place, "{text}");
        }
    }
}
