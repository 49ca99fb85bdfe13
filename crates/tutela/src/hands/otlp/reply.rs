//! What a receiver's answer means: taken, taken in part, come again, or no.

use super::endpoint::Signal;
use super::messages::{ExportResponse, RetryInfo, RpcStatus};
use super::send::{Accepted, SendError};
use crate::hands::http::retry_after;
use crate::hands::probes::{excerpt, percent_decoded};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use prost::Message;
use std::time::{Duration, SystemTime};

/// What a gRPC message begins with: one byte that says whether it is compressed, four of length.
const FRAME_BYTES: usize = 5;

/// Codes of gRPC.
mod code {
    pub const CANCELLED: i32 = 1;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const ABORTED: i32 = 10;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const UNAVAILABLE: i32 = 14;
    pub const DATA_LOSS: i32 = 15;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// A reply over HTTP.
pub(super) fn of_http(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    signal: Signal,
) -> Result<Accepted, SendError> {
    if status.is_success() {
        return Ok(of_response(body, signal));
    }
    let text = match RpcStatus::decode(body) {
        Ok(said) if is_protobuf(headers) && !said.message.is_empty() => excerpt(said.message.as_bytes()),
        Ok(_) | Err(_) if is_protobuf(headers) => String::new(),
        Ok(_) | Err(_) => excerpt(body),
    };
    let colon = if text.is_empty() { "" } else { ": " };
    let reason = format!("the receiver answers with status {status}{colon}{text}");
    // The codes that the protocol lets a client try again after; every other one says that this request is wrong.
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => SendError::Later { after: retry_after(headers, SystemTime::now()), reason },
        StatusCode::PAYLOAD_TOO_LARGE => SendError::TooLarge { reason },
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::MISDIRECTED_REQUEST => SendError::Barred { reason },
        // Not followed: what is sent has its secrets with it.
        _ if status.is_redirection() => SendError::Barred { reason },
        _ => SendError::Never { reason },
    })
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"))
}

/// What it took. A body that is none of ours, such as the `{}` of a proxy, comes with a success all the same.
fn of_response(body: &[u8], signal: Signal) -> Accepted {
    match ExportResponse::decode(body).ok().and_then(|response| response.partial_success) {
        None => Accepted::default(),
        Some(partial) => {
            let text = excerpt(partial.error_message.as_bytes());
            let rejected = u64::try_from(partial.rejected).unwrap_or(0);
            let warning = match (rejected, text.is_empty()) {
                (0, true) => None,
                (0, false) => Some(format!("the receiver remarks: {text}")),
                (some, _) => Some(format!("the receiver did not take {some} {}: {text}", signal.things())),
            };
            Accepted { rejected, warning }
        }
    }
}

