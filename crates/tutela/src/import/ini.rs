//! INI as Python's `configparser` reads it for supervisord: sections, keys with `=` or `:`, values that go on in
//! indented lines, comments after ` ;`.

use super::source::ImportError;

/// One section with its keys in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// In lower case, as configparser has it.
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: u32,
}

impl Section {
    pub(super) fn get(&self, name: &str) -> Option<&Key> {
        self.keys.iter().rev().find(|key| key.name == name)
    }
}

/// Reads every section.
pub(super) fn parse(text: &str, shown: &str) -> Result<Vec<Section>, Box<ImportError>> {
    let mut sections: Vec<Section> = Vec::new();
    for (number, raw) in (1_u32..).zip(text.lines()) {
        let line = raw.trim_end();
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let bad = |message: &str| {
            let column = u32::try_from(line.chars().count() - bare.chars().count() + 1).unwrap_or(1);
            Err(ImportError::at(shown, number, column, message)
                .help("an INI file has [sections] with lines of key = value"))
        };
        let value = |text: &str| {
            let end = [" ;", "\t;"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
            text.get(..end).unwrap_or(text).trim().to_owned()
        };
        let indented = line.len() > bare.len();
        if let Some(key) = sections.last_mut().and_then(|section| section.keys.last_mut()).filter(|_| indented) {
            key.value.push('\n');
            key.value.push_str(&value(bare));
            continue;
        }
        if let Some(rest) = bare.strip_prefix('[') {
            let Some((name, _)) = rest.split_once(']') else { return bad("the name of a section ends with ']'") };
            sections.push(Section { name: name.trim().to_owned(), line: number, keys: Vec::new() });
            continue;
        }
        let Some(at) = bare.find(['=', ':']) else { return bad("a line is key = value") };
        let name = bare[..at].trim().to_ascii_lowercase();
        if name.is_empty() {
            return bad("a line begins with its key");
        }
        match sections.last_mut() {
            Some(section) => section.keys.push(Key { name, value: value(&bare[at + 1..]), line: number }),
            None => return bad("a key stands before the first section"),
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn values_go_on_in_indented_lines_and_end_before_comments() {
        let text = "; c\n[program:a]\nCommand = x --y ; said\nenvironment=A=\"1\",\n  B=\"2\"\n\n[b]\nk: v;w\n";
        let sections = parse(text, "x").unwrap();
        let keys: Vec<_> =
            sections[0].keys.iter().map(|key| (key.name.as_str(), key.value.as_str(), key.line)).collect();
        assert_eq!(keys, [("command", "x --y", 3), ("environment", "A=\"1\",\nB=\"2\"", 4)]);
        assert_eq!((sections[1].line, sections[1].get("k").unwrap().value.as_str()), (7, "v;w"));
    }

    #[test]
    fn what_is_no_ini_is_refused_with_its_place() {
        for (text, line) in [("a=b", 1), ("[a\n", 1), ("[a]\nnothing", 2), ("[a]\n=x", 2)] {
            assert_eq!(parse(text, "x").unwrap_err().line, line, "{text}");
        }
    }
}
