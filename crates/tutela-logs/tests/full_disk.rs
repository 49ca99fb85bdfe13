//! A disk that is really full: a file system of 64 KiB in memory, mounted for the test.
//!
//! It needs Linux and the right to mount; on another system there is nothing to prove here, on Linux
//! without the right it fails and says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tutela_logs::lines::Piece;
use tutela_logs::writer::{Batch, Now, Writer, WriterEvent};
use tutela_logs::{Doors, Form, Found, Policy, Stream, Wall};
use tutela_os::files::{Plain, append_plain, read_plain};

/// Those of the guard.
const DOORS: Doors = Doors { append: |path| append_plain(path).map(found), read: |path| read_plain(path).map(found) };

fn found(plain: Plain) -> Found {
    match plain {
        Plain::File(file) => Found::Plain(file),
        Plain::Other(word) => Found::Other(word),
    }
}

/// A mounted file system, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "mounting needs root: run the tests as root");
        SmallDisk(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever looks at the machine; a panic here would hide the test's own.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_costs_counted_lines_only_and_there_is_no_half_entry_and_writing_goes_on_with_room() {
    if std::env::consts::OS != "linux" {
        return;
    }
    for timestamps in [true, false] {
        let disk = SmallDisk::mount();
        let ballast = disk.path().join("ballast");
        std::fs::write(&ballast, vec![0; 32 * 1024]).unwrap();
        let dir = disk.path().join("logs");
        let form = if timestamps { Form::Stamped } else { Form::Raw };
        let policy = Policy { keep: 1, ..Policy::new(dir.clone(), form) };
        let mut writer = Writer::new(Arc::from("api-0"), Arc::new(policy), DOORS);
        let (mut batch, mut now) = (Batch::default(), Now { wall: Wall::now(), tick: Instant::now() });
        let mut sent = 0;
        let mut write = |writer: &mut Writer, lines: usize, now: Now| {
            for _ in 0..lines {
                let line = format!("line {sent:05} {}", "x".repeat(88));
                sent += 1;
                if timestamps {
                    writer.entry(&mut batch, Stream::Out, Piece { text: line.as_bytes(), ended: true }, now);
                } else {
                    writer.raw(&mut batch, format!("{line}\n").as_bytes(), now);
                }
            }
            writer.flush(&mut batch, now);
        };
        write(&mut writer, 1000, now);
        let full = writer.status();
        assert!(full.bytes > 0 && full.dropped_bytes > 0, "{full:?}");
        assert_eq!(full.bytes + full.dropped_bytes, 100_000, "every byte is in the file or counted");
        assert!(full.last_error.unwrap().contains("failed to write "));
        let text = std::fs::read_to_string(dir.join("api-0.log")).unwrap();
        if timestamps {
            assert!(text.ends_with("x\n") && text.lines().all(|line| line.len() == 32 + 99), "only whole entries");
        }

        std::fs::remove_file(&ballast).unwrap();
        now.tick += Duration::from_secs(1);
        write(&mut writer, 1, now);
        let status = writer.status();
        assert_eq!((status.bytes, status.last_error), (full.bytes + 100, None));
        let text = std::fs::read_to_string(dir.join("api-0.log")).unwrap();
        assert!(text.trim_end().ends_with('x') && text.contains("line 01000"));
        if timestamps {
            let note = format!("gap {} bytes in {} lines were not stored", full.dropped_bytes, full.dropped_lines);
            assert!(text.contains(&note), "{note}");
        }
        let events = writer.take_events();
        assert!(matches!(&events[..], [WriterEvent::Failing { .. }, WriterEvent::Recovered { .. }]), "{events:?}");
    }
}
