//! The machine against a small world: labels that are written to, retention, a receiver with moods, and a guard that is
//! killed at any point. The reference is arithmetic: every line is delivered or counted, once, as far as was saved.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::hands::sinks::samples::record;
use proptest::prelude::*;
use tutela_core::spec::Overflow;

/// Bytes of a line in the files.
const LINE: u64 = 100;

fn pace(batch: usize, buffer: u64, overflow: Overflow) -> Pace {
    let second = Duration::from_secs(1);
    Pace { batch, linger: second, retry_max: second * 60, buffer, overflow }
}

/// A label's lines are the numbers from 0 on; those before `first` were removed.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    first: u64,
    end: u64,
}

/// What the receiver does with the next deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Away,
    Refuses,
    /// Takes the records, and the answer is lost.
    Mute,
    /// Takes so many at once.
    Small(usize),
}

/// What outlives a guard.
#[derive(Debug, Clone, Default)]
struct Kept {
    positions: Vec<u64>,
    counts: Counts,
}

struct World {
    now: Moment,
    pace: Pace,
    labels: Vec<Written>,
    mood: Mood,
    machine: Forwarder<u64>,
    kept: Kept,
    /// What arrived, per label, in order, repetitions included.
    arrived: Vec<Vec<u64>>,
    /// Where in it each guard began.
    lives: Vec<Vec<usize>>,
    most_held: usize,
    events: Vec<ForwarderEvent>,
}

impl World {
    fn new(labels: usize, pace: Pace) -> Self {
        let mut world = World {
            now: Moment::from_millis(1000),
            pace,
            labels: vec![Written::default(); labels],
            mood: Mood::Good,
            machine: Forwarder::new(pace, Counts::default(), Moment::ZERO, 7),
            kept: Kept { positions: vec![0; labels], counts: Counts::default() },
            arrived: vec![Vec::new(); labels],
            lives: Vec::new(),
            most_held: 0,
            events: Vec::new(),
        };
        world.begin();
        world
    }

    /// A guard that begins where the last one wrote down.
    fn begin(&mut self) {
        self.machine = Forwarder::new(self.pace, self.kept.counts, self.now, 7);
        self.lives.push(self.arrived.iter().map(Vec::len).collect());
        for position in &self.kept.positions {
            self.machine.add(*position, self.now);
        }
    }

    fn write(&mut self, label: usize, lines: u64) {
        self.labels[label].end += lines;
        self.machine.handle_bell(LabelKey(label), self.now);
    }

