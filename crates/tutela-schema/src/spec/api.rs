//! `[api]`: an address to listen at, what it is secured with, and who may come in.

use super::diagnostic::Code;
use super::keys::{ApiCertificateKeys, ApiKeys, ApiTokenKeys, RoleKey};
use super::section::{Section, steps};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tutela_core::access::{AddressRange, Role};
use tutela_core::names::Name;
use tutela_core::spec::{API_RATE, ApiCertificate, ApiDoor, ApiSpec, ApiTls, ApiToken};

/// The most tokens of a guard. Each request is compared with all of them, in the time of all of them.
const TOKENS_MAX: usize = 256;

/// The most entries for certificates, and the most ranges: each is walked through.
const ENTRIES_MAX: usize = 1024;

/// What stands before the digits of a hash, so that another way to hash can come beside it.
const HASH_PREFIX: &str = "sha256:";

/// What the keys ask for; `section` is the table `api`.
pub(super) fn api(section: &mut Section<'_>, keys: ApiKeys) -> ApiSpec {
    let Some(listen) = &keys.listen else {
        for key in ["certificate", "key", "client_ca", "without_tls", "allow", "rate", "tokens", "certificates"] {
            if section.has(steps![key]) {
                let message = format!("'{key}' is about an address to listen at, and there is none");
                section.error_with(Code::MisplacedKey, steps![key], message, "write listen = \"127.0.0.1:7443\"");
            }
        }
        return ApiSpec::default();
    };
    let listen = address(section, listen);
    let tls = tls(section, &keys, listen);
    let allow = allow(section, keys.allow.as_deref());
    let tokens = tokens(section, keys.tokens.unwrap_or_default());
    let certificates = certificates(section, keys.certificates.unwrap_or_default());
    let has_entries = section.has(steps!["tokens"]) || section.has(steps!["certificates"]);
    if !has_entries {
        let help = "add a token: `tutela token --name NAME --role viewer` prints what to write";
        section.error_with(Code::MissingKey, steps!["listen"], "nobody could come in: there is no token", help);
    }
    let Some(listen) = listen else { return ApiSpec::default() };
    let rate = keys.rate.map_or(API_RATE, |rate| rate.0);
    ApiSpec { door: Some(ApiDoor { listen, tls, allow, rate, tokens, certificates }) }
}

fn address(section: &mut Section<'_>, text: &str) -> Option<SocketAddr> {
    match text.trim().parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("{text:?} is no address to listen at: it is an address and a port, without a name");
            let help = "write 127.0.0.1:7443, [::1]:7443, or 0.0.0.0:7443 for every address of this computer";
            section.error_with(Code::BadAddress, steps!["listen"], message, help);
            None
        }
    }
}

fn tls(section: &mut Section<'_>, keys: &ApiKeys, listen: Option<SocketAddr>) -> Option<ApiTls> {
    if keys.without_tls == Some(true) {
        for key in ["certificate", "key", "client_ca", "certificates"] {
            if section.has(steps![key]) {
                let message = format!("'{key}' is for TLS, and 'without_tls' says that there is none");
                section.error_with(Code::MisplacedKey, steps![key], message, "leave one of the two out");
            }
        }
        if listen.is_some_and(|listen| !listen.ip().to_canonical().is_loopback()) {
            let message = "TCP without TLS is only for an address of this computer alone: everybody on the way could \
                           read the tokens";
            let help = "listen at 127.0.0.1 or [::1], or give it 'certificate' and 'key'";
            section.error_with(Code::BadValue, steps!["without_tls"], message, help);
        }
        return None;
    }
    for (key, given, what) in
        [("certificate", &keys.certificate, "a certificate"), ("key", &keys.key, "the certificate's private key")]
    {
        if given.is_none() {
            let message = format!("there is no TCP without TLS: '{key}' is missing, the PEM file with {what}");
            let help = "on an address of this computer alone 'without_tls = true' does without";
            section.error_with(Code::MissingKey, steps![], message, help);
        }
    }
    if keys.client_ca.is_none() && section.has(steps!["certificates"]) {
        let message = "nobody can come with a certificate as long as no authority is believed";
        let help = "give 'client_ca' the file with the authority's certificate";
        section.error_with(Code::MissingKey, steps!["certificates"], message, help);
    }
    let mut path = |key: &str, text: &Option<String>| text.as_ref().map(|text| section.path(text, steps![key]));
    let client_ca = path("client_ca", &keys.client_ca);
    let (certificate, key) = (path("certificate", &keys.certificate), path("key", &keys.key));
    Some(ApiTls { certificate: certificate?, key: key?, client_ca })
}

fn allow(section: &mut Section<'_>, given: Option<&[String]>) -> Vec<AddressRange> {
    let Some(given) = given else { return Vec::new() };
    if given.is_empty() {
        let help = "leave 'allow' out for everybody, and 'listen' for nobody";
        section.error_with(Code::BadValue, steps!["allow"], "an empty list lets nobody in", help);
    }
    too_many(section, "allow", given.len(), ENTRIES_MAX);
    let mut ranges = Vec::new();
    for (at, text) in given.iter().enumerate() {
        match text.trim().parse() {
            Ok(range) => ranges.push(range),
            Err(why) => {
                let why: tutela_core::access::BadRange = why;
                let message = format!("{text:?} is no address and no range of them: {why}");
                let help = "write 10.0.0.0/8, 192.168.1.7 or ::1";
                section.error_with(Code::BadAddress, steps!["allow", at], message, help);
            }
        }
    }
    ranges
}

