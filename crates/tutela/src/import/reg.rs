//! Registry exports: `.reg` files of `regedit` and `reg export`, both of their versions.

use super::source::{ImportError, place};
use std::iter::Peekable;
use std::str::CharIndices;

/// One key with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Its path, as it is written.
    pub(super) path: String,
    pub(super) line: u32,
    pub(super) values: Vec<Value>,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Its name; empty for the default value.
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) data: Data,
}

/// What a value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// A text; `true`: variables in it are replaced by whoever reads it.
    Text(String, bool),
    Number(u64),
    List(Vec<String>),
    Bytes,
}

impl Data {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Data::Text(text, _) => Some(text),
            Data::Number(_) | Data::List(_) | Data::Bytes => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Data::Number(number) => Some(*number),
            // Many tools write numbers as texts.
            Data::Text(text, _) => text.trim().parse().ok(),
            Data::List(_) | Data::Bytes => None,
        }
    }

    /// A list; a text is one of its lines.
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Data::List(list) => list.clone(),
            Data::Text(text, _) => text.lines().map(str::to_owned).collect(),
            Data::Number(_) | Data::Bytes => Vec::new(),
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Data::Text(text, _) => text.clone(),
            Data::Number(number) => number.to_string(),
            Data::List(list) => list.join(" "),
            Data::Bytes => "bytes".to_owned(),
        }
    }
}

/// Reads every key of an export.
pub(super) fn parse(text: &str, shown: &str) -> Result<Vec<Key>, Box<ImportError>> {
    Parser { text, shown, chars: text.char_indices().peekable(), wide: true }.keys()
}

struct Parser<'a> {
    text: &'a str,
    shown: &'a str,
    chars: Peekable<CharIndices<'a>>,
    /// Whether texts in bytes are UTF-16, as version 5 has them.
    wide: bool,
}