    /// Carries out at most so many actions; `false`: there were fewer.
    fn turn(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let action = self.machine.poll_action(self.now);
            while let Some(event) = self.machine.poll_event(self.now) {
                self.events.push(event);
            }
            let Some(action) = action else { return false };
            self.carry_out(action);
            self.most_held = self.most_held.max(self.machine.records().len());
        }
        true
    }

    /// Lets time pass until nothing is to be done for an hour.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            while self.turn(1000) {}
            match self.machine.poll_timeout() {
                None => return,
                Some(at) if at > self.now + Duration::from_secs(3600) => return,
                Some(at) => self.now = self.now.max(at),
            }
        }
        panic!("it never comes to rest: {:?}", self.machine);
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Look => {
                for key in self.machine.behind() {
                    let Written { first, end } = self.labels[key.0];
                    let at = self.machine.labels[key.0].read.max(first);
                    self.machine.handle_backlog(key, (end - at) * LINE);
                }
                self.machine.handle_looked(self.now);
            }
            Action::Skip { label, leave } => {
                let Written { first, end } = self.labels[label.0];
                let read = self.machine.labels[label.0].read;
                let at = end.saturating_sub(leave / LINE).max(read);
                // What was removed before is in the same number.
                self.machine.handle_skipped(label, at, at - read, (end - at.max(first)) * LINE);
            }
            Action::Read { label, most } => {
                let Written { first, end } = self.labels[label.0];
                let read = self.machine.labels[label.0].read;
                let from = read.max(first);
                let to = end.min(from + (most / LINE).max(1));
                self.machine.handle_lost(label, from - read, None);
                for number in from..to {
                    // Every tenth line is not wanted.
                    if number % 10 == 9 {
                        self.machine.handle_left_out(label);
                    } else {
                        self.machine.handle_record(label, number + 1, record(&format!("{} {number}", label.0)));
                    }
                }
                let passed = (to - from) * LINE;
                self.machine.handle_read(label, to, passed, to == end);
            }
            Action::Deliver { records } => {
                let batch = &self.machine.records()[..records];
                let away = || Err(Undelivered::Later { reason: "away".into(), after: None });
                let (takes, result) = match self.mood {
                    Mood::Good => (true, Ok(())),
                    Mood::Small(most) if records <= most => (true, Ok(())),
                    Mood::Small(_) => (false, Err(Undelivered::TooLarge { reason: "large".into() })),
                    Mood::Away => (false, away()),
                    Mood::Mute => (true, away()),
                    Mood::Refuses => {
                        (false, Err(Undelivered::Refused { reason: "no".into(), records: records as u64 }))
                    }
                };
                if takes {
                    for record in batch {
                        let text = String::from_utf8_lossy(&record.message).into_owned();
                        let (label, number) = text.split_once(' ').unwrap();
                        self.arrived[label.parse::<usize>().unwrap()].push(number.parse().unwrap());
                    }
                }
                self.machine.handle_result(result, self.now);
            }
            Action::Save => {
                self.kept.positions = self.machine.positions().copied().collect();
                self.kept.counts = *self.machine.counts();
                self.machine.handle_saved(true, self.now);
            }
        }
    }

    fn check(&self) {
        let total: u64 = self.labels.iter().map(|label| label.end).sum();
        let counts = self.machine.counts();
        assert_eq!(counts.records + counts.left_out + counts.dropped(), total, "{counts:?}");
        let mut missing = 0;
        for (label, arrived) in self.arrived.iter().enumerate() {
            let begins = self.lives.iter().map(|life| life[label]).chain([arrived.len()]).collect::<Vec<_>>();
            for life in begins.windows(2) {
                // In order but for repetitions: what a guard brings for the first time is the last so far.
                let mut seen = std::collections::BTreeSet::new();
                for number in &arrived[life[0]..life[1]] {
                    assert!(!seen.insert(*number) || seen.last() == Some(number), "label {label}: {number} came late");
                }
            }
            let seen: std::collections::BTreeSet<u64> = arrived.iter().copied().collect();
            missing += (0..self.labels[label].end).filter(|it| it % 10 != 9 && !seen.contains(it)).count() as u64;
        }
        // What was left out by a jump has lines among it that were not wanted anyway.
        assert!(missing <= counts.dropped(), "{missing} are missing, {counts:?}");
        if counts.dropped() == 0 {
            assert_eq!(missing, 0);
        }
        let room = self.pace.batch + (READ_BYTES / LINE) as usize + 1;
        assert!(self.most_held <= room.max(self.pace.batch * 2), "{} records were held", self.most_held);
    }
}

#[test]
fn a_silent_sink_has_no_deadline_and_a_bell_makes_one_delivery_after_its_linger() {
    let mut world = World::new(2, pace(1000, 1 << 30, Overflow::DropOldest));
    world.settle();
    assert_eq!(world.machine.poll_timeout(), None);
    world.write(0, 3);
    assert!(!world.turn(10), "it lingers");
    let due = world.machine.poll_timeout().unwrap();
    assert_eq!(due, world.now + Duration::from_secs(1));
    world.write(1, 2);
    world.now = due;
    world.settle();
    assert_eq!(world.arrived, [vec![0, 1, 2], vec![0, 1]]);
    assert_eq!(world.machine.poll_timeout(), None);
    assert_eq!((world.kept.positions.clone(), world.machine.backlog()), (vec![3, 2], 0));
}

