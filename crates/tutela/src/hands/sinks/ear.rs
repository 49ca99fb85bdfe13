//! How a sink's thread hears: bells of the pump, and orders of the conductor.
//!
//! A bell says that a label has written something. The pump rings for every chunk that it reads, so ringing is cheap: one
//! look where there is no sink; one lock and one look per sink that has the label otherwise; the thread is woken once for
//! all bells that ring until it looks. Orders wait for nobody: a newer one replaces one that was not carried out yet.

use super::desk::Setup;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the pump rings.
#[derive(Debug, Default)]
pub struct Bell {
    /// Whether there is anybody to hear it.
    on: AtomicBool,
    ears: Mutex<Vec<Arc<Ear>>>,
}

impl Bell {
    /// A label has written something. Called on the pump's thread; waits for nothing but a short lock.
    pub fn ring(&self, label: &Arc<str>) {
        if self.on.load(Ordering::Relaxed) {
            for ear in self.ears.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                ear.hear(label);
            }
        }
    }

    /// These hear it from here on.
    pub fn set(&self, ears: Vec<Arc<Ear>>) {
        let mut known = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        self.on.store(!ears.is_empty(), Ordering::Relaxed);
        *known = ears;
    }
}

/// One sink's.
#[derive(Debug, Default)]
pub struct Ear {
    heard: Mutex<Heard>,
    /// A label has rung.
    pub rung: Notify,
    /// There is an order.
    pub ordered: Notify,
    /// The order is to end; for whoever waits for a receiver meanwhile.
    pub ending: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    /// The labels that it listens for, and whether they have rung.
    labels: HashMap<Arc<str>, bool>,
    any: bool,
    setup: Option<Setup>,
    end: Option<End>,
}

/// The order to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// What is not delivered by then is left.
    pub by: Instant,
    /// Whether the sink is no more, and what is kept of it goes too.
    pub removed: bool,
}

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, label: &Arc<str>) {
        let mut heard = self.lock();
        let Some(rung) = heard.labels.get_mut(label) else { return };
        if !std::mem::replace(rung, true) && !std::mem::replace(&mut heard.any, true) {
            drop(heard);
            self.rung.notify_one();
        }
    }

    /// Listens for a label too.
    pub fn listen(&self, label: &Arc<str>) {
        self.lock().labels.entry(label.clone()).or_insert(false);
    }

    /// The labels that have rung since this was asked last.
    pub fn take_rung(&self) -> Vec<Arc<str>> {
        let mut heard = self.lock();
        if !std::mem::take(&mut heard.any) {
            return Vec::new();
        }
        let rung = heard.labels.iter_mut().filter_map(|(label, rung)| std::mem::take(rung).then(|| label.clone()));
        rung.collect()
    }

    /// Another spec, or other labels.
    pub fn order(&self, setup: Setup) {
        self.lock().setup = Some(setup);
        self.ordered.notify_one();
    }

    /// It is over.
    pub fn order_end(&self, end: End) {
        self.lock().end = Some(end);
        self.ordered.notify_one();
        self.ending.notify_one();
    }

    /// What was ordered and is not carried out.
    pub fn take_setup(&self) -> Option<Setup> {
        self.lock().setup.take()
    }

    /// By when it is to end, if it is.
    pub fn end(&self) -> Option<End> {
        self.lock().end
    }

    /// Ready when the time to end is over.
    pub async fn is_past_end(&self) {
        loop {
            match self.end() {
                Some(end) => return tokio::time::sleep_until(end.by).await,
                None => self.ending.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_a_sink_does_not_have_wakes_it_not_and_one_that_rings_often_wakes_it_once() {
        let (bell, ear) = (Bell::default(), Arc::new(Ear::default()));
        let [mine, other] = ["a-0", "b-0"].map(Arc::<str>::from);
        bell.ring(&mine);
        bell.set(vec![ear.clone()]);
        ear.listen(&mine);
        bell.ring(&other);
        assert!(ear.take_rung().is_empty());
        for _ in 0..3 {
            bell.ring(&mine);
        }
        assert_eq!(ear.take_rung(), [mine]);
        assert!(ear.take_rung().is_empty());
    }
}
