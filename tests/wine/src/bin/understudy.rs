//! A program for Windows that does what its words say, one after the other; and a service that does so.
//!
//! | words | it |
//! |---|---|
//! | `whole FILE` | writes a line
//! | `pid FILE` | writes its process number |
//! | `words FILE …` | writes the words that follow, each in a line, and plays none of them |
//! | `variable FILE NAME` | writes the value of a variable |
//! | `say TEXT` | prints a line |
//! | `drip MS FILE` | prints a numbered line every so often, until there is such a file |
//! | `child FILE` | starts itself with `pid FILE hang` |
//! | `count FILE` | adds a line |
//! | `exists FILE` | ends with 1 unless there is such a file |
//! | `await FILE` | waits until there is such a file |
//! | `stamp FILE` | writes the time, in microseconds |
//! | `notify TEXT` | tells the guard |
//! | `watch FILE NAME` | writes when it watches, and when the service NAME runs, each with the time |
//! | `tick FILE` | counts in a file, on a thread, for as long as it runs |
//! | `until-asked FILE CODE` | waits for Ctrl-C or Ctrl-Break, writes which, ends with the code |
//! | `hang` | waits for ever |
//! | `exit CODE` | ends |
//! | `serve FILE` | is a service: writes what it hears, and plays the words it is started with |
//! | `ask NAME CONTROL` | asks a service: `stop`, `pause`, `continue`, `reload`, or a number |
//!
//! Words that `serve` knows: `slow` waits for a file `go` beside FILE before it says that it runs; `panic`,
//! `code N`, `os N` end it so. It waits for `go` too before it says that it holds still.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that fails where its words make no sense")]

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use tutela_os::host::{self, Accepts, Control, Scm, ServiceExit};
use tutela_os::process::Signal;
use tutela_os::registration::{self, RegisteredState, Scope};
use tutela_os::signals::Signals;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

