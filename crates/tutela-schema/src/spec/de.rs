//! From a tree of values to the structs of `keys`, with the place of every mistake.
//!
//! Serde stops at the first mistake. [`read`] notes it, takes the value out of the tree and tries again, so that one
//! run names them all; that works because every key may be left out.

use super::diagnostic::{Code, Diagnostic, near};
use super::elsewhere;
use super::interpolate::HOLE;
use super::scalar;
use super::source::SourceMap;
use super::tree::{Node, Step, Value};
use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Mistakes of one part of a spec that are reported in one run; who has more than that looks again after mending.
const MISTAKES_MAX: usize = 20;

/// Reads `T` from a tree. `name` is where the tree stands in the spec, such as `services.api`.
///
/// Gives what could be read: values with mistakes are missing in it, and in the tree, and their paths are noted in
/// `broken`. `None` when nothing could be read.
pub(crate) fn read<T: DeserializeOwned>(
    tree: &mut Node,
    name: &str,
    sources: &SourceMap,
    out: &mut Vec<Diagnostic>,
    broken: &mut Vec<Vec<Step>>,
) -> Option<T> {
    for _ in 0..MISTAKES_MAX {
        match T::deserialize(NodeReader { node: tree, holes: false }) {
            Ok(value) => return Some(value),
            Err(mistake) => {
                let path: Vec<_> = mistake.path.iter().rev().cloned().collect();
                out.push(mistake.diagnostic(tree, &path, name, sources));
                let removed = tree.remove(&path);
                broken.push(path);
                if !removed {
                    return None;
                }
            }
        }
    }
    None
}

/// The keys that a table of this type has.
pub(super) fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    // A key that no table has is refused with those that there are.
    let none = MapDeserializer::<_, Mistake>::new(std::iter::once(("", ())));
    match T::deserialize(none) {
        Err(Mistake { what: What::UnknownKey { known }, .. }) => known,
        Ok(_) | Err(_) => &[],
    }
}

/// A mistake on its way up; the path is gathered on the way, innermost step first.
#[derive(Debug)]
pub(crate) struct Mistake {
    what: What,
    path: Vec<Step>,
}

#[derive(Debug)]
enum What {
    Refused { code: Code, message: String, help: Option<String> },
    Wrong { code: Code, expected: String, found: String, help: Option<String> },
    UnknownKey { known: &'static [&'static str] },
    MissingKey(&'static str),
    UnknownWord { word: String, known: &'static [&'static str] },
}

impl Mistake {
    fn new(what: What) -> Self {
        Mistake { what, path: Vec::new() }
    }

    fn refused(refusal: scalar::Refusal) -> Self {
        Mistake::new(What::Refused { code: refusal.code, message: refusal.message, help: refusal.help })
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn diagnostic(self, tree: &Node, path: &[Step], name: &str, sources: &SourceMap) -> Diagnostic {
        let key = spell(path);
        let at = Some(sources.origin(tree.place_of(path)));
        let (error, help) = match self.what {
            What::Refused { code, message, help } => {
                (Diagnostic::error(code, at, format!("'{key}' is refused: {message}")), help)
            }
            What::Wrong { code, expected, found, help } => {
                (Diagnostic::error(code, at, format!("'{key}' must be {expected}, not {found}")), help)
            }
            What::UnknownKey { known } => {
                let at = sources.origin(tree.key_place_of(path));
                let (word, table) = match path.split_last() {
                    Some((Step::Key(word), way)) => (word.as_str(), spell(way)),
                    _ => ("", String::new()),
                };
                let parts: Vec<_> = [name, &table].into_iter().filter(|part| !part.is_empty()).collect();
                let place = if parts.is_empty() { "the spec".to_owned() } else { parts.join(".") };
                let way = path.split_last().map_or(path, |(_, way)| way);
                let help = elsewhere::belongs(word, name, way)
                    .or_else(|| near(word, known.iter().copied()))
                    .unwrap_or_else(|| format!("it has {}", known.join(", ")));
                (Diagnostic::error(Code::UnknownKey, Some(at), format!("{place} has no key '{word}'")), Some(help))
            }
            What::MissingKey(missing) => {
                let place = match (name, key.as_str()) {
                    ("", "") => "the spec".to_owned(),
                    ("", key) => key.to_owned(),
                    (name, "") => name.to_owned(),
                    (name, key) => format!("{name}.{key}"),
                };
                (Diagnostic::error(Code::MissingKey, at, format!("{place} needs the key '{missing}'")), None)
            }
            What::UnknownWord { word, known } => {
                let help = near(&word, known.iter().copied()).unwrap_or_else(|| format!("it is {}", known.join(", ")));
                (Diagnostic::error(Code::BadValue, at, format!("'{key}' cannot be {word:?}")), Some(help))
            }
        };
        Diagnostic { help, ..error }
    }
}

/// A path as people write it: `dependencies[0].every`.
pub(crate) fn spell(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Mistake::new(What::Refused { code: Code::BadValue, message: message.to_string(), help: None })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (expected, found) = (in_words(&expected.to_string()), found_in_words(found));
        Mistake::new(What::Wrong { code: Code::WrongType, expected, found, help: None })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let code = match found {
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => Code::NumberRange,
            _ => Code::BadValue,
        };
        let (expected, found) = (in_words(&expected.to_string()), found_in_words(found));
        Mistake::new(What::Wrong { code, expected, found, help: None })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Mistake::new(What::UnknownWord { word: word.chars().take(80).collect(), known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Mistake::new(What::UnknownKey { known })
    }

    fn missing_field(field: &'static str) -> Self {
        Mistake::new(What::MissingKey(field))
    }
}

/// What serde expects, in the words of people who write specs.
fn in_words(expected: &str) -> String {
    match expected {
        "a string" | "string" => "a text in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "an array".into(),
        "a map" => "a table".into(),
        "f64" => "a number".into(),
        "i64" => "a whole number".into(),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" => "a whole number that is not negative".into(),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.starts_with("enum ") => "a text in quotes".into(),
        other => other.to_owned(),
    }
}

fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) if text.len() <= 60 && !text.contains(HOLE) => format!("the text {text:?}"),
        Unexpected::Str(_) => "a text".into(),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number:?}"),
        Unexpected::Bool(yes) => yes.to_string(),
        Unexpected::Seq => "an array".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// Reads one node. `holes`: whether `${instance}` may stand here.
