//! A machine: how often each address may do something.
//!
//! Each address has a bucket that holds as many as the rate's count and fills evenly. For each address one moment is
//! kept: when its bucket would be full again. That is all that a bucket is, so one that is full needs no memory.
//!
//! At most [`ADDRESSES_MAX`] addresses are known at a time. When there are more, those whose buckets are full are
//! forgotten; those that find no room share one bucket, so that a crowd of strangers is slow for strangers alone.

use crate::time::Moment;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Addresses that are known at a time: more than any fleet has that speaks to one guard within a second. Each takes
/// some 50 bytes.
pub const ADDRESSES_MAX: usize = 4096;

/// How often the full ones are looked for while there is no room: it takes a walk over all of them.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A unit of time that things are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RatePer {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl RatePer {
    /// Every unit.
    pub const ALL: [RatePer; 3] = [RatePer::Second, RatePer::Minute, RatePer::Hour];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            RatePer::Second => "s",
            RatePer::Minute => "m",
            RatePer::Hour => "h",
        }
    }

    /// How long it is.
    pub const fn span(self) -> Duration {
        match self {
            RatePer::Second => Duration::from_secs(1),
            RatePer::Minute => Duration::from_secs(60),
            RatePer::Hour => Duration::from_secs(3600),
        }
    }
}

/// So many within a unit of time, written `100/s`. So many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; never 0.
    pub count: u32,
    /// Within which time.
    pub per: RatePer,
}

impl Rate {
    /// How long it takes until there is one more.
    fn interval(self) -> Duration {
        self.per.span() / self.count.max(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.word())
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Buckets {
    rate: Rate,
    /// When each bucket that is not full will be. An entry in the past is one that is full.
    full_at: BTreeMap<IpAddr, Moment>,
    shared: Moment,
    swept: Option<Moment>,
}

impl Buckets {
    /// Full ones.
    pub fn new(rate: Rate) -> Self {
        Buckets { rate, full_at: BTreeMap::new(), shared: Moment::ZERO, swept: None }
    }

    /// Another rate from here on. What was taken stays taken.
    pub fn adopt(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none left; how long it takes until there is.
    pub fn handle_take(&mut self, now: Moment, address: IpAddr) -> Result<(), Duration> {
        let (rate, span) = (self.rate.interval(), self.rate.per.span());
        let full_at = self.bucket(now, address);
        let next = (*full_at).max(now) + rate;
        if next > now + span {
            return Err(next.since(now + span));
        }
        *full_at = next;
        Ok(())
    }

    /// How many addresses are known.
    pub fn known(&self) -> usize {
        self.full_at.len()
    }

    fn bucket(&mut self, now: Moment, address: IpAddr) -> &mut Moment {
        if self.full_at.len() >= ADDRESSES_MAX && !self.full_at.contains_key(&address) {
            let is_due = self.swept.is_none_or(|swept| now.since(swept) >= SWEEP_EVERY);
            if is_due {
                self.swept = Some(now);
                self.full_at.retain(|_, full_at| *full_at > now);
            }
            if self.full_at.len() >= ADDRESSES_MAX {
                return &mut self.shared;
            }
        }
        self.full_at.entry(address).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(1_000_000 + millis)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn buckets(count: u32, per: RatePer) -> Buckets {
        Buckets::new(Rate { count, per })
    }

    #[test]
    fn as_many_as_the_rate_may_come_at_once_and_then_one_by_one() {
        let mut buckets = buckets(5, RatePer::Second);
        let taken = (0..10).filter(|_| buckets.handle_take(at(0), address(1)).is_ok()).count();
        assert_eq!(taken, 5);
        assert_eq!(buckets.handle_take(at(0), address(1)), Err(Duration::from_millis(200)));
        assert_eq!(buckets.handle_take(at(150), address(1)), Err(Duration::from_millis(50)));
        assert_eq!(buckets.handle_take(at(200), address(1)), Ok(()));
        assert!(buckets.handle_take(at(200), address(1)).is_err());
        assert_eq!(buckets.handle_take(at(200), address(2)), Ok(()), "another one has its own");
        let later = (0..10).filter(|_| buckets.handle_take(at(60_000), address(1)).is_ok()).count();
        assert_eq!(later, 5, "a bucket holds no more than the rate");
    }

    #[test]
    fn no_more_than_the_rate_comes_through_over_any_time() {
        let mut buckets = buckets(10, RatePer::Minute);
        let asked = (0..600_000).step_by(7);
        let taken = asked.filter(|millis| buckets.handle_take(at(*millis), address(1)).is_ok()).count();
        assert!((105..=110).contains(&taken), "{taken} in ten minutes of 10/m, with 10 at once");
    }

    #[test]
    fn a_crowd_shares_one_bucket_and_harms_nobody_who_is_known() {
        let mut buckets = buckets(2, RatePer::Second);
        for number in 0..10_000 {
            let _ = buckets.handle_take(at(0), address(number));
        }
        assert_eq!(buckets.known(), ADDRESSES_MAX);
        assert_eq!(buckets.handle_take(at(0), address(1)), Ok(()));
        assert!(buckets.handle_take(at(0), address(20_000)).is_err());
        // Full buckets make room.
        assert_eq!(buckets.handle_take(at(2000), address(20_000)), Ok(()));
        assert!(buckets.known() < 10);
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut buckets = buckets(1, RatePer::Hour);
        assert_eq!(buckets.handle_take(at(0), address(1)), Ok(()));
        assert!(buckets.handle_take(at(1000), address(1)).is_err());
        buckets.adopt(Rate { count: 1000, per: RatePer::Hour });
        assert!(buckets.handle_take(at(10_000), address(1)).is_ok());
    }
}
