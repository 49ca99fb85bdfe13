//! Records, and how they are delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tutela::hands::sinks::way::{Undelivered, Way};
use tutela::hands::sinks::ways;
use tutela_core::level::Level;
use tutela_core::spec::SinkWay;
use tutela_it::BOUND;
use tutela_logs::record::{Owner, Record, RecordId};
use tutela_logs::{Stream, Wall};

/// How many records go at once.
const BATCH: usize = 500;

/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// `record 0` and so on, of one instance.
pub fn numbered(count: u64) -> Vec<Record> {
    let owner = Arc::new(Owner {
        guard: "shop".into(),
        service: "api".into(),
        instance: 2,
        host: "box.example".into(),
        host_ip: Some([192, 0, 2, 7].into()),
    });
    let record = |offset: u64| Record {
        owner: owner.clone(),
        id: RecordId { file: 7, offset },
        time: None,
        at: Wall::from_micros(1_795_209_825_123_456),
        stream: Some(Stream::Err),
        level: Some(Level::Warn),
        message: format!("record {offset}").into_bytes().into(),
        fields: Vec::new(),
    };
    (0..count).map(record).collect()
}

/// A record with everything that a record can have.
pub fn full(message: &[u8]) -> Record {
    let mut record = numbered(1).remove(0);
    record.message = message.into();
    let own = [("user", "\"a]b\\\"c\\\\\""), ("n", "-3"), ("deep", "{\"a\":[1.5,null]}")];
    record.fields = own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    record
}

pub fn open(way: &SinkWay, timeout: Duration) -> Box<dyn Way> {
    ways::open("test", way, timeout).unwrap()
}

pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Delivers everything, each batch as often as it takes; `between` is called with the number of each batch before it.
pub async fn deliver(way: &mut dyn Way, records: &[Record], mut between: impl FnMut(usize)) {
    for (number, batch) in records.chunks(BATCH).enumerate() {
        between(number);
        let began = Instant::now();
        while let Err(error) = way.deliver(batch).await {
            assert!(matches!(error, Undelivered::Later { .. }) && began.elapsed() < BOUND * 2, "{error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Why a delivery did not work.
pub async fn why(way: &mut dyn Way, records: &[Record]) -> String {
    match way.deliver(records).await {
        Err(Undelivered::Later { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}
