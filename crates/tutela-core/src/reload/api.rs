//! What a reload changes of the way in over the network, in words for people and for the record of who did what.
//!
//! Who may do what is as much a change as another command: a record that does not tell it hides it. Hashes never
//! occur, only that another one is there. Deliberately absent: what the files of a certificate contain, which can be
//! other than before while the spec is the same.

use crate::access::Role;
use crate::spec::{ApiDoor, ApiSpec, ApiTls, ApiToken};
use core::cmp::Ordering;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

/// What differs between two `[api]` tables, a text for each key: `tokens (deploy: viewer -> admin)`. Empty: nothing.
pub fn api(former: &ApiSpec, new: &ApiSpec) -> Vec<String> {
    match (&former.door, &new.door) {
        (None, None) => Vec::new(),
        (None, Some(new)) => opened(new),
        (Some(former), None) => closed(former),
        (Some(former), Some(new)) => changed(former, new),
    }
}

fn opened(door: &ApiDoor) -> Vec<String> {
    let mut words = vec![format!("listens at {}", place(door.listen))];
    words.extend(door.tls.is_none().then(|| "without_tls (true)".to_owned()));
    words.extend(list("allow", added_and_removed(&BTreeSet::new(), &ranges(door))));
    words.extend(list("tokens", people(&[], &tokens(door))));
    words.extend(list("certificates", people(&[], &certificates(door))));
    words
}

fn closed(door: &ApiDoor) -> Vec<String> {
    let mut words = vec![format!("no longer listens at {}", place(door.listen))];
    words.extend(list("tokens", people(&tokens(door), &[])));
    words.extend(list("certificates", people(&certificates(door), &[])));
    words
}

fn changed(former: &ApiDoor, new: &ApiDoor) -> Vec<String> {
    // Every field by name, so that one that is added to the table cannot be forgotten here.
    let ApiDoor { listen, tls, allow: _, rate, tokens: _, certificates: _ } = new;
    let mut words = Vec::new();
    if former.listen != *listen {
        words.push(format!("listen ({} -> {})", place(former.listen), place(*listen)));
    }
    words.extend(files(former.tls.as_ref(), tls.as_ref()));
    words.extend(list("allow", added_and_removed(&ranges(former), &ranges(new))));
    if former.rate != *rate {
        words.push(format!("rate ({} -> {rate})", former.rate));
    }
    words.extend(list("tokens", people(&tokens(former), &tokens(new))));
    words.extend(list("certificates", of_certificates(&certificates(former), &certificates(new))));
    words
}

/// An address of a spec; its port 0 is no port that somebody could look for.
fn place(address: SocketAddr) -> String {
    if address.port() == 0 { format!("a free port of {}", address.ip()) } else { address.to_string() }
}

fn list(key: &str, entries: Vec<String>) -> Option<String> {
    (!entries.is_empty()).then(|| format!("{key} ({})", entries.join(", ")))
}

fn files(former: Option<&ApiTls>, new: Option<&ApiTls>) -> Vec<String> {
    let mut words = Vec::new();
    match (former, new) {
        (None, Some(_)) => words.push("without_tls (true -> false)".to_owned()),
        (Some(_), None) => words.push("without_tls (false -> true)".to_owned()),
        (Some(former), Some(new)) => {
            words.extend((former.certificate != new.certificate).then(|| "certificate".to_owned()));
            words.extend((former.key != new.key).then(|| "key".to_owned()));
        }
        (None, None) => {}
    }
    let authorities = |tls: Option<&ApiTls>| tls.and_then(|tls| tls.client_ca.clone());
    match (authorities(former), authorities(new)) {
        (None, Some(_)) => words.push("client_ca (added)".to_owned()),
        (Some(_), None) => words.push("client_ca (removed)".to_owned()),
        (Some(former), Some(new)) if former != new => words.push("client_ca".to_owned()),
        (Some(_), Some(_)) | (None, None) => {}
    }
    words
}

/// Who may connect, as people read it: an empty list is everybody, not nobody.
fn ranges(door: &ApiDoor) -> BTreeSet<String> {
    if door.allow.is_empty() {
        return BTreeSet::from(["everybody".to_owned()]);
    }
    door.allow.iter().map(ToString::to_string).collect()
}

