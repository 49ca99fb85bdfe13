//! Any bytes as what strangers say: messages of programs, names and times in questions, bodies of commands, ranges of
//! addresses. They are taken or refused, and what is taken keeps to its bounds.
//! `cargo fuzz run strangers fuzz/corpus/strangers fuzz/seeds/strangers`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tutela_core::access::AddressRange;
use tutela_core::guard::Target;
use tutela_core::level::Level;
use tutela_core::names::{InstanceId, Name, ServiceName};
use tutela_core::spec::SecretSource;
use tutela_os::notify::{self, NOTICES_MAX};
use tutela_schema::api::{CommandQuery, CommandRequest, EventQuery, LogQuery, StatusQuery, UpgradeRequest};
use tutela_schema::wall::WallTime;

fn names(text: &str) {
    // What is a name is written as it was read, and is nothing that a file or a header could trip over.
    for name in [Name::new(text).ok().map(|it| it.to_string()), ServiceName::new(text).ok().map(|it| it.to_string())] {
        let Some(name) = name else { continue };
        assert_eq!(name, text);
        assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0', '\n', ' ']));
    }
    if let Some(id) = InstanceId::parse(text) {
        assert_eq!(InstanceId::parse(&id.to_string()), Some(id));
    }
    let _ = Target::parse(text);
    let _ = SecretSource::parse(text);
    if let Ok(range) = text.parse::<AddressRange>() {
        assert_eq!(range.to_string().parse::<AddressRange>(), Ok(range));
    }
    let now = WallTime::from_unix_millis(1_700_000_000_000);
    if let Ok(when) = WallTime::parse_when(text, now) {
        // It is shown to a microsecond or so, and as that it is read again.
        let shown = when.to_string();
        assert_eq!(WallTime::parse_when(&shown, now).map(|again| again.to_string()), Ok(shown));
    }
}

fn bodies(bytes: &[u8]) {
    fn same<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(it) = serde_json::from_slice::<T>(bytes) {
            let text = serde_json::to_vec(&it).expect("it can be written");
            assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(it));
        }
    }
    same::<CommandRequest>(bytes);
    same::<UpgradeRequest>(bytes);
    same::<StatusQuery>(bytes);
    same::<CommandQuery>(bytes);
    same::<LogQuery>(bytes);
    same::<EventQuery>(bytes);
}

fuzz_target!(|bytes: &[u8]| {
    assert!(notify::parse(bytes).len() <= NOTICES_MAX);
    let _ = Level::parse(bytes);
    bodies(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        names(text);
        text.lines().for_each(names);
    }
});
