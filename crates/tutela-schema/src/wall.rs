//! Times of day as they are written: RFC 3339, UTC, milliseconds.
//!
//! Machines count from boot ([`tutela_core::time::Moment`]); people and files want a date. The edge converts, this
//! module only spells. Reading takes any offset, writing always gives `Z`.

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A time of day: written `2026-11-20T21:38:54.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub Timestamp);

impl WallTime {
    /// The time `millis` milliseconds after 1970-01-01T00:00:00Z; the end of the year 9999 when it is later than that.
    pub fn from_unix_millis(millis: i64) -> Self {
        let end = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
        WallTime(Timestamp::from_millisecond(millis).unwrap_or(end))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The time `span` before this one; the earliest one when there is none.
    pub fn minus(self, span: Duration) -> Self {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        WallTime(self.0.checked_sub(span).unwrap_or(Timestamp::MIN))
    }

    /// The time `span` after this one; the last one when there is none.
    pub fn plus(self, span: Duration) -> Self {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        WallTime(self.0.checked_add(span).unwrap_or(Timestamp::MAX))
    }

    /// Reads what people write after `--since` and `?since=`: a time in RFC 3339, or how long ago, such as `90s` or
    /// `1h 30m`, counted back from `now`.
    ///
    /// # Errors
    /// Neither of the two.
    pub fn parse_when(text: &str, now: WallTime) -> Result<Self, BadTime> {
        let text = text.trim();
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(WallTime(time));
        }
        match humantime::parse_duration(text) {
            Ok(ago) => Ok(now.minus(ago)),
            Err(_) => Err(BadTime { text: text.chars().take(80).collect() }),
        }
    }
}

/// A text is neither a time nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {text:?} is no time; write one like 2026-11-20T21:38:54Z, or how long ago, like 90s or 1h")]
pub struct BadTime {
    /// The text, cut after 80 characters.
    pub text: String,
}

impl From<Timestamp> for WallTime {
    fn from(time: Timestamp) -> Self {
        WallTime(time)
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(WallTime).map_err(|_| de::Error::custom(format_args!("{text:?} is no RFC 3339 time")))
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> Cow<'static, str> {
        "WallTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds_and_read_from_any_offset() {
        let time = WallTime::from_unix_millis(1_000);
        assert_eq!(time.to_string(), "1970-01-01T00:00:01.000Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"1970-01-01T00:00:01.000Z\"");
        assert_eq!(serde_json::from_str::<WallTime>("\"1970-01-01T01:00:01+01:00\"").unwrap(), time);
        assert!(serde_json::from_str::<WallTime>("\"yesterday\"").is_err());
    }

    #[test]
    fn since_takes_a_time_or_how_long_ago() {
        let now = WallTime::from_unix_millis(3_600_000);
        assert_eq!(WallTime::parse_when("1h", now), Ok(WallTime::from_unix_millis(0)));
        assert_eq!(WallTime::parse_when("1970-01-01T00:00:05Z", now), Ok(WallTime::from_unix_millis(5_000)));
        assert!(WallTime::parse_when("soon", now).is_err());
        assert_eq!(now.minus(Duration::MAX), WallTime(Timestamp::MIN));
        assert_eq!(now.plus(Duration::MAX), WallTime(Timestamp::MAX));
    }
}
