//! Sends spans to an OTLP receiver, for as long as the spec wants it.
//!
//! A request that failed is made again with the same spans, at waits that double, until the receiver takes them or says
//! that it never will. Meanwhile others wait in the [`Hub`], up to its limits. A request whose answer was lost is made
//! twice: a span may arrive more than once, with the same number.
//!
//! That the receiver is away is told once, and once that it is back.

use super::hub::Hub;
use crate::conductor::{Inbox, Input};
use crate::hands::keeping::Keeping;
use crate::hands::otlp::messages::traces::{ExportTraces, ResourceSpans, ScopeSpans, Span};
use crate::hands::otlp::messages::{AnyValue, InstrumentationScope, KeyValue, Resource, any_value};
use crate::hands::otlp::{Accepted, Endpoint, Pace, Protocol, SendError, Sender, Signal};
use crate::hands::probes::TlsContexts;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::chance::Chance;
use tutela_core::spec::TracesPush;
use tutela_logs::record::redact::Redactor;

/// Spans in one request, as OpenTelemetry's own senders have it.
const BATCH_SPANS: usize = 512;

/// And their bytes, before compression: receivers of gRPC take 4 MiB unless told otherwise.
const BATCH_BYTES: usize = 1024 * 1024;

/// How long the first span of a request waits for others. Who looks for the trace of a deployment wants it soon; one
/// request a second is little.
const GATHER: Duration = Duration::from_secs(1);

/// No wait is longer, unless the receiver asks for it: spans that wait are bounded in number.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// What is the same for every request.
pub struct Way {
    /// The guard's name.
    pub guard: String,
    /// Certificates.
    pub tls: Arc<TlsContexts>,
    /// What is masked.
    pub keeping: Arc<Keeping>,
    /// Who is told.
    pub inbox: Inbox,
    /// What waits are spread by.
    pub seed: u64,
}

