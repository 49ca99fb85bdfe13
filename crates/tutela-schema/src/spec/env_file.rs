//! Environment files: lines of `NAME=value`.
//!
//! A line may begin with `export`. Empty lines and lines that begin with `#` are nothing. A value ends with its line,
//! or at ` #`, and loses the spaces around it; within `'…'` everything is as it is, within `"…"` also line ends, and
//! `\n`, `\r`, `\t`, `\"`, `\\` and `\$` mean what they do elsewhere. Variables in values are not replaced: a secret
//! with a dollar stays what it is.

use super::diagnostic::{Code, Diagnostic};
use super::source::{FileId, Place, SourceMap};
use std::iter::Peekable;
use std::str::CharIndices;

/// Reads the variables of one file in their order, each with its place.
pub(crate) fn parse(
    text: &str,
    file: FileId,
    sources: &SourceMap,
) -> Result<Vec<(String, String, Place)>, Box<Diagnostic>> {
    let text_after_mark = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let skipped = text.len() - text_after_mark.len();
    let mut variables = Vec::new();
    let mut reader = Reader { text, chars: text.char_indices().peekable() };
    if skipped > 0 {
        reader.chars.next();
    }
    loop {
        match reader.variable() {
            Ok(None) => return Ok(variables),
            Ok(Some((name, value, span))) => variables.push((name, value, Place::new(file, span))),
            Err(bad) => {
                let origin = sources.origin(Place::new(file, bad.at..bad.at + 1));
                let error = Diagnostic::error(Code::BadEnvFile, Some(origin), bad.message);
                let help = "write NAME=value, one a line; values with spaces may stand in quotes";
                return Err(Box::new(error.help(help)));
            }
        }
    }
}

struct Bad {
    at: usize,
    message: String,
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| fits(*c)) {
            out.push(c);
        }
        out
    }

    fn blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
    }

    fn variable(&mut self) -> Result<Option<(String, String, std::ops::Range<usize>)>, Bad> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
            match self.chars.peek() {
                None => return Ok(None),
                Some((_, '#')) => {
                    self.take_while(|c| c != '\n');
                }
                Some(_) => break,
            }
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let mut begin = self.at();
        let mut name = self.take_while(fits);
        self.blanks();
        if name == "export" && self.chars.peek().is_some_and(|(_, c)| fits(*c)) {
            begin = self.at();
            name = self.take_while(fits);
            self.blanks();
        }
        let at = self.at();
        if name.is_empty() {
            return Err(Bad { at, message: "a line begins with the name of a variable".into() });
        }
        if name.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_') {
            return Err(Bad { at: begin, message: format!("{name:?} is no name of a variable") });
        }
        if self.chars.next_if(|(_, c)| *c == '=').is_none() {
            return Err(Bad { at, message: format!("after the name {name} comes '='") });
        }
        self.blanks();
        let value = match self.chars.peek() {
            Some((_, quote @ ('"' | '\''))) => {
                let quote = *quote;
                self.quoted(quote)?
            }
            _ => {
                let line = self.take_while(|c| c != '\n');
                let end = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
                line[..end].trim_matches([' ', '\t', '\r']).to_owned()
            }
        };
        if let Some(nul) = value.find('\0').or(name.find('\0')) {
            return Err(Bad { at: begin + nul.min(1), message: format!("the value of {name} has a NUL") });
        }
        let end = begin + name.len();
        Ok(Some((name, value, begin..end)))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Bad> {
        let opened = self.at();
        self.chars.next();
        let mut out = String::new();
        loop {
            match self.chars.next() {
                None => return Err(Bad { at: opened, message: format!("a {quote} is never closed") }),
                Some((_, c)) if c == quote => break,
                Some((at, '\\')) if quote == '"' => match self.chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, c @ ('"' | '\\' | '$' | '\''))) => out.push(c),
                    _ => return Err(Bad { at, message: "a backslash stands before none of n r t \" \\ $".into() }),
                },
                Some((_, c)) => out.push(c),
            }
        }
        self.blanks();
        match self.chars.peek() {
            None | Some((_, '\n' | '\r')) => Ok(out),
            Some((_, '#')) => {
                self.take_while(|c| c != '\n');
                Ok(out)
            }
            Some((at, _)) => Err(Bad { at: *at, message: "after the closing quote comes the end of the line".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::spec::source::Files;
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    fn read(text: &str) -> Result<Vec<(String, String)>, (u32, u32)> {
        let mut sources = SourceMap::default();
        let files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::from([(".env".into(), text.into())]);
        let files: &dyn Files = &files;
        let Ok((file, text)) = sources.load(files, Path::new(".env"), Path::new(".env")) else {
            panic!("the file is there")
        };
        parse(&text, file, &sources)
            .map(|all| all.into_iter().map(|(name, value, _)| (name, value)).collect())
            .map_err(|error| error.origin.map(|origin| (origin.line, origin.column)).unwrap())
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        let text = "\u{FEFF}# first\r\nA=1\r\nexport B = two words  # said\nC='a # $b \\n'\nD=\"x\\ty\nz\" # end\nE=\nF=a#b\nexport=3";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # $b \\n"),
            ("D", "x\ty\nz"),
            ("E", ""),
            ("F", "a#b"),
            ("export", "3"),
        ];
        let read = read(text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(read("A=1\nnothing here\n"), Err((2, 9)));
        assert_eq!(read("=1"), Err((1, 1)));
        assert_eq!(read("1A=1"), Err((1, 1)));
        assert_eq!(read("A=\"open"), Err((1, 3)));
        assert_eq!(read("A='x' y"), Err((1, 7)));
        assert_eq!(read("A=\"\\q\""), Err((1, 4)));
    }
}
