//! What is seen, and what a key or a piece of news makes of it: no terminal, no guard, no clock of its own.

use super::keys::Key;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tutela_schema::api::{GuardStatus, InstanceStatus, LogLine, State, Verb};
use tutela_schema::wall::WallTime;

/// Lines of output that are kept for the one that is selected.
pub const LINES_MAX: usize = 1000;

/// The longest filter.
const FILTER_CHARS_MAX: usize = 80;

/// One instance of one guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its guard.
    pub guard: String,
    /// Such as `api:0`.
    pub instance: String,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: Id,
    pub status: InstanceStatus,
    /// Percent of one processor since the look before; `None`: not known yet.
    pub cpu: Option<f64>,
    /// Its guard does not answer; this is how it was.
    pub gone: bool,
}

impl Row {
    /// Its state's word.
    pub fn state(&self) -> &'static str {
        if self.gone { "gone" } else { self.status.state.word() }
    }
}

/// What the table is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Name,
    Cpu,
    Memory,
    Restarts,
}

impl Sort {
    /// For the head.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Cpu => "cpu",
            Sort::Memory => "memory",
            Sort::Restarts => "restarts",
        }
    }
}

/// What has the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Table,
    /// The filter is being typed.
    Filter,
    /// A command waits for its `y`.
    Confirm(Verb, Id),
    /// All the lines that are kept; how many from the end are below the screen.
    Log(usize),
    /// What happened to the selected one.
    Events(usize),
    Help,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Quit,
    Command(Verb, Id),
    /// The lines of this one are wanted from now on.
    Follow(Option<Id>),
    /// What happened to this one is wanted.
    Events(Id),
}

/// One look at the guards.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Those that answered.
    pub guards: Vec<GuardStatus>,
    /// Those of which it is known that they run and that did not answer, with the reason.
    pub silent: Vec<(String, String)>,
}

/// Processor time at a look.
#[derive(Debug, Clone, Copy)]
struct Sample {
    pid: Option<u32>,
    at: Duration,
    seconds: f64,
}

/// The model.
#[derive(Debug)]
pub struct Model {
    /// Every instance, by name.
    rows: Vec<Row>,
    samples: BTreeMap<Id, Sample>,
    pub selected: Option<Id>,
    pub sort: Sort,
    pub filter: String,
    pub mode: Mode,
    pub paused: bool,
    /// Of the selected one.
    pub lines: VecDeque<LogLine>,
    /// Of the selected one, when they were asked for.
    pub events: Vec<String>,
    /// What came of the last command, or what is wrong.
    pub told: String,
    pub now: WallTime,
    /// Only one service's rows are wanted.
    only: Option<String>,
    /// Whether colours may be used.
    pub coloured: bool,
}

impl Model {
    pub fn new(only: Option<String>, coloured: bool, now: WallTime) -> Self {
        Model {
            rows: Vec::new(),
            samples: BTreeMap::new(),
            selected: None,
            sort: Sort::Name,
            filter: String::new(),
            mode: Mode::Table,
            paused: false,
            lines: VecDeque::new(),
            events: Vec::new(),
            told: String::new(),
            now,
            only,
            coloured,
        }
    }

    /// The rows that are shown, in their order.
    pub fn shown(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let wanted = |row: &&Row| {
            let name = format!("{}/{} {} {}", row.id.guard, row.id.instance, row.state(), row.status.cause);
            filter.is_empty() || name.to_lowercase().contains(&filter)
        };
        let mut rows: Vec<&Row> = self.rows.iter().filter(wanted).collect();
        // Stable: equal ones stay in the order of their names.
        match self.sort {
            Sort::Name => {}
            Sort::Cpu => rows.sort_by(|a, b| b.cpu.unwrap_or(-1.0).total_cmp(&a.cpu.unwrap_or(-1.0))),
            Sort::Memory => {
                rows.sort_by_key(|row| std::cmp::Reverse(row.status.usage.and_then(|usage| usage.memory_bytes)))
            }
            Sort::Restarts => rows.sort_by_key(|row| std::cmp::Reverse(row.status.restarts)),
        }
        rows
    }

