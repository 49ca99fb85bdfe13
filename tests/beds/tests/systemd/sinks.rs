//! Records on their way into the journal: what was sent is what `journalctl` shows, over a restart of the journal.

use serde_json::Value;
use std::collections::BTreeSet;
use tutela_beds::{Booted, program};

const COURIER: &str = "/usr/local/bin/courier";

#[test]
fn the_journal_shows_every_record_with_its_fields_over_a_restart_of_its_own() {
    let booted = Booted::boot();
    booted.put_program(&program("courier"), COURIER);
    // As documented for a sink that brings much: the journal's own limit would leave records out and say nothing.
    booted.put("/etc/systemd/journald.conf.d/limit.conf", "[Journal]\nRateLimitIntervalSec=0\nRateLimitBurst=0\n");
    booted.run("systemctl restart systemd-journald").ok();
    let script = format!(
        "{COURIER} journald shop 20000 >/tmp/said & courier=$!; \
         for n in 1 2 3; do systemctl restart systemd-journald; done; wait $courier; cat /tmp/said; journalctl --sync"
    );
    let said = booted.run(&script).ok();
    assert!(said.contains("delivered 20000 after "), "{said}");

    let records = journal_of(&booted, "TUTELA_GUARD=shop");
    let offsets: Vec<&str> = records.iter().filter_map(|record| record["TUTELA_RECORD"].as_str()).collect();
    let wanted: BTreeSet<String> = (0..20_000).map(|offset| format!("7-{offset}")).collect();
    assert_eq!(offsets.iter().map(|offset| (*offset).to_owned()).collect::<BTreeSet<_>>(), wanted);

    let first = records.iter().find(|record| record["TUTELA_RECORD"] == "7-0").expect("the first record");
    // Bytes that are no text are a list of numbers; the journal shows long fields only when asked for all.
    let bytes: Vec<u8> = match &first["MESSAGE"] {
        Value::Array(bytes) => bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect(),
        other => panic!("{other}"),
    };
    assert!(bytes.starts_with(b"two\nlines, caf\xe9 xxx") && bytes.len() == 300_016, "{}", bytes.len());
    for (field, wanted) in [
        ("SYSLOG_IDENTIFIER", "api"),
        ("PRIORITY", "4"),
        ("SYSLOG_TIMESTAMP", "2026-11-20T21:23:45.123456Z"),
        ("TUTELA_SERVICE", "api"),
        ("TUTELA_INSTANCE", "2"),
        ("TUTELA_STREAM", "stderr"),
        ("USER", "J\u{fc}rgen\n2"),
        ("FIELD_PRIORITY", "0"),
        ("DEEP", "{\"a\":[1]}"),
    ] {
        assert_eq!(first[field], wanted, "{field}");
    }
    let last = records.iter().find(|record| record["TUTELA_RECORD"] == "7-19999").expect("the last record");
    assert_eq!(last["MESSAGE"], "record 19999");
}

fn journal_of(booted: &Booted, field: &str) -> Vec<Value> {
    let text = booted.run(&format!("journalctl --no-pager --all --output=json {field}")).ok();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of the journal is JSON")).collect()
}
