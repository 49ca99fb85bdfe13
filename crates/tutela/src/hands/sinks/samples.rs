//! Records for tests.

use std::sync::Arc;
use tutela_core::level::Level;
use tutela_logs::record::{Author, Host, Owner, Record, RecordId};
use tutela_logs::{Stream, Wall};

/// Whose all of them are.
pub(super) fn owner() -> Arc<Owner> {
    Arc::new(Owner {
        guard: "shop".into(),
        service: "api".into(),
        instance: 2,
        host: "box.example".into(),
        host_ip: Some([192, 0, 2, 7].into()),
    })
}

/// Who writes them.
pub(super) fn author() -> Author {
    let Owner { guard, service, instance, host, host_ip } = Owner::clone(&owner());
    Author { guard, service, instance, host: Arc::new(Host::new(&host, host_ip)) }
}

/// A record with this message.
pub(super) fn saying(message: impl AsRef<[u8]>) -> Record {
    Record {
        owner: owner(),
        id: RecordId { file: 1_795_209_825_000_001, offset: 4711 },
        at: Wall::from_micros(1_795_209_825_123_456),
        stream: Some(Stream::Out),
        level: Some(Level::Warn),
        message: message.as_ref().into(),
        fields: Vec::new(),
        time: None,
    }
}

/// Records with the messages `record 0` and so on.
pub(super) fn numbered(count: u64) -> Vec<Record> {
    let owner = owner();
    let numbered = |number: u64| Record {
        owner: owner.clone(),
        id: RecordId { file: 1, offset: number },
        ..saying(format!("record {number}"))
    };
    (0..count).map(numbered).collect()
}

/// A record of standard error without a level, with this message.
pub(super) fn record(message: &str) -> Record {
    let owner = Owner {
        guard: "shop".into(),
        service: "api".into(),
        instance: 2,
        host: "here".into(),
        host_ip: Some([192, 0, 2, 7].into()),
    };
    Record {
        owner: Arc::new(owner),
        id: RecordId { file: 11, offset: 22 },
        at: Wall::from_micros(1_795_209_825_123_456),
        stream: Some(Stream::Err),
        level: None,
        time: None,
        message: message.as_bytes().into(),
        fields: Vec::new(),
    }
}
