//! Tokens: made once, kept as a hash.
//!
//! A token is 256 random bits, so nobody finds it by guessing, with or without its hash: one round of SHA-256 is as good
//! as a slow hash would be, which is made for passwords that people think of, and costs a request microseconds instead of
//! a tenth of a second that a stranger could have us spend. Its beginning says what it is, to those who look for secrets
//! in files where there should be none.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::hint::black_box;

/// What every token begins with.
const PREFIX: &str = "tutela_";

/// How many random bytes are in one.
const BYTES: usize = 32;

/// A new token, for whoever is to have it.
///
/// # Errors
/// The OS gave no random bits.
pub(crate) fn make() -> Result<String, String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "failed to get random bits from the OS".to_owned())?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{PREFIX}{digits}"))
}

/// What is kept of a token.
pub(crate) fn hash_of(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

/// Whether two hashes are the same; takes the same time wherever they differ.
pub(super) fn is_same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let difference = left.iter().zip(right).fold(0, |found, (left, right)| black_box(found | (left ^ right)));
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_token_is_256_bits_and_none_is_like_another() {
        let (one, other) = (make().unwrap(), make().unwrap());
        let digits = one.strip_prefix(PREFIX).unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn hashes_are_the_same_only_in_every_bit() {
        let hash = hash_of(b"abc");
        assert_eq!((hash[0], hash[31]), (0xba, 0xad), "SHA-256 of abc, of FIPS 180");
        assert!(is_same(&hash, &hash.clone()));
        for bit in 0..256 {
            let mut other = hash;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_same(&hash, &other), "bit {bit}");
        }
    }
}
