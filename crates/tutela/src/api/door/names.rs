//! The names that a certificate is for: DNS names, URIs, and the common name of its subject.
//!
//! Called once for each connection that showed one, after its signature was checked, so an authority of the spec's stands
//! for what is in it. Names are compared as they stand; a wildcard is no name of anybody.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What of a name counts. An authority that writes more has lost its way.
const NAMES_MAX: usize = 64;

/// The identifier of a common name (2.5.4.3), as it is encoded.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The names of a certificate; none of one that cannot be read.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().filter(|name| !name.contains('*'));
    let names = dns.chain(certificate.valid_uri_names()).map(str::to_owned);
    names.chain(common_names(certificate.subject())).take(NAMES_MAX).collect()
}

/// The common names of a subject: a sequence of sets of pairs, each of an identifier and a text.
fn common_names(mut subject: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((SET, mut set, rest)) = element(subject) {
        subject = rest;
        while let Some((SEQUENCE, pair, rest)) = element(set) {
            set = rest;
            let Some((OBJECT_IDENTIFIER, identifier, text)) = element(pair) else { continue };
            if let (true, Some((UTF8_STRING | PRINTABLE_STRING | IA5_STRING, text, _))) =
                (identifier == COMMON_NAME, element(text))
            {
                names.extend(std::str::from_utf8(text).map(str::to_owned));
            }
        }
    }
    names
}

/// The first element of DER: its tag, what is in it, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // No name is that long.
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of one pair.
    fn part(identifier: [u8; 3], tag: u8, text: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| u8::try_from(bytes).unwrap_or(0);
        let mut pair = vec![OBJECT_IDENTIFIER, 3];
        pair.extend(identifier);
        pair.extend([tag, length(text.len())]);
        pair.extend(text);
        let mut set = vec![SET, length(pair.len() + 2), SEQUENCE, length(pair.len())];
        set.extend(pair);
        set
    }

    #[test]
    fn the_common_name_of_a_subject_is_found_among_others() {
        let mut subject = part([0x55, 0x04, 0x06], PRINTABLE_STRING, b"CH");
        subject.extend(part(COMMON_NAME, UTF8_STRING, b"deploy"));
        assert_eq!(common_names(&subject), ["deploy"]);
    }

    #[test]
    fn what_is_no_subject_has_no_names() {
        let whole = part(COMMON_NAME, UTF8_STRING, b"deploy");
        for cut in 0..whole.len() {
            assert!(common_names(&whole[..cut]).is_empty(), "{cut}");
        }
        assert!(common_names(&part(COMMON_NAME, UTF8_STRING, &[0xff])).is_empty());
        assert!(common_names(&part(COMMON_NAME, 0x02, b"1")).is_empty());
        assert!(common_names(&[SET, 0x84, 0xff, 0xff, 0xff, 0xff]).is_empty());
        assert!(names_of(&CertificateDer::from(whole)).is_empty());
    }
}