/// Sends what comes into the hub whenever its spec has somebody to send it to. Ends when it is dropped.
pub async fn push(hub: Arc<Hub>, way: Way) {
    let mut spec = hub.follow();
    let mut chance = Chance::from_seed(way.seed);
    // What is on its way; it goes to another receiver where the spec names one meanwhile.
    let mut held = Vec::new();
    loop {
        let wanted = spec.borrow_and_update().push.clone();
        let sending = async {
            match &wanted {
                Some(push) => send_always(&hub, &way, push, &mut held, &mut chance).await,
                None => {
                    hub.give_up(std::mem::take(&mut held).len());
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = sending => {}
            changed = spec.changed() => if changed.is_err() { return },
        }
    }
}

/// Sends until it is dropped.
async fn send_always(hub: &Hub, way: &Way, push: &TracesPush, held: &mut Vec<Span>, chance: &mut Chance) {
    let headers = push.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let protocol = push.grpc.then_some(Protocol::Grpc);
    let endpoint = match Endpoint::new(&push.otlp, protocol, headers, push.timeout, push.gzip) {
        Ok(endpoint) => endpoint,
        Err(refusal) => {
            // The spec's own check lets little through that comes here; a change of the spec begins anew.
            tell(way, format!("traces are sent to nobody: {refusal}")).await;
            return std::future::pending().await;
        }
    };
    let whom = endpoint.target().to_string();
    let mut sender = Sender::new(endpoint, way.tls.clone());
    let (mut pace, mut warned, mut batch) = (Pace::default(), false, BATCH_SPANS);
    let mut dropped = hub.dropped();
    loop {
        if held.is_empty() {
            hub.gather(BATCH_SPANS, GATHER).await;
            *held = hub.take(batch, BATCH_BYTES);
            mask(held, &way.keeping.mask(&[]));
        }
        let count = held.len();
        let error = match send(&mut sender, way, held).await {
            Ok(accepted) => {
                held.clear();
                let rejected = usize::try_from(accepted.rejected).unwrap_or(usize::MAX).min(count);
                hub.settle(count - rejected, rejected);
                if pace.failures() > 0 {
                    let lost = hub.dropped() - dropped;
                    let lost = if lost > 0 { format!("; {lost} were dropped meanwhile") } else { String::new() };
                    tell(way, format!("spans arrive at {whom} again{lost}")).await;
                }
                (dropped, batch) = (hub.dropped(), BATCH_SPANS);
                pace.worked();
                if let Some(warning) = accepted.warning.filter(|_| !std::mem::replace(&mut warned, true)) {
                    tell(way, format!("spans sent to {whom}: {warning}")).await;
                }
                continue;
            }
            Err(error) => error,
        };
        match &error {
            SendError::TooLarge { .. } if count > 1 => {
                batch = count / 2;
                hub.put_back(std::mem::take(held));
                continue;
            }
            SendError::TooLarge { .. } | SendError::Never { .. } => {
                held.clear();
                hub.settle(0, count);
                if !std::mem::replace(&mut warned, true) {
                    tell(way, format!("spans sent to {whom} are refused: {error}")).await;
                }
                continue;
            }
            SendError::Later { .. } | SendError::Barred { .. } => {}
        }
        hub.count_failure();
        if hub.is_ending() {
            // Nobody is left to try it again.
            hub.give_up(std::mem::take(held).len());
            continue;
        }
        if pace.failures() == 0 {
            dropped = hub.dropped();
            tell(way, format!("spans do not arrive at {whom}: {error}; it is tried again")).await;
        }
        let longest = AWAY_MAX.max(error.retry_after().unwrap_or_default());
        let wait = pace.failed(&error, chance.fraction()).min(longest);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = hub.ended() => {}
        }
    }
}

/// Sends these spans, which are there again afterwards.
async fn send(sender: &mut Sender, way: &Way, spans: &mut Vec<Span>) -> Result<Accepted, SendError> {
    // Lent to the message, and taken back from it whatever becomes of the request: also when it is given up.
    struct Lent<'a>(ExportTraces, &'a mut Vec<Span>);
    impl Drop for Lent<'_> {
        fn drop(&mut self) {
            let lent = self.0.resource_spans.iter_mut().flat_map(|it| &mut it.scope_spans);
            self.1.extend(lent.flat_map(|it| std::mem::take(&mut it.spans)));
        }
    }
    let scope_spans = vec![ScopeSpans { scope: Some(InstrumentationScope::tutela()), spans: std::mem::take(spans) }];
    let resource_spans = vec![ResourceSpans { resource: Some(Resource::guard(&way.guard)), scope_spans }];
    let lent = Lent(ExportTraces { resource_spans }, spans);
    sender.send(Signal::Traces, &lent.0).await
}

/// Masks the secrets of the spec, and what its patterns match.
fn mask(spans: &mut [Span], redactor: &Redactor) {
    if redactor.is_idle() {
        return;
    }
    let text = |text: &mut String| {
        if let Cow::Owned(masked) = redactor.text(text.as_bytes()) {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    };
    let values = |attributes: &mut Vec<KeyValue>| {
        for attribute in attributes {
            if let Some(AnyValue { value: Some(any_value::Value::Text(value)) }) = &mut attribute.value {
                text(value);
            }
        }
    };
    for span in spans {
        values(&mut span.attributes);
        span.events.iter_mut().for_each(|event| values(&mut event.attributes));
        span.status.iter_mut().for_each(|status| text(&mut status.message));
    }
}

async fn tell(way: &Way, text: String) {
    /// Who is busy with better things hears it the next time, or sees it in the figures.
    const PATIENCE: Duration = Duration::from_secs(1);
    let _ = tokio::time::timeout(PATIENCE, way.inbox.send(Input::Trouble(text))).await;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::otlp::messages::traces::{Event, Status};

    #[test]
    fn secrets_are_masked_wherever_a_span_has_words() {
        let said = || vec![KeyValue::new("tutela.cause", "asked by root: swordfish-1"), KeyValue::new("n", 3)];
        let event = Event { attributes: said(), ..Event::default() };
        let status = Some(Status { message: "not swordfish-1".into(), code: 2 });
        let mut spans = [Span { attributes: said(), events: vec![event], status, ..Span::default() }];
        mask(&mut spans, &Redactor::new(["swordfish-1"], &[]).unwrap());
        let text = format!("{spans:?}");
        assert!(!text.contains("swordfish"), "{text}");
        assert!(text.contains("asked by root: ") && text.contains("not "), "{text}");
    }
}
