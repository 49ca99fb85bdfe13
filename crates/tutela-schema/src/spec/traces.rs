//! `[traces]`: an address that can be sent to, and a share that is one.

use super::diagnostic::Code;
use super::keys::{OtlpCompressKey, TracesKeys};
use super::otlp::{headers, refuse_without_receiver, speaks_grpc};
use super::section::{Section, steps};
use tutela_core::spec::{PUSH_TIMEOUT, TracesPush, TracesSpec};

/// What the keys ask for; `section` is the table `traces`.
pub(super) fn traces(section: &mut Section<'_>, keys: TracesKeys) -> TracesSpec {
    let Some(otlp) = keys.otlp else {
        refuse_without_receiver(section, &["protocol", "timeout", "headers", "compress", "sample"]);
        return TracesSpec::default();
    };
    let grpc = speaks_grpc(section, &otlp, keys.protocol);
    let sample = keys.sample.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        section.error(Code::NumberRange, steps!["sample"], "'sample' must be from 0 to 1");
    }
    TracesSpec {
        push: Some(TracesPush {
            grpc,
            timeout: section.some_time(keys.timeout.as_ref(), PUSH_TIMEOUT, steps!["timeout"]),
            headers: headers(section, keys.headers),
            gzip: keys.compress == Some(OtlpCompressKey::Gzip),
            sample,
            otlp,
        }),
    }
}