/// A reply over gRPC: its code is in the trailers, or in the head when there is no message.
pub(super) fn of_grpc(trailers: &HeaderMap, body: &[u8], signal: Signal) -> Result<Accepted, SendError> {
    let Some(code) = trailers.get("grpc-status") else {
        return Err(SendError::later("the reply broke off before its gRPC status"));
    };
    let code: i32 = code.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    if code == 0 {
        return Ok(of_response(body.get(FRAME_BYTES..).unwrap_or_default(), signal));
    }
    let text = trailers.get("grpc-message").map(|text| excerpt(&percent_decoded(text.as_bytes()))).unwrap_or_default();
    let colon = if text.is_empty() { "" } else { ": " };
    let reason = format!("the receiver answers with gRPC status {code}{colon}{text}");
    let after = trailers.get("grpc-status-details-bin").and_then(|details| retry_info(details.as_bytes()));
    Err(match code {
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => SendError::Later { after, reason },
        // A receiver that will have room again says when; one that does not say has a limit that stays.
        code::RESOURCE_EXHAUSTED if after.is_some() => SendError::Later { after, reason },
        code::RESOURCE_EXHAUSTED => SendError::TooLarge { reason },
        code::PERMISSION_DENIED | code::UNIMPLEMENTED | code::UNAUTHENTICATED => SendError::Barred { reason },
        _ => SendError::Never { reason },
    })
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(&*base64_decoded(details)?).ok()?;
    let packed = status.details.iter().find(|packed| packed.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*packed.value).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

/// Base64 as gRPC has it in headers: the usual alphabet, padding optional.
fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::with_capacity(text.len() * 3 / 4), 0u32, 0u32);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::messages::{Packed, PartialSuccess, Span};
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_receiver_that_is_busy_says_when_to_come_again() {
        let busy =
            |value| of_http(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", value)]), b"", Signal::Logs);
        assert_eq!(busy("7").unwrap_err().retry_after(), Some(Duration::from_secs(7)));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let date = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&date, now), Some(Duration::from_secs(7)));
        assert_eq!(
            busy("soon").unwrap_err(),
            SendError::Later { after: None, reason: "the receiver answers with status 429 Too Many Requests".into() }
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in
            [(400, false), (401, false), (404, false), (500, false), (502, true), (503, true), (504, true)]
        {
            let said = of_http(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"no\n way", Signal::Logs);
            let said = said.unwrap_err();
            assert_eq!(said.may_retry(), again, "{status}");
            assert!(said.to_string().ends_with(": no way"), "{said}");
        }
        for (code, again) in [(1, true), (3, false), (7, false), (8, false), (14, true), (16, false)] {
            let said = of_grpc(
                &headers(&[("grpc-status", &code.to_string()), ("grpc-message", "not%20now")]),
                b"",
                Signal::Logs,
            );
            let said = said.unwrap_err();
            assert_eq!(said.may_retry(), again, "{code}");
            assert!(said.to_string().ends_with(": not now"), "{said}");
        }
    }

    #[test]
    fn what_was_not_taken_is_counted_and_a_warning_is_none() {
        let body = |rejected, text: &str| {
            let partial_success = Some(PartialSuccess { rejected, error_message: text.into() });
            ExportResponse { partial_success }.encode_to_vec()
        };
        let of = |body: &[u8]| of_http(StatusCode::OK, &HeaderMap::new(), body, Signal::Metrics).unwrap();
        let some = of(&body(3, "too old"));
        assert_eq!(some.rejected, 3);
        assert_eq!(some.warning.as_deref(), Some("the receiver did not take 3 data points: too old"));
        assert_eq!(of(&body(0, "use TLS")).rejected, 0);
        for all in [&b""[..], b"{}", &body(0, "")] {
            assert_eq!(of(all), Accepted::default());
        }
    }

    #[test]
    fn a_grpc_receiver_that_is_full_is_heeded_when_it_says_until_when() {
        let value = RetryInfo { retry_delay: Some(Span { seconds: 2, nanos: 500_000_000 }) }.encode_to_vec();
        let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = RpcStatus { code: 8, message: String::new(), details: vec![Packed { type_url, value }] };
        // Encoded by hand, as there is no encoder in the product.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let text: String = details
            .encode_to_vec()
            .chunks(3)
            .flat_map(|three| {
                let bits =
                    three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
                (0..=three.len()).map(move |place| char::from(alphabet[(bits >> (18 - 6 * place) & 63) as usize]))
            })
            .collect();
        let trailers = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &text)]);
        let said = of_grpc(&trailers, b"", Signal::Logs).unwrap_err();
        assert_eq!(said.retry_after(), Some(Duration::from_millis(2500)));
        assert_eq!(base64_decoded(b"a"), Some(Vec::new()));
        assert_eq!(base64_decoded(b"?"), None);
    }

    #[test]
    fn a_grpc_reply_without_a_status_broke_off() {
        assert!(of_grpc(&HeaderMap::new(), b"", Signal::Logs).unwrap_err().may_retry());
    }
}
