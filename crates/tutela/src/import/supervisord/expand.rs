//! `%(name)s` in values of supervisord, and the notation of its `environment`.

use super::super::text::Text;
use std::collections::BTreeMap;

/// What `%(…)s` can stand for.
pub(super) struct Scope<'a> {
    pub(super) program: &'a str,
    pub(super) here: &'a str,
    /// The number of the process; `None`: it is the instance.
    pub(super) number: Option<u32>,
}

/// A value with everything put in, and what became of that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: Text,
    /// How it is not the same; empty: it is.
    pub(super) notes: Vec<String>,
}

/// Puts everything into a value.
pub(super) fn expand(value: &str, scope: &Scope<'_>) -> Expanded {
    let mut out = Expanded::default();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out.text.push(&Text::literal(before));
        if let Some(after) = after.strip_prefix('%') {
            out.text.push(&Text::literal("%"));
            rest = after;
            continue;
        }
        let Some((name, form, after)) = after.strip_prefix('(').and_then(hole) else {
            out.text.push(&Text::literal("%"));
            rest = after;
            continue;
        };
        rest = after;
        match name {
            "program_name" => out.text.push(&Text::literal(scope.program)),
            "group_name" => out.text.push(&Text::literal(scope.program)),
            "here" => out.text.push(&Text::literal(scope.here)),
            "host_node_name" => {
                out.text.push(&Text::spec("${HOSTNAME:localhost}"));
                out.note("the name of the host is in the variable HOSTNAME, where it is set");
            }
            "process_num" => match scope.number {
                Some(number) => out.text.push(&Text::literal(&formatted(number, form))),
                None => out.text.push(&Text::instance()),
            },
            "numprocs" => out.note("numprocs is not known here and is left out"),
            name => match name.strip_prefix("ENV_") {
                Some(variable) => {
                    out.text.push(&Text::variable(variable));
                    out.note(&format!(
                        "{variable} is empty where the guard's environment has none; ${{{variable}:?why}} would refuse"
                    ));
                }
                None => {
                    out.text.push(&Text::literal(&format!("%({name}){form}")));
                    out.note(&format!("{name} is nothing that supervisord puts in"));
                }
            },
        }
    }
    out.text.push(&Text::literal(rest));
    out
}

impl Expanded {
    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// `name)02d` and what follows it.
fn hole(text: &str) -> Option<(&str, &str, &str)> {
    let (name, after) = text.split_once(')')?;
    let end = after.find(|c: char| c.is_ascii_alphabetic())? + 1;
    Some((name, after.get(..end)?, after.get(end..)?))
}

/// `02d` with zeros in front.
fn formatted(number: u32, form: &str) -> String {
    let digits = form.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let width: usize = digits.parse().unwrap_or(0);
    if digits.starts_with('0') { format!("{number:0width$}", width = width.min(9)) } else { number.to_string() }
}

/// Whether a value differs between processes by more than a plain number of the instance.
pub(super) fn is_padded(value: &str) -> bool {
    value.split("%(process_num)").skip(1).any(|after| !after.starts_with('d') && !after.starts_with('s'))
}

/// The variables of `A="1",B='2',C=3`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn environment(value: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    let mut chars = value.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        if chars.peek().is_none() {
            return Ok(out);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && *c != ',') {
            name.push(c);
        }
        if chars.next_if_eq(&'=').is_none() {
            return Err(format!("{:?} has no value", name.trim()));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut text = String::new();
        match chars.next_if(|c| matches!(c, '"' | '\'')) {
            Some(quote) => loop {
                match chars.next() {
                    None => return Err(format!("the quote of {} is never closed", name.trim())),
                    Some(c) if c == quote => break,
                    Some('\\') if quote == '"' => text.extend(chars.next()),
                    Some(c) => text.push(c),
                }
            },
            None => {
                while let Some(c) = chars.next_if(|c| *c != ',') {
                    text.push(c);
                }
                text.truncate(text.trim_end().len());
            }
        }
        out.insert(name.trim().to_owned(), text);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn everything_is_put_in() {
        let scope = Scope { program: "web", here: "/srv", number: None };
        let expanded = expand("%(here)s/run --n %(process_num)d %(program_name)s 5%% %(ENV_X)s %", &scope);
        assert_eq!(expanded.text.as_str(), "/srv/run --n ${instance} web 5% ${X:} %");
        assert_eq!(expanded.notes.len(), 1);
        let scope = Scope { number: Some(7), ..scope };
        assert_eq!(expand("80%(process_num)02d", &scope).text.as_str(), "8007");
        assert!(is_padded("a%(process_num)02d") && !is_padded("a%(process_num)d"));
    }

    #[test]
    fn environments_are_read_in_every_notation() {
        let read = environment("A=\"1,2\",\nB='x y' , C=/a:/b,D=\"q\\\"q\"").unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("A", "1,2"), ("B", "x y"), ("C", "/a:/b"), ("D", "q\"q")]);
        assert!(environment("A").is_err() && environment("A=\"x").is_err() && environment("").unwrap().is_empty());
    }
}