    /// Every guard that there are rows of.
    pub fn guards(&self) -> Vec<&str> {
        let mut guards: Vec<&str> = self.rows.iter().map(|row| row.id.guard.as_str()).collect();
        guards.dedup();
        guards
    }

    /// How many rows are in a state.
    pub fn count(&self, holds: impl Fn(&Row) -> bool) -> usize {
        self.rows.iter().filter(|row| holds(row)).count()
    }

    /// Takes in a look. `at` is a time that only goes forward.
    pub fn see(&mut self, seen: Seen, at: Duration, now: WallTime) -> Vec<Effect> {
        self.now = now;
        if self.paused {
            return Vec::new();
        }
        let mut rows = Vec::new();
        let mut samples = BTreeMap::new();
        let answered: Vec<String> = seen.guards.iter().map(|guard| guard.name.clone()).collect();
        for guard in seen.guards {
            for status in guard.services.into_iter().flat_map(|service| service.instances) {
                if let Some(only) = &self.only
                    && status.id != *only
                    && status.id.split(':').next() != Some(only)
                {
                    continue;
                }
                let id = Id { guard: guard.name.clone(), instance: status.id.clone() };
                let seconds = status.usage.and_then(|usage| usage.cpu_seconds);
                let sample = seconds.map(|seconds| Sample { pid: status.pid, at, seconds });
                let cpu = sample.and_then(|new| used(self.samples.get(&id)?, &new));
                samples.extend(sample.map(|sample| (id.clone(), sample)));
                rows.push(Row { id, status, cpu, gone: false });
            }
        }
        // Who does not answer any more stays to be seen, as it was.
        for mut row in self.rows.drain(..) {
            if !answered.contains(&row.id.guard) {
                row.gone = true;
                row.cpu = None;
                let reason = seen.silent.iter().find(|(name, _)| *name == row.id.guard);
                row.status.cause = reason.map_or_else(|| "its guard is gone".to_owned(), |(_, reason)| reason.clone());
                rows.push(row);
            }
        }
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        (self.rows, self.samples) = (rows, samples);
        self.keep_selection()
    }

    /// Takes in lines of the selected one.
    pub fn hear(&mut self, of: &Id, line: LogLine) {
        if self.selected.as_ref() == Some(of) && !self.paused {
            // Who reads further up stays where he is.
            if let Mode::Log(below) = &mut self.mode
                && *below > 0
            {
                *below = (*below + 1).min(LINES_MAX);
            }
            self.lines.push_back(line);
            if self.lines.len() > LINES_MAX {
                self.lines.pop_front();
            }
        }
    }

    /// What a key does.
    pub fn press(&mut self, key: Key) -> Vec<Effect> {
        if key == Key::Interrupt {
            return vec![Effect::Quit];
        }
        match self.mode.clone() {
            Mode::Table => self.press_table(key),
            Mode::Filter => self.press_filter(key),
            Mode::Confirm(verb, id) => {
                self.mode = Mode::Table;
                if key == Key::Char('y') {
                    self.told = format!("{} {}/{} …", verb.word(), id.guard, id.instance);
                    return vec![Effect::Command(verb, id)];
                }
                self.told = "nothing was done".to_owned();
                Vec::new()
            }
            Mode::Log(below) => {
                self.mode = self.scrolled(key, below, self.lines.len()).map_or(Mode::Table, Mode::Log);
                Vec::new()
            }
            Mode::Events(below) => {
                self.mode = self.scrolled(key, below, self.events.len()).map_or(Mode::Table, Mode::Events);
                Vec::new()
            }
            Mode::Help => {
                self.mode = Mode::Table;
                Vec::new()
            }
        }
    }

