//! A service that misbehaves on cue: the words of its command line are its script. The tests of this crate run it as
//! the process of a service, under every kind of host.
//!
//! Settings come first, as `name=value`; then the script, word by word. See [`Script`] for both.

use std::process::ExitCode;
use std::time::Duration;
use tutela_service::health::{Config, Verdict};
use tutela_service::{
    AsyncProgram, Context, Controls, Event, ExitWith, Heartbeat, Outcome, Program, Service, StopReason, Watched,
};

/// What the command line says.
struct Script {
    /// `start=`, `stop=`, `drain=`: bounds in milliseconds.
    start: u64,
    stop: u64,
    drain: u64,
    /// `config=FILE`: a number that is watched; it is the service's status after each change.
    config: Option<String>,
    /// `health=1` or `health=ADDRESS`: where the health server listens; 1 is any port.
    health: Option<String>,
    /// `pause=1`: it can be paused, and says so; with `pause=fail` it refuses.
    pause: Option<String>,
    /// `alive=MILLIS`: the heartbeat is its own.
    alive: Option<u64>,
    /// `form=async`: on a runtime. `form=program`, `form=async-program`: as a value, whose start is the script.
    form: String,
    words: Vec<String>,
}

impl Script {
    fn read() -> Script {
        let mut script = Script {
            start: 60_000,
            stop: 60_000,
            drain: 0,
            config: None,
            health: None,
            pause: None,
            alive: None,
            form: String::new(),
            words: Vec::new(),
        };
        for word in std::env::args().skip(1) {
            let number = |value: &str| value.parse().expect("a setting is a number of milliseconds");
            match word.split_once('=') {
                Some(("start", value)) => script.start = number(value),
                Some(("stop", value)) => script.stop = number(value),
                Some(("drain", value)) => script.drain = number(value),
                Some(("alive", value)) => script.alive = Some(number(value)),
                Some(("config", value)) => script.config = Some(value.to_owned()),
                Some(("health", value)) => script.health = Some(value.to_owned()),
                Some(("pause", value)) => script.pause = Some(value.to_owned()),
                Some(("form", value)) => script.form = value.to_owned(),
                _ => script.words.push(word),
            }
        }
        script
    }
}

fn main() -> ExitCode {
    let script = Script::read();
    let millis = Duration::from_millis;
    let mut service = Service::new("understudy")
        .start_timeout(millis(script.start))
        .stop_timeout(millis(script.stop))
        .drain_delay(millis(script.drain))
        .tracing(tracing::Level::INFO)
        .on_event(|context, event| match event {
            Event::User(code) => context.status(format!("code {code}")),
            other => context.status(format!("event {other:?}")),
        });
    if let Some(path) = script.config {
        let number = Watched::from_file(path, |text| Ok(text.trim().parse::<u32>()?)).expect("a first number");
        service = service.reloads(&number).on_reload(move |context| {
            context.status(format!("number {}", number.get()));
            Ok(())
        });
    }
    if let Some(way) = script.pause {
        service = service.on_pause(
            move |context| {
                context.status("holding still");
                if way == "fail" { Err("busy".into()) } else { Ok(()) }
            },
            |context| {
                context.status("going on");
                Ok(())
            },
        );
    }
    if let Some(address) = script.health {
        service = service.health(Config::at(if address == "1" { "127.0.0.1:0" } else { &address }));
    }
    if let Some(every) = script.alive {
        service = service.heartbeat(Heartbeat::Program(millis(every)));
    }
    let words = script.words;
    match script.form.as_str() {
        "program" => service.run_program(Player { words }),
        "async-program" => service.run_async_program(Player { words }),
        "async" => service.run_async(async move |context| {
            tokio::task::yield_now().await;
            play(&context, &words)
        }),
        _ => service.run(move |context| play(&context, &words)),
    }
}

/// The script as the start of a value. Its other methods tell that they were called; `stop-fails`, `reload-fails` and
/// `pause-fails` among the words make them fail.
struct Player {
    words: Vec<String>,
}

