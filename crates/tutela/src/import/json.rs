//! JSON, and of JavaScript what people write in a file that only has values: comments, keys without quotes, single
//! quotes, commas at the end, `module.exports =`. What has to be run to be known is refused.

use super::source::{ImportError, place};
use std::iter::Peekable;
use std::str::CharIndices;

/// The deepest that values stand in each other; each level costs stack.
const DEPTH_MAX: usize = 64;

/// A value with the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    /// Members in their order, each with the byte of its key.
    Table(Vec<(String, usize, Value)>),
}

impl Value {
    pub(super) fn members(&self) -> &[(String, usize, Value)] {
        match &self.kind {
            Kind::Table(members) => members,
            _ => &[],
        }
    }

    /// The last member of that name: later ones win.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members().iter().rev().find(|(key, _, _)| key == name).map(|(_, _, value)| value)
    }

    pub(super) fn items(&self) -> &[Value] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// A text; numbers and truths are the text that they are written as.
    pub(super) fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(number) => Some(number.to_string()),
            Kind::Bool(yes) => Some(yes.to_string()),
            Kind::Null | Kind::List(_) | Kind::Table(_) => None,
        }
    }

    /// A number; also one in a text.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Number(number) => Some(*number),
            Kind::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(yes) => Some(*yes),
            Kind::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// For people, in short.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
            _ => self.text().unwrap_or_else(|| "null".to_owned()),
        }
    }
}

/// Reads the value of a file.
pub(super) fn parse(text: &str, shown: &str) -> Result<Value, Box<ImportError>> {
    let mut parser = Parser { text, shown, chars: text.char_indices().peekable() };
    parser.blanks()?;
    for front in ["'use strict'", "\"use strict\""] {
        if parser.rest().starts_with(front) {
            parser.skip(front.len());
            parser.end_of_statement()?;
        }
    }
    for front in ["module.exports", "exports.default", "export default"] {
        if parser.rest().starts_with(front) {
            parser.skip(front.len());
            parser.blanks()?;
            if parser.take('=') {
                parser.blanks()?;
            }
        }
    }
    let value = parser.value(0)?;
    parser.end_of_statement()?;
    match parser.chars.peek() {
        None => Ok(value),
        Some(_) => parser.bad("something follows the value"),
    }
}

