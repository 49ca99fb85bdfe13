//! As what an instance goes on: by what an earlier guard noted of it, and by what lives of it.
//!
//! The two may differ: a guard can die between a start and its note, and a program between two guards. What lives is
//! what counts. Called before [`Guard::begin`], by whoever has the notes and the programs. Deliberately absent: how
//! both outlive a guard.

use super::Guard;
use crate::names::{InstanceId, InstanceKey, RunId};
use crate::service::{Estate, Phase, StartStep};
use crate::spec::ServiceSpec;
use crate::time::Moment;
use std::sync::Arc;

/// Whether the program of this run lives by the estate, or may: one that was started and not noted down any more is
/// later than all that was. Any other is to be ended before the next guard begins.
pub fn is_heir(estate: &Estate, run: RunId) -> bool {
    let in_a_tree = matches!(estate.phase, Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. });
    (run == estate.run && (in_a_tree || estate.pid.is_some())) || (run > estate.run && estate.wanted_up)
}

impl Guard {
    /// Goes on with an instance of an earlier guard. `heir` is the run and the process of its program, where one is
    /// there that [`is_heir`]; whatever else was of it has been ended. `differing` tells what of its spec differs from
    /// what that program was started with; `gone` is the spec of one that this guard's spec has no longer. `None`:
    /// nothing is left of it, and nobody wants it.
    pub fn inherit(
        &mut self,
        now: Moment,
        id: &InstanceId,
        estate: Estate,
        heir: Option<(RunId, u32)>,
        differing: impl FnOnce(&ServiceSpec) -> Vec<&'static str>,
        gone: impl FnOnce() -> ServiceSpec,
    ) -> Option<InstanceKey> {
        let spec = self.key(id).and_then(|key| self.instance(key)).map(|(_, service)| service.spec().clone());
        let estate = as_it_lives(now, estate, heir, spec.as_deref());
        // What is not running takes any spec as it is.
        let changed = spec.filter(|_| heir.is_some()).map(|spec| differing(&spec)).unwrap_or_default();
        match self.take_back(now, id, estate.clone(), changed) {
            None if heir.is_some() => Some(self.take_back_retired(now, id, estate, Arc::new(gone()))),
            key => key,
        }
    }
}

/// The estate, brought up to what is known of the program.
fn as_it_lives(now: Moment, mut estate: Estate, heir: Option<(RunId, u32)>, spec: Option<&ServiceSpec>) -> Estate {
    let Some((run, pid)) = heir else {
        // Its tree was ended, or ended by itself.
        estate.pid = None;
        return estate;
    };
    let noted = run == estate.run && (estate.pid.is_some() || estate.ran);
    if noted {
        return estate;
    }
    // It was started, and the guard died before it had noted that down.
    let stops = run == estate.run && matches!(estate.phase, Phase::Stopping { .. });
    if !stops {
        if matches!(estate.phase, Phase::Cooldown { .. }) {
            // What follows a cool-down is a single try.
            estate.history.begin_half_open();
        }
        let startup = spec.is_some_and(|spec| spec.startup.is_some());
        let until = spec.and_then(|spec| spec.start_timeout).map(|limit| now + limit);
        let step = if startup { StartStep::Startup } else { StartStep::Ready };
        estate.phase = Phase::Starting { until, step };
        estate.since = now;
        estate.verdicts.clear();
    }
    Estate { run, pid: Some(pid), started: now, ran: true, paused: false, ..estate }
}
