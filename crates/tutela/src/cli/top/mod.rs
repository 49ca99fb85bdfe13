//! `tutela top`: services on the whole terminal, with keys.
//!
//! [`model`] is what is seen and what keys do; [`view`] makes a picture of it; [`backend`] and [`keys`] are the
//! terminal. Here is the loop: one task looks at the guards each second, one follows the lines of the selected
//! instance, a thread reads keys. Whatever ends it (a key, a signal, a panic), the terminal is given back.

mod backend;
mod keys;
mod model;
mod view;

#[cfg(test)]
mod tests;

use super::command::{Target, encoded};
use super::words::TopWords;
use super::{Code, DONE, FAILED, WRONG, block_on, report};
use crate::client::{Client, ClientError, Reach};
use crate::conductor::wall_now;
use backend::Ansi;
use keys::Key;
use model::{Effect, Id, Model, Seen};
use ratatui_core::terminal::Terminal;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;
use tutela_os::process::Signal;
use tutela_os::signals::Signals;
use tutela_os::terminal::{self, RawMode};
use tutela_schema::api::{CommandReply, CommandRequest, EventsReply, LogLine, Route, RouteId, StatusReply, Verb};

/// How often the guards are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one guard may take to answer a look before it is shown as gone.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// News that wait to be taken in. A program that floods its log waits here, not in memory.
const NEWS_MAX: usize = 256;

/// Pictures a second at the most, however much comes.
const DRAW_EVERY: Duration = Duration::from_millis(50);

/// Lines that a newly selected instance is shown with.
const LINES_FIRST: usize = 200;

/// How long it rests before an instance's lines are asked for again.
const FOLLOW_REST: Duration = Duration::from_secs(1);

/// What comes in.
enum News {
    Key(Key),
    /// Nobody types any more.
    KeysEnded,
    Seen(Seen),
    Line(Id, LogLine),
    Events(Vec<String>),
    Told(String),
}

pub fn top(words: &TopWords, reach: &Reach) -> Code {
    let target = match words.target.as_deref().map(Target::parse).transpose() {
        Ok(target) => target,
        Err(code) => return code,
    };
    if !terminal::stdin_is_terminal() || !terminal::stdout_is_terminal() {
        report::error("refused: this is not a terminal", Some("`tutela status --watch` shows the same without one"));
        return WRONG;
    }
    // A name that nobody answers to is told where it can be read.
    if let Some(target) = &target {
        let client = reach.client(&target.guard);
        match block_on(client.get::<serde_json::Value>("/livez")) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return report::client_error(&error),
            Err(code) => return code,
        }
    }
    match block_on(on_screen(target, reach.clone())) {
        Ok(Ok(())) => DONE,
        Ok(Err(error)) => {
            report::error(&error, None);
            FAILED
        }
        Err(code) => code,
    }
}

/// The terminal while it is ours. Given back once, by whoever comes first: the drop, or a panic's hook.
#[derive(Clone)]
struct Screen(Arc<Mutex<Option<RawMode>>>);

impl Screen {
    fn take() -> Result<Self, String> {
        let raw = RawMode::begin().map_err(|error| crate::hands::spawner::chain(&error))?;
        let screen = Screen(Arc::new(Mutex::new(Some(raw))));
        let (hooked, before) = (screen.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            hooked.give_back();
            before(panic);
        }));
        print(backend::ENTER);
        Ok(screen)
    }

    fn give_back(&self) {
        if let Some(raw) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            print(backend::LEAVE);
            raw.restore();
        }
    }
}

/// The one that ends with the loop; the panic's hook has a copy that does nothing by being dropped.
struct GiveBack(Screen);

