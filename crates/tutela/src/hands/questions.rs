//! The question desk: probes' targets become questions once, and are asked on the hands' own runtime.
//!
//! A probe machine never has two questions open, so there are never more tasks than there are probes.

use super::probes::{self, Question, TlsContexts};
use crate::conductor::{Inbox, Input};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tutela_core::guard;
use tutela_core::names::{InstanceKey, RunId};
use tutela_core::probe::Outcome;
use tutela_core::service::ProbeSlot;
use tutela_core::spec::ProbeTarget;

/// Asks. Questions under way are forgotten when the hands' runtime ends.
#[derive(Debug)]
pub struct QuestionDesk {
    hands: Handle,
    tls: Arc<TlsContexts>,
    inbox: Inbox,
    made: HashMap<(InstanceKey, ProbeSlot), Arc<Question>>,
}

impl QuestionDesk {
    /// A desk whose questions are asked on `hands`.
    pub fn new(hands: Handle, tls: Arc<TlsContexts>, inbox: Inbox) -> Self {
        QuestionDesk { hands, tls, inbox, made: HashMap::new() }
    }

    /// Asks a question. Its answer comes through the inbox, within `timeout`.
    ///
    /// # Errors
    /// The target is no address. The preflight has said so before.
    pub fn ask(
        &mut self,
        (key, run, slot, attempt): (InstanceKey, RunId, ProbeSlot, u64),
        target: &ProbeTarget,
        index: u16,
        timeout: Duration,
    ) -> Result<(), String> {
        let question = match self.made.get(&(key, slot)) {
            Some(question) => question.clone(),
            None => {
                let made = Question::from_target(target, index)
                    .ok_or_else(|| "this probe is not asked over the network".to_owned())?
                    .map_err(|refusal| refusal.to_string())?;
                let question = Arc::new(made);
                self.made.insert((key, slot), question.clone());
                question
            }
        };
        let (tls, inbox) = (self.tls.clone(), self.inbox.clone());
        self.hands.spawn(async move {
            let answer = probes::ask(&question, timeout, &tls).await;
            let outcome = match answer.outcome {
                probes::Outcome::Pass => Outcome::Pass,
                probes::Outcome::Refused(reason) => Outcome::Refused(reason),
                probes::Outcome::Failed(reason) => Outcome::Failed(reason),
            };
            let input = guard::Input::Answer { run, slot, attempt, outcome, took: answer.took };
            // The guard has ended, and with it the wish to know.
            let _ = inbox.send(Input::Instance { key, input }).await;
        });
        Ok(())
    }

    /// Forgets the questions of an instance that is gone.
    pub fn forget(&mut self, key: InstanceKey) {
        self.made.retain(|(of, _), _| *of != key);
    }

    /// Forgets all questions: their texts may have changed.
    pub fn forget_all(&mut self) {
        self.made.clear();
    }

    /// The runtime on which questions are asked.
    pub fn hands(&self) -> &Handle {
        &self.hands
    }

    /// The ways to speak TLS.
    pub fn tls(&self) -> &Arc<TlsContexts> {
        &self.tls
    }
}
