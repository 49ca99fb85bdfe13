//! Where this host has its log: the Event Log, the journal of systemd, or standard error.
//!
//! The service's own lines and those of the [tracing layer](crate::HostLayer) go the same way. Other processes are at
//! the other end, so a thread writes: whoever logs never waits. The queue between is bounded; when it is full, lines
//! are dropped, and how many is a line of its own.

use crate::life::Weight;
use crate::wall;
use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};
use tutela_os::Os;
use tutela_os::eventlog::{EventLog, Level, Record};
use tutela_os::host::StartedBy;

/// Lines that wait for a slow log: a second of a very talkative program, and at most some megabytes.
const LINES_MAX: usize = 4096;

/// Answers to one question: the writer gives one, and never waits with it.
const ANSWERS_MAX: usize = 1;

/// How long the end of the service waits for its last lines to be written. A log that hangs must not keep it.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Ids in the Event Log: lines of the service itself, by weight, and those of the program.
const OWN_IDS: [u16; 3] = [3, 2, 1];
const PROGRAM_ID: u16 = 10;

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    /// Where in the program it comes from; nothing for lines of the service itself.
    pub(crate) target: Cow<'static, str>,
    pub(crate) id: u16,
    pub(crate) message: String,
    pub(crate) fields: Vec<(Cow<'static, str>, String)>,
    pub(crate) at: SystemTime,
}

enum Errand {
    Line(Line),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// The way to the log. Clones are the same way.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    errands: SyncSender<Errand>,
    dropped: Arc<AtomicU64>,
    quiet: bool,
    /// Whether a person watches, who would like to see the status too.
    watched: bool,
}

impl Journal {
    /// The log that whoever started us has, in the name of the service.
    pub(crate) fn open(started_by: StartedBy, name: &str, quiet: bool) -> Journal {
        let (errands, taken) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { sink: Sink::of(started_by, name), name: name.to_owned(), dropped: dropped.clone() };
        // Without a thread nothing is written, and the queue says so by being closed.
        let _ = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&taken));
        Journal { errands, dropped, quiet, watched: started_by == StartedBy::Terminal }
    }

    /// A line of the service itself.
    pub(crate) fn write(&self, weight: Weight, text: &str) {
        if self.quiet && weight == Weight::Info {
            return;
        }
        let level = match weight {
            Weight::Error => Level::Error,
            Weight::Warning => Level::Warning,
            Weight::Info => Level::Info,
        };
        let id = OWN_IDS[weight as usize];
        let (target, message, at) = (Cow::Borrowed(""), text.to_owned(), SystemTime::now());
        self.put(Line { level, target, id, message, fields: Vec::new(), at });
    }

    /// What the program says that it is doing, where nobody else would show it.
    pub(crate) fn show_status(&self, status: &str) {
        if self.watched {
            self.write(Weight::Info, status);
        }
    }

    /// A line of the program.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "only the layer writes lines of the program"))]
    pub(crate) fn program_line(
        &self,
        level: Level,
        target: String,
        message: String,
        fields: Vec<(Cow<'static, str>, String)>,
    ) {
        let (target, at) = (Cow::Owned(target), SystemTime::now());
        self.put(Line { level, target, id: PROGRAM_ID, message, fields, at });
    }

    fn put(&self, line: Line) {
        if self.errands.try_send(Errand::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, within a bound.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(ANSWERS_MAX);
        if self.errands.try_send(Errand::Flush(done)).is_ok() {
            // Whether it was late or the writer is gone: there is nothing more to be done.
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

enum Sink {
    Records(EventLog),
    /// A stream that a person or another supervisor reads; with colours, and with the time.
    Stderr {
        colours: bool,
        times: bool,
    },
}

impl Sink {
    fn of(started_by: StartedBy, name: &str) -> Sink {
        let has_log = matches!(started_by, StartedBy::ServiceControlManager | StartedBy::Systemd);
        if has_log && let Ok(log) = EventLog::open(name) {
            return Sink::Records(log);
        }
        let terminal = tutela_os::terminal::stderr_is_terminal();
        // Consoles of Windows show the codes of colours as text unless they were asked not to.
        let colours = terminal && Os::CURRENT != Os::Windows && std::env::var_os("NO_COLOR").is_none();
        // A guard and a service manager stamp what they read.
        let times = matches!(started_by, StartedBy::Terminal | StartedBy::Unknown | StartedBy::Init);
        Sink::Stderr { colours, times }
    }
}

struct Writer {
    sink: Sink,
    name: String,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(&self, taken: &Receiver<Errand>) {
        while let Ok(errand) = taken.recv() {
            match errand {
                Errand::Line(line) => self.write(&line),
                Errand::Flush(done) => {
                    // Who waited may have gone.
                    let _ = done.try_send(());
                }
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.write(&Line {
                    level: Level::Warning,
                    target: Cow::Borrowed(""),
                    id: OWN_IDS[Weight::Warning as usize],
                    message: format!("{dropped} lines were dropped, because the log is slower than the program"),
                    fields: Vec::new(),
                    at: SystemTime::now(),
                });
            }
        }
    }

    fn write(&self, line: &Line) {
        if let Sink::Records(log) = &self.sink {
            let mut fields: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(line.fields.len() + 1);
            if !line.target.is_empty() {
                fields.push(("TARGET", Cow::Borrowed(&line.target)));
            }
            fields.extend(line.fields.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_str()))));
            let record =
                Record { level: line.level, message: &line.message, id: line.id, message_id: None, fields: &fields };
            if log.write(&record).is_ok() {
                return;
            }
        }
        let (colours, times) = match self.sink {
            Sink::Stderr { colours, times } => (colours, times),
            Sink::Records(_) => (false, false),
        };
        let text = text_of(line, &self.name, colours, times);
        // A console that is gone is no reason to panic; there is nowhere else to go.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A line as a person reads it.
fn text_of(line: &Line, name: &str, colours: bool, times: bool) -> String {
    let mut text = String::new();
    if times {
        text.push_str(&wall::time_of_day(line.at));
        text.push(' ');
    }
    let (word, colour) = match line.level {
        Level::Error => ("error", "31"),
        Level::Warning => ("warning", "33"),
        Level::Notice => ("notice", "36"),
        Level::Info => ("info", "32"),
        Level::Debug => ("debug", "34"),
    };
    text.push_str(if line.target.is_empty() { name } else { &line.target });
    text.push_str(": ");
    // The service's own news is plain; that something is wrong is not.
    if !line.target.is_empty() || line.level <= Level::Warning {
        let painted = if colours { format!("\u{1b}[{colour}m{word}\u{1b}[0m: ") } else { format!("{word}: ") };
        text.push_str(&painted);
    }
    text.push_str(&line.message);
    for (name, value) in &line.fields {
        text.push_str(&format!(" {name}={value}"));
    }
    let mut text = text.replace('\n', "\n    ");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, target: &'static str) -> Line {
        Line {
            level,
            target: Cow::Borrowed(target),
            id: 1,
            message: "two\nlines".into(),
            fields: vec![(Cow::Borrowed("order"), "17".into())],
            at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_line_for_people_says_who_and_how_bad_and_stays_one_block() {
        assert_eq!(text_of(&line(Level::Info, ""), "shop", false, false), "shop: two\n    lines order=17\n");
        assert_eq!(
            text_of(&line(Level::Error, "shop::db"), "shop", false, true),
            "00:00:00.000 shop::db: error: two\n    lines order=17\n"
        );
    }
}
