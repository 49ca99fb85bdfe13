//! Screens, and what keys make of them, without a terminal.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::keys::Key;
use super::model::{Effect, Id, Mode, Model, Seen, Sort};
use super::view;
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;
use std::time::Duration;
use tutela_schema::api::{GuardStatus, LogLine, Verb};
use tutela_schema::wall::WallTime;

const NOW_MS: i64 = 1_763_725_134_000;

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_millis(NOW_MS + seconds * 1000)
}

/// A guard with instances of these names, states, processor seconds and MiB.
fn guard(name: &str, instances: &[(&str, &str, f64, u64)]) -> GuardStatus {
    let services: Vec<serde_json::Value> = instances
        .iter()
        .map(|(id, state, cpu, mib)| {
            serde_json::json!({
                "name": id.split(':').next().unwrap(), "state": state, "health": "up",
                "instances": [{
                    "id": id, "state": state, "health": "up", "pid": 4711, "since": at(-90), "restarts": 2,
                    "cause": "started by the spec", "next": null, "last_exit": null,
                    "usage": { "cpu_seconds": cpu, "memory_bytes": mib * 1024 * 1024, "processes": 1, "open_files": 3 },
                }],
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({
        "name": name, "version": "0.1.0", "pid": 1, "since": at(-100), "host": "foreground", "capabilities": [],
        "services": services,
    }))
    .unwrap()
}

fn seen(guards: Vec<GuardStatus>) -> Seen {
    Seen { guards, silent: Vec::new() }
}

/// The shop, looked at twice with a second in between.
fn shop() -> Model {
    let mut model = Model::new(None, false, at(0));
    let first = [("api:0", "running", 1.0, 100), ("db:0", "running", 5.0, 300), ("mail:0", "failed", 0.0, 0)];
    let effects = model.see(seen(vec![guard("shop", &first)]), Duration::from_secs(1), at(0));
    assert_eq!(effects, [Effect::Follow(Some(id("api:0")))]);
    let second = [("api:0", "running", 1.5, 100), ("db:0", "running", 5.1, 300), ("mail:0", "failed", 0.0, 0)];
    assert_eq!(model.see(seen(vec![guard("shop", &second)]), Duration::from_secs(2), at(1)), []);
    for (text, level) in [("listening on 8081", "info"), ("\u{1b}[31mno route\u{1b}[0m\tto db", "error")] {
        model.hear(&id("api:0"), line(text, level));
    }
    model
}

fn id(instance: &str) -> Id {
    Id { guard: "shop".to_owned(), instance: instance.to_owned() }
}

fn line(text: &str, level: &str) -> LogLine {
    LogLine {
        timestamp: Some(at(0)),
        guard: None,
        service_name: "api".to_owned(),
        instance: "0".to_owned(),
        level: Some(level.to_owned()),
        stream: None,
        message: text.to_owned(),
        fields: serde_json::Map::new(),
        partial: false,
        tutela: None,
    }
}

/// The screen, without what is empty at the ends of its lines.
fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(model, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    (0..height)
        .map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect();
            row.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_usual_terminal_shows_everything_but_long_reasons() {
    let screen = screen(&shop(), 80, 24);
    assert_eq!(screen[0], "shop: 2 of 3 run, 1 in trouble | by name");
    assert_eq!(screen[1], "NAME         STATE    CPU    MEMORY     HEALTH   SINCE RESTARTS PID     WHY");
    assert_eq!(screen[2], ">api:0       running  50.0%  100.0 MiB  up       91s   2        4711    started…");
    assert_eq!(screen[3], " db:0        running  10.0%  300.0 MiB  up       91s   2        4711    started…");
    assert_eq!(screen[4], " mail:0      failed   0.0%   0 B        up       91s   2        4711    started…");
    assert!(screen[15].starts_with("── shop/api:0 ──"), "{screen:#?}");
    assert!(screen[16].ends_with(" listening on 8081"), "{screen:#?}");
    assert!(screen[17].ends_with(" no route to db"), "{screen:#?}");
    assert!(screen[23].starts_with("q quit  ? help"), "{screen:#?}");
}

#[test]
fn a_tiny_terminal_shows_what_matters_and_none_is_too_small() {
    let shown = screen(&shop(), 40, 10);
    assert_eq!(shown[1], "NAME         STATE    CPU    MEMORY");
    assert_eq!(shown[2], ">api:0       running  50.0%  100.0 MiB");
    assert!(shown[6].starts_with("── shop/api:0 ─"), "{shown:#?}");
    assert!(shown[8].ends_with("no route to db"), "{shown:#?}");
    let mut model = shop();
    for keys in ["", "?", "q/", "\u{1b}r", "nl", "qe"] {
        super::keys::keys(keys.as_bytes()).into_iter().for_each(|key| drop(model.press(key)));
        for (width, height) in [(1, 1), (2, 2), (5, 3), (13, 4), (300, 100)] {
            screen(&model, width, height);
        }
    }
}

#[test]
fn keys_sort_filter_and_select() {
    let mut model = shop();
    let names = |model: &Model| model.shown().iter().map(|row| row.id.instance.clone()).collect::<Vec<_>>();
    for (key, sort, order) in [
        ('m', Sort::Memory, ["db:0", "api:0", "mail:0"]),
        ('c', Sort::Cpu, ["api:0", "db:0", "mail:0"]),
        ('n', Sort::Name, ["api:0", "db:0", "mail:0"]),
    ] {
        assert_eq!(model.press(Key::Char(key)), []);
        assert_eq!((model.sort, names(&model)), (sort, order.map(str::to_owned).to_vec()));
    }
    assert_eq!(model.press(Key::Down), [Effect::Follow(Some(id("db:0")))]);
    assert!(model.lines.is_empty(), "those of another");
    assert_eq!(model.press(Key::Char('G')), [Effect::Follow(Some(id("mail:0")))]);
    assert_eq!(model.press(Key::Down), []);
    model.press(Key::Char('/'));
    let effects: Vec<Effect> = "FAILEx".chars().flat_map(|letter| model.press(Key::Char(letter))).collect();
    assert_eq!((effects, names(&model)), (vec![Effect::Follow(None)], Vec::new()));
    assert_eq!(model.press(Key::Backspace), [Effect::Follow(Some(id("mail:0")))]);
    model.press(Key::Enter);
    assert!(screen(&model, 80, 24)[0].contains("| /FAILE |"));
    model.press(Key::Escape);
    assert_eq!(names(&model).len(), 3);
}

#[test]
fn a_command_is_carried_out_after_a_yes_and_only_then() {
    let mut model = shop();
    for (key, verb) in [('r', Verb::Restart), ('s', Verb::Stop), ('S', Verb::Start)] {
        assert_eq!(model.press(Key::Char(key)), []);
        assert_eq!(model.mode, Mode::Confirm(verb, id("api:0")));
        let bottom = screen(&model, 80, 24).pop().unwrap();
        assert_eq!(bottom, format!("{} shop/api:0? y: yes, any other key: no", verb.word()));
        assert_eq!(model.press(Key::Char('n')), []);
        model.press(Key::Char(key));
        assert_eq!(model.press(Key::Char('y')), [Effect::Command(verb, id("api:0"))]);
    }
    assert_eq!(model.press(Key::Char('q')), [Effect::Quit]);
    assert_eq!(model.press(Key::Interrupt), [Effect::Quit]);
}

#[test]
fn a_guard_that_does_not_answer_stays_to_be_seen_as_gone() {
    let mut model = shop();
    let other = guard("other", &[("x:0", "running", 1.0, 1)]);
    let silent = vec![("shop".to_owned(), "its guard does not answer".to_owned())];
    model.see(Seen { guards: vec![other], silent }, Duration::from_secs(3), at(2));
    let shown = screen(&model, 120, 24);
    assert!(shown[0].starts_with("2 guards: 1 of 4 run, 3 in trouble"), "{shown:#?}");
    assert!(shown[3].starts_with(">shop/api:0") && shown[3].contains(" gone "), "{shown:#?}");
    assert!(shown[3].ends_with("its guard does not answer"), "{shown:#?}");
    model.press(Key::Char('r'));
    assert_eq!((&model.mode, model.told.as_str()), (&Mode::Table, "the guard shop does not answer"));
}

#[test]
fn a_pause_holds_the_picture_and_the_log_scrolls() {
    let mut model = shop();
    model.press(Key::Char('p'));
    model.see(seen(Vec::new()), Duration::from_secs(9), at(9));
    assert_eq!(model.shown().len(), 3);
    assert!(!model.shown()[0].gone && screen(&model, 80, 24)[0].contains("paused"));
    model.press(Key::Char('p'));
    for number in 0..50 {
        model.hear(&id("api:0"), line(&format!("number {number}"), "info"));
        model.hear(&id("db:0"), line("of another", "info"));
    }
    model.press(Key::Char('l'));
    assert!(screen(&model, 80, 10)[8].ends_with("number 49"));
    model.press(Key::PageUp);
    assert!(screen(&model, 80, 10)[8].ends_with("number 39"));
    model.hear(&id("api:0"), line("number 50", "info"));
    assert!(screen(&model, 80, 10)[8].ends_with("number 39"), "who reads stays where he is");
    model.press(Key::Char('G'));
    assert!(screen(&model, 80, 10)[8].ends_with("number 50"));
    model.press(Key::Char('q'));
    assert_eq!(model.mode, Mode::Table);
    assert_eq!(model.press(Key::Char('e')), [Effect::Events(id("api:0"))]);
}
