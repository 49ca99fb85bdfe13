//! Sends figures to an OTLP receiver, one interval after the other, for as long as the spec wants it.
//!
//! What is sent is cumulative, so what did not arrive is in what is sent next: a failed request is forgotten, and there
//! is no queue. At most one request is under way. A receiver that is away costs a connection that is refused, at waits
//! that double; that it is away is told once, and once that it is back.

use super::{Families, Labels, Source};
use crate::conductor::Input;
use crate::hands::otlp::{Endpoint, Pace, Protocol, SendError, Sender, Signal};
use crate::hands::probes::TlsContexts;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tutela_core::chance::Chance;
use tutela_core::spec::{MetricsPush, MetricsSpec};
use tutela_os::blocking;

/// No wait is longer, unless the receiver asks for it or the interval is: a try costs a connection that is refused, and
/// a receiver that is back should not stay without figures for as long as it was away.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// What came of sending figures, counted.
#[derive(Debug, Clone, Default)]
pub struct Pushes(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Whether figures were ever to be sent: a guard that sends none has no figures about that.
    wanted: std::sync::atomic::AtomicBool,
    made: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
}

impl Pushes {
    pub(super) fn collect<'a>(&'a self, out: &mut Families<'a>) {
        let counts = &self.0;
        if !counts.wanted.load(Ordering::Relaxed) {
            return;
        }
        let of = Labels::guard;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        out.counter("tutela_metrics_pushes", None, "Requests with figures that a collector took")
            .count(of(), read(&counts.made));
        out.counter("tutela_metrics_pushes_failed", None, "Requests with figures that did not arrive")
            .count(of(), read(&counts.failed));
        out.counter("tutela_metrics_points_rejected", None, "Figures that a collector got and did not take")
            .count(of(), read(&counts.rejected));
    }
}

/// Sends figures whenever `spec` has somebody to send them to. Ends when the sender of `spec` is dropped, which is
/// when the guard ends.
pub async fn push(source: Arc<Source>, tls: Arc<TlsContexts>, mut spec: watch::Receiver<MetricsSpec>, seed: u64) {
    let mut chance = Chance::from_seed(seed);
    loop {
        let wanted = spec.borrow_and_update().push.clone();
        let sending = async {
            match wanted {
                Some(push) => send_always(&source, &tls, &push, &mut chance).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sending => {}
            changed = spec.changed() => if changed.is_err() { return },
        }
    }
}

/// Sends until it is dropped.
async fn send_always(source: &Source, tls: &Arc<TlsContexts>, push: &MetricsPush, chance: &mut Chance) {
    source.pushes().0.wanted.store(true, Ordering::Relaxed);
    let headers = push.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let protocol = push.grpc.then_some(Protocol::Grpc);
    let endpoint = match Endpoint::new(&push.otlp, protocol, headers, push.timeout, push.gzip) {
        Ok(endpoint) => endpoint,
        Err(refusal) => {
            // The spec's own check lets little through that comes here; a change of the spec begins anew.
            tell(source, format!("figures are sent to nobody: {refusal}")).await;
            return std::future::pending().await;
        }
    };
    let whom = endpoint.target().to_string();
    let mut sender = Sender::new(endpoint, tls.clone());
    let (mut pace, mut warned) = (Pace::default(), false);
    // Spread over an interval, so that guards that were started together do not send together.
    let mut next = Instant::now() + push.every.mul_f64(chance.fraction());
    loop {
        tokio::time::sleep_until(next).await;
        let began = Instant::now();
        match send_once(source, &mut sender).await {
            Ok(warning) => {
                if pace.failures() > 0 {
                    tell(source, format!("figures arrive at {whom} again")).await;
                }
                pace.worked();
                if let Some(warning) = warning.filter(|_| !std::mem::replace(&mut warned, true)) {
                    tell(source, format!("figures sent to {whom}: {warning}")).await;
                }
                next = (next + push.every).max(began);
            }
            Err(error) => {
                source.pushes().0.failed.fetch_add(1, Ordering::Relaxed);
                if pace.failures() == 0 {
                    tell(source, format!("figures do not arrive at {whom}: {error}; it is tried again")).await;
                }
                let longest = AWAY_MAX.max(error.retry_after().unwrap_or_default());
                let wait = pace.failed(&error, chance.fraction()).min(longest);
                next = began + wait.max(push.every);
            }
        }
    }
}

/// Sends the figures of this moment. Answers with what the receiver remarked.
async fn send_once(source: &Source, sender: &mut Sender) -> Result<Option<String>, SendError> {
    // A guard that is ending drops this task; until then there is nothing to send.
    let Ok(snapshot) = source.gather().await else { return Ok(None) };
    let made = blocking::files().start(move || super::otlp::requests(&snapshot.families())).await;
    let mut warning = None;
    for request in made.unwrap_or_default() {
        let accepted = sender.send(Signal::Metrics, &request).await?;
        let counts = &source.pushes().0;
        counts.made.fetch_add(1, Ordering::Relaxed);
        counts.rejected.fetch_add(accepted.rejected, Ordering::Relaxed);
        warning = warning.or(accepted.warning);
    }
    Ok(warning)
}

async fn tell(source: &Source, text: String) {
    /// Who is busy with better things hears it the next time, or sees it in the figures.
    const PATIENCE: Duration = Duration::from_secs(1);
    let _ = tokio::time::timeout(PATIENCE, source.inbox().send(Input::Trouble(text))).await;
}
