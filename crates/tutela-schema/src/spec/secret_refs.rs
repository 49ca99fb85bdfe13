//! References to secrets, `secret://KIND/PLACE`: where one may stand, and what it may look like.
//!
//! Called for each part of a spec once its variables are put in. A reference that stays has an absolute path from here
//! on. What it leads to is not looked at: that is the preflight's business, and each start's.
//!
//! A reference counts where the spec itself begins a value with it. One that came out of a variable is refused: whoever
//! may write an environment file could otherwise have the guard read a file that only the guard may read.

use super::Os;
use super::diagnostic::{Code, Diagnostic};
use super::interpolate::HOLE;
use super::section::{is_absolute, resolve};
use super::source::SourceMap;
use super::tree::{Node, Step, UsedFrom, Value};
use std::path::Path;
use tutela_core::spec::{BadSecret, SECRET_KINDS, SECRET_SCHEME, SecretSource};

/// A part of a spec, by what may be a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The keys of the guard itself, and its installation: nothing.
    Guard,
    /// A service: its variables.
    Service,
    /// An alert: its headers, and addresses, which often are the right to send something there.
    Alert,
    /// A sink, the figures or the traces: headers and keys.
    Receiver,
}

impl Part {
    fn lets(self, steps: &[Step]) -> bool {
        let keys: Vec<&str> = steps.iter().filter_map(key).collect();
        if keys.len() < steps.len() {
            return false;
        }
        matches!(
            (self, keys.as_slice()),
            (Part::Service, ["env", _])
                | (Part::Alert, ["headers", _] | ["webhook"] | ["email", "smtp"])
                | (Part::Receiver, ["shared_key"] | [.., "headers", _])
        )
    }
}

fn key(step: &Step) -> Option<&str> {
    match step {
        Step::Key(key) => Some(key),
        Step::Index(_) => None,
    }
}

/// Whether a text that was let stay is a reference.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with(SECRET_SCHEME)
}

/// The values that the spec itself begins as references; to be asked before variables are put in.
pub(super) fn written(tree: &Node) -> Vec<Vec<Step>> {
    let mut found = Vec::new();
    each_text(tree, &mut Vec::new(), &mut |steps, text, _| {
        if is_reference(text) {
            found.push(steps.to_vec());
        }
    });
    found
}

fn each_text(node: &Node, steps: &mut Vec<Step>, look: &mut dyn FnMut(&[Step], &str, &Node)) {
    let mut within = |step: Step, node: &Node| {
        steps.push(step);
        each_text(node, steps, look);
        steps.pop();
    };
    match &node.value {
        Value::Text(text) => look(steps, text, node),
        Value::List(list) => list.iter().enumerate().for_each(|(at, node)| within(Step::Index(at), node)),
        Value::Table(table) => {
            table.entries.iter().for_each(|(key, entry)| within(Step::Key(key.clone()), &entry.node));
        }
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) => {}
    }
}

/// Looks at every reference of a part whose variables are put in. Those that may stay get an absolute path; the others
/// are taken out, told, and noted in `broken`, so that what follows reports nothing about them again.
#[expect(clippy::too_many_arguments, reason = "the reader's own things, one by one, since it lends them all")]
pub(super) fn settle(
    tree: &mut Node,
    part: Part,
    written: &[Vec<Step>],
    base: &Path,
    os: Os,
    sources: &SourceMap,
    out: &mut Vec<Diagnostic>,
    broken: &mut Vec<Vec<Step>>,
) {
    let mut changes: Vec<(Vec<Step>, Option<String>)> = Vec::new();
    each_text(tree, &mut Vec::new(), &mut |steps, text, node| {
        let told = match look(steps, text, node, part, written, os) {
            Look::Plain => return,
            Look::Reference(source) => {
                return changes.push((steps.to_vec(), Some(placed(&source, base, os))));
            }
            Look::Bad(message, help) => (message, help),
        };
        out.push(Diagnostic::error(Code::BadSecret, Some(sources.origin(node.place)), told.0).help(told.1));
        changes.push((steps.to_vec(), None));
    });
    // From the end on: what is taken out of a list moves what is behind it.
    for (steps, text) in changes.into_iter().rev() {
        match (text, tree.find_mut(&steps)) {
            (Some(text), Some(node)) => node.value = Value::Text(text),
            (Some(_), None) => {}
            (None, _) => {
                tree.remove(&steps);
                broken.push(steps);
            }
        }
    }
}

