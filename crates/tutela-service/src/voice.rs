//! The service's mouth and ear towards its host: the SCM, or who listens at `NOTIFY_SOCKET`, or signals alone.
//!
//! Called by [`crate::runner`] alone. systemd and a guard of Tutela hear `sd_notify`, on Windows through a pipe; launchd
//! and terminals hear nothing and speak by signals.

use crate::event::{Controls, Event, StopReason};
use crate::exit::chain;
use crate::life::{Ask, Word};
use std::ffi::OsString;
use std::time::Duration;
use tutela_os::host::{Accepts, Control, Scm, StartedBy};
use tutela_os::notify::Host;
use tutela_os::process::Signal;
use tutela_os::signals::Signals;

/// The mouth.
#[derive(Debug)]
pub(crate) struct Voice {
    scm: Option<Scm>,
    notify: Option<Host>,
    accepts: Accepts,
    /// What `READY=1` says beside itself.
    status: String,
    /// Whether a failure to reach the host was told; once is enough.
    told: bool,
}

impl Voice {
    /// The host's end: the SCM where it serves us, else whom `lookup`, the environment, names.
    pub(crate) fn new(scm: Option<Scm>, lookup: impl Fn(&str) -> Option<OsString>, controls: Controls) -> Voice {
        let notify = if scm.is_none() { Host::discover(lookup) } else { None };
        let events = controls.hears_events();
        let accepts = Accepts {
            pause: controls.hears_pause(),
            reload: controls.hears_reload(),
            shutdown: true,
            power: events,
            session: events,
            time: events,
        };
        Voice { scm, notify, accepts, status: "running".to_owned(), told: false }
    }

    /// How often the host wants a sign of life at the latest.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.notify.as_ref().and_then(Host::watchdog)
    }

    /// Gives the host a sign of life.
    pub(crate) fn alive(&mut self) -> Option<String> {
        let told = self.notify.as_ref().map_or(Ok(()), Host::alive);
        self.once(told)
    }

    /// Tells the host. Answers a line for the log when it could not be reached for the first time.
    pub(crate) fn tell(&mut self, word: &Word) -> Option<String> {
        if let Some(scm) = &self.scm {
            tell_scm(scm, word, self.accepts);
            return None;
        }
        if let Word::Status(status) = word {
            self.status.clone_from(status);
        }
        let host = self.notify.as_ref()?;
        let until = |span| tutela_os::clock::now() + span;
        let told = match word {
            Word::Starting(span) | Word::Extend(span) => host.extend_timeout(until(*span)),
            Word::Running => host.ready(&self.status),
            Word::Status(status) => host.status(status),
            Word::Reloading => host.reloading(),
            Word::Pausing => host.status("pausing"),
            // Whoever reloaded while it was paused waits for this.
            Word::Paused => host.ready("paused"),
            Word::Resuming => host.status("resuming"),
            Word::Stopping(span) => host.stopping("stopping").and_then(|()| host.extend_timeout(until(*span))),
        };
        self.once(told)
    }

    fn once(&mut self, told: Result<(), tutela_os::Error>) -> Option<String> {
        let error = told.err()?;
        let first = !std::mem::replace(&mut self.told, true);
        first.then(|| format!("the service manager does not hear this service: {}", chain(&error)))
    }
}

fn tell_scm(scm: &Scm, word: &Word, accepts: Accepts) {
    // A word that makes no sense to the SCM is left out by it; what it shows is true in any case.
    match word {
        Word::Starting(span) | Word::Extend(span) => scm.starting(*span),
        Word::Running => scm.running(accepts),
        Word::Pausing => scm.pausing(),
        Word::Paused => scm.paused(),
        Word::Resuming => scm.resuming(),
        Word::Stopping(span) => scm.stopping(*span),
        Word::Status(_) | Word::Reloading => false,
    };
}