fn main() {
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_else(|| panic!("{word} wants a word more"));
        match word.as_str() {
            "whole" => whole(&next(), "yes\n"),
            "pid" => whole(&next(), &format!("{}\n", std::process::id())),
            "words" => {
                let file = next();
                let text: String = words.by_ref().map(|word| format!("{word}\n")).collect();
                whole(&file, &text);
            }
            "variable" => {
                let file = next();
                whole(&file, &format!("{}\n", std::env::var(next()).unwrap_or_default()));
            }
            "say" => println!("{}", next()),
            "drip" => {
                let (pause, file) = (Duration::from_millis(next().parse().unwrap()), next());
                for number in 0_u64.. {
                    if Path::new(&file).exists() {
                        break;
                    }
                    println!("line {number}");
                    std::thread::sleep(pause);
                }
            }
            "child" => {
                let file = next();
                let own = std::env::current_exe().unwrap();
                // It is to outlive this process, if nobody ends it.
                #[expect(clippy::zombie_processes, reason = "that is what is tried")]
                Command::new(own).args(["pid", &file, "hang"]).spawn().unwrap();
                await_file(&file);
            }
            "count" => append(&next(), "line\n"),
            "exists" => {
                if !Path::new(&next()).exists() {
                    std::process::exit(1);
                }
            }
            "await" => await_file(&next()),
            "stamp" => append(&next(), &format!("{}\n", micros())),
            "notify" => {
                let mut pipe =
                    std::fs::File::options().write(true).open(std::env::var("NOTIFY_SOCKET").unwrap()).unwrap();
                pipe.write_all(next().as_bytes()).unwrap();
            }
            "watch" => {
                let file = next();
                watch(&file, &next());
            }
            "tick" => {
                let file = next();
                std::thread::spawn(move || {
                    for count in 0_u64.. {
                        whole(&file, &format!("{count}\n"));
                        std::thread::sleep(LOOK);
                    }
                });
            }
            "until-asked" => {
                let file = next();
                until_asked(&file);
                std::process::exit(next().parse().unwrap());
            }
            "hang" => hang(),
            "exit" => std::process::exit(next().parse().unwrap()),
            "serve" => serve(&next()),
            "ask" => {
                let service = next();
                ask(&service, &next());
            }
            other => panic!("no word {other:?}"),
        }
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn await_file(file: &str) {
    while !Path::new(file).exists() {
        std::thread::sleep(LOOK);
    }
}

/// Writes a file that others see whole or not at all.
fn whole(file: &str, text: &str) {
    let new = format!("{file}.{}", std::process::id());
    std::fs::write(&new, text).unwrap();
    // Somebody may just be reading the old one.
    while std::fs::rename(&new, file).is_err() {
        std::thread::sleep(LOOK);
    }
}

fn append(file: &str, text: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn micros() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros()
}

/// As long as the SCM waits for a service that tells no checkpoints.
const WATCH_MAX: Duration = Duration::from_secs(60);

/// Looks without a pause: what is measured is far shorter than a pause.
fn watch(file: &str, name: &str) {
    let runs = || {
        let found = registration::query(name, Scope::System).unwrap();
        found.is_some_and(|it| it.state == RegisteredState::Running)
    };
    assert!(!runs());
    append(file, &format!("{}\n", micros()));
    let began = Instant::now();
    while !runs() {
        assert!(began.elapsed() < WATCH_MAX, "{name} does not run");
    }
    append(file, &format!("{}\n", micros()));
}

fn until_asked(file: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let signal = runtime.block_on(async {
        let mut signals = Signals::open().unwrap();
        append(&format!("{file}.listens"), "yes\n");
        signals.next().await.unwrap()
    });
    whole(file, if signal == Signal::INT { "ctrl-c\n" } else { "ctrl-break\n" });
}

fn ask(service: &str, control: &str) {
    let control = match control {
        "stop" => Control::Stop,
        "pause" => Control::Pause,
        "continue" => Control::Continue,
        "reload" => Control::Reload,
        code => Control::User(code.parse().unwrap()),
    };
    match host::ask(service, control) {
        Ok(state) => println!("{state:?}"),
        Err(tutela_os::Error::Io { source, .. }) => {
            println!("error {}", source.raw_os_error().unwrap_or(-1));
            std::process::exit(1);
        }
        Err(error) => panic!("{error}"),
    }
}

fn serve(file: &str) {
    let by = host::started_by();
    let told = file.to_owned();
    match host::serve_scm("understudy", move |scm| service(&told, &scm)) {
        Ok(exit) => append(file, &format!("served {exit:?}\n")),
        Err(not_served) => {
            println!("started by {}: {}", by.word(), not_served.error);
            std::process::exit(63);
        }
    }
}

fn service(file: &str, scm: &Scm) -> ServiceExit {
    append(file, &format!("{} {} started by {}\n", scm.name(), std::process::id(), host::started_by().word()));
    let words: Vec<String> = scm.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.is_empty() {
        append(file, &format!("words {}\n", words.join("|")));
    }
    let go = Path::new(file).with_file_name("go");
    let await_go = || await_file(&go.to_string_lossy());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse().unwrap();
        match word {
            "slow" => {
                scm.starting(Duration::from_secs(60));
                await_go();
            }
            "panic" => panic!("as it was asked to"),
            "code" => return ServiceExit::code(number()),
            "os" => return ServiceExit::os(number()),
            other => append(file, &format!("no word {other}\n")),
        }
    }
    scm.running(Accepts::ALL);
    let controls = scm.controls();
    while let Some(control) = controls.next_blocking() {
        append(file, &format!("{control}\n"));
        match control {
            Control::Pause => {
                await_go();
                let _ = scm.paused();
            }
            Control::Continue => drop(scm.running(Accepts::ALL)),
            Control::Stop | Control::Shutdown => break,
            Control::User(200) => drop(scm.running(Accepts::default())),
            _ => {}
        }
    }
    scm.stopping(Duration::from_secs(10));
    ServiceExit::Done
}