#[test]
fn a_flood_of_one_label_leaves_the_other_its_turn_in_the_first_batch() {
    let mut world = World::new(2, pace(1000, 1 << 30, Overflow::DropOldest));
    world.settle();
    world.write(0, 100_000);
    world.write(1, 1);
    world.now = world.now + Duration::from_secs(1);
    while world.arrived[0].is_empty() {
        world.turn(1);
    }
    assert_eq!(world.arrived[1], [0], "it came with the first batch");
    world.settle();
    world.check();
}

#[test]
fn waits_grow_to_the_longest_and_a_receiver_that_names_a_time_gets_it() {
    let mut world = World::new(1, pace(10, 1 << 30, Overflow::DropOldest));
    world.mood = Mood::Away;
    world.write(0, 1);
    let mut waits = Vec::new();
    for _ in 0..10 {
        loop {
            while world.turn(1) {}
            if let State::Waiting { until } = world.machine.state
                && (waits.is_empty() || world.machine.failing().unwrap().tries as usize > waits.len())
            {
                waits.push(until.since(world.now).as_secs_f64());
                break;
            }
            world.now = world.machine.poll_timeout().unwrap();
        }
    }
    for (at, wait) in waits.iter().enumerate() {
        let longest = f64::from(1 << at).min(60.0);
        assert!((longest * 0.8..=longest).contains(wait), "{waits:?}");
    }
    world.machine.state = State::Sending { records: 1, last: true };
    let after = Some(Duration::from_secs(300));
    world.machine.handle_result(Err(Undelivered::Later { reason: "busy".into(), after }), world.now);
    assert_eq!(world.machine.state, State::Waiting { until: world.now + Duration::from_secs(300) });
    assert_eq!(world.machine.last_error(), Some("busy"));
}

