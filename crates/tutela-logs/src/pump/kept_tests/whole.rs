//! Trays in a whole pump, which takes over what a guard left that died.

use super::world::{STREAMS, Step, World};
use super::{FORMS, Form, story};
use crate::doors::tests::DOORS;
use crate::policy::Stream;
use crate::pump::{CaptureEnd, PumpEvent, Pumps};
use crate::tap::Taps;
use crate::tray::tests::OnShelf;
use crate::tray::{SluiceSource, Tray};
use std::io;
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A pump takes this world over and reads it to its end: what it tells, and what it counted.
fn taken_over(world: &World, opens: fn(Stream) -> bool) -> (Vec<PumpEvent>, u64, u64) {
    let (tell, told) = mpsc::sync_channel(64);
    let pumps = Pumps::start(DOORS, world.path(), move |event| drop(tell.try_send(event)), |_| ()).unwrap();
    let source = |stream: Stream| -> (Stream, SluiceSource) {
        let sluice = world.sluice(stream);
        let open = move || if opens(stream) { Ok(sluice) } else { Err(io::Error::other("no pipe")) };
        (stream, Box::new(open))
    };
    let tray = Tray::open(OnShelf::of(&world.shelf)).unwrap();
    let sluices = STREAMS.map(source).into();
    let capture = pumps.attach_kept("api-0", world.policy.clone(), tray, sluices, Taps::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = capture.finish(PATIENCE).unwrap();
    assert_eq!(runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await.unwrap() }), CaptureEnd::Complete);
    runtime.block_on(pumps.stop(PATIENCE).unwrap());
    let events = told.try_iter().filter(|event| !matches!(event, PumpEvent::Writer { .. })).collect();
    let status = capture.status();
    (events, status.bytes, status.dropped_bytes)
}

#[test]
fn a_pump_goes_on_where_a_guard_died_and_reads_to_the_end() {
    let (story, written) = story();
    for moment in (1..200).step_by(7) {
        let mut world = World::new(FORMS[2].1);
        assert_eq!(world.policy.form, Form::Stamped);
        world.run_until_death(&story, moment);
        let all = world.write_the_rest(&story);
        let (events, bytes, dropped) = taken_over(&world, |_| true);
        assert_eq!((events, bytes, dropped), (Vec::new(), all, 0), "dead at moment {moment}");
        for stream in STREAMS {
            assert!(world.kept(stream, "") == written[stream as usize], "dead at moment {moment}");
        }
    }
}

#[test]
fn a_pipe_that_is_gone_is_told_and_what_lies_in_the_tray_is_written_all_the_same() {
    let mut world = World::new(FORMS[2].1);
    let text = |stream: Stream| format!("{stream:?} one\n{stream:?} half").into_bytes();
    let story: Vec<_> = STREAMS.into_iter().flat_map(|it| [Step::Write(it, text(it)), Step::Read(it)]).collect();
    world.run_until_death(&story, 0);
    let (events, bytes, dropped) = taken_over(&world, |stream| stream == Stream::Out);
    assert!(matches!(&events[..], [PumpEvent::Stream { stream: Stream::Err, .. }]), "{events:?}");
    let all: usize = STREAMS.into_iter().map(|stream| text(stream).len()).sum();
    assert_eq!((bytes, dropped), (all as u64, 0));
    for stream in STREAMS {
        assert_eq!(world.kept(stream, ""), text(stream));
    }
}
