//! What a sink tells of itself: written by its thread, read by the status, health and metrics.

use super::Hand;
use crate::conductor::wall_now;
use crate::hands::sinks::forwarder::Counts;
use crate::hands::sinks::ways;
use std::sync::{Mutex, PoisonError};
use tutela_core::spec::SinkSpec;
use tutela_os::clock;
use tutela_schema::api::{SinkDrops, SinkState, SinkStatus};
use tutela_schema::wall::WallTime;

/// What was told last, as far as what comes next depends on it.
#[derive(Debug)]
pub(super) struct Told {
    state: SinkState,
    since: WallTime,
    dropped: u64,
    last_drop: Option<WallTime>,
}

impl Told {
    /// Of a sink that has this status, and these counts from earlier guards.
    pub(super) fn new(status: &Mutex<SinkStatus>, counts: &Counts) -> Self {
        let since = status.lock().unwrap_or_else(PoisonError::into_inner).since;
        Told { state: SinkState::Up, since, dropped: counts.dropped(), last_drop: None }
    }
}

impl Hand {
    pub(super) fn publish(&mut self) {
        let machine = &self.machine;
        let (now, wall) = (clock::now(), wall_now());
        let counts = *machine.seen();
        let state = match machine.failing() {
            Some(_) => SinkState::Failing,
            None => SinkState::Up,
        };
        if state != self.told.state {
            (self.told.state, self.told.since) = (state, wall);
        }
        if counts.dropped() > self.told.dropped {
            (self.told.dropped, self.told.last_drop) = (counts.dropped(), Some(wall));
        }
        let Counts { records, bytes, left_out, overflowed, lost, refused } = counts;
        let status = SinkStatus {
            state,
            since: self.told.since,
            records,
            bytes,
            left_out,
            dropped: SinkDrops { overflow: overflowed, lost, refused },
            last_drop: self.told.last_drop,
            backlog_bytes: machine.backlog(),
            last_error: machine.last_error().map(str::to_owned),
            last_delivery: machine.last_delivery().map(|at| wall.minus(now.since(at))),
            ..first_status(&self.spec)
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// The status of a sink that has not begun.
pub(in crate::hands::sinks) fn first_status(spec: &SinkSpec) -> SinkStatus {
    SinkStatus {
        name: spec.name.to_string(),
        way: ways::word(&spec.way).to_owned(),
        state: SinkState::Up,
        since: wall_now(),
        records: 0,
        bytes: 0,
        left_out: 0,
        dropped: SinkDrops::default(),
        last_drop: None,
        backlog_bytes: 0,
        last_error: None,
        last_delivery: None,
    }
}
