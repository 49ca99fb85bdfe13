//! The spec as a tree of values that know where they come from, and the merging of layers.
//!
//! Made from what the TOML parser gives, before any key is looked at. Texts with the character NUL are refused here;
//! from then on NUL stands for `${instance}` in a text that was interpolated (see `interpolate`), so that no other
//! text can be mistaken for it.

use super::diagnostic::{Code, Diagnostic};
use super::source::{FileId, Place, SourceMap};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The deepest nesting of tables and arrays. The deepest key that exists has 7.
const DEPTH_MAX: usize = 24;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    /// The variables that its text was made with.
    pub(crate) used: Option<Arc<[Used]>>,
}

/// A variable that a text was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) from: UsedFrom,
}

/// Where a variable's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedFrom {
    /// The environment of the process.
    Process,
    /// A line of an environment file.
    File(Place),
    /// The default beside it.
    Default,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// A table: keys with their own places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// One step on the way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Parses TOML into a tree. The parser refuses more than 80 levels by itself, before they could cost a stack.
pub(crate) fn parse(text: &str, file: FileId, sources: &SourceMap) -> Result<Node, Vec<Diagnostic>> {
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map(|span| sources.origin(Place::new(file, span)));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let code = if message.contains("duplicate key") { Code::DuplicateKey } else { Code::Syntax };
        vec![Diagnostic::error(code, place, if message.is_empty() { "this is no TOML".to_owned() } else { message })]
    })?;
    let mut conversion = Conversion { file, sources, errors: Vec::new() };
    let span = table.span();
    let node = Node::new(Value::Table(conversion.table(table.into_inner(), 0)), Place::new(file, span));
    if conversion.errors.is_empty() { Ok(node) } else { Err(conversion.errors) }
}

struct Conversion<'a> {
    file: FileId,
    sources: &'a SourceMap,
    errors: Vec<Diagnostic>,
}

impl Conversion<'_> {
    fn refuse(&mut self, code: Code, place: Place, message: String) {
        self.errors.push(Diagnostic::error(code, Some(self.sources.origin(place)), message));
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Table {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let key_place = Place::new(self.file, key.span());
            let key = self.text(key.into_inner().into_owned(), key_place);
            let node = self.node(value, depth + 1);
            entries.insert(key, Entry { key_place, node });
        }
        Table { entries }
    }

    fn text(&mut self, text: String, place: Place) -> String {
        if text.contains('\0') {
            self.refuse(Code::Nul, place, "a text cannot have the character NUL: no program could be given it".into());
        }
        text
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, depth: usize) -> Node {
        let place = Place::new(self.file, value.span());
        if depth > DEPTH_MAX {
            self.refuse(Code::Syntax, place, format!("more than {DEPTH_MAX} tables within each other lead nowhere"));
            return Node::new(Value::Bool(false), place);
        }
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(self.text(text.into_owned(), place)),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.refuse(Code::NumberRange, place, format!("the number {number} is absurdly large"));
                    Value::Integer(0)
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Value::Bool(yes),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(list) => Value::List(list.into_iter().map(|item| self.node(item, depth + 1)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, depth)),
        };
        Node::new(value, place)
    }
}