fn too_many(section: &mut Section<'_>, key: &str, count: usize, most: usize) {
    if count > most {
        let message = format!("{count} entries of '{key}' are more than the {most} that one guard looks through");
        section.error(Code::TooMany, steps![key], message);
    }
}

fn tokens(section: &mut Section<'_>, given: Vec<ApiTokenKeys>) -> Vec<ApiToken> {
    too_many(section, "tokens", given.len(), TOKENS_MAX);
    let mut tokens: Vec<ApiToken> = Vec::new();
    let mut hashes = BTreeMap::new();
    for (at, keys) in given.into_iter().enumerate() {
        let name = token_name(section, at, keys.name.as_deref());
        let role = role(section, "tokens", at, keys.role);
        let hash = hash(section, at, keys.hash.as_deref());
        let expires = keys.expires.as_deref().and_then(|text| expiry(section, at, text));
        let (Some(name), Some(role), Some(hash)) = (name, role, hash) else { continue };
        if tokens.iter().any(|token| token.name == name) {
            let message = format!("there are two tokens named {name}: nobody could tell who did what");
            section.error(Code::DuplicateName, steps!["tokens", at, "name"], message);
        }
        if let Some(other) = hashes.insert(hash, name.clone()) {
            let message = format!("this is the hash of the token {other} too");
            let help = "give each its own: `tutela token`";
            section.error_with(Code::DuplicateName, steps!["tokens", at, "hash"], message, help);
        }
        tokens.push(ApiToken { name, role, hash, expires });
    }
    tokens
}

fn token_name(section: &mut Section<'_>, at: usize, text: Option<&str>) -> Option<Name> {
    let Some(text) = text else {
        let help = "write name = \"NAME\", as the record of who did what is to have it";
        section.error_with(Code::MissingKey, steps!["tokens", at], "a token needs a 'name'", help);
        return None;
    };
    let refuse = |section: &mut Section<'_>, why| {
        section.error(Code::BadName, steps!["tokens", at, "name"], format!("{text:?} is no name: {why}"));
    };
    Name::new(text).map_err(|why| refuse(section, why)).ok()
}

fn role(section: &mut Section<'_>, list: &str, at: usize, key: Option<RoleKey>) -> Option<Role> {
    match key {
        Some(RoleKey::Viewer) => Some(Role::Viewer),
        Some(RoleKey::Operator) => Some(Role::Operator),
        Some(RoleKey::Admin) => Some(Role::Admin),
        None => {
            let help = "write role = \"viewer\", \"operator\" or \"admin\"";
            section.error_with(Code::MissingKey, steps![list, at], "it needs a 'role'", help);
            None
        }
    }
}

/// The text is shown in no message: somebody may have written the token itself.
fn hash(section: &mut Section<'_>, at: usize, text: Option<&str>) -> Option<[u8; 32]> {
    let help = "`tutela token` makes a token and prints its hash; a spec never has the token itself";
    let Some(text) = text else {
        section.error_with(Code::MissingKey, steps!["tokens", at], "a token needs its 'hash'", help);
        return None;
    };
    let hash = text.trim().strip_prefix(HASH_PREFIX).and_then(bytes_of);
    if hash.is_none() {
        let message = "this is no hash of a token: it is sha256: and 64 hexadecimal digits";
        section.error_with(Code::BadValue, steps!["tokens", at, "hash"], message, help);
    }
    hash
}

fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.is_ascii() {
        return None;
    }
    for (byte, two) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| two.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// A hash as a spec has it.
pub fn token_hash_text(hash: &[u8; 32]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{HASH_PREFIX}{digits}")
}

fn expiry(section: &mut Section<'_>, at: usize, text: &str) -> Option<i64> {
    match text.trim().parse::<Timestamp>() {
        Ok(at) => Some(at.as_millisecond()),
        Err(error) => {
            let message = format!("{text:?} is no moment: {error}");
            let help = "write it with its zone, such as \"2027-06-30T00:00:00Z\"";
            section.error_with(Code::BadValue, steps!["tokens", at, "expires"], message, help);
            None
        }
    }
}

fn certificates(section: &mut Section<'_>, given: Vec<ApiCertificateKeys>) -> Vec<ApiCertificate> {
    too_many(section, "certificates", given.len(), ENTRIES_MAX);
    let mut out: Vec<ApiCertificate> = Vec::new();
    for (at, keys) in given.into_iter().enumerate() {
        let role = role(section, "certificates", at, keys.role);
        let name = keys.name.unwrap_or_default().trim().to_owned();
        if name.is_empty() {
            let help = "write a DNS name or a URI that it is for, or the common name of its subject";
            section.error_with(Code::MissingKey, steps!["certificates", at], "a certificate needs its 'name'", help);
        } else if out.iter().any(|other| other.name == name) {
            let message = format!("there are two entries for certificates of {name:?}");
            section.error(Code::DuplicateName, steps!["certificates", at, "name"], message);
        }
        out.extend(role.map(|role| ApiCertificate { name, role }));
    }
    out
}
