//! The model as a picture of any size. Colours only repeat what words say.

use super::model::{Mode, Model, Row, is_bad};
use crate::cli::status::{size, span};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use tutela_schema::api::{LogLine, LogStream, State};

/// A column beside the name: its head, its width, and how much it matters (columns that matter less go first).
struct Column {
    head: &'static str,
    width: u16,
    text: fn(&Row, &Model) -> String,
}

/// In the order in which they come; a narrow window has as many as fit.
const COLUMNS: [Column; 7] = [
    Column { head: "STATE", width: 8, text: |row, _| row.state().to_owned() },
    Column { head: "CPU", width: 6, text: |row, _| row.cpu.map_or_else(dash, |cpu| format!("{cpu:.1}%")) },
    Column {
        head: "MEMORY",
        width: 10,
        text: |row, _| {
            row.status.usage.and_then(|usage| usage.memory_bytes).filter(|_| !row.gone).map_or_else(dash, size)
        },
    },
    Column {
        head: "HEALTH",
        width: 8,
        text: |row, _| if row.gone { dash() } else { row.status.health.word().to_owned() },
    },
    Column { head: "SINCE", width: 5, text: |row, model| span(row.status.since, model.now) },
    Column { head: "RESTARTS", width: 8, text: |row, _| row.status.restarts.to_string() },
    Column {
        head: "PID",
        width: 7,
        text: |row, _| row.status.pid.filter(|_| !row.gone).map_or_else(dash, |pid| pid.to_string()),
    },
];

/// The narrowest name, and the widest one.
const NAME_WIDTHS: (u16, u16) = (12, 32);

/// Below this nothing is said about why.
const WHY_WIDTH_MIN: u16 = 8;

const HELP: [&str; 16] = [
    "up down j k    select          PgUp PgDn g G  further",
    "c m n R        sort by CPU, memory, name, restarts",
    "/              show only what has this text; Esc shows all",
    "r              restart         s              stop",
    "S              start           y              yes, do it",
    "l Enter        the whole log   e              events",
    "p              pause           q Ctrl-C       quit",
    "?              this",
    "",
    "CPU is in percent of one processor, over the last second.",
    "SINCE is how long it is in its state.",
    "A guard that does not answer is shown as gone, with what was",
    "last known of it.",
    "",
    "In the log and in events: up, down, PgUp, PgDn, g, G; q goes back.",
    "Any key goes back.",
];

fn dash() -> String {
    "-".to_owned()
}

/// Draws everything.
pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let pen = Pen { coloured: model.coloured };
    let bottom = area.height - 1;
    head(model, area, buffer, &pen);
    let body = Rect { y: 1, height: bottom.saturating_sub(1), ..area };
    match &model.mode {
        Mode::Log(below) => {
            let title =
                model.selected.as_ref().map_or(String::new(), |id| format!("log of {}/{}", id.guard, id.instance));
            rule(&title, body, buffer, &pen);
            lines(model, *below, under(body), buffer, &pen);
        }
        Mode::Events(below) => {
            let title =
                model.selected.as_ref().map_or(String::new(), |id| format!("events of {}/{}", id.guard, id.instance));
            rule(&title, body, buffer, &pen);
            let area = under(body);
            let texts: Vec<&str> = model.events.iter().map(String::as_str).collect();
            for (y, text) in window(&texts, *below, area.height).iter().enumerate() {
                put(buffer, area, y as u16, text, Style::new());
            }
        }
        Mode::Help => {
            for (y, text) in HELP.iter().enumerate().take(usize::from(body.height)) {
                put(buffer, body, y as u16, text, Style::new());
            }
        }
        Mode::Table | Mode::Filter | Mode::Confirm(..) => {
            // The last lines have a third of a window that is not very low.
            let lower = match area.height {
                0..10 => 0,
                10..15 => 3,
                height => height / 3,
            };
            let upper = Rect { height: body.height.saturating_sub(lower), ..body };
            table(model, upper, buffer, &pen);
            if lower > 0 {
                let lower = Rect { y: upper.y + upper.height, height: lower, ..area };
                let title = model.selected.as_ref().map_or(String::new(), |id| format!("{}/{}", id.guard, id.instance));
                rule(&title, lower, buffer, &pen);
                lines(model, 0, under(lower), buffer, &pen);
            }
        }
    }
    foot(model, Rect { y: bottom, height: 1, ..area }, buffer, &pen);
}

