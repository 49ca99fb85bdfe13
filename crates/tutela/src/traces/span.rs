//! A span that is not over yet.

use super::context::{Context, Edge};
use crate::hands::otlp::messages::traces::{
    Event, FLAG_KNOWS_REMOTE, FLAG_REMOTE, Link, Span, SpanKind, Status, StatusCode,
};
use crate::hands::otlp::messages::{AnyValue, KeyValue};
use std::borrow::Cow;
use tutela_core::time::Moment;

/// Events that one span keeps, as OpenTelemetry has it; further ones are counted.
const EVENTS_MAX: usize = 128;

/// The longest text that goes into a span, in bytes: a reason, a cause. What is longer is cut.
const TEXT_BYTES_MAX: usize = 1024;

/// See the module's text. Dropping it forgets it.
#[derive(Debug)]
pub struct Open {
    context: Context,
    parent: Option<Context>,
    name: Cow<'static, str>,
    kind: SpanKind,
    began: Moment,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    more_events: u32,
    links: Vec<Link>,
    failure: Option<String>,
}

impl Open {
    /// Begins a span within `parent`, or a trace of its own; of those the share `sample` is made.
    pub fn begin(
        edge: &mut dyn Edge,
        sample: f64,
        parent: Option<&Context>,
        now: Moment,
        name: impl Into<Cow<'static, str>>,
    ) -> Open {
        let context = match parent {
            Some(parent) => parent.child(edge),
            None => Context::root(edge, sample),
        };
        Open {
            context,
            parent: parent.cloned(),
            name: name.into(),
            kind: SpanKind::Internal,
            began: now,
            attributes: Vec::new(),
            events: Vec::new(),
            more_events: 0,
            links: Vec::new(),
            failure: None,
        }
    }

    /// Where it stands.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// When it began.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// Makes it the answering side of a call.
    pub fn serve(&mut self) {
        self.kind = SpanKind::Server;
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = name.into();
    }

    /// Says something of it; what was said under this name before is replaced.
    pub fn say(&mut self, name: &'static str, value: impl Into<AnyValue>) {
        self.attributes.retain(|known| known.key != name);
        self.attributes.push(KeyValue::new(name, value));
    }

    /// The same for a text of any length.
    pub fn say_text(&mut self, name: &'static str, text: &str) {
        self.say(name, cut(text));
    }

    /// Something happened within it.
    pub fn event(&mut self, now: Moment, name: &'static str, attributes: Vec<KeyValue>) {
        if self.events.len() >= EVENTS_MAX {
            self.more_events = self.more_events.saturating_add(1);
            return;
        }
        let time_unix_nano = self.context.clock.nanos(now);
        self.events.push(Event { time_unix_nano, name: name.to_owned(), attributes });
    }

    /// It has to do with that one.
    pub fn link(&mut self, to: &Context) {
        if to.sampled {
            self.links.push(Link {
                trace_id: to.trace.to_vec(),
                span_id: to.span.to_vec(),
                trace_state: state_of(to),
                flags: u32::from(to.sampled) | FLAG_KNOWS_REMOTE,
            });
        }
    }

    /// It fails: `kind` in a word that keeps its meaning, `why` for people.
    pub fn fail(&mut self, kind: &'static str, why: &str) {
        self.say("error.type", kind);
        self.failure = Some(cut(why).to_owned());
    }

    /// It has not failed after all.
    pub fn forgive(&mut self) {
        self.attributes.retain(|known| known.key != "error.type");
        self.failure = None;
    }

    /// It is over; `None`: its trace is not made.
    pub fn end(self, now: Moment) -> Option<Span> {
        if !self.context.sampled {
            return None;
        }
        let nanos = |moment| self.context.clock.nanos(moment);
        let is_remote = self.parent.as_ref().is_some_and(|parent| parent.remote);
        let status = self.failure.map(|message| Status { message, code: StatusCode::Error.into() });
        Some(Span {
            trace_id: self.context.trace.to_vec(),
            span_id: self.context.span.to_vec(),
            trace_state: state_of(&self.context),
            parent_span_id: self.parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
            name: self.name.into_owned(),
            kind: self.kind.into(),
            start_time_unix_nano: nanos(self.began),
            end_time_unix_nano: nanos(now.max(self.began)),
            attributes: self.attributes,
            events: self.events,
            dropped_events_count: self.more_events,
            links: self.links,
            status,
            flags: 1 | FLAG_KNOWS_REMOTE | if is_remote { FLAG_REMOTE } else { 0 },
        })
    }
}

fn state_of(context: &Context) -> String {
    context.state.as_deref().unwrap_or_default().to_owned()
}

/// As much of a text as goes into a span.
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::context::OsEdge;
    use super::*;

    #[test]
    fn a_span_keeps_so_many_events_and_so_long_texts() {
        let mut open = Open::begin(&mut OsEdge::new(), 1.0, None, Moment::from_millis(5), "a");
        for _ in 0..EVENTS_MAX + 3 {
            open.event(Moment::from_millis(6), "again", Vec::new());
        }
        open.say("said", "first");
        open.say_text("said", &"é".repeat(TEXT_BYTES_MAX));
        let span = open.end(Moment::from_millis(7)).unwrap();
        assert_eq!((span.events.len(), span.dropped_events_count, span.attributes.len()), (EVENTS_MAX, 3, 1));
        assert_eq!(span.attributes[0], KeyValue::new("said", "é".repeat(TEXT_BYTES_MAX / 2)));
        assert_eq!((span.parent_span_id.len(), span.status, span.flags), (0, None, 0x101));
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 2_000_000);
    }

    #[test]
    fn of_a_trace_that_is_not_made_nothing_comes() {
        let mut edge = OsEdge::new();
        let parent = Open::begin(&mut edge, 0.0, None, Moment::ZERO, "a");
        let child = Open::begin(&mut edge, 1.0, Some(parent.context()), Moment::ZERO, "b");
        assert!(child.end(Moment::ZERO).is_none() && parent.end(Moment::ZERO).is_none());
    }

    #[test]
    fn a_span_never_ends_before_it_began() {
        let open = Open::begin(&mut OsEdge::new(), 1.0, None, Moment::from_millis(5), "a");
        let span = open.end(Moment::from_millis(3)).unwrap();
        assert_eq!(span.start_time_unix_nano, span.end_time_unix_nano);
    }
}
