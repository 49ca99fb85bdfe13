//! OpenTelemetry logs, over HTTP/protobuf and gRPC.
//!
//! | of OpenTelemetry | holds |
//! |---|---|
//! | resource | `service.name`, `service.instance.id`, `host.name`, `host.ip`, `tutela.guard`, `tutela.instance` |
//! | time | when it happened, as the program says; else as the observed time |
//! | observed time | when the line was read |
//! | severity | the level; none where the record has none |
//! | body | the message: a string, or bytes where it is not UTF-8 |
//! | attributes | `log.iostream`, `log.record.uid` (the record's id), the program's own fields with their types |
//! | trace and span id | the program's fields `trace_id` and `span_id`, where they are such |
//!
//! A request is through when the receiver has answered it. One that says no because of an address or a right is asked
//! again later: the records can wait until that is mended. Only what it says of the records themselves is for good.

use super::progress::Progress;
use super::way::{Delivery, Undelivered, Way, told};
use crate::hands::otlp::messages::logs::{ExportLogs, LogRecord, ResourceLogs, ScopeLogs};
use crate::hands::otlp::messages::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, Resource, any_value,
};
use crate::hands::otlp::{Endpoint, Protocol, SendError, Sender, Signal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tutela_core::level::Level;
use tutela_core::spec::{OtlpProtocol, TlsSpec};
use tutela_logs::Stream;
use tutela_logs::record::{Owner, Record, name_beside};

/// How much of a batch is one request, before compression: receivers of gRPC take 4 MiB unless told otherwise.
const REQUEST_BYTES: usize = 1024 * 1024;

/// What a record has beside its texts, about.
const RECORD_BYTES: usize = 128;

/// The way to a receiver. `timeout`: how long one request may take.
///
/// # Errors
/// The address or a header cannot be one.
pub fn open(
    url: &str,
    protocol: OtlpProtocol,
    headers: &BTreeMap<String, String>,
    gzip: bool,
    tls: &TlsSpec,
    timeout: Duration,
) -> Result<Box<dyn Way>, String> {
    let protocol = match protocol {
        OtlpProtocol::Http => Protocol::Http,
        OtlpProtocol::Grpc => Protocol::Grpc,
    };
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let endpoint = Endpoint::new(url, Some(protocol), headers, timeout, gzip).map_err(|refusal| refusal.to_string())?;
    let sender = Sender::with_trust(endpoint, tls);
    Ok(Box::new(Otlp { sender, timeout, progress: Progress::default(), refused: None }))
}

struct Otlp {
    sender: Sender,
    timeout: Duration,
    progress: Progress,
    /// How many records of a batch that is not through were refused, and what was said of the last ones.
    refused: Option<(u64, String)>,
}

impl Way for Otlp {
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a> {
        Box::pin(async move {
            let by = Instant::now() + self.timeout;
            let mut done = self.progress.count(records);
            if done == 0 {
                self.refused = None;
            }
            while done < records.len() {
                let count = request_length(&records[done..]);
                let part = &records[done..done + count];
                let (refused, reason) = match self.sender.send(Signal::Logs, &request(part)).await {
                    Ok(accepted) => (accepted.rejected.min(count as u64), accepted.warning.unwrap_or_default()),
                    Err(SendError::Never { reason }) => (count as u64, reason),
                    Err(SendError::TooLarge { reason }) if count == 1 => (1, reason),
                    Err(SendError::TooLarge { reason }) => {
                        return Err(Undelivered::TooLarge { reason: self.told(&reason) });
                    }
                    Err(SendError::Barred { reason }) => {
                        return Err(Undelivered::Later { reason: self.told(&reason), after: None });
                    }
                    Err(SendError::Later { reason, after }) => {
                        return Err(Undelivered::Later { reason: self.told(&reason), after });
                    }
                };
                if refused > 0 {
                    let before = self.refused.take().map_or(0, |(count, _)| count);
                    self.refused = Some((before + refused, reason));
                }
                done += count;
                self.progress.reach(records, done);
                if done < records.len() && Instant::now() >= by {
                    let reason = format!("{done} of {} records are there after {:?}", records.len(), self.timeout);
                    return Err(Undelivered::Later { reason: self.told(&reason), after: None });
                }
            }
            match self.refused.take() {
                None => Ok(()),
                Some((records, reason)) => Err(Undelivered::Refused { reason: self.told(&reason), records }),
            }
        })
    }
}

impl Otlp {
    fn told(&self, reason: &str) -> String {
        told("failed to send OTLP to", self.sender.endpoint().target(), reason)
    }
}

/// How many of the first of these go into one request; at least one.
fn request_length(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fits = |record: &&Record| {
        let fields: usize = record.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        bytes += RECORD_BYTES + record.message.len() + fields;
        bytes <= REQUEST_BYTES
    };
    records.iter().take_while(fits).count().max(1)
}

fn request(records: &[Record]) -> ExportLogs {
    let mut by_owner: Vec<(&Arc<Owner>, Vec<LogRecord>)> = Vec::new();
    for record in records {
        let is_same = |(owner, _): &&mut (&Arc<Owner>, _)| Arc::ptr_eq(owner, &record.owner) || **owner == record.owner;
        match by_owner.iter_mut().find(is_same) {
            Some((_, same)) => same.push(log_record(record)),
            None => by_owner.push((&record.owner, vec![log_record(record)])),
        }
    }
    let of_owner = |(owner, log_records): (&Arc<Owner>, _)| ResourceLogs {
        resource: Some(resource(owner)),
        scope_logs: vec![ScopeLogs { scope: Some(InstrumentationScope::tutela()), log_records }],
    };
    ExportLogs { resource_logs: by_owner.into_iter().map(of_owner).collect() }
}

fn resource(owner: &Owner) -> Resource {
    // Unique among all instances of a service, wherever they run, and the same after a restart.
    let instance = format!("{}/{}/{}:{}", owner.host, owner.guard, owner.service, owner.instance);
    let mut attributes = vec![
        KeyValue::new("service.name", &*owner.service),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("host.name", &*owner.host),
        KeyValue::new("tutela.guard", &*owner.guard),
        KeyValue::new("tutela.instance", i64::from(owner.instance)),
    ];
    if let Some(address) = owner.host_ip {
        let values = vec![AnyValue::from(address.to_string())];
        attributes.push(KeyValue::new("host.ip", of(any_value::Value::Array(ArrayValue { values }))));
    }
    Resource { attributes }
}

/// Attributes of a record that are ours.
const IOSTREAM: &str = "log.iostream";
const RECORD_UID: &str = "log.record.uid";
const OURS: [&str; 2] = [IOSTREAM, RECORD_UID];

fn log_record(record: &Record) -> LogRecord {
    let nanos = record.at.as_micros() * 1000;
    let mut attributes = Vec::with_capacity(record.fields.len() + 2);
    if let Some(stream) = record.stream {
        attributes.push(KeyValue::new(IOSTREAM, if stream == Stream::Out { "stdout" } else { "stderr" }));
    }
    attributes.push(KeyValue::new(RECORD_UID, format!("{}-{}", record.id.file, record.id.offset)));
    let (mut trace_id, mut span_id) = (Vec::new(), Vec::new());
    for (name, json) in &record.fields {
        let value = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.clone()));
        let id = value.as_str().and_then(identity);
        match (name.as_str(), id) {
            ("trace_id", Some(id)) if id.len() == 16 && trace_id.is_empty() => trace_id = id,
            ("span_id", Some(id)) if id.len() == 8 && span_id.is_empty() => span_id = id,
            _ => {
                let key = name_beside(name, |name| OURS.contains(&name)).into_owned();
                attributes.push(KeyValue { key, value: Some(any(value)) });
            }
        }
    }
    let body = match std::str::from_utf8(&record.message) {
        Ok(text) => AnyValue::from(text),
        Err(_) => AnyValue::from(record.message.to_vec()),
    };
    LogRecord {
        time_unix_nano: record.time.unwrap_or(nanos),
        observed_time_unix_nano: nanos,
        severity_number: record.level.map_or(0, severity),
        severity_text: record.level.map_or("", Level::word).to_owned(),
        body: Some(body),
        attributes,
        trace_id,
        span_id,
    }
}

