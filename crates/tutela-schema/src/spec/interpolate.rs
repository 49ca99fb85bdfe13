//! Variables in texts: `${NAME}`, `${NAME:default}`, `${NAME:?message}`, `$$` for a dollar, and the hole
//! `${instance}`, which stays open until an instance exists.
//!
//! What a `${NAME}` sees, the first that has it: the environment of the process that reads the spec; the service's
//! environment files, later files first; the default beside it. A variable that is set to nothing is set. What a
//! variable gives is not looked at again, so a value cannot bring in further variables.
//!
//! A hole is written as the character NUL from here on: no text of a spec has one (see `tree`).

use super::diagnostic::{Code, Diagnostic};
use super::source::{Place, SourceMap};
use super::tree::{Node, Step, Used, UsedFrom, Value};
use std::collections::BTreeMap;
use tutela_core::template::{Piece, Template};

/// Stands for `${instance}` in a text that was interpolated.
pub(crate) const HOLE: char = '\0';

/// The deepest that defaults may have variables in them.
const DEPTH_MAX: usize = 8;

/// The longest text that interpolation makes, in bytes: more than any OS takes as an argument, and the end of a text
/// that doubles with every variable.
pub(crate) const TEXT_BYTES_MAX: usize = 256 * 1024;

/// What variables are looked up in.
pub(crate) struct Scope<'a> {
    /// The environment of the process.
    pub(crate) process: &'a BTreeMap<String, String>,
    /// The service's environment files, merged.
    pub(crate) files: &'a BTreeMap<String, (String, Place)>,
    /// Whether names differ by case.
    pub(crate) case_matters: bool,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<(&str, UsedFrom)> {
        let matches = |key: &&String| key.eq_ignore_ascii_case(name);
        let process = match self.process.get(name) {
            None if !self.case_matters => self.process.keys().find(matches).and_then(|key| self.process.get(key)),
            found => found,
        };
        if let Some(value) = process {
            return Some((value, UsedFrom::Process));
        }
        let file = match self.files.get(name) {
            None if !self.case_matters => self.files.keys().find(matches).and_then(|key| self.files.get(key)),
            found => found,
        };
        file.map(|(value, place)| (value.as_str(), UsedFrom::File(*place)))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.process.keys().chain(self.files.keys()).map(String::as_str)
    }
}

/// What is wrong with a text.
struct Bad {
    code: Code,
    message: String,
    help: Option<String>,
}

impl Bad {
    fn syntax(message: impl Into<String>) -> Self {
        let help = "write ${NAME}, ${NAME:default} or ${NAME:?message}, and $$ for a dollar".to_owned();
        Bad { code: Code::BadVariable, message: message.into(), help: Some(help) }
    }
}

/// Puts the variables into every text of the tree. Nodes whose text is wrong are removed, and their paths noted in
/// `broken`, so that what follows reports nothing about them again.
pub(crate) fn interpolate(
    node: &mut Node,
    scope: &Scope<'_>,
    sources: &SourceMap,
    out: &mut Vec<Diagnostic>,
    broken: &mut Vec<Vec<Step>>,
) {
    Walk { scope, sources, out, broken, path: Vec::new() }.node(node);
}

struct Walk<'a> {
    scope: &'a Scope<'a>,
    sources: &'a SourceMap,
    out: &'a mut Vec<Diagnostic>,
    broken: &'a mut Vec<Vec<Step>>,
    path: Vec<Step>,
}

impl Walk<'_> {
    /// Whether the node stays.
    fn node(&mut self, node: &mut Node) -> bool {
        match &mut node.value {
            Value::Text(text) => {
                if !text.contains('$') {
                    return true;
                }
                let mut work = Work { scope: self.scope, used: Vec::new(), warned: false };
                let origin = Some(self.sources.origin(node.place));
                match work.expand(text, 0) {
                    Ok(expanded) => {
                        *text = expanded;
                        if work.warned {
                            let message = "a default begins with '-', which becomes part of it";
                            let help = "unlike in a shell, write ${NAME:default}, not ${NAME:-default}";
                            self.out.push(Diagnostic::warning(Code::Suspicious, origin, message).help(help));
                        }
                        if !work.used.is_empty() {
                            node.used = Some(work.used.into());
                        }
                        true
                    }
                    Err(bad) => {
                        let error = Diagnostic::error(bad.code, origin, bad.message);
                        self.out.push(Diagnostic { help: bad.help, ..error });
                        self.broken.push(self.path.clone());
                        false
                    }
                }
            }
            Value::List(list) => {
                let mut index = 0;
                list.retain_mut(|node| {
                    index += 1;
                    self.within(Step::Index(index - 1), node)
                });
                true
            }
            Value::Table(table) => {
                table.entries.retain(|key, entry| self.within(Step::Key(key.clone()), &mut entry.node));
                true
            }
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) => true,
        }
    }

    fn within(&mut self, step: Step, node: &mut Node) -> bool {
        self.path.push(step);
        let stays = self.node(node);
        self.path.pop();
        stays
    }
}

struct Work<'a> {
    scope: &'a Scope<'a>,
    used: Vec<Used>,
    warned: bool,
}