fn added_and_removed(former: &BTreeSet<String>, new: &BTreeSet<String>) -> Vec<String> {
    let added = new.difference(former).map(|one| format!("{one} added"));
    let removed = former.difference(new).map(|one| format!("{one} removed"));
    added.chain(removed).collect()
}

/// Somebody of a list, by a name that is there once.
struct Entry<'a> {
    name: String,
    role: Role,
    /// `None`: it is no token.
    token: Option<&'a ApiToken>,
}

fn tokens(door: &ApiDoor) -> Vec<Entry<'_>> {
    let entries = door.tokens.iter();
    entries.map(|it| Entry { name: it.name.to_string(), role: it.role, token: Some(it) }).collect()
}

fn certificates(door: &ApiDoor) -> Vec<Entry<'_>> {
    // Quoted: such a name is whatever somebody wrote.
    let entries = door.certificates.iter();
    entries.map(|it| Entry { name: format!("{:?}", it.name), role: it.role, token: None }).collect()
}

/// The first entry that fits a certificate decides, so their order is a difference of its own.
fn of_certificates(former: &[Entry<'_>], new: &[Entry<'_>]) -> Vec<String> {
    let mut words = people(former, new);
    let kept = |entries: &[Entry<'_>], others: &[Entry<'_>]| -> Vec<String> {
        let names = entries.iter().map(|entry| entry.name.clone());
        names.filter(|name| others.iter().any(|other| other.name == *name)).collect()
    };
    if kept(former, new) != kept(new, former) {
        words.push("another order".to_owned());
    }
    words
}

