//! Guards that die at every moment, in every form of file; and trays that lie.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod lies;
mod whole;
mod world;

use crate::policy::{Form, Policy, Stream};
use crate::record::join::{Multiline, Rule};
use crate::record::redact::Redactor;
use crate::tray::tests::left;
use crate::writer::CaptureStatus;
use std::sync::Arc;
use std::time::Duration;
use world::{STREAMS, Step, World};

/// Lines of different lengths on both streams, cut in the middle, and one that is too long.
fn story() -> (Vec<Step>, [Vec<u8>; 2]) {
    let mut written = [Vec::new(), Vec::new()];
    let mut steps = Vec::new();
    let mut write = |stream: Stream, text: &[u8], steps: &mut Vec<Step>| {
        written[stream as usize].extend_from_slice(text);
        steps.push(Step::Write(stream, text.to_vec()));
    };
    for turn in 0..2 {
        for (stream, prefix, half, rest) in
            [(Stream::Out, "O", "HALF", "REST"), (Stream::Err, "e", "half", "rest hunter2!")]
        {
            let mut text = String::new();
            for line in 0..5 {
                text += &format!("{prefix}{turn}{line}{}\n", prefix.repeat(turn * 19 + line));
            }
            write(stream, format!("{text}{turn}{half}").as_bytes(), &mut steps);
            steps.push(Step::Read(stream));
            write(stream, format!("{rest}\n  {prefix}{turn}\n").as_bytes(), &mut steps);
        }
        if turn == 1 {
            write(Stream::Out, &[b'L'; 40_000], &mut steps);
        }
    }
    steps.extend([Step::Read(Stream::Out), Step::Read(Stream::Err), Step::Give]);
    write(Stream::Out, b"LAST WORDS", &mut steps);
    steps.extend([Step::Read(Stream::Out), Step::End]);
    (steps, written)
}

type Change = fn(&mut Policy);

fn joining() -> Option<Arc<Multiline>> {
    let rule = Rule::Continue(regex::bytes::Regex::new(r"^\s").unwrap());
    Some(Arc::new(Multiline::new(rule, Duration::from_secs(60), 500)))
}

fn masking() -> Arc<Redactor> {
    Arc::new(Redactor::new(["hunter2!"], &[]).unwrap())
}

/// The forms of files.
const FORMS: [(&str, Change); 6] = [
    ("raw", |_| {}),
    ("raw, rotated", |policy| policy.rotate_size = Some(300)),
    ("stamped, rotated", |policy| (policy.form, policy.rotate_size) = (Form::Stamped, Some(700))),
    ("stamped, masked", |policy| (policy.form, policy.mask) = (Form::Stamped, masking())),
    ("json, joined, rotated, masked", |policy| {
        (policy.form, policy.rotate_size, policy.multiline) = (Form::Json, Some(2000), joining());
        policy.mask = masking();
    }),
    ("raw, masked", |policy| policy.mask = masking()),
];

/// What is to be in the files of it.
fn expected(policy: &Policy, written: &[u8]) -> Vec<u8> {
    policy.mask.text(written).into_owned()
}

fn assert_whole(world: &World, written: &[Vec<u8>; 2], status: &CaptureStatus, what: &str) {
    let files = world.files();
    let all: usize = written.iter().map(Vec::len).sum();
    let masked: usize = written.iter().map(|it| it.len() - expected(&world.policy, it).len()).sum();
    match world.policy.form {
        Form::Raw => {
            // The streams are told apart by their letters; newlines, blanks and digits belong to either.
            let of = |stream: Stream, bytes: &[u8]| -> String {
                let is = |byte: &&u8| match stream {
                    Stream::Out => byte.is_ascii_uppercase(),
                    Stream::Err => byte.is_ascii_lowercase(),
                };
                bytes.iter().filter(is).map(|byte| char::from(*byte)).collect()
            };
            let bytes = files.concat();
            for stream in STREAMS {
                let wanted = of(stream, &expected(&world.policy, &written[stream as usize]));
                assert!(of(stream, &bytes) == wanted, "{what} {stream:?}");
            }
            assert_eq!(bytes.len(), all - masked, "{what}");
        }
        Form::Stamped | Form::Json => {
            for stream in STREAMS {
                let (kept, wanted) = (world.kept(stream, what), expected(&world.policy, &written[stream as usize]));
                let (kept, wanted) = (String::from_utf8_lossy(&kept), String::from_utf8_lossy(&wanted));
                assert!(kept == wanted, "{what} {stream:?}\n{kept}\n---\n{wanted}");
            }
        }
    }
    assert_eq!((status.bytes, status.dropped_bytes), ((all - masked) as u64, 0), "{what}");
}

#[test]
fn a_guard_that_dies_at_any_moment_costs_no_byte_and_doubles_none() {
    let (story, written) = story();
    for (name, change) in FORMS {
        let mut at = 1;
        loop {
            let mut world = World::new(change);
            let status = world.run(&story, [at]);
            assert_whole(&world, &written, &status, &format!("{name}, dead at moment {at}"));
            if world.deaths == 0 {
                break;
            }
            at += 1;
        }
        assert!(at > 100, "{name}: {at}");
        assert_eq!(left(), 0);
    }
}

/// Numbers that look like chance and are the same with each run.
fn chance(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 33
    })
}