impl Player {
    fn begin(&self, context: &Context) -> Outcome {
        let words: Vec<String> = self.words.iter().filter(|word| !word.ends_with("-fails")).cloned().collect();
        play(context, &words)
    }

    fn tell(&self, context: &Context, method: &str, text: &str) -> Outcome {
        context.status(text);
        match self.words.contains(&format!("{method}-fails")) {
            true => Err(format!("{method} fails, as the script says").into()),
            false => Ok(()),
        }
    }
}

impl Program for Player {
    fn start(&mut self, context: &Context) -> Outcome {
        self.begin(context)
    }

    fn stop(&mut self, context: &Context, reason: &StopReason) -> Outcome {
        self.tell(context, "stop", &format!("stop: {reason}"))
    }

    fn controls(&self) -> Controls {
        Controls::NONE.pause().reload()
    }

    fn pause(&mut self, context: &Context) -> Outcome {
        self.tell(context, "pause", "pause")
    }

    fn resume(&mut self, context: &Context) -> Outcome {
        self.tell(context, "resume", "resume")
    }

    fn reload(&mut self, context: &Context) -> Outcome {
        self.tell(context, "reload", "reload")
    }
}

impl AsyncProgram for Player {
    async fn start(&mut self, context: &Context) -> Outcome {
        tokio::task::yield_now().await;
        self.begin(context)
    }

    async fn stop(&mut self, context: &Context, reason: &StopReason) -> Outcome {
        tokio::task::yield_now().await;
        self.tell(context, "stop", &format!("stop: {reason}"))
    }

    fn controls(&self) -> Controls {
        Controls::NONE.pause().reload()
    }

    async fn pause(&mut self, context: &Context) -> Outcome {
        tokio::task::yield_now().await;
        self.tell(context, "pause", "pause")
    }

    async fn resume(&mut self, context: &Context) -> Outcome {
        self.tell(context, "resume", "resume")
    }

    async fn reload(&mut self, context: &Context) -> Outcome {
        tokio::task::yield_now().await;
        self.tell(context, "reload", "reload")
    }
}

/// Plays the script.
fn play(context: &Context, words: &[String]) -> Outcome {
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut rest = || words.next().unwrap_or_default();
        match word {
            "ready" => context.ready(),
            "status" => context.status(rest()),
            "checkpoint" => context.checkpoint(Duration::from_millis(rest().parse()?)),
            // For that long, or until it is told to stop.
            "pace" => drop(context.stopping().wait_for(Duration::from_millis(rest().parse()?))),
            // Until it is told to stop.
            "wait" => context.stopping().wait(),
            // Until somebody hurries.
            "hurried" => context.hurried().wait(),
            // For ever, or until the process ends.
            "hang" => loop {
                std::thread::park();
            },
            "panic" => panic!("out of cues"),
            "task-panic" => drop(context.thread("cue", |_| panic!("out of cues"))?),
            "fail" => Err(rest())?,
            "exit" => Err(ExitWith::new(rest().parse()?, "as the script says"))?,
            "end" => context.end(),
            // Tracked work that takes that long, or for ever without a number.
            "work" => {
                let millis = rest().parse().map_or(Duration::MAX, Duration::from_millis);
                context.thread("work", move |context| {
                    let _ = context.hurried().wait_for(millis);
                    Ok(())
                })?;
            }
            "drain" => {
                let drained = context.drain(Duration::from_millis(rest().parse()?));
                context.status(drained.to_string());
            }
            "alive" => context.alive(),
            "log" => tracing::warn!(cue = 7, "a line of the program"),
            "address" => context.status(context.health().address().to_string()),
            "reason" => context.status(format!("reason: {:?}", context.stop_reason())),
            "check" => {
                let verdict = rest().to_owned();
                context.health().check("cue", Duration::from_secs(60), move || match verdict.as_str() {
                    "warn" => Ok(Verdict::Warning("look".into())),
                    "fail" => Err("broken".into()),
                    _ => Ok(Verdict::Healthy),
                });
            }
            other => Err(format!("refused: the script has no cue {other:?}"))?,
        }
    }
    Ok(())
}
