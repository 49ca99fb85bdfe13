//! Sinks: exactly one way each, addresses that can be used, and no key that another way has.

use super::Os;
use super::diagnostic::Code;
use super::keys::{OtlpProtocolKey, OverflowKey, SinkFormatKey, SinkKeys, SinkLevelKey};
use super::probe::{check_header, check_host_port, check_url, pattern};
use super::section::{Section, steps};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tutela_core::level::Level;
use tutela_core::names::Name;
use tutela_core::spec::{OtlpProtocol, Overflow, SinkSpec, SinkWay, SyslogTransport, TlsSpec};

/// The most sinks of a guard: each has a thread of its own.
pub(super) const SINKS_MAX: usize = 32;

/// The least that a sink may be behind: less could not hold what is on its way.
const BUFFER_MIN: u64 = 64 * 1024;

/// The most records of a delivery.
const BATCH_MAX: i64 = 10_000;

/// The facilities of syslog by their usual names (RFC 5424, section 6.2.1), the first one is 0.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// The sink of this name; `section` is its own table. `None`: it was refused, or this OS does not have its way.
pub(super) fn sink(section: &mut Section<'_>, guard: Option<&Name>, name: Name, keys: SinkKeys) -> Option<SinkSpec> {
    let before = section.out.len();
    let kinds = [
        ("journald", keys.journald.is_some()),
        ("event_log", keys.event_log.is_some()),
        ("syslog", keys.syslog.is_some()),
        ("otlp", keys.otlp.is_some()),
        ("fluent", keys.fluent.is_some()),
        ("http", keys.http.is_some()),
    ];
    let given: Vec<&str> = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind).collect();
    let kind = match given.as_slice() {
        [kind] => *kind,
        [] => {
            let help = "give it one of journald, event_log, syslog, otlp, fluent, http";
            section.error_with(Code::SinkWay, steps![], "the sink has no way to go", help);
            return None;
        }
        several => {
            let message = format!("the sink has several ways to go: {}", several.join(", "));
            section.error_with(Code::SinkWay, steps![], message, "write one sink for each way");
            return None;
        }
    };
    let mut belongs = |key: &str, given: bool, to: &[&str]| {
        if given && !to.contains(&kind) {
            let message = format!("'{key}' is for {}, this sink is {kind}", to.join(" and "));
            section.error(Code::MisplacedKey, steps![key], message);
        }
    };
    belongs("protocol", keys.protocol.is_some(), &["otlp"]);
    belongs("headers", keys.headers.is_some(), &["otlp", "http"]);
    belongs("gzip", keys.gzip.is_some(), &["otlp", "http"]);
    belongs("format", keys.format.is_some(), &["http"]);
    belongs("facility", keys.facility.is_some(), &["syslog"]);
    belongs("tag", keys.tag.is_some(), &["fluent"]);
    belongs("shared_key", keys.shared_key.is_some(), &["fluent"]);
    belongs("tls", keys.tls.is_some(), &["syslog", "otlp", "fluent", "http"]);
    for key in ["journald", "event_log"] {
        if matches!((key, keys.journald, keys.event_log), ("journald", Some(false), _) | ("event_log", _, Some(false)))
        {
            let message = format!("'{key} = false' goes nowhere");
            section.error_with(Code::SinkWay, steps![key], message, "leave the sink out");
        }
    }
    let services = services(section, keys.services.as_deref());
    for (key, text) in [("matches", &keys.matches), ("excludes", &keys.excludes)] {
        if let Some(Err(why)) = text.as_deref().map(pattern) {
            section.error(Code::BadPattern, steps![key], format!("the pattern cannot be used: {why}"));
        }
    }
    let buffer = keys.buffer.as_ref().map_or(1 << 30, |size| size.0);
    if buffer < BUFFER_MIN {
        section.error(Code::NumberRange, steps!["buffer"], "'buffer' is at least 64KiB");
    }
    let batch = keys.batch.unwrap_or(1000);
    if !(1..=BATCH_MAX).contains(&batch) {
        section.error(Code::NumberRange, steps!["batch"], format!("'batch' is from 1 to {BATCH_MAX}, not {batch}"));
    }
    let timeout = section.some_time(keys.timeout.as_ref(), Duration::from_secs(10), steps!["timeout"]);
    let retry_max = section.some_time(keys.retry_max.as_ref(), Duration::from_secs(60), steps!["retry_max"]);
    let linger = keys.linger.as_ref().map_or(Duration::from_secs(1), |span| span.0);
    let (level, overflow) = (keys.level.map(level), keys.overflow);
    let (matches, excludes) = (keys.matches.clone(), keys.excludes.clone());
    let way = way(section, kind, guard, keys)?;
    if section.out.len() > before {
        return None;
    }
    if let Some((key, os, what)) = match (&way, section.os) {
        (SinkWay::Journald, Os::Windows | Os::Macos) => Some(("journald", section.os, "there is no journal")),
        (SinkWay::EventLog, Os::Linux | Os::Macos) => Some(("event_log", section.os, "there is no Event Log")),
        _ => None,
    } {
        let message = format!("the sink {name} is left out on {os}: {what}");
        section.warning(Code::OsDifference, steps![key], message, None);
        return None;
    }
    Some(SinkSpec {
        name,
        way,
        services,
        level,
        matches,
        excludes,
        buffer,
        overflow: match overflow {
            None | Some(OverflowKey::DropOldest) => Overflow::DropOldest,
            Some(OverflowKey::DropNewest) => Overflow::DropNewest,
        },
        batch: u32::try_from(batch).unwrap_or(1),
        linger,
        timeout,
        retry_max,
    })
}