#[test]
fn guards_that_die_one_after_the_other_also_while_they_take_over_cost_no_byte_and_double_none() {
    let (story, written) = story();
    for (name, change) in FORMS {
        for seed in 0..24 {
            // Early deaths are those within the taking over; it is as long as the story is short.
            let longest = [6, 20, 40, 60][seed as usize % 4];
            let mut world = World::new(change);
            let status = world.run(&story, chance(seed).take(200).map(|it| 1 + it % longest));
            assert!(world.deaths > 0, "{name}, chance {seed}");
            assert_whole(&world, &written, &status, &format!("{name}, chance {seed}, {} deaths", world.deaths));
        }
    }
}

#[test]
fn what_a_refusing_disk_costs_is_counted_once_over_the_deaths_of_guards() {
    let (mut story, written) = story();
    // It refuses from the middle of the story until shortly before its end, wherever a file has to be opened.
    story.insert(story.len() / 3, Step::Disk(true));
    story.insert(story.len() * 2 / 3, Step::Disk(false));
    let all: usize = written.iter().map(Vec::len).sum();
    for (name, change) in FORMS.into_iter().filter(|(name, _)| name.contains("rotated") && !name.contains("masked")) {
        let mut at = 1;
        let mut has_dropped = false;
        loop {
            let mut world = World::new(change);
            let status = world.run(&story, [at]);
            let what = format!("{name}, dead at moment {at}: {status:?}");
            has_dropped |= status.dropped_bytes > 0;
            assert_eq!(status.bytes + status.dropped_bytes, all as u64, "{what}");
            if world.policy.form == Form::Raw {
                assert_eq!(world.files().concat().len() as u64, status.bytes, "{what}");
            } else {
                world.files();
                let kept: usize = STREAMS.iter().map(|stream| world.kept(*stream, &what).len()).sum();
                assert_eq!((kept as u64, world.told_missing()), (status.bytes, status.dropped_bytes), "{what}");
            }
            if world.deaths == 0 {
                break;
            }
            at += 1;
        }
        assert!(has_dropped, "{name}");
    }
}

#[test]
fn what_was_masked_is_nowhere_in_the_tray_after_its_turn() {
    for (name, change) in FORMS.into_iter().filter(|(name, _)| name.contains("masked")) {
        for deaths in [vec![], chance(7).take(40).map(|it| 1 + it % 40).collect::<Vec<_>>()] {
            let mut world = World::new(change);
            let (story, _) = story();
            let last = story.len() - 2;
            world.run(&story[..last], deaths);
            let kept = world.shelf.lock().unwrap();
            assert_eq!(memchr::memmem::find(kept.as_ref().unwrap(), b"hunter2!"), None, "{name}");
        }
    }
}

#[test]
fn a_turn_that_becomes_much_longer_has_room_in_the_tray() {
    let masks = Arc::new(Redactor::new([], &["a".to_owned()]).unwrap());
    for form in [Form::Stamped, Form::Json] {
        for (text, mask) in [("\n", None), ("\u{1}", None), ("ab", Some(&masks)), ("a\n", Some(&masks))] {
            let mut world = World::new(|policy| {
                policy.form = form;
                policy.mask = mask.cloned().unwrap_or_default();
            });
            let all = text.repeat(65_536 / text.len());
            let story = [Step::Write(Stream::Out, all.clone().into_bytes()), Step::Read(Stream::Out), Step::End];
            // Dead with all of it on the way.
            let status = world.run(&story, [20]);
            assert_eq!(world.deaths, 1);
            let wanted = world.policy.mask.text(all.as_bytes()).into_owned();
            assert_eq!(status.bytes, wanted.len() as u64);
            assert!(world.kept(Stream::Out, "") == wanted, "{form:?} {text:?}");
        }
    }
}

#[test]
fn a_successor_that_keeps_output_in_another_way_loses_nothing_of_the_former_ones() {
    let forms: [(&str, Change, Change); 3] = [
        ("stamped, then json", |policy| policy.form = Form::Stamped, |policy| policy.form = Form::Json),
        (
            "json, then stamped",
            |policy| (policy.form, policy.multiline) = (Form::Json, joining()),
            |policy| {
                (policy.form, policy.multiline) = (Form::Stamped, None);
            },
        ),
        (
            "another folder",
            |policy| (policy.form, policy.rotate_size) = (Form::Stamped, Some(700)),
            |policy| {
                policy.dir = policy.dir.join("next");
            },
        ),
    ];
    let (story, written) = story();
    for (name, before, after) in forms {
        let mut at = 1;
        loop {
            let mut world = World::new(before);
            let mut next = (*world.policy).clone();
            after(&mut next);
            world.next_policy = Some(Arc::new(next));
            let status = world.run(&story, [at]);
            for stream in STREAMS {
                let what = format!("{name}, dead at {at}, {stream:?}");
                let (kept, wanted) = (world.kept(stream, &what), &written[stream as usize]);
                let (kept, wanted) = (String::from_utf8_lossy(&kept), String::from_utf8_lossy(wanted));
                assert!(kept == wanted, "{what}");
            }
            assert_eq!(status.bytes, written.iter().map(Vec::len).sum::<usize>() as u64, "{name}, dead at {at}");
            if world.deaths == 0 {
                break;
            }
            // Every third moment: the same ones are tried in each form above.
            at += 3;
        }
    }
}
