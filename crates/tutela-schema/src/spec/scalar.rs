//! The values with a form of their own: durations, sizes, percentages, texts with holes, commands.
//!
//! Each has one function that reads its text and says what is wrong with it, and one entry in [`kind`], so that the
//! reader can tell code and help apart from the message.

use super::diagnostic::Code;
use super::interpolate::{HOLE, template};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use tutela_core::access::{Rate, RatePer};
use tutela_core::spec::Command;
use tutela_core::template::Template;

/// The longest duration, ten years: longer ones are mistakes, and their sums could overflow.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// The largest size, one EiB: no machine has more.
pub(crate) const SIZE_MAX: u64 = 1 << 60;

/// The most words of a command.
const WORDS_MAX: usize = 4096;

/// Why a text is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>, help: &str) -> Self {
        Refusal { code, message: message.into(), help: (!help.is_empty()).then(|| help.to_owned()) }
    }
}

/// What the reader knows of a kind of text.
pub(crate) struct Kind {
    pub(crate) expected: &'static str,
    pub(crate) help: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Refusal>,
}

/// The name of a text with holes.
pub(crate) const TEMPLATED: &str = "tutela::Templated";
const SPAN: &str = "tutela::Span";
const SIZE: &str = "tutela::Size";
const PERCENT: &str = "tutela::Percent";
const RATE: &str = "tutela::Rate";

/// The kind of text of this name.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        SPAN => Kind {
            expected: "a duration in quotes",
            help: "write the number with its unit, such as \"5s\", \"500ms\" or \"1m 30s\"",
            check: |text| duration(text).map(drop),
        },
        SIZE => Kind {
            expected: "a size in quotes",
            help: "write the number with its unit, such as \"512MiB\" or \"2GB\"",
            check: |text| size(text).map(drop),
        },
        PERCENT => Kind {
            expected: "a percentage in quotes",
            help: "write it like \"150%\", which is one and a half processors",
            check: |text| percent(text).map(drop),
        },
        RATE => Kind { expected: "a rate in quotes", help: RATE_HELP, check: |text| rate(text).map(drop) },
        _ => return None,
    })
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    format!("{cut:?}")
}

/// Reads `5s`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, Refusal> {
    let help = "write the number with its unit, such as \"5s\", \"500ms\" or \"1m 30s\"";
    let span = humantime::parse_duration(text.trim())
        .map_err(|error| Refusal::new(Code::BadDuration, format!("{} is no duration: {error}", shown(text)), help))?;
    if span > DURATION_MAX {
        let message = format!("{} is longer than ten years", shown(text));
        return Err(Refusal::new(Code::NumberRange, message, "is the unit right? 'm' is minutes, 'M' months"));
    }
    Ok(span)
}

/// Reads `512MiB`.
pub(crate) fn size(text: &str) -> Result<u64, Refusal> {
    let help = "write the number with its unit, such as \"512MiB\" or \"2GB\"";
    let bytes: bytesize::ByteSize =
        text.trim().parse().map_err(|_| Refusal::new(Code::BadSize, format!("{} is no size", shown(text)), help))?;
    if bytes.as_u64() > SIZE_MAX {
        let message = format!("{} is larger than 1 EiB", shown(text));
        return Err(Refusal::new(Code::NumberRange, message, "is the unit right?"));
    }
    Ok(bytes.as_u64())
}

/// Reads `150%`.
pub(crate) fn percent(text: &str) -> Result<u32, Refusal> {
    let help = "write it like \"150%\", which is one and a half processors";
    let number = text.trim().strip_suffix('%').map(str::trim_end).and_then(|number| number.parse().ok());
    match number {
        Some(number @ 1..=1_000_000) => Ok(number),
        Some(_) => Err(Refusal::new(Code::NumberRange, format!("{} is not from 1% to 1000000%", shown(text)), help)),
        None => Err(Refusal::new(Code::BadValue, format!("{} is no percentage", shown(text)), help)),
    }
}

/// The most of a rate: more is the same as none.
const RATE_MAX: u32 = 1_000_000;

const RATE_HELP: &str = "write how many within a second, minute or hour, such as \"100/s\", \"600/m\" or \"5000/h\"";

/// Reads `100/s`.
pub(crate) fn rate(text: &str) -> Result<Rate, Refusal> {
    let refused = || Refusal::new(Code::BadValue, format!("{} is no rate", shown(text)), RATE_HELP);
    let (count, unit) = text.trim().split_once('/').ok_or_else(refused)?;
    let per = RatePer::ALL.into_iter().find(|per| per.word() == unit).ok_or_else(refused)?;
    match count.parse().map_err(|_| refused())? {
        count @ 1..=RATE_MAX => Ok(Rate { count, per }),
        _ => {
            let message = format!("{} is not from 1 to {RATE_MAX}", shown(text));
            Err(Refusal::new(Code::NumberRange, message, RATE_HELP))
        }
    }
}