/// Looks that are nothing but words where colours are not wanted.
struct Pen {
    coloured: bool,
}

impl Pen {
    fn colour(&self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn state(&self, row: &Row) -> Style {
        if row.gone || is_bad(row.status.state) {
            return self.colour(Color::Red);
        }
        match row.status.state {
            State::Running | State::Done => self.colour(Color::Green),
            State::Stopped => Style::new(),
            _ => self.colour(Color::Yellow),
        }
    }
}

/// One row of text within an area, what is no text in it shown as a space.
fn put(buffer: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
    if y < area.height {
        let clean: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        buffer.set_stringn(area.x, area.y + y, clean, usize::from(area.width), style);
    }
}

fn under(area: Rect) -> Rect {
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

fn rule(title: &str, area: Rect, buffer: &mut Buffer, pen: &Pen) {
    let text = format!("── {title} {}", "─".repeat(usize::from(area.width)));
    put(buffer, area, 0, &text, pen.colour(Color::Cyan));
}

fn head(model: &Model, area: Rect, buffer: &mut Buffer, pen: &Pen) {
    let guards = model.guards();
    let whose = match guards.as_slice() {
        [] => "no guard".to_owned(),
        [one] => (*one).to_owned(),
        several => format!("{} guards", several.len()),
    };
    let running = model.count(|row| !row.gone && row.status.state == State::Running);
    let bad = model.count(|row| row.gone || is_bad(row.status.state));
    let mut text = format!("{whose}: {running} of {} run", model.count(|_| true));
    if bad > 0 {
        text.push_str(&format!(", {bad} in trouble"));
    }
    if model.paused {
        text.push_str(" | paused");
    }
    if !model.filter.is_empty() || model.mode == Mode::Filter {
        text.push_str(&format!(" | /{}", model.filter));
    }
    text.push_str(&format!(" | by {}", model.sort.word()));
    let style = if bad > 0 { pen.colour(Color::Red) } else { Style::new() };
    put(buffer, area, 0, &text, style.add_modifier(Modifier::BOLD));
}

fn foot(model: &Model, area: Rect, buffer: &mut Buffer, pen: &Pen) {
    let (text, style) = match &model.mode {
        Mode::Confirm(verb, id) => (
            format!("{} {}/{}? y: yes, any other key: no", verb.word(), id.guard, id.instance),
            pen.colour(Color::Yellow).add_modifier(Modifier::BOLD),
        ),
        Mode::Filter => (format!("/{}_  Enter: keep, Esc: show all", model.filter), Style::new()),
        Mode::Log(_) | Mode::Events(_) => ("q back  up down PgUp PgDn g G".to_owned(), Style::new()),
        Mode::Help => ("any key goes back".to_owned(), Style::new()),
        Mode::Table if !model.told.is_empty() => (model.told.clone(), pen.colour(Color::Yellow)),
        Mode::Table => {
            ("q quit  ? help  r restart  s stop  S start  l log  e events  / filter  p pause".to_owned(), Style::new())
        }
    };
    put(buffer, area, 0, &text, style);
}

fn table(model: &Model, area: Rect, buffer: &mut Buffer, pen: &Pen) {
    let rows = model.shown();
    let several = model.guards().len() > 1;
    let name =
        |row: &Row| if several { format!("{}/{}", row.id.guard, row.id.instance) } else { row.id.instance.clone() };
    let longest = rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0);
    // What does not fit goes from the right.
    let mut columns = Vec::new();
    let mut used = NAME_WIDTHS.0;
    for column in &COLUMNS {
        if used + 1 + column.width <= area.width {
            used += 1 + column.width;
            columns.push(column);
        } else {
            break;
        }
    }
    let wanted = u16::try_from(longest).unwrap_or(u16::MAX).clamp(NAME_WIDTHS.0, NAME_WIDTHS.1);
    let names = NAME_WIDTHS.0 + (wanted - NAME_WIDTHS.0).min(area.width.saturating_sub(used));
    let why = area.width.saturating_sub(used + names - NAME_WIDTHS.0 + 1);
    let mut cells = vec![("NAME".to_owned(), names)];
    cells.extend(columns.iter().map(|column| (column.head.to_owned(), column.width)));
    if why >= WHY_WIDTH_MIN {
        cells.push(("WHY".to_owned(), why));
    }
    put(buffer, area, 0, &line(&cells), Style::new().add_modifier(Modifier::UNDERLINED));
    let body = under(area);
    if rows.is_empty() {
        let text = if model.filter.is_empty() { "no service is here" } else { "nothing has this text" };
        put(buffer, body, 0, text, Style::new());
    }
    let height = usize::from(body.height);
    let at = rows.iter().position(|row| Some(&row.id) == model.selected.as_ref()).unwrap_or(0);
    // The selected one is always in the window.
    let from = (at + 1).saturating_sub(height.max(1));
    for (y, row) in rows.iter().skip(from).take(height).enumerate() {
        let is_selected = Some(&row.id) == model.selected.as_ref();
        let mut cells = vec![(format!("{}{}", if is_selected { ">" } else { " " }, name(row)), names)];
        cells.extend(columns.iter().map(|column| ((column.text)(row, model), column.width)));
        if why >= WHY_WIDTH_MIN {
            cells.push((row.status.cause.clone(), why));
        }
        let mut style = pen.state(row);
        if is_selected {
            style = style.add_modifier(Modifier::REVERSED);
        }
        put(buffer, body, y as u16, &line(&cells), style);
    }
}

/// Cells one behind the other, each cut to its width.
fn line(cells: &[(String, u16)]) -> String {
    let mut out = String::new();
    for (text, width) in cells {
        let width = usize::from(*width);
        let cut: String = if text.chars().count() > width && width > 1 {
            text.chars().take(width - 1).chain(['…']).collect()
        } else {
            text.chars().take(width).collect()
        };
        out.push_str(&format!("{cut:<width$} "));
    }
    out.trim_end().to_owned()
}

/// What is in the window of a text, so many lines from its end.
fn window<T>(all: &[T], below: usize, height: u16) -> &[T] {
    let end = all.len().saturating_sub(below).max(usize::from(height).min(all.len()));
    &all[end.saturating_sub(usize::from(height))..end]
}

fn lines(model: &Model, below: usize, area: Rect, buffer: &mut Buffer, pen: &Pen) {
    let all: Vec<&LogLine> = model.lines.iter().collect();
    for (y, line) in window(&all, below, area.height).iter().enumerate() {
        let style = match line.level.as_deref() {
            Some("error" | "fatal") => pen.colour(Color::Red),
            Some("warn") => pen.colour(Color::Yellow),
            _ => Style::new(),
        };
        let at = line.timestamp.map(|at| at.to_string()).unwrap_or_default();
        // Of the moment, the time of day, to the second.
        let clock = at.get(11..19).map(|clock| format!("{clock} ")).unwrap_or_default();
        let mark = if line.stream == Some(LogStream::Stderr) { "! " } else { "" };
        put(buffer, area, y as u16, &format!("{clock}{mark}{}", without_colours(&line.message)), style);
    }
}

/// A line without the escape sequences that its program put into it.
fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\x1b' {
            out.push(letter);
        } else if letters.next_if_eq(&'[').is_some() {
            while letters.next().is_some_and(|letter| !matches!(letter, '@'..='~')) {}
        }
    }
    out
}