    fn press_table(&mut self, key: Key) -> Vec<Effect> {
        self.told.clear();
        match key {
            Key::Char('q') => return vec![Effect::Quit],
            Key::Up | Key::Char('k') => return self.step(-1),
            Key::Down | Key::Char('j') => return self.step(1),
            Key::PageUp => return self.step(-10),
            Key::PageDown => return self.step(10),
            Key::Home | Key::Char('g') => return self.step(isize::MIN / 2),
            Key::End | Key::Char('G') => return self.step(isize::MAX / 2),
            Key::Char('c') => self.sort = Sort::Cpu,
            Key::Char('m') => self.sort = Sort::Memory,
            Key::Char('n') => self.sort = Sort::Name,
            Key::Char('R') => self.sort = Sort::Restarts,
            Key::Char('p') => self.paused = !self.paused,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                return self.keep_selection();
            }
            Key::Char('r') => self.confirm(Verb::Restart),
            Key::Char('s') => self.confirm(Verb::Stop),
            Key::Char('S') => self.confirm(Verb::Start),
            Key::Char('l') | Key::Enter if self.selected.is_some() => self.mode = Mode::Log(0),
            Key::Char('e') => {
                if let Some(id) = self.selected.clone() {
                    self.events.clear();
                    self.mode = Mode::Events(0);
                    return vec![Effect::Events(id)];
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn press_filter(&mut self, key: Key) -> Vec<Effect> {
        match key {
            Key::Enter => self.mode = Mode::Table,
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(letter) if self.filter.chars().count() < FILTER_CHARS_MAX => self.filter.push(letter),
            _ => {}
        }
        self.keep_selection()
    }

    fn confirm(&mut self, verb: Verb) {
        match self.rows.iter().find(|row| Some(&row.id) == self.selected.as_ref()) {
            Some(row) if row.gone => self.told = format!("the guard {} does not answer", row.id.guard),
            Some(row) => self.mode = Mode::Confirm(verb, row.id.clone()),
            None => {}
        }
    }

    /// How many lines are below the screen after a key; `None`: back to the table.
    fn scrolled(&self, key: Key, below: usize, all: usize) -> Option<usize> {
        let most = all.saturating_sub(1);
        Some(match key {
            Key::Up | Key::Char('k') => (below + 1).min(most),
            Key::Down | Key::Char('j') => below.saturating_sub(1),
            Key::PageUp | Key::Char('b') => (below + 10).min(most),
            Key::PageDown | Key::Char(' ') => below.saturating_sub(10),
            Key::Home | Key::Char('g') => most,
            Key::End | Key::Char('G') => 0,
            Key::Char('q' | 'l' | 'e') | Key::Escape | Key::Enter => return None,
            _ => below,
        })
    }

    /// Moves the selection by so many rows.
    fn step(&mut self, by: isize) -> Vec<Effect> {
        let shown: Vec<Id> = self.shown().iter().map(|row| row.id.clone()).collect();
        let at = shown.iter().position(|id| Some(id) == self.selected.as_ref()).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(shown.len().saturating_sub(1));
        self.select(shown.get(to).cloned())
    }

    /// The first row, when what was selected is not shown any more.
    fn keep_selection(&mut self) -> Vec<Effect> {
        let shown = self.shown();
        if shown.iter().any(|row| Some(&row.id) == self.selected.as_ref()) {
            return Vec::new();
        }
        let first = shown.first().map(|row| row.id.clone());
        self.select(first)
    }

    fn select(&mut self, id: Option<Id>) -> Vec<Effect> {
        if id == self.selected {
            return Vec::new();
        }
        self.selected = id.clone();
        self.lines.clear();
        vec![Effect::Follow(id)]
    }
}

/// Percent of one processor between two looks at the same program.
fn used(old: &Sample, new: &Sample) -> Option<f64> {
    let span = new.at.saturating_sub(old.at).as_secs_f64();
    let used = new.seconds - old.seconds;
    (old.pid == new.pid && span > 0.0 && used >= 0.0).then_some(100.0 * used / span)
}

/// Whether somebody should look at it.
pub fn is_bad(state: State) -> bool {
    matches!(state, State::Failed | State::Backoff | State::Cooldown)
}
