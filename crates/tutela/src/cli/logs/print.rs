//! How a line of output is shown: for people with a colour for each service, verbatim, or as JSON.

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use tutela_logs::level::{self, Level};
use tutela_os::terminal;
use tutela_schema::api::{LogLine, LogStream};

/// Colours for names, which are hard to mistake for one another and read well on black and on white.
const NAME_COLOURS: [&str; 6] = ["\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[96m"];

const PLAIN: &str = "\x1b[0m";

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Time, name and text. `guards`: the guard is told too.
    People { guards: bool, names: bool },
    /// The text alone.
    Text,
    /// One record a line.
    Json,
}

/// Prints lines to standard output. What it holds back is written by [`Printer::flush`], and by dropping it.
pub struct Printer {
    out: BufWriter<Stdout>,
    form: Form,
    coloured: bool,
}

impl Printer {
    /// One for standard output, coloured where that is a terminal and nobody forbade it.
    pub fn new(form: Form) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = !forbidden && std::io::stdout().is_terminal() && terminal::stdout_takes_colours();
        Printer { out: BufWriter::with_capacity(64 * 1024, std::io::stdout()), form, coloured }
    }

    /// Answers whether somebody still reads.
    pub fn line(&mut self, record: &LogLine) -> bool {
        self.write(record).is_ok()
    }

    /// Shows what is held back. Answers whether somebody still reads.
    pub fn flush(&mut self) -> bool {
        self.out.flush().is_ok()
    }

    fn write(&mut self, record: &LogLine) -> std::io::Result<()> {
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut self.out, record)?;
                self.out.write_all(b"\n")
            }
            Form::Text => {
                self.out.write_all(record.message.as_bytes())?;
                if record.partial { Ok(()) } else { self.out.write_all(b"\n") }
            }
            Form::People { guards, names } => {
                let text = shown(record, guards, names, self.coloured);
                self.out.write_all(text.as_bytes())
            }
        }
    }
}

/// A line for people.
fn shown(record: &LogLine, guards: bool, names: bool, coloured: bool) -> String {
    let (faint, plain) = if coloured { ("\x1b[2m", PLAIN) } else { ("", "") };
    let at = record.timestamp.map(|at| format!("{faint}{at}{plain} ")).unwrap_or_default();
    let name = match &record.guard {
        _ if !names => String::new(),
        Some(guard) if guards => format!("{guard}/{}:{} ", record.service_name, record.instance),
        _ => format!("{}:{} ", record.service_name, record.instance),
    };
    let colour = if coloured && names { colour_of(&record.service_name) } else { "" };
    let name_end = if colour.is_empty() { "" } else { PLAIN };
    let stream = if record.stream == Some(LogStream::Stderr) { "! " } else { "" };
    // A program's own colours go first, and end with their line.
    let own = coloured && record.message.contains('\x1b');
    let level = record.level.as_deref().and_then(|level| level::Level::parse(level.as_bytes()));
    let loud = match level {
        Some(Level::Fatal | Level::Error) if coloured && !own => "\x1b[31m",
        Some(Level::Warn) if coloured && !own => "\x1b[33m",
        _ => "",
    };
    let end = if own || !loud.is_empty() { PLAIN } else { "" };
    format!("{at}{colour}{name}{name_end}{stream}{loud}{}{end}\n", record.message)
}

/// The same one for the same name, always.
fn colour_of(name: &str) -> &'static str {
    let hash = name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    NAME_COLOURS[hash as usize % NAME_COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str, level: Option<&str>) -> LogLine {
        LogLine {
            timestamp: None,
            guard: Some("shop".to_owned()),
            service_name: "api".to_owned(),
            instance: "0".to_owned(),
            level: level.map(str::to_owned),
            stream: Some(LogStream::Stderr),
            message: message.to_owned(),
            fields: serde_json::Map::new(),
            partial: false,
            tutela: None,
        }
    }

    #[test]
    fn without_colours_a_line_says_who_and_where() {
        assert_eq!(shown(&record("a", Some("error")), false, true, false), "api:0 ! a\n");
        assert_eq!(shown(&record("a", None), true, true, false), "shop/api:0 ! a\n");
        assert_eq!(shown(&record("a", None), true, false, false), "! a\n");
    }

    #[test]
    fn colours_end_with_their_line_and_leave_those_of_a_program() {
        assert!(shown(&record("a", Some("error")), false, true, true).ends_with("! \x1b[31ma\x1b[0m\n"));
        assert!(shown(&record("\x1b[32ma", Some("error")), false, true, true).ends_with("! \x1b[32ma\x1b[0m\n"));
        assert!(shown(&record("a", Some("info")), false, true, true).ends_with("! a\n"));
    }
}