#[test]
fn a_receiver_that_comes_and_goes_is_told_once_a_minute_and_never_for_one_broken_connection() {
    let mut world = World::new(1, pace(10, 1 << 30, Overflow::DropOldest));
    world.settle();
    let fail = |world: &mut World, times: u32| {
        world.write(0, 1);
        world.mood = Mood::Away;
        let too_few = |world: &World| world.machine.failing().is_none_or(|failing| failing.tries < times);
        while too_few(world) {
            if !world.turn(1) {
                world.now = world.machine.poll_timeout().unwrap();
            }
        }
        // What is to be told is told before the next try.
        while let Some(event) = world.machine.poll_event(world.now) {
            world.events.push(event);
        }
        world.mood = Mood::Good;
        world.settle();
    };
    fail(&mut world, 1);
    assert_eq!(world.events, []);
    fail(&mut world, 2);
    assert!(matches!(world.events[..], [ForwarderEvent::Failing { .. }, ForwarderEvent::Recovered { .. }]));
    fail(&mut world, 2);
    assert_eq!(world.events.len(), 2, "within the minute it is not told again");
    world.now = world.now + Duration::from_secs(60);
    fail(&mut world, 2);
    assert_eq!(world.events.len(), 4);
    world.check();
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_grows_again() {
    let mut world = World::new(1, pace(64, 1 << 30, Overflow::DropOldest));
    world.mood = Mood::Small(10);
    world.write(0, 1000);
    world.settle();
    assert_eq!(world.machine.counts().dropped(), 0);
    world.mood = Mood::Good;
    world.write(0, 100_000);
    world.settle();
    assert!(world.machine.shrunk.is_none(), "{:?}", world.machine.shrunk);
    world.mood = Mood::Small(0);
    world.write(0, 1);
    world.settle();
    assert_eq!(world.machine.counts().refused, 1, "a single one that is too large is refused");
    world.check();
}

#[test]
fn of_a_sink_that_is_too_far_behind_the_oldest_goes_or_the_newest() {
    for (overflow, first, last) in [(Overflow::DropOldest, None, Some(9998)), (Overflow::DropNewest, Some(0), None)] {
        let mut world = World::new(2, pace(10, 1000 * LINE, overflow));
        world.settle();
        world.mood = Mood::Away;
        world.write(1, 50);
        for _ in 0..100 {
            world.write(0, 100);
            world.now = world.now + Duration::from_secs(10);
            while world.turn(100) {}
        }
        world.mood = Mood::Good;
        world.settle();
        world.check();
        let counts = *world.machine.counts();
        assert!((8500..9300).contains(&counts.overflowed), "{overflow:?}: {counts:?}");
        assert_eq!(world.arrived[1].len(), 45, "the quiet one lost nothing");
        let arrived = &world.arrived[0];
        assert!(first.is_none_or(|first| arrived.first() == Some(&first)), "{:?}", arrived.first());
        assert!(last.is_none_or(|last| arrived.last() == Some(&last)), "{:?}", arrived.last());
        // What is written once it has caught up arrives again.
        world.write(0, 5);
        world.settle();
        assert_eq!(world.arrived[0].last(), Some(&10_004));
        assert!(world.events.iter().any(|event| matches!(event, ForwarderEvent::Dropped { .. })));
        world.check();
    }
}

#[test]
fn at_the_end_what_is_there_is_tried_once_and_positions_are_written_down() {
    let mut world = World::new(1, pace(10, 1 << 30, Overflow::DropOldest));
    world.write(0, 25);
    world.machine.handle_end();
    world.turn(1000);
    assert!(world.machine.is_over());
    assert_eq!(world.kept.positions, [25]);
    world.begin();
    world.mood = Mood::Away;
    world.write(0, 5);
    world.machine.handle_end();
    world.turn(1000);
    assert!(world.machine.is_over(), "{:?}", world.machine);
    assert_eq!(world.kept.positions, [25], "what did not arrive is the next guard's");
    world.begin();
    world.mood = Mood::Good;
    world.settle();
    world.check();
}

#[derive(Debug, Clone)]
enum Step {
    Write { label: usize, lines: u64 },
    Mood(Mood),
    Remove { label: usize, lines: u64 },
    Pass { millis: u64 },
    Turn { actions: usize },
    Kill,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        3 => Just(Mood::Good),
        2 => Just(Mood::Away),
        1 => Just(Mood::Refuses),
        1 => Just(Mood::Mute),
        1 => (1usize..20).prop_map(Mood::Small),
    ];
    prop_oneof![
        6 => (0usize..3, 0u64..700).prop_map(|(label, lines)| Step::Write { label, lines }),
        2 => mood.prop_map(Step::Mood),
        1 => (0usize..3, 0u64..500).prop_map(|(label, lines)| Step::Remove { label, lines }),
        6 => (0u64..5000).prop_map(|millis| Step::Pass { millis }),
        6 => (1usize..20).prop_map(|actions| Step::Turn { actions }),
        1 => Just(Step::Kill),
        1 => Just(Step::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_delivered_or_counted_whatever_happens(
        steps in prop::collection::vec(step(), 1..80),
        batch in 1usize..50,
        buffer in 100u64..3000,
        newest in any::<bool>(),
    ) {
        let overflow = if newest { Overflow::DropNewest } else { Overflow::DropOldest };
        let mut world = World::new(3, pace(batch, buffer * LINE, overflow));
        for step in steps {
            match step {
                Step::Write { label, lines } => world.write(label, lines),
                Step::Mood(mood) => world.mood = mood,
                Step::Remove { label, lines } => {
                    let written = &mut world.labels[label];
                    written.first = (written.first + lines).min(written.end);
                }
                Step::Pass { millis } => world.now = world.now + Duration::from_millis(millis),
                Step::Turn { actions } => drop(world.turn(actions)),
                Step::Kill => world.begin(),
                Step::End => {
                    world.machine.handle_end();
                    prop_assert!(!world.turn(1_000_000) && world.machine.is_over());
                    world.begin();
                }
            }
        }
        world.mood = Mood::Good;
        world.settle();
        world.check();
    }
}
