//! Where spans that are over wait until they are sent: a bounded queue, its counts, and who is still to come.
//!
//! The conductor and the API put spans in and never wait; [`super::push`] takes them out. Past a limit new spans are
//! dropped and counted: those that are there are of the same outage, and older.

use super::context::{Context, Edge, OsEdge};
use super::span::Open;
use crate::figures::{Collect, Families, Labels};
use crate::hands::otlp::messages::traces::Span;
use prost::Message;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tutela_core::spec::TracesSpec;
use tutela_core::time::Moment;

/// Spans that may wait: the start of 2,000 instances with all its parts, while a collector is away.
pub(super) const SPANS_MAX: usize = 8192;

/// What they may take together as they are sent, so that spans with many events do not grow past what the number
/// promises.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the module's text.
#[derive(Debug)]
pub struct Hub {
    spec: watch::Sender<TracesSpec>,
    queue: Mutex<Queue>,
    edge: Mutex<OsEdge>,
    /// Rings for who sends.
    filled: Notify,
    /// Whether the guard has ended.
    ending: watch::Sender<bool>,
    /// Rings for who waits until everything is sent.
    idle: Notify,
    /// Requests whose spans are still to come.
    open: AtomicUsize,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<(Span, usize)>,
    bytes: usize,
    /// Whether spans were taken out that are not settled.
    sending: usize,
}

#[derive(Debug, Default)]
struct Counts {
    /// Whether there were ever traces to be sent: a guard that makes none has no figures about that.
    wanted: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

impl Hub {
    /// One that is empty, for a guard with this spec.
    pub fn new(spec: TracesSpec) -> Self {
        let counts = Counts::default();
        counts.wanted.store(spec.push.is_some(), Ordering::Relaxed);
        Hub {
            spec: watch::Sender::new(spec),
            queue: Mutex::default(),
            edge: Mutex::default(),
            filled: Notify::new(),
            ending: watch::Sender::new(false),
            idle: Notify::new(),
            open: AtomicUsize::new(0),
            counts,
        }
    }

    /// Whether there are traces.
    pub fn is_on(&self) -> bool {
        self.spec.borrow().push.is_some()
    }

    /// The guard has this spec from here on.
    pub fn adopt(&self, spec: &TracesSpec) {
        if spec.push.is_some() {
            self.counts.wanted.store(true, Ordering::Relaxed);
        }
        self.spec.send_if_modified(|known| {
            *known != *spec && {
                known.clone_from(spec);
                true
            }
        });
    }

    /// The spec, and each that follows.
    pub(super) fn follow(&self) -> watch::Receiver<TracesSpec> {
        self.spec.subscribe()
    }

    // ---- in ----

    /// Puts spans in. Never waits; what there is no room for is dropped and counted.
    pub fn put(&self, spans: impl IntoIterator<Item = Span>) {
        let (mut queue, mut dropped) = (self.lock(), 0);
        let before = queue.spans.len();
        for span in spans {
            let bytes = span.encoded_len();
            if queue.spans.len() + queue.sending >= SPANS_MAX || queue.bytes + bytes > BYTES_MAX {
                dropped += 1;
                continue;
            }
            queue.bytes += bytes;
            queue.spans.push_back((span, bytes));
        }
        let filled = queue.spans.len() > before;
        drop(queue);
        self.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
        if filled {
            self.filled.notify_one();
        }
    }

