//! What somebody at the terminal sees of `tutela run`: the output of every service, each line behind its
//! name, and the guard's own lines.
//!
//! The terminal may stand still (Ctrl-S, a pager, a full pipe): then lines are dropped and counted here,
//! while files and programs go on.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tutela_logs::Stream;
use tutela_logs::tap::{ConsoleLines, ConsoleTap, Line};

/// The label of the guard's own lines. No service can have it.
pub const GUARD_LABEL: &str = "";

/// Colours that can be read on dark and on light ground, in an order in which neighbours differ.
const COLOURS: [&str; 6] = ["36", "35", "34", "33", "32", "95"];

/// A wake-up that finds nothing: seldom enough to cost nothing.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What comes within this is shown at once. A person sees no difference; a flood of lines would otherwise wake
/// this thread for each.
const GATHER: Duration = Duration::from_millis(5);

/// Lines that are few: a screen.
const FEW: usize = 64;

/// A console on a thread of its own.
#[derive(Debug)]
pub struct Console {
    tap: ConsoleTap,
    thread: Option<JoinHandle<()>>,
}

/// How lines are shown.
#[derive(Debug, Clone)]
pub struct Look {
    /// With colours.
    pub colour: bool,
    /// How wide the names are at least.
    pub width: usize,
}

impl Console {
    /// Begins to show lines on standard output, the guard's own on standard error.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(look: Look) -> std::io::Result<Console> {
        let (tap, lines) = tutela_logs::tap::console();
        let thread = std::thread::Builder::new()
            .name("console".into())
            .stack_size(256 * 1024)
            .spawn(move || show(lines, look))?;
        Ok(Console { tap, thread: Some(thread) })
    }

    /// What captures of programs are given.
    pub fn tap(&self) -> ConsoleTap {
        self.tap.clone()
    }

    /// Shows a line of the guard's own.
    pub fn say(&self, text: &str) {
        self.tap.say(&Arc::from(GUARD_LABEL), Stream::Err, text.as_bytes());
    }

    /// Waits until everything is shown that was to be, `within` at the most: a terminal that stands still keeps nobody.
    pub fn settle(&self, within: Duration) -> bool {
        self.tap.settle(within)
    }

    /// Shows what is left and ends. Waits for the terminal at most a second: one that stands still must not
    /// keep the guard from ending.
    pub fn end(mut self) {
        self.tap.close();
        if let Some(thread) = self.thread.take() {
            let until = std::time::Instant::now() + Duration::from_secs(1);
            while !thread.is_finished() && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn show(mut lines: ConsoleLines, look: Look) {
    let mut painter = Painter { look, colours: HashMap::new() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(mut batch) = lines.wait(PATIENCE) {
        // A flood fills a batch by itself; to add another to it would only take its memory twice.
        if batch.lines.len() < FEW {
            std::thread::sleep(GATHER);
            if let Some(gathered) = lines.wait(Duration::ZERO) {
                batch.lines.extend(gathered.lines);
                batch.dropped += gathered.dropped;
            }
        }
        for line in &batch.lines {
            // Runs of one kind are written in one piece, and whole before the other kind, so that the order
            // between the two stays.
            let (target, other) = if &*line.label == GUARD_LABEL { (&mut err, &mut out) } else { (&mut out, &mut err) };
            painter.paint(line, target);
            if !other.is_empty() {
                let last = std::mem::take(target);
                flush(&mut out, &mut err);
                if &*line.label == GUARD_LABEL { err = last } else { out = last }
            }
        }
        if batch.dropped > 0 {
            flush(&mut out, &mut err);
            let text =
                format!("… {} lines not shown: the terminal was too slow; the log files have them\n", batch.dropped);
            err.extend_from_slice(text.as_bytes());
        }
        flush(&mut out, &mut err);
        lines.done();
    }
}

/// A closed terminal is no reason to end: the files have everything.
fn flush(out: &mut Vec<u8>, err: &mut Vec<u8>) {
    if !out.is_empty() {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(out).and_then(|()| stdout.flush());
        out.clear();
    }
    if !err.is_empty() {
        let _ = std::io::stderr().lock().write_all(err);
        err.clear();
    }
}

struct Painter {
    look: Look,
    colours: HashMap<Arc<str>, &'static str>,
}

impl Painter {
    fn paint(&mut self, line: &Line, out: &mut Vec<u8>) {
        if &*line.label == GUARD_LABEL {
            self.prefix("tutela", "1", out);
        } else {
            let next = COLOURS[self.colours.len() % COLOURS.len()];
            let colour = *self.colours.entry(line.label.clone()).or_insert(next);
            self.prefix(&crate::logs_view::id_of(&line.label), colour, out);
        }
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(&line.bytes);
        out.extend_from_slice(bytes);
        if !line.ended {
            out.extend_from_slice(" …".as_bytes());
        }
        out.push(b'\n');
    }

    fn prefix(&self, name: &str, colour: &str, out: &mut Vec<u8>) {
        let width = self.look.width;
        let text = if self.look.colour {
            format!("\x1b[{colour}m{name:<width$} |\x1b[0m ")
        } else {
            format!("{name:<width$} | ")
        };
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(colour: bool, label: &str, text: &[u8], ended: bool) -> Vec<u8> {
        let mut painter = Painter { look: Look { colour, width: 8 }, colours: HashMap::new() };
        let line = Line { label: Arc::from(label), stream: Stream::Out, bytes: text.into(), ended };
        let mut out = Vec::new();
        painter.paint(&line, &mut out);
        out
    }

    #[test]
    fn a_line_stands_behind_its_name_and_keeps_its_bytes() {
        assert_eq!(painted(false, "api-0", b"hi \xff\r", true), b"api:0    | hi \xff\n");
        assert_eq!(painted(false, "", b"started", true), b"tutela   | started\n");
        assert!(painted(true, "api-0", b"hi", true).starts_with(b"\x1b[36mapi:0    |\x1b[0m hi"));
        assert_eq!(painted(false, "api-0", b"long", false), "api:0    | long …\n".as_bytes());
    }
}
