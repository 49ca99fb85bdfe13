//! Trays that are damaged: by chance, or with records that are whole and tell what cannot be.

use super::world::{STREAMS, Step, World};
use super::{FORMS, story};
use crate::policy::Stream;
use crate::tray::tests::{OnShelf, die_at};
use crate::tray::{Record, Tray};
use proptest::prelude::*;

/// A world whose guard died at this moment.
fn dead_at(form: usize, moment: u64) -> World {
    let mut world = World::new(FORMS[form].1);
    let (mut story, _) = story();
    story.truncate(story.len() - 3);
    world.run_until_death(&story, moment);
    world
}

/// What is written from here on gets to the files once, whatever the tray says.
fn assert_goes_on(world: &mut World) {
    for pipes in &world.pipes {
        pipes.lock().unwrap().pipe.clear();
    }
    let story: Vec<_> = STREAMS
        .into_iter()
        .flat_map(|stream| {
            let line = format!("\n{stream:?} is read on\n").into_bytes();
            [Step::Write(stream, line), Step::Read(stream)]
        })
        .chain([Step::Give, Step::End])
        .collect();
    world.damage_is_told = true;
    world.run(&story, []);
    let all = world.raw_files().concat();
    for stream in STREAMS {
        let line = format!("{stream:?} is read on");
        assert_eq!(memchr::memmem::find_iter(&all, line.as_bytes()).count(), 1, "{line}");
    }
}

/// Changes a record so that it tells something else, and is whole.
fn forge(world: &World, stream: Stream, change: impl FnOnce(&mut Record)) {
    die_at(0);
    let mut tray = Tray::open(OnShelf::of(&world.shelf)).unwrap();
    let mut book = tray.parts(stream).book;
    change(book.record());
    book.commit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_tray_with_bytes_that_were_changed_stops_no_guard(
        form in 0..FORMS.len(), moment in 1u64..400,
        // Mostly in the records, the folders' names, and where the states of standard output begin.
        changes in prop::collection::vec(
            (prop_oneof![64usize..1088, 1088usize..2112, 4096usize..4400, 8192usize..8400, 64usize..500_000], 1u8..), 1..20,
        ),
    ) {
        let mut world = dead_at(form, moment);
        {
            let mut shelf = world.shelf.lock().unwrap();
            for (at, by) in changes {
                shelf.as_mut().unwrap()[at] ^= by;
            }
        }
        assert_goes_on(&mut world);
    }

    #[test]
    fn a_record_that_tells_what_is_not_so_stops_no_guard(
        form in 0..FORMS.len(), moment in 1u64..400, which in 0usize..14, number: u64, small in 0usize..70_000, is_out: bool,
    ) {
        let mut world = dead_at(form, moment);
        let size = usize::try_from(number).unwrap_or(usize::MAX);
        forge(&world, if is_out { Stream::Out } else { Stream::Err }, |record| match which {
            0 => record.reading = small,
            1 => record.reading = size,
            2 => record.input = small,
            3 => (record.input, record.taken) = (small, small / 2),
            4 => record.taken = size,
            5 => record.state.length = small,
            6 => record.state.place = small % 3,
            7 => record.state.check = number,
            8 => record.load.length = small,
            9 => record.load.done = small,
            10 => record.load.records = small % 100,
            11 => record.load.start = small,
            12 => record.write.length = small,
            _ => record.write.offset = number,
        });
        assert_goes_on(&mut world);
    }
}

#[test]
fn half_a_line_that_is_damaged_is_counted_as_dropped_and_told() {
    let mut world = World::new(FORMS[2].1);
    let story = [Step::Write(Stream::Out, b"one\nhalf a line".to_vec()), Step::Read(Stream::Out)];
    world.run(&story, []);
    forge(&world, Stream::Out, |record| record.state.check ^= 1);
    world.damage_is_told = true;
    let status = world.run(&[Step::Write(Stream::Out, b"two\n".to_vec()), Step::Read(Stream::Out), Step::End], []);
    assert_eq!(world.told, ["the tray of a guard that died is damaged: 11 bytes of half lines are lost"]);
    assert_eq!((status.bytes, status.dropped_bytes), (8, 11));
    assert_eq!(world.kept(Stream::Out, ""), b"one\ntwo\n");
}