    /// The trace that a request says it belongs to.
    pub(super) fn context_of(&self, parent: &str, state: Option<&str>) -> Option<Context> {
        Context::of_headers(parent, state, &mut *self.edge.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins the span of a request, which [`Hub::settle_request`] has to follow.
    pub(super) fn begin_request(&self, parent: Option<&Context>, now: Moment, name: String) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        let sample = self.spec.borrow().push.as_ref().map_or(0.0, |push| push.sample);
        let mut edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        Open::begin(&mut *edge as &mut dyn Edge, sample, parent, now, name)
    }

    /// A request is over, with its span if its trace is made.
    pub(super) fn settle_request(&self, span: Option<Span>) {
        self.put(span);
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.idle.notify_one();
    }

    // ---- out ----

    /// Waits until there are spans; then until there are `enough`, for `patience` at the most, or until the guard has
    /// ended.
    pub(super) async fn gather(&self, enough: usize, patience: Duration) {
        while self.waiting() == 0 {
            self.filled.notified().await;
        }
        let more = async {
            while self.waiting() < enough {
                self.filled.notified().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(patience, more) => {}
            () = self.ended() => {}
        }
    }

    /// Takes the oldest spans out: so many at the most, and so many bytes of them, but at least one.
    pub(super) fn take(&self, count: usize, bytes: usize) -> Vec<Span> {
        let (mut queue, mut taken, mut size) = (self.lock(), Vec::new(), 0);
        while let Some((_, next)) = queue.spans.front() {
            if taken.len() >= count || !taken.is_empty() && size + next > bytes {
                break;
            }
            let Some((span, own)) = queue.spans.pop_front() else { break };
            size += own;
            queue.bytes -= own;
            taken.push(span);
        }
        queue.sending += taken.len();
        if queue.spans.is_empty() {
            // What an outage had needed is given back once it is over.
            queue.spans.shrink_to(64);
        }
        taken
    }

    /// Puts spans that were taken back before all others, whatever the limits: they were within them before.
    pub(super) fn put_back(&self, spans: Vec<Span>) {
        let mut queue = self.lock();
        queue.sending = queue.sending.saturating_sub(spans.len());
        for span in spans.into_iter().rev() {
            let bytes = span.encoded_len();
            queue.bytes += bytes;
            queue.spans.push_front((span, bytes));
        }
    }

    /// A receiver took `sent` of the spans that were taken out, and said of `rejected` that it never will.
    pub(super) fn settle(&self, sent: usize, rejected: usize) {
        self.counts.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.counts.rejected.fetch_add(rejected as u64, Ordering::Relaxed);
        let mut queue = self.lock();
        queue.sending = queue.sending.saturating_sub(sent + rejected);
        drop(queue);
        self.idle.notify_one();
    }

    /// A request did not get through.
    pub(super) fn count_failure(&self) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Nobody wants what waits, or nobody will come for it: it is dropped and counted.
    pub(super) fn give_up(&self, taken: usize) {
        let mut queue = self.lock();
        let dropped = queue.spans.len() + taken;
        *queue = Queue { sending: queue.sending.saturating_sub(taken), ..Queue::default() };
        drop(queue);
        self.counts.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        self.idle.notify_one();
    }

    // ---- the end ----

    /// The guard has ended: waits until everything is sent, not longer than `patience`. To be called while who sends
    /// and the API still live.
    pub async fn drain(&self, patience: Duration) {
        self.ending.send_replace(true);
        if !self.is_on() {
            return;
        }
        let idle = async {
            while !self.is_idle() {
                self.idle.notified().await;
            }
        };
        // What is not sent by then is lost with the guard, as it would be with any other end.
        let _ = tokio::time::timeout(patience, idle).await;
    }

    /// Waits until the guard has ended.
    pub(super) async fn ended(&self) {
        // The sender is ours, so this waits for the value alone.
        let _ = self.ending.subscribe().wait_for(|ended| *ended).await;
    }

    /// Whether the guard has ended.
    pub(super) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.spans.is_empty() && queue.sending == 0 && self.open.load(Ordering::Relaxed) == 0
    }

    fn waiting(&self) -> usize {
        self.lock().spans.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collect for Hub {
    fn collect<'a>(&'a self, out: &mut Families<'a>) {
        let counts = &self.counts;
        if !counts.wanted.load(Ordering::Relaxed) {
            return;
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let pending = {
            let queue = self.lock();
            (queue.spans.len() + queue.sending) as u64
        };
        out.gauge("tutela_traces_spans_pending", None, "Spans that wait to be sent").count(Labels::guard(), pending);
        for (name, help, count) in [
            ("tutela_traces_spans_sent", "Spans that a collector took", &counts.sent),
            ("tutela_traces_spans_dropped", "Spans that there was no room for", &counts.dropped),
            ("tutela_traces_spans_rejected", "Spans that a collector got and did not take", &counts.rejected),
            ("tutela_traces_pushes_failed", "Requests with spans that did not arrive", &counts.failed),
        ] {
            out.counter(name, None, help).count(Labels::guard(), read(count));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::sync::Arc;
    use tutela_core::spec::TracesPush;

    pub(in crate::traces) fn spec(otlp: &str) -> TracesSpec {
        let timeout = Duration::from_secs(20);
        let push =
            TracesPush { otlp: otlp.to_owned(), grpc: false, timeout, headers: [].into(), gzip: false, sample: 1.0 };
        TracesSpec { push: Some(push) }
    }

    fn named(name: &str) -> Span {
        Span { name: name.to_owned(), ..Span::default() }
    }

    fn names(spans: &[Span]) -> Vec<&str> {
        spans.iter().map(|span| span.name.as_str()).collect()
    }

    #[test]
    fn spans_leave_in_their_order_in_requests_of_a_bounded_size() {
        let hub = Hub::new(spec("http://h"));
        hub.put(["a", "b", "c", "d"].map(named));
        let first = hub.take(2, usize::MAX);
        assert_eq!(names(&first), ["a", "b"]);
        hub.put_back(first);
        assert_eq!(names(&hub.take(9, named("a").encoded_len() * 3)), ["a", "b", "c"]);
        assert_eq!(names(&hub.take(9, 0)), ["d"]);
        assert!(!hub.is_idle());
        hub.settle(3, 1);
        assert!(hub.is_idle());
    }

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let hub = Hub::new(spec("http://h"));
        hub.put((0..SPANS_MAX + 5).map(|_| named("a")));
        assert_eq!((hub.dropped(), hub.waiting()), (5, SPANS_MAX));
        // What is on its way has its place still: it may come back.
        assert_eq!(hub.take(10, usize::MAX).len(), 10);
        hub.put([named("b")]);
        assert_eq!(hub.dropped(), 6);
        hub.give_up(10);
        assert_eq!((hub.dropped(), hub.is_idle()), (6 + SPANS_MAX as u64, true));
        hub.put([named(&"x".repeat(BYTES_MAX))]);
        assert_eq!(hub.waiting(), 0);
    }

    #[test]
    fn the_end_waits_for_spans_and_for_requests_that_are_still_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(Hub::new(spec("http://h")));
            let open = hub.begin_request(None, Moment::ZERO, "POST".to_owned());
            let draining = tokio::spawn({
                let hub = hub.clone();
                async move { hub.drain(Duration::from_secs(60)).await }
            });
            hub.ended().await;
            assert!(!draining.is_finished());
            hub.settle_request(open.end(Moment::ZERO));
            hub.gather(100, Duration::from_secs(60)).await;
            assert_eq!(names(&hub.take(9, 9999)), ["POST"]);
            hub.settle(1, 0);
            tokio::time::timeout(Duration::from_secs(20), draining).await.unwrap().unwrap();
        });
    }
}
