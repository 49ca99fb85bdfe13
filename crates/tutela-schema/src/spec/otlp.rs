//! What figures and traces have in common: the address of an OTLP receiver, and the headers that it wants.

use super::diagnostic::Code;
use super::keys::OtlpProtocolKey;
use super::probe::{check_header, check_url};
use super::section::{Section, steps};
use std::collections::BTreeMap;

/// Whether gRPC is spoken to the receiver at `otlp`, which is the key of that name. What cannot be one is told.
pub(super) fn speaks_grpc(section: &mut Section<'_>, otlp: &str, protocol: Option<OtlpProtocolKey>) -> bool {
    let refuse = |section: &mut Section<'_>, why: &str| {
        section.error(Code::BadAddress, steps!["otlp"], format!("this is no OTLP receiver: {why}"));
    };
    let is_grpc = ["grpc://", "grpcs://"].iter().any(|scheme| otlp.starts_with(scheme));
    let rest = otlp.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let grpc = is_grpc || protocol == Some(OtlpProtocolKey::Grpc);
    if let Err(why) = check_url(otlp, &["http", "https", "grpc", "grpcs"], false) {
        refuse(section, &why);
    } else if path.contains(['?', '#']) {
        refuse(section, "the path of the signal is added to it, so it cannot end in a query");
    } else if grpc && !matches!(path, "" | "/") {
        refuse(section, "gRPC has its own paths: leave out what follows the port");
    } else if is_grpc && protocol == Some(OtlpProtocolKey::Http) {
        let help = "write http:// or https://, or leave 'protocol' out";
        section.error_with(Code::BadValue, steps!["protocol"], "a grpc address is not spoken to over plain HTTP", help);
    }
    grpc
}

/// Keys that mean nothing without a receiver, told where they stand.
pub(super) fn refuse_without_receiver(section: &mut Section<'_>, keys: &[&str]) {
    for key in keys {
        if section.has(steps![*key]) {
            let message = format!("'{key}' is about a receiver, and there is none");
            section.error_with(Code::MisplacedKey, steps![*key], message, "give 'otlp' the receiver's address");
        }
    }
}

/// The headers; one that cannot be sent is told.
pub(super) fn headers(
    section: &mut Section<'_>,
    headers: Option<BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let headers = headers.unwrap_or_default();
    for (name, value) in &headers {
        if !check_header(name, value) {
            section.error(Code::BadValue, steps!["headers", name.as_str()], format!("{name:?} is no header"));
        }
    }
    headers
}
