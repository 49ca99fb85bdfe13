//! What requests of ours have in common, whoever sends them: headers that a spec names, bodies that are packed, and what
//! an answer says of time.
//!
//! Called by alerts, sinks and OTLP. Deliberately absent: connections and the meaning of an answer, which differ.

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

/// A header of a spec, which may be a secret and is shown in no message of ours. `None`: it is none, or its value has
/// control characters.
pub fn secret_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, mut value) = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok())?;
    value.set_sensitive(true);
    Some((name, value))
}

/// A body as gzip, made for speed.
///
/// # Errors
/// Memory alone is written to, so in practice there are none.
pub fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// `Retry-After` of an answer: seconds, or a date that is still to come.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    SystemTime::from(at.timestamp()).duration_since(now).ok()
}