enum Look {
    /// It has nothing to do with secrets.
    Plain,
    Reference(SecretSource),
    /// What is wrong, and how to mend it.
    Bad(String, String),
}

fn look(steps: &[Step], text: &str, node: &Node, part: Part, written: &[Vec<Step>], os: Os) -> Look {
    let begins_in_capitals = text
        .get(..SECRET_SCHEME.len())
        .is_some_and(|begin| begin != SECRET_SCHEME && begin.eq_ignore_ascii_case(SECRET_SCHEME));
    let mentions = || SECRET_KINDS.iter().any(|kind| text.contains(&format!("{SECRET_SCHEME}{kind}")));
    let bad = |message: String, help: &str| Look::Bad(message, help.to_owned());
    if begins_in_capitals {
        return bad("a reference to a secret has no capitals before its kind".into(), "write secret://…");
    }
    if !is_reference(text) && !mentions() {
        return Look::Plain;
    }
    if !part.lets(steps) {
        let in_command = steps.iter().filter_map(key).any(|key| {
            matches!(key, "command" | "exec" | "hooks" | "stop") || (part == Part::Alert && key == "command")
        });
        if in_command {
            let message = "a secret cannot be a word of a command: every account can read the command lines of others";
            return bad(message.into(), "give it to the program as a variable: env = { NAME = \"secret://…\" }");
        }
        let message = "a secret cannot stand here";
        let help = "it can be a variable in 'env', a header, a 'shared_key', or the address of an alert";
        return bad(message.into(), help);
    }
    if !is_reference(text) {
        let message = "a secret has to be the whole value: it is not looked up within another text";
        return bad(message.into(), "put the whole value into the secret, and write secret://… alone");
    }
    if !written.iter().any(|it| it == steps) {
        let message = "the reference to a secret came out of a variable";
        return bad(message.into(), "write secret://… into the spec itself: who sets variables may not name files");
    }
    let of_file = node.used.iter().flat_map(|used| used.iter()).find(|it| matches!(it.from, UsedFrom::File(_)));
    if let Some(used) = of_file {
        let message = format!("the place of a secret has {} of an environment file in it", used.name);
        return bad(message, "write the place into the spec itself: who writes that file may not name others");
    }
    let source = match SecretSource::parse(text) {
        None => return Look::Plain,
        Some(Ok(source)) => source,
        Some(Err(why)) => {
            let shown: String = text.replace(HOLE, "${instance}").chars().take(100).collect();
            let help = match why {
                BadSecret::Kind => "write secret://file/PATH, secret://systemd/NAME or secret://dpapi/PATH",
                BadSecret::Place => "write its place behind the kind: secret://file/PATH",
                BadSecret::Name => "write the name as in LoadCredential=",
            };
            return bad(format!("{shown:?} is no reference to a secret: {why}"), help);
        }
    };
    match (&source, os) {
        (SecretSource::Systemd(_), Os::Windows | Os::Macos) => {
            bad(format!("there are no credentials of systemd on {os}"), "use secret://file/PATH there")
        }
        (SecretSource::Dpapi(_), Os::Linux | Os::Macos) => {
            let message = format!("only Windows opens what DPAPI sealed; this spec is read for {os}");
            bad(
                message,
                "write it into the section for windows, and use secret://file/PATH or secret://systemd/NAME here",
            )
        }
        _ => Look::Reference(source),
    }
}

/// The reference with an absolute path.
fn placed(source: &SecretSource, base: &Path, os: Os) -> String {
    let absolute = |path: &Path| {
        let text = path.to_string_lossy();
        // As it stands, where it says where it begins: a path for Windows is no path here.
        if is_absolute(text.trim(), os) { path.to_path_buf() } else { resolve(&text, base, os) }
    };
    match source {
        SecretSource::File(path) => SecretSource::File(absolute(path)).to_string(),
        SecretSource::Dpapi(path) => SecretSource::Dpapi(absolute(path)).to_string(),
        SecretSource::Systemd(_) => source.to_string(),
    }
}