/// The number of OpenTelemetry, of which each of its own levels has four.
const fn severity(level: Level) -> i32 {
    match level {
        Level::Trace => 1,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Notice => 10,
        Level::Warn => 13,
        Level::Error => 17,
        Level::Fatal => 21,
    }
}

/// The bytes of an id in hexadecimal; none are all zeros.
fn identity(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Vec<u8> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    bytes.iter().any(|byte| *byte != 0).then_some(bytes)
}

fn of(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// As deep as the reader of JSON went, which stops at 128.
fn any(value: Value) -> AnyValue {
    match value {
        Value::Null => AnyValue { value: None },
        Value::Bool(value) => value.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            // Greater than its whole numbers: a text loses nothing.
            (None, _) if number.is_u64() => number.to_string().into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => {
            of(any_value::Value::Array(ArrayValue { values: values.into_iter().map(any).collect() }))
        }
        Value::Object(values) => {
            let pair = |(key, value)| KeyValue { key, value: Some(any(value)) };
            of(any_value::Value::Map(KeyValueList { values: values.into_iter().map(pair).collect() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::sinks::samples;

    #[test]
    fn fields_keep_their_types_and_a_trace_has_its_place() {
        let mut record = samples::saying(b"caf\xe9");
        let fields = [
            ("trace_id", "\"0af7651916cd43dd8448eb211c80319c\""),
            ("span_id", "\"00000000000000000000\""),
            ("n", "-3"),
            ("big", "18446744073709551615"),
            ("deep", "{\"a\":[1.5,null]}"),
            ("log.iostream", "1"),
        ];
        record.fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let log = log_record(&record);
        assert_eq!((log.trace_id.len(), log.span_id.len(), log.severity_number), (16, 0, 13));
        assert_eq!(log.body, Some(b"caf\xe9".to_vec().into()));
        let value = |name: &str| {
            log.attributes.iter().find(|attribute| attribute.key == name).and_then(|attribute| attribute.value.clone())
        };
        assert_eq!(value("trace_id"), None);
        assert_eq!(value("span_id"), Some("00000000000000000000".into()));
        assert_eq!(value("n"), Some((-3_i64).into()));
        assert_eq!(value("big"), Some("18446744073709551615".into()));
        let list = of(any_value::Value::Array(ArrayValue { values: vec![1.5.into(), AnyValue { value: None }] }));
        let map = KeyValueList { values: vec![KeyValue::new("a", list)] };
        assert_eq!(value("deep"), Some(of(any_value::Value::Map(map))));
        assert_eq!(value("log.iostream"), Some("stdout".into()));
        assert_eq!(value("program_log.iostream"), Some(1_i64.into()));
    }

    #[test]
    fn records_of_one_owner_share_a_resource_and_a_long_batch_is_several_requests() {
        let mut records = samples::numbered(4);
        let mut other = (*samples::owner()).clone();
        other.instance = 3;
        records[2].owner = Arc::new(other);
        records[3].owner = samples::owner();
        let made = request(&records);
        let counts: Vec<usize> = made.resource_logs.iter().map(|logs| logs.scope_logs[0].log_records.len()).collect();
        assert_eq!(counts, [3, 1]);
        let big: Vec<Record> = (0..3).map(|_| samples::saying(vec![b'x'; 600_000])).collect();
        assert_eq!(request_length(&big), 1);
        assert_eq!(request_length(&records), 4);
        assert_eq!(request_length(&[samples::saying(vec![b'x'; 2_000_000])]), 1);
    }
}