struct NodeReader<'a> {
    node: &'a Node,
    holes: bool,
}

impl<'a> NodeReader<'a> {
    /// A text, checked for holes.
    fn text(&self) -> Option<Result<&'a str, Mistake>> {
        let Value::Text(text) = &self.node.value else { return None };
        if text.contains(HOLE) && !self.holes {
            return Some(Err(Mistake::new(What::Refused {
                code: Code::InstanceNotHere,
                message: "${instance} has no meaning here, where it is not about one instance".into(),
                help: Some("it can stand in command, env, probes and hooks".into()),
            })));
        }
        Some(Ok(text))
    }

    /// A text that came out of a variable and is wanted as a number or a truth.
    fn variable_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if self.node.used.is_some() => Some(text.trim()),
            _ => None,
        }
    }

    fn whole_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.variable_text().and_then(|text| text.parse().ok()) {
            Some(number) => visitor.visit_i64(number),
            None => de::Deserializer::deserialize_any(self, visitor),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.whole_number(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for NodeReader<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::Text(_) => match self.text() {
                Some(text) => visitor.visit_str(text?),
                None => visitor.visit_unit(),
            },
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(yes) => visitor.visit_bool(*yes),
            Value::Date(date) => Err(de::Error::invalid_type(Unexpected::Other(&format!("the date {date}")), &visitor)),
            Value::List(list) => visitor.visit_seq(Items { list, next: 0, holes: self.holes }),
            Value::Table(table) => {
                visitor.visit_map(Entries { iter: table.entries.iter(), pending: None, holes: self.holes })
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.variable_text() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    whole_numbers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.variable_text().and_then(|text| text.parse().ok()) {
            Some(number) => visitor.visit_f64(number),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        let holes = self.holes || name == scalar::TEMPLATED;
        if let Some(kind) = scalar::kind(name) {
            let text = match self.text() {
                Some(text) => text?,
                None => {
                    return Err(Mistake::new(What::Wrong {
                        code: Code::WrongType,
                        expected: kind.expected.into(),
                        found: self.node.kind(),
                        help: Some(kind.help.into()),
                    }));
                }
            };
            (kind.check)(text).map_err(Mistake::refused)?;
        }
        visitor.visit_newtype_struct(NodeReader { node: self.node, holes })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.text() {
            Some(text) => {
                let text: StrDeserializer<'_, Mistake> = text?.into_deserializer();
                visitor.visit_enum(text)
            }
            None => Err(Mistake::new(What::Wrong {
                code: Code::WrongType,
                expected: "a text in quotes".into(),
                found: self.node.kind(),
                help: None,
            })),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

struct Items<'a> {
    list: &'a [Node],
    next: usize,
    holes: bool,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(node) = self.list.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let item = seed.deserialize(NodeReader { node, holes: self.holes });
        item.map(Some).map_err(|mistake| mistake.within(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

struct Entries<'a> {
    iter: std::collections::btree_map::Iter<'a, String, super::tree::Entry>,
    pending: Option<(&'a str, &'a Node)>,
    holes: bool,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((key, entry)) = self.iter.next() else { return Ok(None) };
        self.pending = Some((key, &entry.node));
        let text: StrDeserializer<'_, Mistake> = key.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|mistake| mistake.within(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let Some((key, node)) = self.pending.take() else { return Err(de::Error::custom("a value before its key")) };
        seed.deserialize(NodeReader { node, holes: self.holes })
            .map_err(|mistake| mistake.within(Step::Key(key.to_owned())))
    }
}
