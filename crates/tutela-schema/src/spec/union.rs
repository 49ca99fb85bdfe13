//! The values that may be written in more than one way: environment files, hooks, HTTP statuses.

use super::scalar::{CommandText, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// An environment file: its path, or a table that says whether it may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// The path, relative to the spec's folder.
    pub path: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// An environment file as a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EnvFileKeys {
    /// The path, relative to the spec's folder.
    path: String,
    /// Whether it may be missing.
    #[serde(default)]
    optional: bool,
}

impl<'de> Deserialize<'de> for EnvFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = EnvFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table with path and optional")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<EnvFile, E> {
                Ok(EnvFile { path: path.to_owned(), optional: false })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvFile, A::Error> {
                let keys = EnvFileKeys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(EnvFile { path: keys.path, optional: keys.optional })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for EnvFile {
    fn schema_name() -> Cow<'static, str> {
        "EnvFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "path",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<EnvFileKeys>()],
        })
    }
}

/// One hook: a command, and the deadline if it has one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookText {
    /// The command.
    pub command: CommandText,
    /// When it is ended.
    pub timeout: Option<Span>,
}

/// A hook as a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HookTableKeys {
    /// The command.
    command: CommandText,
    /// It is ended when it takes longer.
    #[serde(default)]
    #[schemars(extend("default" = "60s"))]
    timeout: Option<Span>,
}

struct HookReader;

impl<'de> Visitor<'de> for HookReader {
    type Value = HookText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, or a table with command and timeout")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<HookText, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<HookText, E> {
        Ok(HookText { command: CommandText::Line(line.to_owned()), timeout: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<HookText, A::Error> {
        let words = Vec::<String>::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(HookText { command: CommandText::Words(words), timeout: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HookText, A::Error> {
        let keys = HookTableKeys::deserialize(MapAccessDeserializer::new(map))?;
        Ok(HookText { command: keys.command, timeout: keys.timeout })
    }
}

impl<'de> Deserialize<'de> for HookText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(super::scalar::TEMPLATED, HookReader)
    }
}

/// Hooks one after the other; a single one may stand without its array.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookList(pub Vec<HookText>);

impl<'de> Deserialize<'de> for HookList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = HookList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of commands")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<HookList, D::Error> {
                inner.deserialize_any(self)
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<HookList, E> {
                HookReader.visit_str(line).map(|hook| HookList(vec![hook]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HookList, A::Error> {
                HookReader.visit_map(map).map(|hook| HookList(vec![hook]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<HookList, A::Error> {
                let mut hooks = Vec::new();
                while let Some(hook) = items.next_element()? {
                    hooks.push(hook);
                }
                Ok(HookList(hooks))
            }
        }
        deserializer.deserialize_newtype_struct(super::scalar::TEMPLATED, Reader)
    }
}

impl JsonSchema for HookList {
    fn schema_name() -> Cow<'static, str> {
        "Hooks".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<HookTableKeys>();
        json_schema!({
            "title": "commands",
            "description": "Commands, one after the other. In an array each text is a command of its own; an array within it is one command with its words.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                table,
                {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            { "type": "string", "minLength": 1 },
                            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                            table,
                        ],
                    },
                },
            ],
        })
    }
}

/// HTTP statuses: a number, or a text with one or a range: `"200-299"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusText(pub String);

impl<'de> Deserialize<'de> for StatusText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = StatusText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 200, or a range such as \"200-299\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusText, E> {
                Ok(StatusText(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<StatusText, E> {
                Ok(StatusText(number.to_string()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for StatusText {
    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "status or range", "type": ["integer", "string"] })
    }
}
