//! References to secrets: what stands in a spec in the place of a value that must not stand there.
//!
//! A reference is a text, `secret://KIND/PLACE`, and stays one: in the spec that a guard holds, in what it shows and
//! compares, there is no value. Whoever needs the value takes the text apart here and has it read by the OS at that
//! moment. Deliberately absent: values.

use std::fmt;
use std::path::PathBuf;

/// What every reference begins with.
pub const SECRET_SCHEME: &str = "secret://";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, as it is.
    File(PathBuf),
    /// A credential that systemd gave the guard, by its name.
    Systemd(String),
    /// A file that Windows sealed for the computer or an account.
    Dpapi(PathBuf),
}

/// A text that begins as a reference and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// No such kind.
    #[error("there is no such kind of secret")]
    Kind,
    /// Nothing behind the kind.
    #[error("it does not say which secret")]
    Place,
    /// No name that a credential could have.
    #[error("a credential's name has no '/' and is at most 255 bytes long")]
    Name,
}

/// The kinds of references, in their words.
pub const SECRET_KINDS: [&str; 3] = ["file", "systemd", "dpapi"];

/// The longest name of a credential, in bytes: it is the name of a file.
const CREDENTIAL_NAME_BYTES_MAX: usize = 255;

impl SecretSource {
    /// Takes a reference apart; `None`: the text is none.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn parse(text: &str) -> Option<Result<Self, BadSecret>> {
        let rest = text.strip_prefix(SECRET_SCHEME)?;
        let (kind, place) = rest.split_once('/').unwrap_or((rest, ""));
        Some(match kind {
            "file" | "dpapi" | "systemd" if place.trim().is_empty() => Err(BadSecret::Place),
            "file" => Ok(SecretSource::File(place.into())),
            "dpapi" => Ok(SecretSource::Dpapi(place.into())),
            "systemd" => {
                let fits = place.len() <= CREDENTIAL_NAME_BYTES_MAX
                    && !place.contains(['/', '\\'])
                    && !matches!(place, "." | "..");
                if fits { Ok(SecretSource::Systemd(place.to_owned())) } else { Err(BadSecret::Name) }
            }
            _ => Err(BadSecret::Kind),
        })
    }
}

/// As it is written in a spec.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "{SECRET_SCHEME}file/{}", path.display()),
            SecretSource::Systemd(name) => write!(f, "{SECRET_SCHEME}systemd/{name}"),
            SecretSource::Dpapi(path) => write!(f, "{SECRET_SCHEME}dpapi/{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_is_written() {
        for (text, source) in [
            ("secret://file/keys/db", SecretSource::File("keys/db".into())),
            ("secret://file//etc/keys/db", SecretSource::File("/etc/keys/db".into())),
            ("secret://systemd/db-password", SecretSource::Systemd("db-password".into())),
            ("secret://dpapi/C:\\keys\\db.sealed", SecretSource::Dpapi("C:\\keys\\db.sealed".into())),
        ] {
            assert_eq!(source.to_string(), text);
            assert_eq!(SecretSource::parse(text), Some(Ok(source)));
        }
    }

    #[test]
    fn what_only_begins_as_a_reference_is_told_and_other_texts_are_none() {
        for text in ["", "secret", "secret:/file/x", "Secret://file/x", "x secret://file/x"] {
            assert_eq!(SecretSource::parse(text), None, "{text:?}");
        }
        for (text, bad) in [
            ("secret://", BadSecret::Kind),
            ("secret://vault/x", BadSecret::Kind),
            ("secret://file", BadSecret::Place),
            ("secret://file/ ", BadSecret::Place),
            ("secret://systemd/", BadSecret::Place),
            ("secret://systemd/a/b", BadSecret::Name),
            ("secret://systemd/..", BadSecret::Name),
        ] {
            assert_eq!(SecretSource::parse(text), Some(Err(bad)), "{text:?}");
        }
    }
}