/// Whether they exist is known once all services are read.
fn services(section: &mut Section<'_>, given: Option<&[String]>) -> Option<BTreeSet<Name>> {
    let given = given?;
    if given.is_empty() {
        let help = "leave 'services' out for all of them";
        section.error_with(Code::BadValue, steps!["services"], "a sink of no service gets nothing", help);
    }
    let mut names = BTreeSet::new();
    for (at, text) in given.iter().enumerate() {
        match Name::new(text) {
            Ok(name) => drop(names.insert(name)),
            Err(refusal) => {
                section.error(Code::BadName, steps!["services", at], format!("{text:?} is no name: {refusal}"));
            }
        }
    }
    Some(names)
}

fn way(section: &mut Section<'_>, kind: &str, guard: Option<&Name>, keys: SinkKeys) -> Option<SinkWay> {
    let tls = tls(section, &keys);
    let is_grpc = matches!(keys.protocol, Some(OtlpProtocolKey::Grpc));
    let headers = headers(section, keys.headers);
    let gzip = keys.gzip.unwrap_or(false);
    let text = match kind {
        "journald" => return Some(SinkWay::Journald),
        "event_log" => return Some(SinkWay::EventLog),
        "syslog" => keys.syslog?,
        "otlp" => keys.otlp?,
        "fluent" => keys.fluent?,
        _ => keys.http?,
    };
    let facility = keys.facility.map_or(Some(3), |text| facility(section, &text));
    let checked = match (kind, text.split_once("://")) {
        ("syslog", Some((scheme @ ("udp" | "tcp" | "tls"), address))) => {
            check_host_port(address).map(|()| (scheme == "tls", address.to_owned()))
        }
        ("syslog", _) => Err("it begins with udp://, tcp:// or tls://".to_owned()),
        ("fluent", Some(("tls", address))) => check_host_port(address).map(|()| (true, address.to_owned())),
        ("fluent", Some(_)) => Err("it is host:port, or tls://host:port".to_owned()),
        ("fluent", None) => check_host_port(&text).map(|()| (false, text.clone())),
        ("otlp", _) if is_grpc => {
            let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
            match path {
                "" => check_url(&text, &["http", "https"], false),
                path => Err(format!("gRPC has no path, this one has /{path}")),
            }
            .map(|()| (is_https(&text), text.trim_end_matches('/').to_owned()))
        }
        ("otlp", _) => check_url(&text, &["http", "https"], false).map(|()| (is_https(&text), with_path(&text))),
        _ => check_url(&text, &["http", "https"], false).map(|()| (is_https(&text), text.clone())),
    };
    let (secure, address) = match checked {
        Ok(checked) => checked,
        Err(why) => {
            let shown: String = super::resolved::mask_addresses(&text).chars().take(100).collect();
            section.error(Code::BadAddress, steps![kind], format!("{shown:?} is no address for '{kind}': {why}"));
            return None;
        }
    };
    if !secure && section.has(steps!["tls"]) {
        let help = if matches!(kind, "syslog" | "fluent") { "write tls://host:port" } else { "write https://" };
        section.error_with(Code::MisplacedKey, steps!["tls"], "'tls' is for an address with TLS", help);
        return None;
    }
    Some(match kind {
        "syslog" => {
            let transport = match (secure, text.starts_with("udp")) {
                (true, _) => SyslogTransport::Tls(tls),
                (_, true) => SyslogTransport::Udp,
                (_, false) => SyslogTransport::Tcp,
            };
            SinkWay::Syslog { address, transport, facility: facility? }
        }
        "otlp" => {
            let protocol = if is_grpc { OtlpProtocol::Grpc } else { OtlpProtocol::Http };
            SinkWay::Otlp { url: address, protocol, headers, gzip, tls }
        }
        "fluent" => {
            let tag = match keys.tag {
                Some(tag) if tag.trim().is_empty() => {
                    section.error(Code::BadValue, steps!["tag"], "a tag cannot be empty");
                    return None;
                }
                Some(tag) => tag,
                None => format!("tutela.{}", guard.map_or("guard", Name::as_str)),
            };
            SinkWay::Fluent { address, tag, shared_key: keys.shared_key, tls: secure.then_some(tls) }
        }
        _ => {
            let array = matches!(keys.format, Some(SinkFormatKey::Array));
            SinkWay::Http { url: address, headers, array, gzip, tls }
        }
    })
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// The address for OTLP over HTTP: with the standard path where none is written.
fn with_path(url: &str) -> String {
    let bare = url.trim_end_matches('/');
    let path = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    if path.contains(['/', '?', '#']) { url.to_owned() } else { format!("{bare}/v1/logs") }
}

fn headers(section: &mut Section<'_>, given: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let headers = given.unwrap_or_default();
    for (name, value) in &headers {
        if !check_header(name, value) {
            section.error(Code::BadValue, steps!["headers", name.as_str()], format!("{name:?} is no header"));
        }
    }
    headers
}

fn facility(section: &mut Section<'_>, text: &str) -> Option<u8> {
    let named = FACILITIES.iter().position(|name| name.eq_ignore_ascii_case(text));
    let number = named.or_else(|| text.parse().ok().filter(|number| *number < FACILITIES.len()));
    if number.is_none() {
        let message = format!("{text:?} is no facility of syslog");
        let help = "write daemon, user, local0 … local7, or a number from 0 to 23";
        section.error_with(Code::BadValue, steps!["facility"], message, help);
    }
    number.and_then(|number| u8::try_from(number).ok())
}

fn tls(section: &mut Section<'_>, keys: &SinkKeys) -> TlsSpec {
    let Some(tls) = &keys.tls else { return TlsSpec::default() };
    let mut path = |key: &str, text: &Option<String>| text.as_ref().map(|text| section.path(text, steps!["tls", key]));
    let (ca, cert, key) = (path("ca", &tls.ca), path("cert", &tls.cert), path("key", &tls.key));
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            let help = "write the file with its private key";
            section.error_with(Code::MissingKey, steps!["tls", "cert"], "'cert' needs 'key'", help);
            None
        }
        (None, Some(_)) => {
            let help = "write the file with its certificate";
            section.error_with(Code::MissingKey, steps!["tls", "key"], "'key' needs 'cert'", help);
            None
        }
    };
    if let Some(name) = &tls.server_name
        && check_host_port(&format!("{name}:1")).is_err()
    {
        section.error(Code::BadValue, steps!["tls", "server_name"], format!("{name:?} is no name of a host"));
    }
    TlsSpec { ca, identity, server_name: tls.server_name.clone() }
}

fn level(key: SinkLevelKey) -> Level {
    match key {
        SinkLevelKey::Trace => Level::Trace,
        SinkLevelKey::Debug => Level::Debug,
        SinkLevelKey::Info => Level::Info,
        SinkLevelKey::Notice => Level::Notice,
        SinkLevelKey::Warn => Level::Warn,
        SinkLevelKey::Error => Level::Error,
        SinkLevelKey::Fatal => Level::Fatal,
    }
}

/// The name of a facility, as a spec has it.
pub(super) fn facility_name(number: u8) -> &'static str {
    FACILITIES.get(usize::from(number)).copied().unwrap_or("daemon")
}
