//! Streams of lines to one, in the order of time.
//!
//! Each stream, a [`Lane`], is in order already and comes through a short queue, whose bound makes a fast one wait for a
//! slow reader. What was there before the question is merged exactly ([`Merge::past`]). While following, a line waits
//! for earlier ones of lanes that have nothing: [`HOLD`], and as much longer as such a lane holds lines back itself. A
//! lane whose queue is full waits for nobody.

use crate::client::ClientError;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio::time::Instant;
use tutela_schema::api::LogLine;

/// Lines of one service that wait to be merged.
pub const QUEUE_LINES: usize = 512;

/// How long a followed line waits for earlier ones of other services: a guard looks at its files every 200 ms.
const HOLD: Duration = Duration::from_millis(250);

/// The longest that a guard's word is taken for: a log that is an hour late is read in a minute, not in an hour.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// How often the queues are looked at: much shorter than what is held back. To wait for any of a changing number of
/// queues costs more.
const BEAT: Duration = Duration::from_millis(10);

/// What a stream gives.
#[derive(Debug)]
pub enum Piece {
    /// A line, and when it came.
    Line(LogLine, Instant),
    /// How long its guard may hold a line back.
    Hold(Duration),
    /// What was written before the question was asked has been given.
    CaughtUp,
    /// The files could not be read on; that was told.
    Unreadable,
    /// The guard said no.
    Failed(ClientError),
}

/// A stream as the merge sees it.
#[derive(Debug)]
pub struct Lane {
    pieces: Receiver<Piece>,
    head: Option<(LogLine, Instant)>,
    hold: Duration,
    caught_up: bool,
    ended: bool,
}

impl Lane {
    /// What comes through this queue.
    pub fn of(pieces: Receiver<Piece>) -> Self {
        Lane { pieces, head: None, hold: Duration::ZERO, caught_up: false, ended: false }
    }

    /// Whether it may still give something earlier than the heads of others.
    fn is_open(&self) -> bool {
        self.head.is_none() && !self.ended
    }
}

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// This line.
    Line(LogLine),
    /// Nothing for a moment: what is held back by the printer is to be shown.
    Quiet,
    /// Every lane has ended.
    End,
    /// A guard said no.
    Failed(ClientError),
}

/// See the module's text.
#[derive(Debug)]
pub struct Merge {
    lanes: Vec<Lane>,
    /// Lanes that come later; `None`: none do.
    more: Option<Receiver<Lane>>,
    is_quiet: bool,
    /// Not everything could be read.
    pub is_partial: bool,
}

impl Merge {
    /// Of these lanes, and of those that come through `more`.
    pub fn of(lanes: Vec<Lane>, more: Option<Receiver<Lane>>) -> Self {
        Merge { lanes, more, is_quiet: false, is_partial: false }
    }

    /// How many lanes there are.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The earliest line of what was there when the question was asked, or the end of that.
    pub async fn past(&mut self) -> Next {
        for at in 0..self.lanes.len() {
            let is_wanting = |lane: &Lane| lane.is_open() && !lane.caught_up;
            while is_wanting(&self.lanes[at]) {
                let piece = self.lanes[at].pieces.recv().await;
                if let Some(error) = self.take_in(at, piece) {
                    return Next::Failed(error);
                }
            }
        }
        self.earliest().map_or(Next::End, Next::Line)
    }