impl Parser<'_> {
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn bad<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Box<ImportError>> {
        let (line, column) = place(self.text, at);
        Err(ImportError::at(self.shown, line, column, message).help("export it again with: reg export KEY FILE"))
    }

    fn rest_of_line(&mut self) -> String {
        let mut line = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| *c != '\n') {
            line.push(c);
        }
        line.trim_end().to_owned()
    }

    fn blanks(&mut self) {
        while self.chars.next_if(|(_, c)| matches!(c, ' ' | '\t')).is_some() {}
    }

    fn keys(mut self) -> Result<Vec<Key>, Box<ImportError>> {
        match self.rest_of_line().trim() {
            "Windows Registry Editor Version 5.00" => {}
            "REGEDIT4" => self.wide = false,
            _ => {
                return self
                    .bad(0, "a registry export begins with 'Windows Registry Editor Version 5.00' or 'REGEDIT4'");
            }
        }
        let mut keys: Vec<Key> = Vec::new();
        // Lines are counted on the way: an export can have a hundred thousand of them.
        let (mut line, mut counted) = (1_u32, 0_usize);
        loop {
            while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            let at = self.at();
            let passed = self.text.get(counted..at).unwrap_or_default().matches('\n').count();
            line = line.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
            counted = at;
            match self.chars.peek().map(|(_, c)| *c) {
                None => return Ok(keys),
                Some(';') => drop(self.rest_of_line()),
                Some('[') => {
                    let text = self.rest_of_line();
                    let Some(path) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
                        return self.bad(at, "the name of a key ends with ']'");
                    };
                    keys.push(Key { path: path.to_owned(), line, values: Vec::new() });
                }
                Some('"' | '@') => {
                    let value = self.value(line)?;
                    match keys.last_mut() {
                        // `"name"=-` removes a value: there is none.
                        Some(key) => key.values.extend(value),
                        None => return self.bad(at, "a value stands before the first key"),
                    }
                }
                Some(_) => return self.bad(at, "a line begins with '[', '\"', '@' or ';'"),
            }
        }
    }

    fn value(&mut self, line: u32) -> Result<Option<Value>, Box<ImportError>> {
        let name = match self.chars.next_if(|(_, c)| *c == '@') {
            Some(_) => String::new(),
            None => self.quoted()?,
        };
        self.blanks();
        let at = self.at();
        if self.chars.next_if(|(_, c)| *c == '=').is_none() {
            return self.bad(at, "after the name of a value comes '='");
        }
        self.blanks();
        let at = self.at();
        if self.chars.peek().is_some_and(|(_, c)| *c == '"') {
            let text = self.quoted()?;
            return Ok(Some(Value { name, line, data: Data::Text(text, false) }));
        }
        let mut text = self.rest_of_line();
        while text.ends_with('\\') {
            text.pop();
            if self.chars.next().is_none() {
                return self.bad(at, "the value ends within its bytes");
            }
            text.push_str(self.rest_of_line().trim());
        }
        if text == "-" {
            return Ok(None);
        }
        let Some((kind, data)) = text.split_once(':') else {
            return self.bad(at, "a value is a text in quotes, dword: or hex:");
        };
        let data = match kind.trim() {
            "dword" => match u64::from_str_radix(data.trim(), 16) {
                Ok(number) => Data::Number(number),
                Err(_) => return self.bad(at, "a dword has up to eight hexadecimal digits"),
            },
            kind if kind.starts_with("hex") => {
                let mut bytes = Vec::with_capacity(data.len() / 3);
                for byte in data.split(',').map(str::trim).filter(|byte| !byte.is_empty()) {
                    match u8::from_str_radix(byte, 16) {
                        Ok(byte) => bytes.push(byte),
                        Err(_) => {
                            return self.bad(at, format!("{:?} is no byte", byte.chars().take(8).collect::<String>()));
                        }
                    }
                }
                self.bytes(kind, &bytes)
            }
            kind => return self.bad(at, format!("{kind:?} is no kind of value")),
        };
        Ok(Some(Value { name, line, data }))
    }

    fn bytes(&self, kind: &str, bytes: &[u8]) -> Data {
        let text = || {
            if !self.wide {
                return bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
            }
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
                .map(u16::from_le_bytes)
                .collect();
            String::from_utf16_lossy(&units)
        };
        let number = || bytes.iter().take(8).rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        match kind {
            "hex(1)" => Data::Text(text().trim_end_matches('\0').to_owned(), false),
            "hex(2)" => Data::Text(text().trim_end_matches('\0').to_owned(), true),
            "hex(7)" => Data::List(text().split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect()),
            "hex(4)" | "hex(b)" => Data::Number(number()),
            _ => Data::Bytes,
        }
    }

    fn quoted(&mut self) -> Result<String, Box<ImportError>> {
        let opened = self.at();
        self.chars.next();
        let mut out = String::new();
        loop {
            match self.chars.next() {
                None => return self.bad(opened, "a quote is never closed"),
                Some((_, '"')) => return Ok(out),
                Some((_, '\\')) => match self.chars.next() {
                    Some((_, c @ ('\\' | '"'))) => out.push(c),
                    Some((_, c)) => out.extend(['\\', c]),
                    None => return self.bad(opened, "a quote is never closed"),
                },
                Some((_, '\r')) => {}
                Some((_, c)) => out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn both_versions_and_every_kind_of_value_are_read() {
        let five = "Windows Registry Editor Version 5.00\r\n\r\n; said\r\n[HKEY_LOCAL_MACHINE\\A]\r\n\
                    \"T\"=\"C:\\\\x \\\"y\\\"\"\r\n@=\"d\"\r\n\"N\"=dword:000005dc\r\n\"E\"=hex(2):25,00,41,00,\\\r\n  25,00,00,00\r\n\
                    \"L\"=hex(7):61,00,00,00,62,00,00,00,00,00\r\n\"B\"=hex:01,02\r\n\"Gone\"=-\r\n";
        let keys = parse(five, "x.reg").unwrap();
        assert_eq!((keys.len(), keys[0].path.as_str(), keys[0].line), (1, "HKEY_LOCAL_MACHINE\\A", 4));
        let values: Vec<_> = keys[0].values.iter().map(|it| (it.name.as_str(), it.line, it.data.clone())).collect();
        let expected = [
            ("T", 5, Data::Text("C:\\x \"y\"".into(), false)),
            ("", 6, Data::Text("d".into(), false)),
            ("N", 7, Data::Number(1500)),
            ("E", 8, Data::Text("%A%".into(), true)),
            ("L", 10, Data::List(vec!["a".into(), "b".into()])),
            ("B", 11, Data::Bytes),
        ];
        assert_eq!(values, expected);
        let four = "REGEDIT4\n[A]\n\"L\"=hex(7):61,62,00,63,00,00\n\"S\"=\"two\nlines\"\n";
        let values = parse(four, "x.reg").unwrap().remove(0).values;
        assert_eq!(values[0].data, Data::List(vec!["ab".into(), "c".into()]));
        assert_eq!(values[1].data.list(), ["two", "lines"]);
    }

    #[test]
    fn what_is_no_export_is_refused_with_its_place() {
        let head = "REGEDIT4\n";
        for (text, place) in [
            ("nonsense", (1, 1)),
            ("REGEDIT4\n\"a\"=\"b\"", (2, 1)),
            ("REGEDIT4\n[a\n", (2, 1)),
            ("REGEDIT4\n[a]\n\"x\"=dword:zz", (3, 5)),
            ("REGEDIT4\n[a]\n\"x", (3, 1)),
            ("REGEDIT4\n[a]\n\"x\"=hex:0g", (3, 5)),
            ("REGEDIT4\n[a]\nwhat", (3, 1)),
        ] {
            let error = parse(text, "x.reg").unwrap_err();
            assert_eq!((error.line, error.column), place, "{text}");
        }
        assert_eq!(parse(head, "x.reg").unwrap(), []);
    }
}
