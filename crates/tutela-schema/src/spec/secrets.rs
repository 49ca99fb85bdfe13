//! The secrets that a spec gives to programs: what has to be masked in their output.
//!
//! Called once a spec is read. They are the values that `check --resolved` hides: of variables whose names say so, from
//! the spec, from environment files and from the environment; of headers; of options such as `--password`; of
//! variables that went into any other text; and the passwords in addresses. Deliberately absent: what files hold whose
//! paths the spec tells, and what references lead to (`secret_refs`), which the guard learns when it reads them.

use super::interpolate::HOLE;
use super::reader::ServiceOrigins;
use super::resolved::is_secret;
use super::secret_refs::is_reference;
use super::tree::{Node, UsedFrom, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tutela_core::names::ServiceName;
use tutela_core::spec::{Hook, ServiceSpec};
use tutela_core::template::Template;

/// Collects them.
pub(super) struct Secrets<'a> {
    /// The environment of the process.
    pub(super) process: &'a BTreeMap<String, String>,
    pub(super) found: BTreeSet<String>,
    /// Variables that were looked at, with their values.
    pub(super) seen: HashSet<(Arc<str>, Template)>,
}

impl Secrets<'_> {
    /// Those of the spec as a whole.
    pub(super) fn collect(
        &mut self,
        root: &Node,
        services: &BTreeMap<ServiceName, Arc<ServiceSpec>>,
        origins: &BTreeMap<String, ServiceOrigins>,
    ) {
        self.node(root, None, None);
        for service in services.values() {
            if let Some(known) = origins.get(service.name.as_str()) {
                self.node(&known.tree, None, Some(known));
            }
            self.service(service);
        }
    }

    fn service(&mut self, service: &ServiceSpec) {
        for (name, value) in service.launch.env.iter() {
            // Most are the environment's, and the same for every service; most others are for every instance.
            if !value.varies() && !self.seen.insert((name.clone(), value.clone())) {
                continue;
            }
            let count = if value.varies() { service.instances } else { 1 };
            for text in (0..count).map(|index| value.text(index)) {
                self.passwords(&text);
                if is_secret(name) && !is_path(name) {
                    self.add(&text);
                }
            }
        }
        let hooks = &service.hooks;
        let hooks = [&hooks.before_start, &hooks.after_ready, &hooks.before_stop, &hooks.after_exit];
        let hooks = hooks.into_iter().flatten().map(|hook: &Hook| &hook.command);
        for command in hooks.chain([&service.launch.command]) {
            let words = command.render(0);
            self.words(words.iter().map(String::as_str));
        }
    }

    /// A value of the tree. `secret`: the name of its key tells that it is one.
    fn node(&mut self, node: &Node, secret: Option<&str>, service: Option<&ServiceOrigins>) {
        match &node.value {
            // What it leads to is read at each start, and masked from then on.
            Value::Text(text) if is_reference(text) => {}
            Value::Text(text) => {
                if secret.is_some() {
                    self.add(text);
                }
                self.passwords(text);
                for used in node.used.iter().flat_map(|used| used.iter()).filter(|used| is_secret(&used.name)) {
                    let known = match used.from {
                        UsedFrom::File(_) => {
                            service.and_then(|it| it.variables.get(&used.name)).map(|it| it.0.as_str())
                        }
                        UsedFrom::Process => self.process.get(&used.name).map(String::as_str),
                        UsedFrom::Default => None,
                    };
                    self.add(known.unwrap_or(text));
                }
            }
            Value::List(nodes) => {
                self.words(nodes.iter().filter_map(|node| match &node.value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                }));
                nodes.iter().for_each(|node| self.node(node, None, service));
            }
            Value::Table(table) => {
                for (key, entry) in &table.entries {
                    let of_headers = key == "headers" && entry.node.as_table().is_some();
                    if of_headers {
                        self.headers(&entry.node);
                    }
                    let secret = matches!(key.as_str(), "shared_key" | "password" | "token").then_some(key.as_str());
                    self.node(&entry.node, secret, service);
                }
            }
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) => {}
        }
    }

    /// The headers whose names say that they are secrets: `Bearer` and its kin are none.
    fn headers(&mut self, headers: &Node) {
        for (name, entry) in headers.as_table().into_iter().flat_map(|table| &table.entries) {
            if let (true, Value::Text(text)) = (is_secret(name), &entry.node.value)
                && !is_reference(text)
            {
                self.add(text.split_once(' ').map_or(text.as_str(), |(_, token)| token));
            }
        }
    }

    /// The values of secret options.
    fn words<'w>(&mut self, words: impl Iterator<Item = &'w str>) {
        let mut next_is_secret = false;
        for word in words {
            if std::mem::take(&mut next_is_secret) && !word.starts_with('-') {
                self.add(word);
                continue;
            }
            self.passwords(word);
            match word.split_once('=') {
                Some((name, value)) if is_secret(name) && !is_path(name) => self.add(value),
                Some(_) => {}
                None => next_is_secret = word.starts_with('-') && is_secret(word) && !is_path(word),
            }
        }
    }

    /// What stands before the host in every address of the text: the password, or all of it where there is none.
    fn passwords(&mut self, text: &str) {
        for (at, _) in text.match_indices("://") {
            let rest = &text[at + 3..];
            let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(rest.len());
            if let Some((user, _)) = rest[..end].rsplit_once('@') {
                self.add(user.split_once(':').map_or(user, |(_, password)| password));
            }
        }
    }

    /// A text with the number of the instance in it is known but for that.
    fn add(&mut self, text: &str) {
        self.found.extend(text.split(HOLE).filter(|part| !part.trim().is_empty()).map(str::to_owned));
    }
}

/// Whether a name says that its value is the place of a secret, not one.
fn is_path(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    ["_FILE", "-FILE", "_PATH", "-PATH", "_DIR", "-DIR", "_SOCK"].iter().any(|end| upper.ends_with(end))
}
