//! What outlives a guard, on the conductor's side: heirs of an earlier one become programs of this one, and what the next
//! one needs is noted down.

use super::{Conductor, Input, InstanceRef, Live, Owner};
use crate::conductor::act::DRAIN;
use crate::hands::spawner::chain;
use crate::survive::heirs::Heir;
use crate::survive::keeping::Estates;
use crate::survive::output::KeptOutput;
use std::collections::BTreeSet;
use std::sync::Arc;
use tutela_core::names::{InstanceId, InstanceKey, RunId};
use tutela_core::spec::ServiceSpec;
use tutela_core::time::Moment;
use tutela_logs::CaptureHandle;
use tutela_logs::tap::Taps;
use tutela_os::process::{ChildToken, Exit};

impl Conductor {
    /// Goes on with programs that an earlier guard had started, and with what its ended ones had written last.
    pub(super) fn take_heirs(&mut self, heirs: Vec<Heir>) {
        for mut heir in heirs {
            let capture = self.capture_heir(&mut heir);
            let Heir { id, run, child, key, .. } = heir;
            let (Some(child), Some(key)) = (child, key) else {
                self.drain(&id, run, capture);
                continue;
            };
            let token = child.token();
            if let Some(capture) = &capture {
                self.outputs.insert(key, capture.counters());
            }
            match child.end_elsewhere() {
                Ok(end) => {
                    let inbox = self.inbox.clone();
                    // Ends with the program, or with the runtime.
                    tokio::spawn(async move {
                        // What cannot be watched is said to have ended: its tree is looked after then.
                        let exit = end.await.unwrap_or(None);
                        let _ = inbox.send(Input::EndedElsewhere { token, exit }).await;
                    });
                }
                Err(error) => self.trouble(format!("{id} cannot be watched: {}", chain(&error))),
            }
            self.owners.insert(token, Owner::Main { key, run });
            self.live.insert(key, Live { id, run, child, capture, watched: false });
        }
    }

    /// Reads on where the earlier guard was.
    fn capture_heir(&mut self, heir: &mut Heir) -> Option<CaptureHandle> {
        let KeptOutput { tray, sluices } = heir.output.take()?;
        let InstanceId { service, index } = heir.id.clone();
        let of_key = heir.key.or_else(|| self.guard.key(&heir.id)).and_then(|key| self.guard.instance(key));
        let spec = of_key.map(|(_, service)| service.spec().clone());
        let spec = spec.unwrap_or_else(|| Arc::new(super::bare_spec(service.clone())));
        self.learn_secrets(heir, &spec);
        let patterns = heir.key.map(|key| self.patterns(key, heir.run, &spec)).unwrap_or_default();
        let policy = Arc::new(self.surroundings.keeping.policy(&spec, index));
        let label = InstanceRef { service, index }.label();
        let taps = Taps { patterns, ..self.console_taps() };
        match self.pump.attach_kept(&label, policy, tray, sluices, taps) {
            Ok(capture) => Some(capture),
            Err(refusal) => {
                self.trouble(refusal.to_string());
                None
            }
        }
    }

    /// What is secret for the program is masked in what it writes from here on: what it was started with, where the OS
    /// tells that, and what it would be started with now.
    fn learn_secrets(&self, heir: &Heir, spec: &ServiceSpec) {
        if spec.launch.secrets.is_empty() {
            return;
        }
        let keeping = &self.surroundings.keeping;
        // That one cannot be read now is told when it is needed: at the next start.
        let now = crate::secrets::of_program(&spec.launch, heir.id.index).unwrap_or_default();
        let started_with = |name: &Arc<str>| Some((name.clone(), heir.child.as_ref()?.variable(name)?));
        let then: Vec<_> = spec.launch.secrets.keys().filter_map(started_with).collect();
        keeping.learn(&heir.id.service, heir.id.index, true, &now);
        keeping.learn(&heir.id.service, heir.id.index, true, &then);
    }

    /// A run is over: what it wrote is read to its end, and then nothing of it is kept any more.
    pub(super) fn drain(&mut self, id: &InstanceId, run: RunId, capture: Option<CaptureHandle>) {
        let end = match capture.map(|capture| capture.finish(DRAIN)).transpose() {
            Ok(end) => end,
            Err(refusal) => {
                self.trouble(refusal.to_string());
                None
            }
        };
        // Nothing of it is in a safe. Dropping the answer changes nothing: the pump reads what is left and closes the pipes.
        let Some(depositor) = self.estates.as_ref().map(Estates::depositor) else { return };
        let Some(end) = end else { return depositor.release(id, run) };
        let (id, drain) = (id.clone(), self.spawner.drain(self.outputs.len()));
        // Bounded by the drain's own limit.
        tokio::spawn(async move {
            end.await;
            depositor.release(&id, run);
            drop(drain);
        });
    }

    /// A program that an earlier guard had started has ended.
    pub(super) fn ended_elsewhere(&mut self, now: Moment, token: ChildToken, exit: Option<Exit>) {
        let Some(Owner::Main { key, run }) = self.owners.remove(&token) else { return };
        self.main_ended(now, key, run, exit);
    }

    /// Notes down how every instance stands that this turn has touched.
    pub(super) fn note_estates(&mut self, touched: &BTreeSet<InstanceKey>) {
        let Some(estates) = &mut self.estates else { return };
        for key in touched {
            let Some((id, service)) = self.guard.instance(*key) else { continue };
            if let Some(estate) = self.guard.estate(*key) {
                estates.note(*key, id, &estate, service.spec());
            }
        }
        estates.end_turn(self.next_seq);
        if estates.take_incomplete() && !std::mem::replace(&mut self.estates_incomplete, true) {
            self.trouble(
                "the memory for what the next guard has to know is full; it would end some programs".to_owned(),
            );
        }
    }

    /// An instance is gone for good, and nothing of it is for the next guard.
    pub(super) fn forget_estate(&mut self, key: InstanceKey, id: &InstanceId) {
        if let Some(estates) = &mut self.estates {
            estates.forget(key, id);
        }
    }
}
