//! Ranges of addresses, written `10.0.0.0/8`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// The bits of an IPv6 address that name a site: whoever has one has all the others behind them.
const SITE_BITS: u8 = 64;

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRange {
    /// There is no address in it.
    NoAddress,
    /// The number behind the stroke is none, or larger than the address has bits.
    BadBits {
        /// How many there are at most.
        most: u8,
    },
    /// The address has bits behind those that count: the range that is meant is another one.
    BitsBehind {
        /// The range that has this address in it.
        meant: AddressRange,
    },
}

impl fmt::Display for BadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRange::NoAddress => f.write_str("it begins with no address"),
            BadRange::BadBits { most } => write!(f, "behind the stroke stands a number from 0 to {most}"),
            BadRange::BitsBehind { meant } => write!(f, "the range with that address in it is {meant}"),
        }
    }
}

impl AddressRange {
    /// Whether an address is in it. An IPv4 address that came in over IPv6 is taken for what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// A single address is a range of one.
impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        AddressRange { first: address, bits: width(address) }
    }
}

impl FromStr for AddressRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadRange::NoAddress)?;
        let most = width(address);
        let Some(bits) = bits else { return Ok(AddressRange::from(address)) };
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= most).ok_or(BadRange::BadBits { most })?;
        let range = AddressRange { first: masked(address, bits), bits };
        if range.first == address { Ok(range) } else { Err(BadRange::BitsBehind { meant: range }) }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

/// Who is counted as one: an IPv4 address, or the site that an IPv6 address is of.
pub fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => masked(IpAddr::V6(address), SITE_BITS),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all but its first bits cleared.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_the_addresses_with_its_first_bits_and_no_others() {
        for (of, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
            ("::1", "::1", "::2"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            assert!(range(of).contains(address(inside)), "{inside} in {of}");
            assert!(!range(of).contains(address(outside)), "{outside} in {of}");
            assert_eq!(range(of).to_string(), of);
        }
    }

    #[test]
    fn what_is_no_range_says_why() {
        for text in ["", "all", "10.0.0/8", "10.0.0.0:80", "/8", "localhost"] {
            assert_eq!(text.parse::<AddressRange>(), Err(BadRange::NoAddress), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8"] {
            assert_eq!(text.parse::<AddressRange>(), Err(BadRange::BadBits { most: 32 }), "{text}");
        }
        assert_eq!("::/129".parse::<AddressRange>(), Err(BadRange::BadBits { most: 128 }));
        let error = "10.1.2.3/8".parse::<AddressRange>().unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_site_is_counted_as_one() {
        assert_eq!(site_of(address("::ffff:10.1.2.3")), address("10.1.2.3"));
        assert_eq!(site_of(address("2001:db8:1:2:3::4")), address("2001:db8:1:2::"));
        assert_ne!(site_of(address("2001:db8:1:2::4")), site_of(address("2001:db8:1:3::4")));
    }
}
