//! Brings numbered records to the log of the OS, through the ways of a guard: `courier journald|event-log GUARD COUNT`.
//!
//! The first record has everything that a record can have; the others say `record N`. Deliveries that are to come
//! again come again. It says `delivered COUNT after N tries`, and ends with 1 where a way cannot be had or refuses.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that fails where its words make no sense")]

use std::sync::Arc;
use std::time::Duration;
use tutela::hands::sinks::way::Undelivered;
use tutela::hands::sinks::ways;
use tutela_core::level::Level;
use tutela_core::spec::SinkWay;
use tutela_logs::record::{Owner, Record, RecordId};
use tutela_logs::{Stream, Wall};

/// How many records go at once.
const BATCH: usize = 500;

/// How often a batch is tried.
const TRIES: u32 = 100;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, guard, count] = &words[..] else { panic!("courier journald|event-log GUARD COUNT") };
    let way = match way.as_str() {
        "journald" => SinkWay::Journald,
        "event-log" => SinkWay::EventLog,
        other => panic!("no way {other}"),
    };
    let records = records(guard, count.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tries = 0;
    runtime.block_on(async {
        let mut way = ways::open("test", &way, Duration::from_secs(30)).unwrap_or_else(|error| refuse(&error));
        for batch in records.chunks(BATCH) {
            for _ in 0..TRIES {
                tries += 1;
                match way.deliver(batch).await {
                    Ok(()) => break,
                    Err(Undelivered::Later { reason, .. }) => eprintln!("later: {reason}"),
                    Err(other) => refuse(&other.to_string()),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    println!("delivered {} after {tries} tries", records.len());
}

fn refuse(reason: &str) -> ! {
    println!("{reason}");
    std::process::exit(1);
}

fn records(guard: &str, count: u64) -> Vec<Record> {
    let owner =
        Arc::new(Owner { guard: guard.into(), service: "api".into(), instance: 2, host: "box".into(), host_ip: None });
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
    let mut records: Vec<Record> = (0..count).map(record).collect();
    if let Some(first) = records.first_mut() {
        first.message = [&b"two\nlines, caf\xe9 "[..], &[b'x'; 300_000]].concat().into();
        let own = [("user", "\"J\\u00fcrgen\\n2\""), ("priority", "0"), ("deep", "{\"a\":[1]}")];
        first.fields = own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    }
    records
}
