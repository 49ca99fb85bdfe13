//! `[metrics]`: an address that can be sent to, and times that make sense.

use super::diagnostic::Code;
use super::keys::{MetricsKeys, OtlpCompressKey};
use super::otlp::{headers, refuse_without_receiver, speaks_grpc};
use super::section::{Section, steps};
use std::time::Duration;
use tutela_core::spec::{MetricsPush, MetricsSpec, PUSH_EVERY, PUSH_TIMEOUT};

/// The shortest interval: what is measured more often costs more than it tells.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What the keys ask for; `section` is the table `metrics`.
pub(super) fn metrics(section: &mut Section<'_>, keys: MetricsKeys) -> MetricsSpec {
    let Some(otlp) = keys.otlp else {
        refuse_without_receiver(section, &["protocol", "every", "timeout", "headers", "compress"]);
        return MetricsSpec::default();
    };
    let grpc = speaks_grpc(section, &otlp, keys.protocol);
    let every = section.some_time(keys.every.as_ref(), PUSH_EVERY, steps!["every"]);
    if every < EVERY_MIN {
        section.error(Code::NumberRange, steps!["every"], "'every' must be at least 1s");
    }
    MetricsSpec {
        push: Some(MetricsPush {
            otlp,
            grpc,
            every,
            timeout: section.some_time(keys.timeout.as_ref(), PUSH_TIMEOUT, steps!["timeout"]),
            headers: headers(section, keys.headers),
            gzip: keys.compress == Some(OtlpCompressKey::Gzip),
        }),
    }
}
