//! `[metrics]`: an address that can be sent to, and times that make sense.

use super::diagnostic::Code;
use super::keys::{MetricsKeys, OtlpCompressKey, OtlpProtocolKey};
use super::probe::{check_header, check_url};
use super::section::{Section, steps};
use std::time::Duration;
use tutela_core::spec::{MetricsPush, MetricsSpec, PUSH_EVERY, PUSH_TIMEOUT};

/// The shortest interval: what is measured more often costs more than it tells.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What the keys ask for; `section` is the table `metrics`.
pub(super) fn metrics(section: &mut Section<'_>, keys: MetricsKeys) -> MetricsSpec {
    let Some(otlp) = keys.otlp else {
        for key in ["protocol", "every", "timeout", "headers", "compress"] {
            if section.has(steps![key]) {
                let message = format!("'{key}' is about a receiver, and there is none");
                section.error_with(Code::MisplacedKey, steps![key], message, "give 'otlp' the receiver's address");
            }
        }
        return MetricsSpec::default();
    };
    let refuse = |section: &mut Section<'_>, why: &str| {
        section.error(Code::BadAddress, steps!["otlp"], format!("this is no OTLP receiver: {why}"));
    };
    let is_grpc = ["grpc://", "grpcs://"].iter().any(|scheme| otlp.starts_with(scheme));
    let rest = otlp.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let grpc = is_grpc || keys.protocol == Some(OtlpProtocolKey::Grpc);
    if let Err(why) = check_url(&otlp, &["http", "https", "grpc", "grpcs"], false) {
        refuse(section, &why);
    } else if path.contains(['?', '#']) {
        refuse(section, "the path of the signal is added to it, so it cannot end in a query");
    } else if grpc && !matches!(path, "" | "/") {
        refuse(section, "gRPC has its own paths: leave out what follows the port");
    } else if is_grpc && keys.protocol == Some(OtlpProtocolKey::Http) {
        let help = "write http:// or https://, or leave 'protocol' out";
        section.error_with(Code::BadValue, steps!["protocol"], "a grpc address is not spoken to over plain HTTP", help);
    }
    let every = section.some_time(keys.every.as_ref(), PUSH_EVERY, steps!["every"]);
    if every < EVERY_MIN {
        section.error(Code::NumberRange, steps!["every"], "'every' must be at least 1s");
    }
    let headers = keys.headers.unwrap_or_default();
    for (name, value) in &headers {
        if !check_header(name, value) {
            section.error(Code::BadValue, steps!["headers", name.as_str()], format!("{name:?} is no header"));
        }
    }
    MetricsSpec {
        push: Some(MetricsPush {
            otlp,
            grpc,
            every,
            timeout: section.some_time(keys.timeout.as_ref(), PUSH_TIMEOUT, steps!["timeout"]),
            headers,
            gzip: keys.compress == Some(OtlpCompressKey::Gzip),
        }),
    }
}
