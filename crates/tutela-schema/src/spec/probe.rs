//! Probes and dependency checks: exactly one target, addresses that can be asked, times that go together.

use super::diagnostic::Code;
use super::keys::{DependencyKeys, ProbeKeys};
use super::scalar::Templated;
use super::section::{Section, steps};
use super::tree::Step;
use std::collections::BTreeSet;
use std::time::Duration;
use tutela_core::names::Name;
use tutela_core::spec::{DependencyCheck, ProbeSpec, ProbeTarget, StatusRange};

/// What an answer is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Startup,
    Ready,
    Live,
    Dependency,
}

impl Role {
    /// From one question to the next where the spec is silent: those that somebody waits for are asked more often.
    pub(super) const fn every(self) -> Duration {
        match self {
            Role::Startup | Role::Ready => Duration::from_secs(5),
            Role::Live | Role::Dependency => Duration::from_secs(10),
        }
    }
}

/// How long an answer may take where the spec is silent.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Failures in a row that turn a yes into a no where the spec is silent.
pub(super) const FAILURES: u32 = 3;

/// Successes in a row that turn a no into a yes where the spec is silent.
pub(super) const SUCCESSES: u32 = 1;

/// The most of either.
const COUNT_MAX: u32 = 1000;

/// Questions closer to each other than this are load, not supervision.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// The largest program that a pattern may become, in bytes: a pattern is kept for every instance that has one.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

fn within(way: &[Step], key: &str) -> Vec<Step> {
    let mut steps = way.to_vec();
    steps.push(Step::from(key));
    steps
}

/// A check of something that the service depends on.
pub(super) fn dependency(
    section: &mut Section<'_>,
    at: usize,
    mut keys: DependencyKeys,
    seen: &mut BTreeSet<String>,
    instances: u16,
) -> Option<DependencyCheck> {
    let here = steps!["dependencies", at];
    let name = match keys.name.take() {
        None => {
            section.error(Code::MissingKey, here, "the dependency has no 'name'");
            None
        }
        Some(name) => match Name::new(&name) {
            Err(refusal) => {
                section.error(Code::BadName, steps!["dependencies", at, "name"], refusal.to_string());
                None
            }
            Ok(_) if !seen.insert(name.clone()) => {
                let message = format!("the dependency {name} is there twice");
                section.error(Code::DuplicateName, steps!["dependencies", at, "name"], message);
                None
            }
            Ok(_) => Some(name),
        },
    };
    let probe = probe(section, here, Role::Dependency, keys.probe(), instances)?;
    Some(DependencyCheck { name: name?, probe })
}

/// A probe.
pub(super) fn probe(
    section: &mut Section<'_>,
    way: &[Step],
    role: Role,
    keys: ProbeKeys,
    instances: u16,
) -> Option<ProbeSpec> {
    let every = section.some_time(keys.every.as_ref(), role.every(), &within(way, "every"));
    if every < EVERY_MIN {
        section.error(Code::NumberRange, &within(way, "every"), "a probe is asked at most every 10ms");
    }
    let timeout = section.some_time(keys.timeout.as_ref(), TIMEOUT, &within(way, "timeout"));
    let passive = keys.log.is_some() || keys.notify == Some(true);
    if timeout > every && keys.timeout.is_some() && !passive {
        let message = format!("'timeout' ({}) is longer than 'every' ({})", span(timeout), span(every));
        let help = "questions never overlap, so a slow answer makes the next question late";
        section.warning(Code::ProbeTiming, &within(way, "timeout"), message, Some(help));
    }
    let mut count = |key: &str, given: Option<u32>, default: u32| match given {
        Some(number @ 1..=COUNT_MAX) => number,
        Some(number) => {
            let message = format!("'{key}' must be from 1 to {COUNT_MAX}, not {number}");
            section.error(Code::NumberRange, &within(way, key), message);
            default
        }
        None => default,
    };
    let failures = count("failures", keys.failures, FAILURES);
    let successes = count("successes", keys.successes, SUCCESSES);
    let delay = keys.delay.as_ref().map_or(Duration::ZERO, |span| span.0);
    let target = target(section, way, role, keys, instances)?;
    Some(ProbeSpec { target, delay, every, timeout, failures, successes })
}

fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn target(section: &mut Section<'_>, way: &[Step], role: Role, keys: ProbeKeys, instances: u16) -> Option<ProbeTarget> {
    let given: Vec<_> = [
        ("http", keys.http.is_some()),
        ("tcp", keys.tcp.is_some()),
        ("exec", keys.exec.is_some()),
        ("grpc", keys.grpc.is_some()),
        ("log", keys.log.is_some()),
        ("notify", keys.notify.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, given)| given.then_some(key))
    .collect();
    let [kind] = given[..] else {
        let (message, help) = match given.as_slice() {
            [] => ("the probe asks nothing".to_owned(), "give it one of http, tcp, exec, grpc, log, notify"),
            several => (format!("the probe asks several things: {}", several.join(", ")), "leave all but one out"),
        };
        section.error_with(Code::ProbeTarget, way, message, help);
        return None;
    };
    let mut belongs = |key: &str, given: bool, kinds: &[&str]| {
        if given && !kinds.contains(&kind) {
            let message = format!("'{key}' is for {}, this probe is {kind}", kinds.join(" and "));
            section.error(Code::MisplacedKey, &within(way, key), message);
        }
    };
    belongs("status", keys.status.is_some(), &["http"]);
    belongs("headers", keys.headers.is_some(), &["http"]);
    belongs("tls_verify", keys.tls_verify.is_some(), &["http"]);
    belongs("service", keys.service.is_some(), &["grpc"]);
    let at = within(way, kind);
    if role == Role::Dependency && matches!(kind, "log" | "notify") {
        let message = format!("'{kind}' is about the program itself, not about something that it depends on");
        section.error_with(Code::ProbeTarget, &at, message, "give it one of http, tcp, exec, grpc");
        return None;
    }
    // The first and the last instance stand for all of them: between them only the number differs.
    let mut checked = |text: &Templated, check: fn(&str) -> Result<(), String>| {
        let renders = [text.render(0), text.render(instances.saturating_sub(1))];
        match renders.iter().find_map(|text| check(text).err().map(|why| (text, why))) {
            None => true,
            Some((text, why)) => {
                let text: String = text.chars().take(100).collect();
                section.error(Code::BadAddress, &at, format!("{text:?} is no address for '{kind}': {why}"));
                false
            }
        }
    };
    if let Some(url) = keys.http {
        if !checked(&url, |text| check_url(text, &["http", "https"], false)) {
            return None;
        }
        let status = match &keys.status {
            None => StatusRange::default(),
            Some(text) => match status(&text.0) {
                Some(range) => range,
                None => {
                    let message = format!("{:?} is no HTTP status or range of them", text.0);
                    let help = "write 200, or \"200-299\"";
                    section.error_with(Code::BadValue, &within(way, "status"), message, help);
                    StatusRange::default()
                }
            },
        };
        let mut headers = Vec::new();
        for (name, value) in keys.headers.unwrap_or_default() {
            if check_header(&name, &value.0) {
                headers.push((name, value.template()));
            } else {
                let mut steps = within(way, "headers");
                steps.push(Step::from(name.as_str()));
                section.error(Code::BadValue, &steps, format!("{name:?} is no header"));
            }
        }
        let tls_verify = keys.tls_verify.unwrap_or(true);
        return Some(ProbeTarget::Http { url: url.template(), status, headers, tls_verify });
    }
    if let Some(address) = keys.tcp {
        return checked(&address, check_host_port).then(|| ProbeTarget::Tcp(address.template()));
    }
    if let Some(command) = keys.exec {
        return section.command(&command, &at).map(ProbeTarget::Exec);
    }
    if let Some(address) = keys.grpc {
        let check = |text: &str| match text.contains("://") {
            true => check_url(text, &["http", "https"], true),
            false => check_host_port(text),
        };
        let service = keys.service.map(|service| service.template()).unwrap_or_default();
        return checked(&address, check).then(|| ProbeTarget::Grpc { address: address.template(), service });
    }
    if let Some(pattern) = keys.log {
        if role == Role::Live {
            let message = "a line that was once written says nothing about being alive";
            section.error_with(Code::ProbeTarget, &at, message, "'log' is for startup and ready");
            return None;
        }
        return match self::pattern(&pattern) {
            Ok(()) => Some(ProbeTarget::Log(pattern)),
            Err(why) => {
                section.error(Code::BadPattern, &at, format!("the pattern cannot be used: {why}"));
                None
            }
        };
    }
    if keys.notify == Some(false) {
        section.error_with(Code::ProbeTarget, &at, "'notify = false' asks nothing", "leave the probe out");
        return None;
    }
    Some(ProbeTarget::Notify)
}

