//! Names that cannot be mixed up: of guards and services, of instances, of runs.

use std::fmt;
use std::sync::Arc;

/// The longest name of a guard or service, in bytes. It has to fit, with the state folder and a suffix
/// before and behind it, into a unix socket path of 108 bytes.
pub const NAME_BYTES_MAX: usize = 48;

/// The name of a guard or of a service: letters, digits, `.`, `_` and `-`, first a letter or digit.
///
/// It becomes part of file names, unit names, control-group names and metric labels, on every OS; that
/// is why it is so narrow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The name of a service within its guard.
pub type ServiceName = Name;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameRefusal {
    /// There is nothing in it.
    #[error("a name cannot be empty")]
    Empty,
    /// It is longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// It starts with something else than a letter or a digit.
    #[error("a name starts with a letter or a digit, not with {0:?}")]
    BadStart(char),
    /// It has a character that is not allowed anywhere.
    #[error("a name has only letters a to z, digits, '.', '_' and '-', not {0:?}")]
    BadCharacter(char),
}

impl Name {
    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// The first reason why `text` is no name.
    pub fn new(text: &str) -> Result<Self, NameRefusal> {
        let first = text.chars().next().ok_or(NameRefusal::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(match first {
                '.' | '_' | '-' => NameRefusal::BadStart(first),
                other => NameRefusal::BadCharacter(other),
            });
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
            return Err(NameRefusal::BadCharacter(bad));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameRefusal::TooLong(text.len()));
        }
        Ok(Name(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One running copy of a service, as people write it: `api:0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The service it is a copy of.
    pub service: ServiceName,
    /// Which copy: 0, 1, …
    pub index: u16,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.index)
    }
}

impl InstanceId {
    /// Reads `api:0`, and only what is written so: `api:+0` and `api:00` are no second names of the same copy.
    pub fn parse(text: &str) -> Option<InstanceId> {
        let (service, digits) = text.split_once(':')?;
        let index: u16 = digits.parse().ok()?;
        let id = InstanceId { service: Name::new(service).ok()?, index };
        (id.to_string() == text).then_some(id)
    }
}

/// The short name of an instance inside one guard process. Given once, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey(pub u32);

/// One life of an instance's program: grows with every start, so that news of an earlier life is known
/// for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RunId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_one_spelling() {
        assert_eq!(InstanceId::parse("api:65535").map(|id| id.index), Some(65535));
        for text in
            ["api", "api:", ":0", "api:+0", "api:00", "api: 0", "api:0 ", "api:-1", "api:65536", "a:0:0", "a/b:0"]
        {
            assert_eq!(InstanceId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_with_a_slash_is_refused_and_told_why() {
        assert_eq!(Name::new("a/b"), Err(NameRefusal::BadCharacter('/')));
        assert_eq!(Name::new(""), Err(NameRefusal::Empty));
        assert_eq!(Name::new("-a"), Err(NameRefusal::BadStart('-')));
        assert_eq!(Name::new("é"), Err(NameRefusal::BadCharacter('é')));
        assert_eq!(Name::new(&"a".repeat(49)), Err(NameRefusal::TooLong(49)));
        assert_eq!(Name::new("a.b_c-9").map(|n| n.to_string()), Ok("a.b_c-9".into()));
    }
}
