//! How entries hang together: text to a sealed line and back, without a disk.
//!
//! A line is the entry as JSON with one more field at its end, `hash`: SHA-256 over the bytes of the line before that
//! field. The entry itself names the hash of the one before. So no byte of an entry can change, and none can go or come
//! between two others, without the hashes saying so; `head -c` and `sha256sum` are enough to check it.

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use std::fmt;
use tutela_schema::audit::{AuditEntry, AuditResult, Removed, Unfinished};
use tutela_schema::wall::WallTime;

/// The longest line: every text of an entry has a bound, of which the largest is 1,000 characters, each of which JSON
/// writes with at most twelve bytes.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

/// Where the text ends that a hash is over.
const SEAL: &[u8] = b",\"hash\":\"";

/// What follows a hash.
const END: &[u8] = b"\"}";

/// The digits of a hash.
const DIGITS: usize = 64;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first entry of a chain follows.
    pub const NONE: Hash = Hash([0; 32]);

    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        let mut hash = [0; 32];
        // A digest of this kind has 32 bytes.
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Hash(hash)
    }

    /// Reads 64 hexadecimal digits as they are written: in lower case.
    pub fn parse(text: &[u8]) -> Option<Hash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if text.len() != DIGITS {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Hash(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry as the others see it: its number and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place, from 1; 0: there is none yet.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Link {
    /// What a chain begins from.
    pub const NONE: Link = Link { seq: 0, hash: Hash::NONE };

    /// Reads `SEQ:HASH`.
    pub fn parse(text: &str) -> Option<Link> {
        let (seq, hash) = text.trim().split_once(':')?;
        Some(Link { seq: seq.parse().ok()?, hash: Hash::parse(hash.as_bytes())? })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Gives `entry` its place behind `last`; answers with its line, the line's end included, and its own link.
pub fn seal(mut entry: AuditEntry, last: Link) -> (Vec<u8>, Link) {
    entry.seq = last.seq + 1;
    entry.prev = last.hash.to_string();
    // Texts and numbers only: there is no value that JSON cannot hold.
    let mut line = serde_json::to_vec(&entry).expect("an entry has only what JSON can hold");
    // The brace at the end comes after the hash.
    line.pop();
    let hash = Hash::of(&line);
    line.extend_from_slice(SEAL);
    line.extend_from_slice(hash.to_string().as_bytes());
    line.extend_from_slice(END);
    line.push(b'\n');
    (line, Link { seq: entry.seq, hash })
}

/// What of an entry matters to the chain, whatever version wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The entry.
    pub link: Link,
    /// The hash of the one before.
    pub prev: Hash,
    /// When.
    pub at: WallTime,
    /// What it says is removed.
    pub removed: Option<Link>,
    /// What it says a crash left.
    pub unfinished: Option<Unfinished>,
    /// The guard says that it found the chain broken.
    pub broken: Option<String>,
}

impl Sealed {
    /// Whether it is the one behind `last`.
    pub fn follows(&self, last: Link) -> bool {
        self.link.seq == last.seq + 1 && self.prev == last.hash
    }
}

/// The command of the entry with which a guard goes on after it found something else than it had left.
pub const RECOVER: &str = "recover";

/// The command of the entry that says what retention removes.
pub const RETENTION: &str = "retention";

#[derive(Deserialize)]
struct Form {
    seq: u64,
    at: WallTime,
    prev: String,
    command: String,
    surface: String,
    result: String,
    message: Option<String>,
    removed: Option<Removed>,
    unfinished: Option<Unfinished>,
}

/// Why a line is no entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blemish {
    /// It is longer than an entry can be.
    #[error("it is longer than an entry can be")]
    TooLong,
    /// It has no hash at its end.
    #[error("it does not end with a hash")]
    NoHash,
    /// Its hash is another one than it says.
    #[error("its text has another hash than it says")]
    OtherHash,
    /// It is no entry, for all its right hash.
    #[error("it has the right hash and is no entry")]
    NoEntry,
}

/// Reads a line, without its end.
///
/// # Errors
/// It is no entry that was sealed and not changed since.
pub fn open(line: &[u8]) -> Result<Sealed, Blemish> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Blemish::TooLong);
    }
    let (rest, hash) = line
        .strip_suffix(END)
        .and_then(|line| line.split_at_checked(line.len() - DIGITS.min(line.len())))
        .ok_or(Blemish::NoHash)?;
    let hash = Hash::parse(hash).ok_or(Blemish::NoHash)?;
    let text = rest.strip_suffix(SEAL).ok_or(Blemish::NoHash)?;
    if Hash::of(text) != hash {
        return Err(Blemish::OtherHash);
    }
    let form: Form = serde_json::from_slice(line).map_err(|_| Blemish::NoEntry)?;
    let prev = Hash::parse(form.prev.as_bytes()).ok_or(Blemish::NoEntry)?;
    if form.seq == 0 || form.seq == u64::MAX {
        return Err(Blemish::NoEntry);
    }
    let removed = match form.removed {
        Some(removed) => {
            let hash = Hash::parse(removed.hash.as_bytes()).ok_or(Blemish::NoEntry)?;
            Some(Link { seq: removed.through, hash })
        }
        None => None,
    };
    let of_guard = form.surface == "guard" && form.command == RECOVER;
    let broken = of_guard && form.result == AuditResult::Failed.to_string();
    Ok(Sealed {
        link: Link { seq: form.seq, hash },
        prev,
        at: form.at,
        removed,
        unfinished: form.unfinished.filter(|_| of_guard),
        broken: broken.then(|| form.message.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tutela_schema::audit::Surface;

    fn entry() -> AuditEntry {
        AuditEntry::new(WallTime::from_unix_millis(0), Surface::Socket, "stop", "shop/api", AuditResult::Accepted)
    }

    #[test]
    fn a_sealed_line_opens_to_what_it_was() {
        let (line, link) = seal(entry(), Link::NONE);
        let text = line.strip_suffix(b"\n").unwrap();
        let sealed = open(text).unwrap();
        assert_eq!((sealed.link, sealed.prev, sealed.link.seq), (link, Hash::NONE, 1));
        assert!(serde_json::from_slice::<AuditEntry>(text).is_ok(), "a line is JSON with its hash, too");
        assert_eq!(Link::parse(&link.to_string()), Some(link));
    }

    #[test]
    fn a_hash_is_what_sha256sum_makes_of_the_text_before_it() {
        // printf abc | sha256sum
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").to_string(), known);
        assert_eq!(Hash::parse(known.to_uppercase().as_bytes()), None, "one spelling only");
    }

    #[test]
    fn an_entry_with_the_longest_texts_is_no_longer_than_a_line_may_be() {
        let long = "\u{10ffff}\"".repeat(5000);
        let mut entry =
            AuditEntry::new(WallTime::from_unix_millis(0), Surface::Socket, &long, &long, AuditResult::Refused);
        entry.reason = Some("\"".repeat(tutela_schema::api::REASON_CHARS_MAX));
        let (line, _) = seal(entry.saying(&long), Link::NONE);
        assert!(line.len() < LINE_BYTES_MAX, "{}", line.len());
    }

    #[test]
    fn no_changed_byte_of_a_line_goes_unseen() {
        let (line, _) = seal(entry(), Link::NONE);
        let text = line.strip_suffix(b"\n").unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.to_vec();
                changed[at] ^= 1 << bit;
                assert!(open(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert!((0..text.len()).all(|length| open(&text[..length]).is_err()));
    }
}