struct Parser<'a> {
    text: &'a str,
    shown: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Parser<'_> {
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn rest(&mut self) -> &str {
        let at = self.at();
        self.text.get(at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        let end = self.at() + bytes;
        while self.chars.next_if(|(at, _)| *at < end).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn bad_at<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Box<ImportError>> {
        let (line, column) = place(self.text, at);
        let help = "only values are read, nothing is run; a file that computes becomes JSON with: \
                    node -p \"JSON.stringify(require('./ecosystem.config.js'), null, 2)\" > ecosystem.json";
        Err(ImportError::at(self.shown, line, column, message).help(help))
    }

    fn bad<T>(&mut self, message: impl Into<String>) -> Result<T, Box<ImportError>> {
        let at = self.at();
        self.bad_at(at, message)
    }

    /// White space and comments.
    fn blanks(&mut self) -> Result<(), Box<ImportError>> {
        loop {
            while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            let begin = self.at();
            if self.rest().starts_with("//") {
                while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
            } else if self.rest().starts_with("/*") {
                match self.rest().find("*/") {
                    Some(end) => self.skip(end + 2),
                    None => return self.bad_at(begin, "a comment is never closed"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn end_of_statement(&mut self) -> Result<(), Box<ImportError>> {
        self.blanks()?;
        while self.take(';') {
            self.blanks()?;
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, Box<ImportError>> {
        if depth > DEPTH_MAX {
            return self.bad(format!("values stand in each other deeper than {DEPTH_MAX} levels"));
        }
        let at = self.at();
        let kind = match self.chars.peek().map(|(_, c)| *c) {
            None => return self.bad("the file ends where a value should be"),
            Some('{') => self.table(depth)?,
            Some('[') => self.list(depth)?,
            Some('"' | '\'' | '`') => Kind::Text(self.quoted()?),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number()?,
            Some(_) => match self.word().as_str() {
                "null" | "undefined" => Kind::Null,
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "" => return self.bad("a value is a text, a number, true, false, null, [ or {"),
                word => return self.bad_at(at, format!("{word:?} would have to be run to be known")),
            },
        };
        self.blanks()?;
        // What follows a value within its list; an operator would make another value of it.
        match self.chars.peek().map(|(_, c)| *c) {
            None | Some(',' | ']' | '}' | ';') => Ok(Value { at, kind }),
            Some(_) if depth == 0 => Ok(Value { at, kind }),
            Some(_) => self.bad("a value is followed by ',', ']' or '}'"),
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| c.is_alphanumeric() || matches!(c, '_' | '$' | '.')) {
            word.push(c);
        }
        word
    }

    fn number(&mut self) -> Result<Kind, Box<ImportError>> {
        let at = self.at();
        let mut digits = String::new();
        while let Some((_, c)) =
            self.chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))
        {
            if c != '_' {
                digits.push(c);
            }
        }
        let number = match digits.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok().map(f64::from),
            None => digits.parse().ok().filter(|number: &f64| number.is_finite()),
        };
        match number {
            Some(number) => Ok(Kind::Number(number)),
            None => self.bad_at(at, format!("{:?} is no number", digits.chars().take(20).collect::<String>())),
        }
    }

    fn quoted(&mut self) -> Result<String, Box<ImportError>> {
        let opened = self.at();
        let Some((_, quote)) = self.chars.next() else { return self.bad("a quote is missing") };
        let mut out = String::new();
        loop {
            match self.chars.next() {
                None => return self.bad_at(opened, "a quote is never closed"),
                Some((_, c)) if c == quote => return Ok(out),
                Some((at, '\n')) if quote != '`' => return self.bad_at(at, "a quote is not closed in its line"),
                Some((at, '$')) if quote == '`' && self.chars.peek().is_some_and(|(_, c)| *c == '{') => {
                    return self.bad_at(at, "what stands in ${…} would have to be run to be known");
                }
                Some((at, '\\')) => match self.chars.next().map(|(_, c)| c) {
                    None => return self.bad_at(opened, "a quote is never closed"),
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('b') => out.push('\u{8}'),
                    Some('f') => out.push('\u{c}'),
                    Some('\n') => {}
                    Some('u') => out.push(self.escaped(at)?),
                    Some(c) => out.push(c),
                },
                Some((_, c)) => out.push(c),
            }
        }
    }

    /// `\uXXXX`, and two of them for a character beyond the first plane.
    fn escaped(&mut self, at: usize) -> Result<char, Box<ImportError>> {
        let first = self.hex(at)?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).map_or_else(|| self.bad_at(at, "it is no character"), Ok);
        }
        if self.rest().starts_with("\\u") {
            self.skip(2);
            let second = self.hex(at)?;
            if (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return char::from_u32(code).map_or_else(|| self.bad_at(at, "it is no character"), Ok);
            }
        }
        self.bad_at(at, "half of a character stands alone")
    }

    fn hex(&mut self, at: usize) -> Result<u32, Box<ImportError>> {
        let mut digits = String::new();
        while digits.len() < 4
            && let Some((_, c)) = self.chars.next_if(|(_, c)| c.is_ascii_hexdigit())
        {
            digits.push(c);
        }
        match u32::from_str_radix(&digits, 16) {
            Ok(code) if digits.len() == 4 => Ok(code),
            _ => self.bad_at(at, "\\u is followed by four hexadecimal digits"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Box<ImportError>> {
        self.chars.next();
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            if self.take(']') {
                return Ok(Kind::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.blanks()?;
            if !self.take(',') && self.chars.peek().is_none_or(|(_, c)| *c != ']') {
                return self.bad("an item is followed by ',' or ']'");
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Kind, Box<ImportError>> {
        self.chars.next();
        let mut members = Vec::new();
        loop {
            self.blanks()?;
            if self.take('}') {
                return Ok(Kind::Table(members));
            }
            let at = self.at();
            let key = match self.chars.peek().map(|(_, c)| *c) {
                Some('"' | '\'') => self.quoted()?,
                _ => self.word(),
            };
            if key.is_empty() {
                return self.bad("a member begins with its key");
            }
            self.blanks()?;
            if !self.take(':') {
                return self.bad(format!("after the key {key:?} comes ':'"));
            }
            self.blanks()?;
            let value = self.value(depth + 1)?;
            members.push((key, at, value));
            self.blanks()?;
            if !self.take(',') && self.chars.peek().is_none_or(|(_, c)| *c != '}') {
                return self.bad("a member is followed by ',' or '}'");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn json_and_values_of_javascript_are_read() {
        let text = "// said\nmodule.exports = {\n  apps: [{ name: 'a\\'b', \"n\": 1_000, x: -0.5, t: true, u: undefined, /* c */ s: `q` },],\n};\n";
        let value = parse(text, "x.js").unwrap();
        let app = &value.get("apps").unwrap().items()[0];
        assert_eq!(app.get("name").unwrap().text().as_deref(), Some("a'b"));
        assert_eq!(app.get("n").unwrap().number(), Some(1000.0));
        assert_eq!(app.get("x").unwrap().number(), Some(-0.5));
        assert_eq!(app.get("u").unwrap().kind, Kind::Null);
        assert_eq!(parse("{\"a\": \"\\u00e9\\ud83d\\ude00\"}", "x").unwrap().get("a").unwrap().text().unwrap(), "é😀");
    }

    #[test]
    fn what_has_to_be_run_is_refused_with_its_place() {
        for (text, place) in [
            ("module.exports = { a: process.env.X }", (1, 23)),
            ("const x = 1", (1, 1)),
            ("{\n a: `x${y}`}", (2, 7)),
            ("{a: 1 + 2}", (1, 7)),
            ("{a: 'x' + 'y'}", (1, 9)),
            ("[1 2]", (1, 4)),
            ("{\"a\": \"", (1, 7)),
            ("{a}", (1, 3)),
            ("{} x", (1, 4)),
            ("", (1, 1)),
        ] {
            let error = parse(text, "x.js").unwrap_err();
            assert_eq!((error.line, error.column), place, "{text}: {error}");
        }
        assert!(parse(&"[".repeat(100_000), "x").is_err());
    }
}