/// The ear.
#[derive(Debug)]
pub(crate) enum Ear {
    /// Controls of the SCM.
    Scm(Scm),
    /// Signals, or Ctrl-C and its kin; and whether a terminal that goes away means the end.
    Signals(Signals, StartedBy),
    /// This OS gives us none.
    Deaf,
}

impl Ear {
    /// Opens the ear, within a runtime. The text is for the log when there is none to be had.
    pub(crate) fn open(scm: Option<Scm>, started_by: StartedBy) -> (Ear, Option<String>) {
        if let Some(scm) = scm {
            return (Ear::Scm(scm), None);
        }
        match Signals::open() {
            Ok(signals) => (Ear::Signals(signals, started_by), None),
            Err(error) => {
                let text = format!("a stop from outside ends this program at once, without a drain: {}", chain(&error));
                (Ear::Deaf, Some(text))
            }
        }
    }

    /// The next thing that is asked. May be dropped and called again without losing one.
    pub(crate) async fn next(&mut self) -> Ask {
        loop {
            let heard = match self {
                Ear::Scm(scm) => match scm.controls().next().await {
                    Some(control) => Some(ask_of_control(control)),
                    None => std::future::pending().await,
                },
                Ear::Signals(signals, started_by) => match signals.next().await {
                    Ok(signal) => ask_of_signal(signal, *started_by),
                    // The runtime is going; so are we.
                    Err(_) => std::future::pending().await,
                },
                Ear::Deaf => std::future::pending().await,
            };
            if let Some(ask) = heard {
                return ask;
            }
        }
    }
}

fn ask_of_control(control: Control) -> Ask {
    match control {
        Control::Stop => Ask::Stop(StopReason::Asked("the service control manager".to_owned())),
        Control::Shutdown => Ask::Stop(StopReason::Shutdown),
        Control::Pause => Ask::Pause,
        Control::Continue => Ask::Resume,
        Control::Reload => Ask::Reload,
        Control::Power(change) => Ask::Event(Event::Power(change)),
        Control::Session { change, id } => Ask::Event(Event::Session { change, session: id }),
        Control::TimeChanged { from, to } => Ask::Event(Event::TimeChanged { from, to }),
        Control::User(code) => Ask::Event(Event::User(u32::from(code))),
    }
}

fn ask_of_signal(signal: Signal, started_by: StartedBy) -> Option<Ask> {
    let stop = |who: &str| Some(Ask::Stop(StopReason::Asked(who.to_owned())));
    match signal {
        Signal::INT => Some(Ask::Interrupt),
        Signal::TERM if started_by == StartedBy::Terminal => stop("SIGTERM"),
        Signal::TERM => stop(match started_by {
            StartedBy::Systemd => "systemd",
            StartedBy::Launchd => "launchd",
            StartedBy::Guard => "the guard",
            _ => "SIGTERM",
        }),
        Signal::QUIT => stop("SIGQUIT"),
        // The terminal is gone; for services the same signal asks for a reload by custom.
        Signal::HUP if started_by == StartedBy::Terminal => stop("the end of its terminal"),
        Signal::HUP => Some(Ask::Reload),
        Signal::USR1 => Some(Ask::Event(Event::User(1))),
        Signal::USR2 => Some(Ask::Event(Event::User(2))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_the_end_in_a_terminal_and_a_reload_for_a_service() {
        assert!(matches!(ask_of_signal(Signal::HUP, StartedBy::Terminal), Some(Ask::Stop(_))));
        assert_eq!(ask_of_signal(Signal::HUP, StartedBy::Systemd), Some(Ask::Reload));
        assert_eq!(ask_of_signal(Signal::WINCH, StartedBy::Terminal), None);
    }

    #[test]
    fn a_shutdown_is_told_apart_from_a_stop() {
        assert_eq!(ask_of_control(Control::Shutdown), Ask::Stop(StopReason::Shutdown));
        assert_eq!(ask_of_control(Control::User(130)), Ask::Event(Event::User(130)));
    }
}