macro_rules! text_kind {
    ($(#[$meta:meta])* $name:ident($inner:ty), $newtype:expr, $parse:expr, $schema:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> Visitor<'de> for Reader {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a text in quotes")
                    }
                    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<$name, D::Error> {
                        inner.deserialize_str(self)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Result<$inner, Refusal> = $parse;
                        parse(text).map($name).map_err(|refusal| E::custom(refusal.message))
                    }
                }
                deserializer.deserialize_newtype_struct($newtype, Reader)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text_kind! {
    /// A duration such as `5s` or `1m 30s`.
    Span(Duration), SPAN, duration, json_schema!({
        "type": "string",
        "title": "duration",
        "description": "A duration: numbers with units, such as 500ms, 5s, 1m 30s, 2h, 7d.",
        "pattern": "^\\s*(0|([0-9.]+\\s*[a-zA-Zµ]+\\s*)+|.*\\$\\{.*)$",
        "examples": ["500ms", "5s", "1m 30s"],
    })
}

text_kind! {
    /// A size such as `512MiB`.
    Size(u64), SIZE, size, json_schema!({
        "type": "string",
        "title": "size",
        "description": "A size: a number with its unit. KiB, MiB, GiB count in steps of 1024; kB, MB, GB in steps of 1000.",
        "pattern": "^\\s*([0-9.]+\\s*[kKmMgGtTpPeE]?i?[bB]?\\s*|.*\\$\\{.*)$",
        "examples": ["512MiB", "2GB"],
    })
}

text_kind! {
    /// A percentage such as `150%`.
    Percent(u32), PERCENT, percent, json_schema!({
        "type": "string",
        "title": "percentage",
        "description": "A whole number of percent; 100% is one processor.",
        "pattern": "^\\s*([0-9]+\\s*%\\s*|.*\\$\\{.*)$",
        "examples": ["50%", "150%"],
    })
}

text_kind! {
    /// A rate such as `100/s`.
    RateText(Rate), RATE, rate, json_schema!({
        "type": "string",
        "title": "rate",
        "description": "How many within a second, minute or hour: 100/s, 600/m, 5000/h.",
        "pattern": "^\\s*([0-9]+/[smh]\\s*|.*\\$\\{.*)$",
        "examples": ["100/s", "600/m"],
    })
}

text_kind! {
    /// A text in which `${instance}` may stand. Holes are NUL characters in it.
    Templated(String), TEMPLATED, |text| Ok(text.to_owned()), json_schema!({
        "type": "string",
        "title": "text",
    })
}

impl Templated {
    /// The text as a template.
    pub fn template(&self) -> Template {
        template(&self.0)
    }

    /// The text for instance `index`.
    pub fn render(&self, index: u16) -> String {
        self.0.replace(HOLE, &index.to_string())
    }
}

/// The value of a variable: a text, or a number or truth that becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvValue(pub String);

/// A command: one text, split as a shell would but never run by one, or its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandText {
    /// One text.
    Line(String),
    /// The words.
    Words(Vec<String>),
}

impl CommandText {
    /// The command.
    pub(crate) fn command(&self) -> Result<Command, Refusal> {
        let help = "write [\"program\", \"argument\"], or one text that is split like a shell would";
        let words = match self {
            CommandText::Words(words) => Cow::Borrowed(words),
            CommandText::Line(line) => Cow::Owned(
                shell_words::split(line)
                    .map_err(|_| Refusal::new(Code::BadCommand, "a quote in the command is never closed", help))?,
            ),
        };
        match words.first() {
            None => return Err(Refusal::new(Code::BadCommand, "the command is empty", help)),
            Some(first) if first.trim().is_empty() => {
                return Err(Refusal::new(Code::BadCommand, "the command has no program", help));
            }
            Some(_) => {}
        }
        if words.len() > WORDS_MAX {
            let message = format!("the command has {} words, and can have {WORDS_MAX}", words.len());
            return Err(Refusal::new(Code::TooMany, message, ""));
        }
        Ok(Command { words: words.iter().map(|word| template(word)).collect() })
    }
}

/// Reads one text with holes, or an array of them.
struct WordsReader;

impl<'de> Visitor<'de> for WordsReader {
    type Value = CommandText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: a text, or an array of texts")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<CommandText, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, line: &str) -> Result<CommandText, E> {
        Ok(CommandText::Line(line.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<CommandText, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = items.next_element::<String>()? {
            words.push(word);
        }
        Ok(CommandText::Words(words))
    }
}

impl<'de> Deserialize<'de> for CommandText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEMPLATED, WordsReader)
    }
}

impl JsonSchema for CommandText {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "command",
            "description": "A program and its arguments: an array of texts, or one text that is split like a shell would. Never run by a shell.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
            "examples": ["./api --port 8081"],
        })
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = EnvValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<EnvValue, D::Error> {
                inner.deserialize_any(self)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<EnvValue, E> {
                Ok(EnvValue(number.to_string()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<EnvValue, E> {
                Ok(EnvValue(number.to_string()))
            }
            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<EnvValue, E> {
                Ok(EnvValue(yes.to_string()))
            }
        }
        deserializer.deserialize_newtype_struct(TEMPLATED, Reader)
    }
}

impl JsonSchema for EnvValue {
    fn schema_name() -> Cow<'static, str> {
        "EnvValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "text", "type": ["string", "number", "boolean"] })
    }
}
