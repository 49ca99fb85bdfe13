//! `tutela top` on a terminal of its own: it shows, obeys keys, and gives the terminal back however it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use tutela_it::{BOUND, Guard, Stage, processes::kill, wait_until};

/// `tutela top` and the terminal that it runs on.
struct Top {
    process: Child,
    /// What types and sees.
    person: File,
    /// What the program has.
    terminal: File,
    /// Everything that was shown, with its escape sequences.
    shown: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Top {
    fn start(stage: &Stage, words: &[&str]) -> Top {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let mut command = stage.command();
        command.arg("top").args(words);
        for give in [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr] {
            give(&mut command, terminal.try_clone().unwrap());
        }
        let process = command.spawn().unwrap();
        let person = File::from(person);
        let (shown, mut read) = (Arc::new(Mutex::new(Vec::new())), person.try_clone().unwrap());
        let kept = shown.clone();
        // Ends when the terminal has no more holders.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = read.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Top { process, person, terminal, shown, before }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// What a person sees: moves of the cursor and letters, colours left out.
    fn screen(&self) -> String {
        let text = self.text();
        let (mut rows, mut x, mut y) = (vec![[' '; 100]; 24], 0, 0);
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '\x1b' {
                if let Some(cell) = rows.get_mut(y).and_then(|row| row.get_mut(x)) {
                    *cell = letter;
                }
                x += 1;
                continue;
            }
            let (mut numbers, mut last) = (String::new(), None);
            for letter in letters.by_ref().skip(1) {
                if letter.is_ascii_alphabetic() {
                    last = Some(letter);
                    break;
                }
                numbers.push(letter);
            }
            match last {
                Some('H') => {
                    let (row, column) = numbers.split_once(';').unwrap();
                    (y, x) = (row.parse::<usize>().unwrap() - 1, column.parse::<usize>().unwrap() - 1);
                }
                Some('J') => rows.fill([' '; 100]),
                _ => {}
            }
        }
        rows.iter().map(|row| row.iter().collect::<String>() + "\n").collect()
    }

    fn wait_for(&self, part: &str) {
        let began = std::time::Instant::now();
        while !self.screen().contains(part) {
            assert!(began.elapsed() < BOUND, "{part:?} is never shown:\n{}", self.screen());
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    fn press(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end, with 0, and for a terminal that is as it was.
    fn ends_well(mut self) {
        let status = wait_until(BOUND, "top ends", || self.process.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.text());
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        for left in ["\x1b[?1049l", "\x1b[?25h"] {
            wait_until(BOUND, "the screen is left", || self.text().contains(left).then_some(()));
        }
    }
}

const SPEC: &str = "[services.a]\ncommand = [\"understudy\", \"say=hello there\", \"hang\"]\n";

#[test]
fn a_service_is_seen_and_restarted_by_a_key_and_the_terminal_is_given_back() {
    let guard = Guard::start(SPEC);
    let pid = guard.wait_state("a", "running").pid;
    let mut top = Top::start(&guard, &[guard.name()]);
    for part in ["a:0", "running", "hello there"] {
        top.wait_for(part);
    }
    assert!(top.is_raw() && top.text().starts_with("\x1b[?1049h"));
    top.press("r");
    top.wait_for("y: yes");
    assert_eq!(guard.instance("a").pid, pid, "nothing happens before the yes");
    top.press("y");
    guard.wait_for("a", "has another process", |it| it.pid.is_some() && it.pid != pid);
    top.wait_for("restart done");
    top.press("q");
    top.ends_well();
}

#[test]
fn signals_and_ctrl_c_give_the_terminal_back_too() {
    let guard = Guard::start(SPEC);
    for signal in ["TERM", "HUP"] {
        let top = Top::start(&guard, &[]);
        top.wait_for("a:0");
        assert!(top.is_raw());
        kill(top.process.id(), signal);
        top.ends_well();
    }
    let mut top = Top::start(&guard, &[guard.name()]);
    top.wait_for("a:0");
    top.press("\x03");
    top.ends_well();
}

#[test]
fn a_guard_that_goes_away_is_shown_as_gone() {
    let guard = Guard::start(SPEC);
    let mut top = Top::start(&guard, &[guard.name()]);
    top.wait_for("hello there");
    let stage = guard.close();
    top.wait_for("gone");
    assert_eq!(top.process.try_wait().unwrap(), None, "{}", stage.name());
    top.press("q");
    top.ends_well();
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let stage = Stage::new();
    let ended = stage.cli(["top"]);
    assert!(ended.code == 2 && ended.stderr.contains("status --watch"), "{ended:?}");
}