fn people(former: &[Entry<'_>], new: &[Entry<'_>]) -> Vec<String> {
    fn by_name<'a>(entries: &'a [Entry<'a>]) -> BTreeMap<&'a str, &'a Entry<'a>> {
        entries.iter().map(|entry| (entry.name.as_str(), entry)).collect()
    }
    let (was, is) = (by_name(former), by_name(new));
    let names: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
    let of = |name| match (was.get(name), is.get(name)) {
        (None, Some(new)) => Some(format!("{name} added as {}", new.role)),
        (Some(_), None) => Some(format!("{name} removed")),
        (Some(former), Some(new)) => differences(former, new).map(|words| format!("{name}: {words}")),
        (None, None) => None,
    };
    names.into_iter().filter_map(of).collect()
}

fn differences(former: &Entry<'_>, new: &Entry<'_>) -> Option<String> {
    let mut words = Vec::new();
    if former.role != new.role {
        words.push(format!("{} -> {}", former.role, new.role));
    }
    if let (Some(former), Some(new)) = (former.token, new.token) {
        words.extend((former.hash != new.hash).then(|| "another token".to_owned()));
        words.extend(expiry(former.expires, new.expires).map(str::to_owned));
    }
    (!words.is_empty()).then(|| words.join(" and "))
}

fn expiry(former: Option<i64>, new: Option<i64>) -> Option<&'static str> {
    match (former, new) {
        (None, None) => None,
        (None, Some(_)) => Some("expires"),
        (Some(_), None) => Some("never expires"),
        (Some(former), Some(new)) => match new.cmp(&former) {
            Ordering::Less => Some("expires earlier"),
            Ordering::Equal => None,
            Ordering::Greater => Some("expires later"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AddressRange, Rate, RatePer};
    use crate::names::Name;
    use crate::spec::{API_RATE, ApiCertificate};

    fn token(name: &str, role: Role, expires: Option<i64>) -> ApiToken {
        ApiToken { name: Name::new(name).expect("a name"), role, hash: [0xab; 32], expires }
    }

    fn certificate(name: &str, role: Role) -> ApiCertificate {
        ApiCertificate { name: name.to_owned(), role }
    }

    fn range(text: &str) -> AddressRange {
        text.parse().expect("a range")
    }

    fn door() -> ApiDoor {
        ApiDoor {
            listen: "127.0.0.1:9443".parse().expect("an address"),
            tls: Some(ApiTls { certificate: "/a.pem".into(), key: "/a.key".into(), client_ca: None }),
            allow: Vec::new(),
            rate: API_RATE,
            tokens: vec![token("deploy", Role::Viewer, Some(1000)), token("watch", Role::Viewer, None)],
            certificates: vec![certificate("one", Role::Viewer), certificate("two", Role::Admin)],
        }
    }

    fn spec(door: ApiDoor) -> ApiSpec {
        ApiSpec { door: Some(door) }
    }

    fn change(edit: impl FnOnce(&mut ApiDoor)) -> Vec<String> {
        let mut new = door();
        edit(&mut new);
        api(&spec(door()), &spec(new))
    }

    #[test]
    fn the_same_table_again_differs_in_nothing() {
        assert!(change(|_| {}).is_empty());
        assert!(change(|door| door.tokens.reverse()).is_empty(), "a token is found by its hash, wherever it stands");
        assert!(api(&ApiSpec::default(), &ApiSpec::default()).is_empty());
    }

    #[test]
    fn who_may_do_something_else_is_told_by_name_and_never_by_hash() {
        let role = change(|door| door.tokens[0].role = Role::Admin);
        assert_eq!(role, ["tokens (deploy: viewer -> admin)"]);
        let people = change(|door| {
            door.tokens.remove(1);
            door.tokens.push(token("new", Role::Operator, None));
            door.certificates[1].role = Role::Viewer;
        });
        assert_eq!(
            people,
            ["tokens (new added as operator, watch removed)", "certificates (\"two\": admin -> viewer)"]
        );
        let hash = change(|door| door.tokens[1].hash = [0xcd; 32]);
        assert_eq!(hash, ["tokens (watch: another token)"]);
        assert_eq!(change(|door| door.certificates.reverse()), ["certificates (another order)"]);
    }

    #[test]
    fn an_expiry_that_moves_is_told_by_its_direction() {
        let moved = |expires| change(|door| door.tokens[0].expires = expires);
        assert_eq!(moved(Some(999)), ["tokens (deploy: expires earlier)"]);
        assert_eq!(moved(Some(1001)), ["tokens (deploy: expires later)"]);
        assert_eq!(moved(None), ["tokens (deploy: never expires)"]);
        let both = change(|door| door.tokens[1] = token("watch", Role::Admin, Some(1)));
        assert_eq!(both, ["tokens (watch: viewer -> admin and expires)"]);
    }

    #[test]
    fn every_other_key_is_told_too() {
        let listen = change(|door| door.listen = "[::1]:0".parse().expect("an address"));
        assert_eq!(listen, ["listen (127.0.0.1:9443 -> a free port of ::1)"]);
        assert_eq!(change(|door| door.tls = None), ["without_tls (false -> true)"]);
        let files = change(|door| {
            let client_ca = Some("/ca.pem".into());
            door.tls = Some(ApiTls { certificate: "/b.pem".into(), key: "/b.key".into(), client_ca });
        });
        assert_eq!(files, ["certificate", "key", "client_ca (added)"]);
        let allow = change(|door| door.allow = vec![range("10.0.0.0/8")]);
        assert_eq!(allow, ["allow (10.0.0.0/8 added, everybody removed)"]);
        let rate = change(|door| door.rate = Rate { count: 25, per: RatePer::Hour });
        assert_eq!(rate, ["rate (100/s -> 25/h)"]);
    }

    #[test]
    fn a_table_that_comes_or_goes_tells_where_and_who() {
        let (none, some) = (ApiSpec::default(), spec(door()));
        assert_eq!(
            api(&none, &some),
            [
                "listens at 127.0.0.1:9443",
                "allow (everybody added)",
                "tokens (deploy added as viewer, watch added as viewer)",
                "certificates (\"one\" added as viewer, \"two\" added as admin)",
            ]
        );
        assert_eq!(
            api(&some, &none),
            [
                "no longer listens at 127.0.0.1:9443",
                "tokens (deploy removed, watch removed)",
                "certificates (\"one\" removed, \"two\" removed)",
            ]
        );
    }
}