    /// The next line, once no earlier one is to be expected.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(next) = self.next_at(Instant::now()) {
                self.is_quiet = false;
                return next;
            }
            if !std::mem::replace(&mut self.is_quiet, true) {
                return Next::Quiet;
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// The same as of this moment, without waiting. `None`: nothing yet.
    fn next_at(&mut self, now: Instant) -> Option<Next> {
        if let Some(error) = self.look() {
            return Some(Next::Failed(error));
        }
        if let Some(line) = self.is_due(now).then(|| self.earliest()).flatten() {
            return Some(Next::Line(line));
        }
        let is_over = self.more.is_none() && self.lanes.iter().all(|lane| lane.ended && lane.head.is_none());
        is_over.then_some(Next::End)
    }

    /// Takes in what has come, without waiting.
    fn look(&mut self) -> Option<ClientError> {
        while let Some(Ok(lane)) = self.more.as_mut().map(Receiver::try_recv) {
            self.lanes.push(lane);
        }
        for at in 0..self.lanes.len() {
            while self.lanes[at].is_open() {
                let piece = match self.lanes[at].pieces.try_recv() {
                    Ok(piece) => Some(piece),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => None,
                };
                let failed = self.take_in(at, piece);
                if failed.is_some() {
                    return failed;
                }
            }
        }
        None
    }

    fn take_in(&mut self, at: usize, piece: Option<Piece>) -> Option<ClientError> {
        let lane = &mut self.lanes[at];
        match piece {
            Some(Piece::Line(line, came)) => lane.head = Some((line, came)),
            Some(Piece::Hold(hold)) => lane.hold = hold.min(HOLD_MAX),
            Some(Piece::CaughtUp) => lane.caught_up = true,
            Some(Piece::Unreadable) => self.is_partial = true,
            Some(Piece::Failed(error)) => return Some(error),
            None => lane.ended = true,
        }
        None
    }

    /// Whether the earliest head has waited long enough for those lanes that have nothing.
    fn is_due(&self, now: Instant) -> bool {
        let Some(hold) = self.lanes.iter().filter(|lane| lane.is_open()).map(|lane| HOLD + lane.hold).max() else {
            return true;
        };
        let came = self.lanes.iter().filter_map(|lane| lane.head.as_ref().map(|(_, came)| *came)).min();
        let is_full = |lane: &Lane| lane.head.is_some() && lane.pieces.len() == lane.pieces.max_capacity();
        came.is_some_and(|came| came + hold <= now) || self.lanes.iter().any(is_full)
    }

    /// The earliest of the heads. Of equal times the first lane's.
    fn earliest(&mut self) -> Option<LogLine> {
        let lanes = self.lanes.iter_mut().filter(|lane| lane.head.is_some());
        let earliest = lanes.min_by_key(|lane| lane.head.as_ref().and_then(|(line, _)| line.timestamp))?;
        earliest.head.take().map(|(line, _)| line)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tokio::sync::mpsc::{Sender, channel};
    use tutela_schema::wall::WallTime;

    fn line(at: i64) -> LogLine {
        LogLine {
            timestamp: Some(WallTime::from_unix_millis(at)),
            guard: None,
            service_name: "a".to_owned(),
            instance: "0".to_owned(),
            level: None,
            stream: None,
            message: at.to_string(),
            fields: serde_json::Map::new(),
            partial: false,
            tutela: None,
        }
    }

    /// A moment so many milliseconds after the test's first.
    struct Clock(Instant);

    impl Clock {
        fn at(&self, millis: u64) -> Instant {
            self.0 + Duration::from_millis(millis)
        }
    }

    /// Everything that is to be shown by then.
    fn shown(merge: &mut Merge, now: Instant) -> Vec<i64> {
        let lines = std::iter::from_fn(|| match merge.next_at(now) {
            Some(Next::Line(line)) => Some(line),
            _ => None,
        });
        lines.map(|line| line.message.parse().unwrap()).collect()
    }

    fn two() -> ([Sender<Piece>; 2], Merge, Clock) {
        let (one, other) = (channel(QUEUE_LINES), channel(QUEUE_LINES));
        let merge = Merge::of(vec![Lane::of(one.1), Lane::of(other.1)], None);
        ([one.0, other.0], merge, Clock(Instant::now()))
    }

    #[test]
    fn a_line_waits_as_long_as_another_service_may_hold_an_earlier_one_back() {
        let ([quick, joined], mut merge, clock) = two();
        joined.try_send(Piece::Hold(Duration::from_millis(500))).unwrap();
        quick.try_send(Piece::Line(line(2), clock.at(0))).unwrap();
        assert!(shown(&mut merge, clock.at(740)).is_empty());
        joined.try_send(Piece::Line(line(1), clock.at(740))).unwrap();
        assert_eq!(shown(&mut merge, clock.at(740)), [1]);
        assert_eq!(shown(&mut merge, clock.at(750)), [2]);
        // Beside one that holds nothing back it is a quarter of a second.
        let ([quick, _plain], mut merge, clock) = two();
        quick.try_send(Piece::Line(line(2), clock.at(0))).unwrap();
        assert!(shown(&mut merge, clock.at(249)).is_empty());
        assert_eq!(shown(&mut merge, clock.at(250)), [2]);
    }

    #[test]
    fn each_line_is_held_and_not_only_the_first_after_a_silence() {
        let ([quick, slow], mut merge, clock) = two();
        let mut found = Vec::new();
        for at in 0..60 {
            quick.try_send(Piece::Line(line(at * 10), clock.at(at as u64 * 10))).unwrap();
            if at >= 20 {
                // It comes 200 ms late.
                slow.try_send(Piece::Line(line((at - 20) * 10 + 5), clock.at(at as u64 * 10))).unwrap();
            }
            found.extend(shown(&mut merge, clock.at(at as u64 * 10)));
        }
        found.extend(shown(&mut merge, clock.at(10_000)));
        assert!(found.len() == 100 && found.is_sorted(), "{found:?}");
    }

    #[test]
    fn a_flood_waits_for_nobody_and_the_end_is_told() {
        let ([quick, silent], mut merge, clock) = two();
        for at in 0..QUEUE_LINES as i64 {
            quick.try_send(Piece::Line(line(at), clock.at(0))).unwrap();
        }
        // The first is out of the queue, so there is room for one more.
        assert!(shown(&mut merge, clock.at(0)).is_empty());
        quick.try_send(Piece::Line(line(QUEUE_LINES as i64), clock.at(0))).unwrap();
        assert_eq!(shown(&mut merge, clock.at(0)), [0]);
        assert!(merge.next_at(clock.at(0)).is_none());
        drop((quick, silent));
        assert_eq!(shown(&mut merge, clock.at(0)).len(), QUEUE_LINES);
        assert!(matches!(merge.next_at(clock.at(0)), Some(Next::End)));
    }

    #[test]
    fn lanes_that_come_later_take_part() {
        let (more, lanes) = channel(1);
        let (send, pieces) = channel(QUEUE_LINES);
        let mut merge = Merge::of(Vec::new(), Some(lanes));
        let clock = Clock(Instant::now());
        assert!(merge.next_at(clock.at(0)).is_none(), "one may still come");
        more.try_send(Lane::of(pieces)).unwrap();
        send.try_send(Piece::Line(line(1), clock.at(0))).unwrap();
        assert_eq!(shown(&mut merge, clock.at(0)), [1]);
    }
}
