//! A disk that is really full: a file system of some KiB in memory, mounted for the test.
//!
//! It needs Linux and the right to mount; on another system there is nothing to prove here, on Linux
//! without the right it fails and says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/doors.rs"]
mod doors;

use doors::DOORS;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tutela_logs::keeper::{KeeperHandle, Rules};
use tutela_logs::lines::Piece;
use tutela_logs::read::Place;
use tutela_logs::read::trail::{Start, Trail, TrailLine};
use tutela_logs::writer::{Batch, Now, Writer, WriterEvent};
use tutela_logs::{Compression, Form, Policy, Stream, Wall};

/// A mounted file system, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        Self::mount_with(&format!("size={size}"))
    }

    fn mount_with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).status();
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
        let disk = SmallDisk::mount("64k");
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

#[test]
fn a_disk_that_takes_no_new_file_costs_counted_lines_at_a_rotation_and_the_count_goes_on_behind_it() {
    if std::env::consts::OS != "linux" {
        return;
    }
    for timestamps in [true, false] {
        // The root, the folder, a log file and its index; and two that are in the way.
        let disk = SmallDisk::mount_with("size=1m,nr_inodes=6");
        let ballast = ["one", "two"].map(|name| disk.path().join(name));
        ballast.iter().for_each(|path| std::fs::write(path, "").unwrap());
        let dir = disk.path().join("logs");
        let form = if timestamps { Form::Stamped } else { Form::Raw };
        let policy = Policy { rotate_size: Some(500), keep: 1000, ..Policy::new(dir.clone(), form) };
        let mut writer = Writer::new(Arc::from("api-0"), Arc::new(policy), DOORS);
        let (mut batch, mut now) = (Batch::default(), Now { wall: Wall::now(), tick: Instant::now() });
        let mut write = |writer: &mut Writer, text: &str, now: Now| {
            if timestamps {
                writer.entry(&mut batch, Stream::Out, Piece { text: text.as_bytes(), ended: true }, now);
                writer.flush(&mut batch, now);
            } else {
                writer.raw(&mut batch, format!("{text}\n").as_bytes(), now);
            }
        };
        for number in 0..100 {
            write(&mut writer, &format!("line {number}"), now);
        }
        let status = writer.status();
        assert_eq!(status.lines + status.dropped_lines, 100);
        assert!(status.lines > 0 && status.dropped_lines > 0, "{status:?}");
        ballast.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        now.tick += Duration::from_secs(2);
        write(&mut writer, "the last line", now);
        assert_eq!(writer.status().lines, status.lines + 1);
        let place = Place { dir, label: "api-0".into() };
        let mut trail = Trail::open(DOORS, &place, Start::Beginning).unwrap();
        let mut texts = Vec::new();
        let mut each = |line: TrailLine<'_>| texts.push(String::from_utf8(line.text.to_vec()).unwrap());
        while trail.read(usize::MAX, &mut each).unwrap() > 0 {}
        let kept = texts.iter().filter(|text| text.starts_with("line ")).count() as u64;
        assert_eq!((kept, texts.last().map(String::as_str)), (status.lines, Some("the last line")));
        assert_eq!(trail.lost(), Default::default(), "what was dropped was never in a file");
    }
}

/// Names in the folder that end so.
fn ending(dir: &Path, end: &str) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(end))
        .count()
}

#[test]
fn with_rotation_compression_and_indexes_on_a_full_disk_every_number_is_in_a_file_or_counted() {
    if std::env::consts::OS != "linux" {
        return;
    }
    for timestamps in [true, false] {
        let disk = SmallDisk::mount("512k");
        let ballast = disk.path().join("ballast");
        std::fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
        let dir = disk.path().join("logs");
        let form = if timestamps { Form::Stamped } else { Form::Raw };
        let policy = Arc::new(Policy {
            rotate_size: Some(16 * 1024),
            keep: 1000,
            compress: Compression::Zstd,
            ..Policy::new(dir.clone(), form)
        });
        let label: Arc<str> = Arc::from("api-0");
        let keeper = KeeperHandle::new(DOORS, || {}, |_| {});
        let labels = vec![(label.clone(), policy.clone())];
        keeper.set_rules(Rules { labels, own: dir.clone(), budget: None }).unwrap();
        let mut writer = Writer::new(label, policy, DOORS);
        let (mut batch, mut now) = (Batch::default(), Now { wall: Wall::now(), tick: Instant::now() });
        let (mut sent, mut seed) = (0u64, 1u64);
        let mut write = |writer: &mut Writer, lines: u64, now: Now| {
            for _ in 0..lines {
                // Text that does not compress, so that the disk does fill.
                let noise: String = (0..88)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        char::from(b'!' + (seed >> 57) as u8 % 90)
                    })
                    .collect();
                let line = format!("line {sent:05} {noise}");
                sent += 1;
                if timestamps {
                    writer.entry(&mut batch, Stream::Out, Piece { text: line.as_bytes(), ended: true }, now);
                    writer.flush(&mut batch, now);
                } else {
                    writer.raw(&mut batch, format!("{line}\n").as_bytes(), now);
                }
            }
            if writer.take_events().contains(&WriterEvent::Rotated) {
                keeper.ring();
            }
        };
        // Written faster than anything is compressed, until the disk refuses.
        while writer.status().dropped_lines == 0 {
            write(&mut writer, 100, now);
        }
        write(&mut writer, 1000, now);
        std::fs::remove_file(&ballast).unwrap();
        now.tick += Duration::from_secs(2);
        write(&mut writer, 300, now);
        let status = writer.status();
        assert_eq!(status.last_error, None);
        assert!(status.dropped_lines > 0);
        let until = Instant::now() + Duration::from_secs(60);
        while ending(&dir, "Z.log") > 0 {
            assert!(Instant::now() < until, "compressing goes on by itself when there is room");
            keeper.ring();
            std::thread::yield_now();
        }
        keeper.stop();
        assert!(ending(&dir, ".zst") > 0 && ending(&dir, ".new") == 0);

        let mut numbers = Vec::new();
        let place = Place { dir: dir.clone(), label: "api-0".into() };
        let mut trail = Trail::open(DOORS, &place, Start::Beginning).unwrap();
        let mut whole = |line: TrailLine<'_>| {
            // In a file without timestamps the beginning of a line that the disk cut off stands before the next one.
            let line = &line.text[line.text.len().saturating_sub(99)..];
            let number = line.get(5..10).and_then(|number| std::str::from_utf8(number).ok()?.parse::<u64>().ok());
            numbers.extend(number.filter(|_| line.starts_with(b"line ") && line.len() == 99));
        };
        while trail.read(usize::MAX, &mut whole).unwrap() > 0 {}
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order and once");
        let missing = sent - numbers.len() as u64;
        assert_eq!(missing, status.dropped_lines, "{sent} sent, {} in files", numbers.len());
        assert_eq!(status.lines + status.dropped_lines, sent);
        assert_eq!((trail.lost(), trail.cursor().lines >= status.lines), (Default::default(), true));
    }
}