impl Work<'_> {
    fn expand(&mut self, text: &str, depth: usize) -> Result<String, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::syntax(format!("defaults within defaults go only {DEPTH_MAX} deep")));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            let after = &after[1..];
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let end = closing(after).ok_or_else(|| Bad::syntax("a '${' has no '}'"))?;
                self.variable(&after[..end], depth, &mut out)?;
                rest = &after[end + 1..];
            } else {
                // A lone dollar is one: patterns end with it.
                out.push('$');
                rest = after;
            }
            if out.len() > TEXT_BYTES_MAX {
                break;
            }
        }
        out.push_str(rest);
        if out.len() > TEXT_BYTES_MAX {
            let message = format!("the text becomes longer than the {} KiB that one can have", TEXT_BYTES_MAX / 1024);
            return Err(Bad { code: Code::TooMany, message, help: None });
        }
        Ok(out)
    }

    fn variable(&mut self, inside: &str, depth: usize, out: &mut String) -> Result<(), Bad> {
        let (name, otherwise) = match inside.split_once(':') {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (inside, None),
        };
        if name == "instance" {
            if otherwise.is_some() {
                return Err(Bad::syntax("${instance} takes no default: every instance has a number"));
            }
            out.push(HOLE);
            return Ok(());
        }
        // Parentheses, because Windows has ProgramFiles(x86).
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '(' | ')');
        if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Bad::syntax(format!("{name:?} is no name of a variable")));
        }
        if let Some((value, from)) = self.scope.get(name) {
            if value.contains('\0') {
                return Err(Bad { code: Code::Nul, message: format!("the variable {name} has a NUL"), help: None });
            }
            out.push_str(value);
            self.used.push(Used { name: name.to_owned(), from });
            return Ok(());
        }
        match otherwise.map(|otherwise| (otherwise, otherwise.strip_prefix('?'))) {
            Some((_, Some(message))) => {
                let message = match message.trim() {
                    "" => format!("the variable {name} is not set"),
                    message => format!("the variable {name} is not set: {}", self.expand(message, depth + 1)?),
                };
                Err(Bad {
                    code: Code::UnsetVariable,
                    message: message.replace(HOLE, "${instance}"),
                    help: Some(format!("set {name} in the environment or in an env file of the service")),
                })
            }
            Some((default, None)) => {
                self.warned |= default.starts_with('-');
                let value = self.expand(default, depth + 1)?;
                out.push_str(&value);
                self.used.push(Used { name: name.to_owned(), from: UsedFrom::Default });
                Ok(())
            }
            None => {
                let near = super::diagnostic::near(name, self.scope.names());
                let help = near.unwrap_or_else(|| {
                    format!("set it in the environment or an env file, or give a default: ${{{name}:default}}")
                });
                let message = format!("the variable {name} is not set and has no default");
                Err(Bad { code: Code::UnsetVariable, message, help: Some(help) })
            }
        }
    }
}

/// Where the `}` is that closes what begins with `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// The template of a text that was interpolated.
pub(crate) fn template(text: &str) -> Template {
    let mut pieces = Vec::new();
    for (at, part) in text.split(HOLE).enumerate() {
        if at > 0 {
            pieces.push(Piece::Instance);
        }
        if !part.is_empty() {
            pieces.push(Piece::Text(part.to_owned()));
        }
    }
    Template::from_pieces(pieces)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn expand(text: &str) -> Result<String, Code> {
        let process = BTreeMap::from([("HOST".to_owned(), "db".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let scope = Scope { process: &process, files: &BTreeMap::new(), case_matters: true };
        Work { scope: &scope, used: Vec::new(), warned: false }.expand(text, 0).map_err(|bad| bad.code)
    }

    #[test]
    fn every_form_of_a_variable_does_what_it_says() {
        assert_eq!(expand("a ${HOST} b").unwrap(), "a db b");
        assert_eq!(expand("${PORT:81}").unwrap(), "81");
        assert_eq!(expand("${EMPTY:81}").unwrap(), "");
        assert_eq!(expand("${NONE:}").unwrap(), "");
        assert_eq!(expand("${A:${B:${HOST}}}x").unwrap(), "dbx");
        assert_eq!(expand("$${HOST} $x $").unwrap(), "${HOST} $x $");
        assert_eq!(expand("w-${instance}").unwrap(), "w-\0");
        assert_eq!(expand("${URL:http://x:1}").unwrap(), "http://x:1");
        assert_eq!(expand("${NONE}"), Err(Code::UnsetVariable));
        assert_eq!(expand("${NONE:?say why}"), Err(Code::UnsetVariable));
        for bad in ["${", "${HOST", "${}", "${1A}", "${A B}", "${instance:0}", "${A:${B}"] {
            assert_eq!(expand(bad), Err(Code::BadVariable), "{bad}");
        }
        assert_eq!(expand(&format!("{}{}", "${A:".repeat(20), "}".repeat(20))), Err(Code::BadVariable));
    }

    #[test]
    fn a_hole_becomes_a_piece_of_a_template() {
        let template = template("w-\0\0.sock");
        assert_eq!(template.render(3), "w-33.sock");
        assert_eq!(template.to_string(), "w-${instance}${instance}.sock");
    }
}
