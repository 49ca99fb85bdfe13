//! What people read: errors, findings with their place, tables.

use super::{Code, FAILED};
use crate::client::ClientError;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::io::{IsTerminal, Write};
use tutela_schema::spec::{Diagnostic, Severity, blanked};

/// Findings that are shown at the most; a spec with more has one cause.
const SHOWN_MAX: usize = 20;

/// The longest source text that a finding is drawn into. A longer one is told without its text: the drawing
/// of a line of a megabyte helps nobody.
const DRAWN_BYTES_MAX: usize = 256 * 1024;

/// Whether what goes to standard error may have colours.
pub fn coloured_errors() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to standard error; a closed one has nobody left to be told.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes to standard output. Answers whether somebody reads it.
pub fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// An error and how to mend it.
pub fn error(message: &str, help: Option<&str>) {
    let (red, bold, plain) = if coloured_errors() { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    tell(&format!("{red}error{plain}{bold}:{plain} {message}"));
    if let Some(help) = help {
        tell(&format!("  {bold}help:{plain} {help}"));
    }
}

/// An error of the client, with its exit code.
pub fn client_error(failure: &ClientError) -> Code {
    error(&failure.to_string(), failure.help().as_deref());
    if let ClientError::Refused(reply) = failure {
        for diagnostic in reply.error.diagnostics.iter().take(SHOWN_MAX) {
            let place = match (&diagnostic.file, diagnostic.line, diagnostic.column) {
                (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
                (Some(file), _, _) => format!("{file}: "),
                _ => String::new(),
            };
            tell(&format!("  {place}{}[{}]: {}", diagnostic.severity, diagnostic.code, diagnostic.message));
        }
    }
    failure.exit_code().max(FAILED)
}

/// Draws findings into the text that they are about.
pub fn diagnostics(found: &[Diagnostic]) {
    let renderer = if coloured_errors() { Renderer::styled() } else { Renderer::plain() };
    for diagnostic in found.iter().take(SHOWN_MAX) {
        tell(&drawn(diagnostic, &renderer));
    }
    if found.len() > SHOWN_MAX {
        tell(&format!("… and {} more", found.len() - SHOWN_MAX));
    }
}

fn drawn(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = match &diagnostic.origin {
        Some(origin) if origin.source.len() <= DRAWN_BYTES_MAX => {
            // A place of its own: the path with line and column, as editors and scripts look for it.
            let path = origin.file.display().to_string();
            let snippet = Snippet::source(blanked(&origin.source))
                .path(path)
                .annotation(AnnotationKind::Primary.span(origin.span.clone()));
            title.element(snippet)
        }
        Some(origin) => title.element(Level::NOTE.message(format!("at {origin}"))),
        None => Group::with_title(title),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.clone()));
    }
    renderer.render(&[group])
}

/// Rows under a head, each column as wide as its widest cell; the last one as wide as it likes.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = widths[column].saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
