//! Times of day for people and for `/health`, in UTC. Two formats do not earn a calendar as a dependency.

use std::time::{Duration, SystemTime};

const DAY: u64 = 24 * 60 * 60;

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `21:38:54.123`.
pub(crate) fn time_of_day(time: SystemTime) -> String {
    let since = since_1970(time);
    let second = since.as_secs() % DAY;
    format!("{:02}:{:02}:{:02}.{:03}", second / 3600, second / 60 % 60, second % 60, since.subsec_millis())
}

/// `2026-11-20T21:38:54.123Z`.
#[cfg(any(feature = "health", test))]
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let (year, month, day) = date(since_1970(time).as_secs() / DAY);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time_of_day(time))
}

/// The date so many days after 1970-01-01.
#[cfg(any(feature = "health", test))]
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut left = days;
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_777), (2026, 11, 20));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }

    #[test]
    fn a_time_is_written_with_milliseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(951_827_696_789);
        assert_eq!(rfc3339(time), "2000-02-29T12:34:56.789Z");
    }
}
