//! `tracing` into the log of this host: the journal of systemd with fields, the Event Log, or the terminal.

use crate::journal::Journal;
use std::borrow::Cow;
use std::fmt;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, LevelFilter, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tutela_os::eventlog;
use tutela_os::host::started_by;

/// The longest message, and the longest value of a field, in bytes: what the Event Log takes of a whole record.
const TEXT_BYTES_MAX: usize = 31_000;

/// A `tracing` layer that writes where this host has its log.
///
/// | started by | goes to | fields |
/// |---|---|---|
/// | systemd | the journal, natively | each as a field of its own: `journalctl ORDER=17`; spans as `SPAN`, their fields too |
/// | SCM | the Event Log, in the name of the service | after the text |
/// | others | standard error, with colours in a terminal | after the text |
///
/// Whoever logs never waits: a thread writes, and lines that it cannot keep up with are counted and told.
///
/// ```no_run
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(tutela_service::HostLayer::new("shop"));
/// tracing::subscriber::set_global_default(subscriber)?;
/// # Ok::<(), tracing::subscriber::SetGlobalDefaultError>(())
/// ```
#[derive(Debug)]
pub struct HostLayer {
    journal: Journal,
}

impl HostLayer {
    /// A layer that writes in the name of the service `name`. It finds out by itself who started this process.
    pub fn new(name: &str) -> HostLayer {
        HostLayer { journal: Journal::open(started_by(), name, false) }
    }
}

/// Makes a layer the global subscriber; a text for the log where there is one already.
pub(crate) fn install(journal: &Journal, level: LevelFilter) -> Result<(), String> {
    let layer = HostLayer { journal: journal.clone() }.with_filter(Only(level));
    let subscriber = Registry::default().with(layer);
    let dispatch = tracing_core::Dispatch::new(subscriber);
    tracing_core::dispatcher::set_global_default(dispatch)
        .map_err(|_| "the program has a tracing subscriber already; Service::tracing() changes nothing".to_owned())
}

/// What is at least that important.
struct Only(LevelFilter);

impl<S> tracing_subscriber::layer::Filter<S> for Only {
    fn enabled(&self, metadata: &tracing_core::Metadata<'_>, _: &Context<'_, S>) -> bool {
        *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Vec<(Cow<'static, str>, String)>);

impl<S> Layer<S> for HostLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        span.extensions_mut().insert(SpanFields(said.all()));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        values.record(&mut said);
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            fields.0.extend(said.all());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => eventlog::Level::Error,
            Level::WARN => eventlog::Level::Warning,
            Level::INFO => eventlog::Level::Info,
            _ => eventlog::Level::Debug,
        };
        let mut fields = said.fields;
        // The innermost span comes last, as one would write a path.
        let mut path = String::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if !path.is_empty() {
                path.push(':');
            }
            path.push_str(span.name());
            if let Some(of_span) = span.extensions().get::<SpanFields>() {
                fields.extend(of_span.0.iter().cloned());
            }
        }
        if !path.is_empty() {
            fields.push((Cow::Borrowed("span"), path));
        }
        self.journal.program_line(level, metadata.target().to_owned(), said.message, fields);
    }
}

/// What an event or a span says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(Cow<'static, str>, String)>,
}

impl Said {
    /// Everything as fields: a span has no message.
    fn all(mut self) -> Vec<(Cow<'static, str>, String)> {
        if !self.message.is_empty() {
            self.fields.push((Cow::Borrowed("message"), self.message));
        }
        self.fields
    }

    fn put(&mut self, field: &Field, mut value: String) {
        value.truncate(value.floor_char_boundary(TEXT_BYTES_MAX));
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((Cow::Borrowed(name), value)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, crate::exit::chain(value));
    }
}
