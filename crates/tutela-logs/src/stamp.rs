//! Moments on the wall clock, and their text: RFC 3339 in UTC with microseconds, always 27 bytes.
//!
//! Written once per chunk of output and read once per line, so both directions remember the second they
//! saw last and leave the calendar alone until it changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a stamp: `2026-11-20T21:23:45.123456Z`.
pub(crate) const STAMP_BYTES: usize = 27;

/// The length of the part of a stamp that the calendar decides: `2026-11-20T21:23:45`.
const SECOND_BYTES: usize = 19;

/// The last microsecond that the calendar knows with room for every time zone: 9999-12-30T21:59:59. Years
/// of more than four digits would not fit a stamp of fixed width anyway.
const MICROS_MAX: u64 = 253_402_207_199_999_999;

/// A moment on the wall clock: microseconds since 1970 in UTC, up to two days before the year
/// 10000.
///
/// The wall clock can be set back; nothing here measures a wait with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// The moment `micros` microseconds after 1970 began.
    pub const fn from_micros(micros: u64) -> Self {
        Wall(if micros > MICROS_MAX { MICROS_MAX } else { micros })
    }

    /// Microseconds since 1970 began.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// What the clock says.
    pub fn now() -> Self {
        Wall::from(SystemTime::now())
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Wall) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` before this one; not before 1970.
    pub fn before(self, span: Duration) -> Self {
        Wall(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A time before 1970 becomes 1970.
impl From<SystemTime> for Wall {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// As in a file with timestamps.
impl std::fmt::Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut stamper = Stamper::default();
        f.pad(std::str::from_utf8(stamper.text(*self)).unwrap_or_default())
    }
}

/// Moments to text.
pub(crate) struct Stamper {
    second: u64,
    text: [u8; STAMP_BYTES],
}

impl Default for Stamper {
    fn default() -> Self {
        Stamper { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

impl Stamper {
    /// The text of `at`.
    pub(crate) fn text(&mut self, at: Wall) -> &[u8; STAMP_BYTES] {
        let second = at.0 / 1_000_000;
        if second != self.second {
            let seconds = i64::try_from(second).unwrap_or(i64::MAX);
            // In range: `Wall` ends where the calendar does.
            let moment = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let text = moment.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            if text.len() == SECOND_BYTES {
                self.text[..SECOND_BYTES].copy_from_slice(text.as_bytes());
                self.second = second;
            }
        }
        let mut micros = at.0 % 1_000_000;
        for place in self.text[SECOND_BYTES + 1..STAMP_BYTES - 1].iter_mut().rev() {
            // A digit: less than ten.
            *place = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        &self.text
    }

    /// The text of `at` as it stands in the name of a rotated file: `20261120T212345.123456Z`.
    pub(crate) fn name(&mut self, at: Wall) -> String {
        self.text(at).iter().filter(|byte| !matches!(byte, b'-' | b':')).map(|byte| char::from(*byte)).collect()
    }
}

/// Text to moments.
#[derive(Default)]
pub(crate) struct StampReader {
    second: [u8; SECOND_BYTES],
    micros: u64,
}

impl StampReader {
    /// The moment that `text` begins with, if it begins with a stamp.
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<Wall> {
        let stamp = text.get(..STAMP_BYTES)?;
        if stamp[SECOND_BYTES] != b'.' || stamp[STAMP_BYTES - 1] != b'Z' {
            return None;
        }
        let mut micros = 0u64;
        for digit in &stamp[SECOND_BYTES + 1..STAMP_BYTES - 1] {
            if !digit.is_ascii_digit() {
                return None;
            }
            micros = micros * 10 + u64::from(digit - b'0');
        }
        if stamp[..SECOND_BYTES] != self.second {
            let shaped = stamp[..SECOND_BYTES].iter().zip(b"0000-00-00T00:00:00").all(|(have, want)| match want {
                b'0' => have.is_ascii_digit(),
                mark => have == mark,
            });
            if !shaped {
                return None;
            }
            let moment: jiff::Timestamp = std::str::from_utf8(stamp).ok()?.parse().ok()?;
            self.micros = u64::try_from(moment.as_second()).ok()? * 1_000_000;
            self.second.copy_from_slice(&stamp[..SECOND_BYTES]);
        }
        Some(Wall::from_micros(self.micros + micros))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_moment_has_its_known_text() {
        let at = Wall::from_micros(1_795_209_825_123_456);
        assert_eq!(at.to_string(), "2026-11-20T21:23:45.123456Z");
        assert_eq!(Stamper::default().name(at), "20261120T212345.123456Z");
        assert_eq!(Wall::default().to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Wall::from_micros(u64::MAX).to_string(), "9999-12-30T21:59:59.999999Z");
    }

    #[test]
    fn text_that_is_nearly_a_stamp_is_none() {
        let mut reader = StampReader::default();
        for text in [
            "2026-11-20T21:23:45.123456",
            "2026-11-20T21:23:45.12345xZ",
            "2026-11-20 21:23:45.123456Z",
            "2026-13-20T21:23:45.123456Z",
            "hello",
            "",
        ] {
            assert_eq!(reader.read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_moment_are_the_same_thing_both_ways(all in prop::collection::vec(0..=MICROS_MAX, 1..20)) {
            let (mut stamper, mut reader) = (Stamper::default(), StampReader::default());
            let mut sorted = Vec::new();
            for micros in all {
                let at = Wall::from_micros(micros);
                let text = *stamper.text(at);
                prop_assert_eq!(reader.read(&text).unwrap(), at);
                sorted.push((text, at));
            }
            sorted.sort();
            prop_assert!(sorted.is_sorted_by_key(|(_, at)| *at), "texts sort as moments do");
        }
    }
}