impl Node {
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Node { value, place, used: None }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn as_table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Shows this node and every one in it.
    pub(crate) fn each(&self, look: &mut impl FnMut(&Node)) {
        look(self);
        match &self.value {
            Value::List(list) => list.iter().for_each(|item| item.each(look)),
            Value::Table(table) => table.entries.values().for_each(|entry| entry.node.each(look)),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) => {}
        }
    }

    /// What it is, for people.
    pub(crate) fn kind(&self) -> String {
        match &self.value {
            Value::Text(text) if text.chars().count() <= 40 && !text.contains('\0') => format!("the text {text:?}"),
            Value::Text(_) => "a text".into(),
            Value::Integer(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number:?}"),
            Value::Bool(yes) => format!("{yes}"),
            Value::Date(date) => format!("the date {date}"),
            Value::List(_) => "an array".into(),
            Value::Table(_) => "a table".into(),
        }
    }

    /// The node that the steps lead to.
    pub(crate) fn find(&self, steps: &[Step]) -> Option<&Node> {
        steps.iter().try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(key), Value::Table(table)) => table.entries.get(key).map(|entry| &entry.node),
            (Step::Index(index), Value::List(list)) => list.get(*index),
            _ => None,
        })
    }

    /// The same, to be changed.
    pub(crate) fn find_mut(&mut self, steps: &[Step]) -> Option<&mut Node> {
        steps.iter().try_fold(self, |node, step| match (step, &mut node.value) {
            (Step::Key(key), Value::Table(table)) => table.entries.get_mut(key).map(|entry| &mut entry.node),
            (Step::Index(index), Value::List(list)) => list.get_mut(*index),
            _ => None,
        })
    }

    /// The place to show for the node that the steps lead to, or for the nearest one on the way that exists. A table
    /// is shown by its key: its own place is its header, or nothing at all.
    pub(crate) fn place_of(&self, steps: &[Step]) -> Place {
        let (mut node, mut place) = (self, self.place);
        for step in steps {
            match (step, &node.value) {
                (Step::Key(key), Value::Table(table)) => match table.entries.get(key) {
                    Some(entry) => {
                        node = &entry.node;
                        place = if node.as_table().is_some() { entry.key_place } else { node.place };
                    }
                    None => return place,
                },
                (Step::Index(index), Value::List(list)) => match list.get(*index) {
                    Some(item) => (node, place) = (item, item.place),
                    None => return place,
                },
                _ => return place,
            }
        }
        place
    }

    /// The place of the key that the steps lead to.
    pub(crate) fn key_place_of(&self, steps: &[Step]) -> Place {
        if let Some((Step::Key(key), rest)) = steps.split_last()
            && let Some(Node { value: Value::Table(table), .. }) = self.find(rest)
            && let Some(entry) = table.entries.get(key)
        {
            return entry.key_place;
        }
        self.place_of(steps)
    }

    /// Removes the node that the steps lead to; whether it was there.
    pub(crate) fn remove(&mut self, steps: &[Step]) -> bool {
        let Some((last, way)) = steps.split_last() else { return false };
        let Some(node) = self.find_mut(way) else { return false };
        match (last, &mut node.value) {
            (Step::Key(key), Value::Table(table)) => table.entries.remove(key).is_some(),
            (Step::Index(index), Value::List(list)) if *index < list.len() => {
                list.remove(*index);
                true
            }
            _ => false,
        }
    }

    /// Lays `upper` over this node: tables merge deeply, everything else replaces.
    pub(crate) fn overlay(&mut self, upper: Node) {
        match (&mut self.value, upper.value) {
            (Value::Table(lower), Value::Table(upper)) => lower.overlay(upper),
            (value, upper_value) => {
                *value = upper_value;
                self.place = upper.place;
                self.used = upper.used;
            }
        }
    }
}

/// Keys of which a table has one: a layer that sets one of them replaces the other ones, instead of giving a probe
/// two targets.
const EITHER: [(&[&str], &[&str]); 2] = [
    (&["startup", "ready", "live"], &["http", "tcp", "exec", "grpc", "log", "notify"]),
    (&["alerts"], &["webhook", "command", "email"]),
];

impl Table {
    pub(crate) fn overlay(&mut self, upper: Table) {
        for (key, entry) in upper.entries {
            for (parents, either) in EITHER {
                if !parents.contains(&key.as_str()) {
                    continue;
                }
                let lower = self.entries.get_mut(&key).and_then(|lower| lower.node.as_table_mut());
                let (Some(lower), Some(upper)) = (lower, entry.node.as_table()) else { continue };
                if key == "alerts" {
                    for (name, upper) in &upper.entries {
                        let lower = lower.entries.get_mut(name).and_then(|lower| lower.node.as_table_mut());
                        if let (Some(lower), Some(upper)) = (lower, upper.node.as_table()) {
                            lower.drop_others(upper, either);
                        }
                    }
                } else {
                    lower.drop_others(upper, either);
                }
            }
            match self.entries.get_mut(&key) {
                Some(lower) => {
                    lower.key_place = entry.key_place;
                    lower.node.overlay(entry.node);
                }
                None => {
                    self.entries.insert(key, entry);
                }
            }
        }
    }

    fn drop_others(&mut self, upper: &Table, either: &[&str]) {
        if either.iter().any(|key| upper.entries.contains_key(*key)) {
            self.entries.retain(|key, _| !either.contains(&key.as_str()));
        }
    }

    /// Takes one entry out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        self.entries.remove(key)
    }
}