/// Whether a text is a regular expression, and one of a size that can be used.
pub(super) fn pattern(text: &str) -> Result<(), String> {
    let built = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    built.map(drop).map_err(|error| {
        let why = error.to_string();
        why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn status(text: &str) -> Option<StatusRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let fits = |status: u16| (100..=599).contains(&status);
    (fits(first) && fits(last) && first <= last).then_some(StatusRange { first, last })
}

/// Whether a header can be sent.
pub(super) fn check_header(name: &str, value: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let hole = super::interpolate::HOLE;
    !name.is_empty() && name.chars().all(token) && !value.chars().any(|c| c.is_control() && c != '\t' && c != hole)
}

/// Whether a text is `scheme://host[:port][/…]`.
pub(super) fn check_url(text: &str, schemes: &[&str], userinfo: bool) -> Result<(), String> {
    let (scheme, rest) =
        text.split_once("://").ok_or_else(|| format!("it begins with {}://", schemes.join(":// or ")))?;
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(format!("it begins with {}://", schemes.join(":// or ")));
    }
    if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("it cannot have the character {bad:?}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = match authority.rsplit_once('@') {
        Some(_) if !userinfo => return Err("a user and password go into a header, not into the address".into()),
        Some((_, authority)) => authority,
        None => authority,
    };
    check_authority(authority, false)
}

/// Whether a text is `host:port`.
pub(super) fn check_host_port(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("it is host:port, without a scheme".into());
    }
    check_authority(text, true)
}

fn check_authority(text: &str, port_needed: bool) -> Result<(), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the '[' is never closed")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("[{host}] is no IPv6 address"))?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':').ok_or("after ']' comes ':' and the port")?)),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("it has no host".into());
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if let Some(bad) = host.chars().find(|c| !fits(*c)) {
        return Err(format!("a host cannot have the character {bad:?}"));
    }
    match port {
        None if port_needed => Err("it has no port".into()),
        None => Ok(()),
        Some(port) if port.contains(':') => Err("an IPv6 address stands in brackets: [::1]:80".into()),
        Some(port) => match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
            _ => Err(format!("{port:?} is no port from 1 to 65535")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_asked_are_refused() {
        for good in ["http://a", "https://a.b:1/x?y", "http://[::1]:80/", "HTTP://a-b_c"] {
            assert_eq!(check_url(good, &["http", "https"], false), Ok(()), "{good}");
        }
        for bad in
            ["", "a", "ftp://a", "http://", "http://:1", "http://a:0", "http://a:65536", "http://a b", "http://u:p@a"]
        {
            assert!(check_url(bad, &["http", "https"], false).is_err(), "{bad}");
        }
        for bad in ["a", "a:", ":1", "a:+1", "::1:80", "[::1]", "[x]:1", "a:1:2", "http://a:1"] {
            assert!(check_host_port(bad).is_err(), "{bad}");
        }
        assert_eq!(check_host_port("[::1]:80"), Ok(()));
    }

    #[test]
    fn a_status_is_one_or_a_range() {
        assert_eq!(status("204"), Some(StatusRange { first: 204, last: 204 }));
        assert_eq!(status("200 - 299"), Some(StatusRange { first: 200, last: 299 }));
        for bad in ["", "99", "600", "300-200", "a", "200-"] {
            assert_eq!(status(bad), None, "{bad}");
        }
    }
}