impl Drop for GiveBack {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that went away shows nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

async fn on_screen(target: Option<Target>, reach: Reach) -> Result<(), String> {
    let told = |error: tutela_os::Error| crate::hands::spawner::chain(&error);
    let mut signals = Signals::open().map_err(told)?;
    let _screen = GiveBack(Screen::take()?);
    let drawn = |error: std::io::Error| format!("failed to draw: {error}");
    let mut terminal = Terminal::new(Ansi::default()).map_err(drawn)?;
    let (send, mut news) = channel(NEWS_MAX);
    read_keys(send.clone());
    let only = target.as_ref().and_then(|target| target.service.clone());
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut model = Model::new(only, coloured, wall_now());
    tokio::spawn(look(target.map(|target| target.guard), reach.clone(), send.clone()));
    let (began, mut follower) = (Instant::now(), None);
    loop {
        terminal.draw(|frame| view::draw(&model, frame.area(), frame.buffer_mut())).map_err(drawn)?;
        let first = tokio::select! {
            first = news.recv() => first,
            signal = signals.next() => match signal {
                // The next picture has the new size.
                Ok(Signal::WINCH) => continue,
                Ok(Signal::USR1 | Signal::USR2) => continue,
                Ok(_) | Err(_) => return Ok(()),
            },
        };
        let mut next = first;
        let until = Instant::now() + DRAW_EVERY;
        // All that is there already belongs into the same picture.
        while let Some(piece) = next.take() {
            let is_key = matches!(piece, News::Key(_));
            for effect in take_in(&mut model, piece, began) {
                if effect == Effect::Quit {
                    return Ok(());
                }
                carry_out(effect, &reach, &send, &mut follower);
            }
            if !is_key && Instant::now() < until {
                next = news.try_recv().ok();
            }
        }
    }
}

fn take_in(model: &mut Model, news: News, began: Instant) -> Vec<Effect> {
    match news {
        News::Key(key) => model.press(key),
        News::KeysEnded => vec![Effect::Quit],
        News::Seen(seen) => model.see(seen, began.elapsed(), wall_now()),
        News::Line(id, line) => {
            model.hear(&id, line);
            Vec::new()
        }
        News::Events(events) => {
            model.events = events;
            Vec::new()
        }
        News::Told(told) => {
            model.told = told;
            Vec::new()
        }
    }
}

fn carry_out(effect: Effect, reach: &Reach, send: &Sender<News>, follower: &mut Option<JoinHandle<()>>) {
    match effect {
        Effect::Quit => {}
        Effect::Follow(id) => {
            if let Some(old) = follower.take() {
                old.abort();
            }
            if let Some(id) = id {
                *follower = Some(tokio::spawn(follow(reach.client(&id.guard), id, send.clone())));
            }
        }
        Effect::Command(verb, id) => {
            tokio::spawn(command(reach.client(&id.guard), verb, id, send.clone()));
        }
        Effect::Events(id) => {
            let client = reach.client(&id.guard);
            let send = send.clone();
            tokio::spawn(async move {
                let path = format!("/v1/events?service={}&n=1000", encoded(&id.instance));
                let events = match client.get::<EventsReply>(&path).await {
                    Ok(reply) => reply.events.iter().map(|it| format!("{} {}", it.at, it.message)).collect(),
                    Err(error) => vec![error.to_string()],
                };
                // Nobody is there any more to see it.
                let _ = send.send(News::Events(events)).await;
            });
        }
    }
}

/// Reads keys until the terminal goes away. The thread ends with the process: a read of a terminal has no other end.
fn read_keys(send: Sender<News>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        loop {
            let count = std::io::stdin().lock().read(&mut bytes).unwrap_or(0);
            if count == 0 {
                // Nobody is there any more to hear it.
                let _ = send.blocking_send(News::KeysEnded);
                return;
            }
            for key in keys::keys(&bytes[..count]) {
                if send.blocking_send(News::Key(key)).is_err() {
                    return;
                }
            }
        }
    });
}

/// Looks at the guard, or at all of them, again and again.
async fn look(guard: Option<String>, reach: Reach, send: Sender<News>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let names = match &guard {
            Some(name) => vec![name.clone()],
            None => reach.guards(),
        };
        let mut seen = Seen::default();
        for name in names {
            let client = reach.client(&name);
            let asked = client.get::<StatusReply>("/v1/status?usage=true");
            match tokio::time::timeout(ANSWER_LIMIT, asked).await {
                Ok(Ok(reply)) => seen.guards.extend(reply.guards),
                Ok(Err(ClientError::NoGuard { .. })) => seen.silent.push((name, "its guard is gone".to_owned())),
                Ok(Err(error)) => seen.silent.push((name, error.to_string())),
                Err(_) => seen.silent.push((name, "its guard does not answer".to_owned())),
            }
        }
        if send.send(News::Seen(seen)).await.is_err() {
            return;
        }
    }
}

/// Passes on the lines of an instance, also after its guard was away.
async fn follow(client: Client, id: Id, send: Sender<News>) {
    let mut first = LINES_FIRST;
    loop {
        let path = format!("/v1/logs/{}?follow=true&n={first}", encoded(&id.instance));
        if let Ok(mut pieces) = client.open(&path).await {
            first = 0;
            let mut rest = Vec::new();
            while let Some(piece) = pieces.next().await {
                rest.extend_from_slice(&piece);
                let mut from = 0;
                while let Some(length) = memchr::memchr(b'\n', &rest[from..]) {
                    let line = serde_json::from_slice::<LogLine>(&rest[from..from + length]);
                    from += length + 1;
                    if let Ok(line) = line
                        && send.send(News::Line(id.clone(), line)).await.is_err()
                    {
                        return;
                    }
                }
                rest.drain(..from);
            }
        }
        tokio::time::sleep(FOLLOW_REST).await;
    }
}

async fn command(client: Client, verb: Verb, id: Id, send: Sender<News>) {
    let Some(route) = Route::of(RouteId::ServiceCommand(verb)) else { return };
    let path = format!("{}?wait=true", route.path_for(&encoded(&id.instance)));
    let request = CommandRequest { reason: Some("tutela top".to_owned()) };
    // A text and nothing else: there is no value that JSON cannot hold.
    let body = serde_json::to_string(&request).unwrap_or_default();
    let who = format!("{}/{}", id.guard, id.instance);
    let told = match client.post::<CommandReply>(&path, body).await {
        Ok(reply) if reply.succeeded() => format!("{who}: {} done", verb.word()),
        Ok(reply) => {
            let why = reply.instances.into_iter().find_map(|instance| instance.message);
            format!("{who}: {} failed: {}", verb.word(), why.unwrap_or_default())
        }
        Err(error) => format!("{who}: {error}"),
    };
    // Nobody is there any more to see it.
    let _ = send.send(News::Told(told)).await;
}
