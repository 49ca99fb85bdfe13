//! The builder: what a service is called, how long things may take, what it hears; and the doors that run it.

use crate::body::{self, Answers, Body, Hook};
use crate::context::Context;
use crate::event::{Controls, Event};
use crate::exit::{Ending, Outcome};
use crate::heartbeat::Heartbeat;
use crate::life::{Bounds, Request};
use crate::program::Program;
use crate::registration::{Registration, Wish};
use crate::runner::{Job, live};
use crate::verbs;
use crate::watched::Watched;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tutela_os::host::{NotServed, ServiceExit, StartedBy, serve_scm, started_by};
use tutela_os::registration::Definition;

/// From start to ready, unless told: what systemd grants.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// From the wish to stop to the end, unless told: what Windows grants when it shuts down.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A service: its name and how it wants to be treated, until one of the `run` methods makes it live.
///
/// Call `run` first thing in `main` and do everything in the program: Windows gives a process 30 seconds to say that it
/// is a service, and what comes before `run` has no host yet that could be told of a failure.
#[must_use = "a service does nothing until one of its `run` methods is called"]
pub struct Service {
    pub(crate) name: String,
    pub(crate) bounds: Bounds,
    pub(crate) wish: Wish,
    controls: Controls,
    heartbeat: Option<Heartbeat>,
    quiet: bool,
    verbs: bool,
    answers: Answers,
    #[cfg(feature = "tokio")]
    runtime: Option<body::MakeRuntime>,
    #[cfg(feature = "health")]
    health: Option<crate::health::Config>,
    #[cfg(feature = "tracing")]
    tracing: Option<tracing_core::LevelFilter>,
}

impl Service {
    /// A service of this name: what the OS calls it, and who writes its lines in the log. Where the SCM starts it under
    /// another name, that one counts.
    pub fn new(name: impl Into<String>) -> Service {
        Service {
            name: name.into(),
            bounds: Bounds { start: START_TIMEOUT, stop: STOP_TIMEOUT, drain_delay: Duration::ZERO },
            wish: Wish::default(),
            controls: Controls::NONE,
            heartbeat: None,
            quiet: false,
            verbs: false,
            answers: Answers::default(),
            #[cfg(feature = "tokio")]
            runtime: None,
            #[cfg(feature = "health")]
            health: None,
            #[cfg(feature = "tracing")]
            tracing: None,
        }
    }

    /// The name that people see, where the OS shows one. The name itself unless told.
    pub fn display_name(mut self, name: impl Into<String>) -> Service {
        self.wish.display_name = Some(name.into());
        self
    }

    /// What it is for, for people.
    pub fn description(mut self, text: impl Into<String>) -> Service {
        self.wish.description = text.into();
        self
    }

    /// How long a start may take until [`Context::ready`]; 90 seconds unless told. [`Context::checkpoint`] asks for
    /// more. A program that is not ready by then is stopped, and the service fails with
    /// [`NOT_READY`](crate::NOT_READY) and the last status, so that the host can try again instead of waiting for ever.
    pub fn start_timeout(mut self, span: Duration) -> Service {
        self.bounds.start = span;
        self
    }

    /// How long the program and its tracked work have to end; 20 seconds unless told, which is what Windows grants when
    /// it shuts down. After it the process ends all the same, with [`NOT_STOPPED`](crate::NOT_STOPPED) and the names of
    /// what was left.
    pub fn stop_timeout(mut self, span: Duration) -> Service {
        self.bounds.stop = span;
        self
    }

    /// How long the service goes on working after a stop was asked for and `/readyz` has begun to say no: the time that
    /// load balancers need to send new work elsewhere. None unless told; never when the computer goes down, and never
    /// for a program that was not ready.
    pub fn drain_delay(mut self, span: Duration) -> Service {
        self.bounds.drain_delay = span;
        self
    }

    /// Where signs of life come from, for the host's watchdog and `/livez`. Unless told, the process for programs of
    /// threads, and the runtime for async ones.
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Service {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Writes only warnings and errors of the service itself; not that it is ready or stops.
    pub fn quiet(mut self) -> Service {
        self.quiet = true;
        self
    }

    /// Makes the first word of the command line a verb: `install`, `uninstall`, `start`, `stop`, `restart`, `status`,
    /// `run`, `help`. Without a word the service runs. A word that is none of these is refused with exit code 2, so
    /// leave this out in programs that have words of their own; they call [`Service::carry_out`].
    pub fn verbs(mut self) -> Service {
        self.verbs = true;
        self
    }

    /// Changes what `install` registers: account, dependencies, start type, sandbox, arguments.
    ///
    /// ```no_run
    /// # use tutela_service::{Service, registration::{Account, Start}};
    /// let service = Service::new("shop").registered(|definition| {
    ///     definition.start = Start::Delayed;
    ///     definition.account = Account::System;
    ///     definition.after = vec!["postgresql".into()];
    /// });
    /// ```
    pub fn registered(mut self, change: impl Fn(&mut Definition) + Send + 'static) -> Service {
        self.wish.changes.push(Box::new(change));
        self
    }

    /// Has `value` read again by every reload, before hooks and [`Program::reload`] are called. When one of several
    /// values is refused, all stay as they were and the reload fails.
    pub fn reloads<T: Send + Sync + 'static>(mut self, value: &Watched<T>) -> Service {
        self.controls = self.controls.reload();
        self.answers.watched.push(Box::new(value.clone()));
        self
    }

    /// Calls `hook` when the host asks for a reload: `systemctl reload`, SIGHUP, `sc control NAME paramchange`.
    ///
    /// Hooks are called one at a time. With a closure as program they have a thread of their own, within the runtime of
    /// an async one, so `Handle::current().block_on(…)` works there.
    pub fn on_reload(mut self, mut hook: impl FnMut(&Context) -> Outcome + Send + 'static) -> Service {
        self.controls = self.controls.reload();
        self.hook(Box::new(move |context, request| match request {
            Request::Reload => hook(context),
            _ => Ok(()),
        }))
    }

    /// Calls `pause` when the host asks to hold still, and `resume` when it asks to go on. A failure leaves the service
    /// what it was. Of the hosts only the SCM asks this.
    pub fn on_pause(
        mut self,
        mut pause: impl FnMut(&Context) -> Outcome + Send + 'static,
        mut resume: impl FnMut(&Context) -> Outcome + Send + 'static,
    ) -> Service {
        self.controls = self.controls.pause();
        self.hook(Box::new(move |context, request| match request {
            Request::Pause => pause(context),
            Request::Resume => resume(context),
            _ => Ok(()),
        }))
    }

    /// Calls `hook` when something happens around the service: power, sessions, the clock, codes of one's own.
    pub fn on_event(mut self, mut hook: impl FnMut(&Context, &Event) + Send + 'static) -> Service {
        self.controls = self.controls.events();
        self.hook(Box::new(move |context, request| {
            if let Request::Event(event) = request {
                hook(context, event);
            }
            Ok(())
        }))
    }

    fn hook(mut self, hook: Hook) -> Service {
        self.answers.hooks.push(hook);
        self
    }

    /// Makes the tokio runtime of an async program; unless told, one of as many threads as there are processors, with
    /// everything enabled. Called on the program's thread.
    #[cfg(feature = "tokio")]
    pub fn runtime(
        mut self,
        make: impl FnOnce() -> std::io::Result<tokio::runtime::Runtime> + Send + 'static,
    ) -> Service {
        self.runtime = Some(Box::new(make));
        self
    }

    /// Serves `/health`, `/livez`, `/readyz` and `/metrics` as long as the service lives; see [`crate::health`].
    #[cfg(feature = "health")]
    pub fn health(mut self, config: crate::health::Config) -> Service {
        self.health = Some(config);
        self
    }

    /// Installs a global `tracing` subscriber that writes what is at least that important where this host has its log.
    /// For more than that, put [`crate::HostLayer`] into a subscriber of your own.
    #[cfg(feature = "tracing")]
    pub fn tracing(mut self, level: impl Into<tracing_core::LevelFilter>) -> Service {
        self.tracing = Some(level.into());
        self
    }

    /// Runs a closure as the program: it does its work, says [`Context::ready`], and returns soon after
    /// [`Context::stopping`] was raised.
    ///
    /// Returns when everything has ended. Let `main` return what this answers.
    pub fn run(self, program: impl FnOnce(Context) -> Outcome + Send + 'static) -> ExitCode {
        self.launch(body::of_closure(program), Heartbeat::Process, Controls::NONE)
    }

    /// Runs a program of the trait [`Program`].
    pub fn run_program(self, program: impl Program) -> ExitCode {
        let controls = program.controls();
        self.launch(body::of_program(program), Heartbeat::Process, controls)
    }

    /// Runs an async closure as the program, on a tokio runtime. As [`Service::run`].
    #[cfg(feature = "tokio")]
    pub fn run_async<F, Fut>(mut self, program: F) -> ExitCode
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Outcome>,
    {
        let make = self.take_runtime();
        self.launch(body::of_async(make, program), Heartbeat::Runtime, Controls::NONE)
    }

    /// Runs a program of the trait [`crate::AsyncProgram`], on a tokio runtime.
    #[cfg(feature = "tokio")]
    pub fn run_async_program(mut self, program: impl crate::AsyncProgram) -> ExitCode {
        let make = self.take_runtime();
        let controls = program.controls();
        self.launch(body::of_async_program(make, program), Heartbeat::Runtime, controls)
    }

    #[cfg(feature = "tokio")]
    fn take_runtime(&mut self) -> body::MakeRuntime {
        self.runtime.take().unwrap_or_else(|| Box::new(body::usual_runtime))
    }

    /// This program's place among the services of the OS.
    ///
    /// # Errors
    /// The OS does not say where the running program lies.
    pub fn registration(&self) -> Result<Registration, crate::RegistrationError> {
        let arguments = if self.verbs { vec!["run".into()] } else { Vec::new() };
        Registration::of(&self.name, &self.bounds, &self.wish, arguments, self.controls.hears_reload())
    }

    /// Carries out what stands on a command line of one's own: `service install --user`. Everything for people goes to
    /// standard error, results to standard output. `None`: the word is `run`, or there is none, so now run it.
    ///
    /// Exit codes: 0 done; 1 failed; 2 the words were wrong; 3 `status` of something that does not run; 4 there is no
    /// such service; 5 not allowed.
    pub fn carry_out(&self, words: impl IntoIterator<Item = impl Into<String>>) -> Option<ExitCode> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        verbs::carry_out(self, &words).map(ExitCode::from)
    }

    fn launch(mut self, body: Body, usual: Heartbeat, controls: Controls) -> ExitCode {
        let started_by = started_by();
        self.controls = self.controls.and(controls);
        // The SCM is to be answered before anything else, and its services have no words for people.
        if self.verbs && started_by != StartedBy::ServiceControlManager {
            let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
            if let Some(code) = self.carry_out(words) {
                return code;
            }
        }
        let job = Job {
            bounds: self.bounds,
            controls: self.controls,
            heartbeat: self.heartbeat.unwrap_or(usual),
            quiet: self.quiet,
            answers: self.answers,
            body,
            #[cfg(feature = "health")]
            health: self.health,
            #[cfg(feature = "tracing")]
            tracing: self.tracing,
            name: self.name,
        };
        match started_by {
            // The process table is a hint; the SCM's own answer is the truth. Elsewhere nobody answers, and at once.
            StartedBy::ServiceControlManager | StartedBy::Unknown => serve(job, started_by),
            other => live(job, other, None).exit_code(),
        }
    }
}

/// Lives under the SCM; in the foreground when the SCM wants nothing of us.
fn serve(job: Job, started_by: StartedBy) -> ExitCode {
    let name = job.name.clone();
    // What the SCM's thread takes, or we again.
    let place = Arc::new(Mutex::new(Some(job)));
    let take = |place: &Mutex<Option<Job>>| place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let of_scm = place.clone();
    let served = serve_scm(&name, move |scm| {
        let lived = take(&of_scm).map(|job| live(job, StartedBy::ServiceControlManager, Some(scm)));
        ServiceExit::code(lived.unwrap_or_else(Ending::well).code)
    });
    match (served, take(&place)) {
        (Err(_), Some(job)) => {
            let by_others = Some(started_by).filter(|by| *by != StartedBy::ServiceControlManager);
            live(job, by_others.unwrap_or(StartedBy::Unknown), None).exit_code()
        }
        (Ok(exit), _) => ExitCode::from(exit.process_code()),
        (Err(NotServed { error, .. }), None) => Ending::with(crate::FAILED, error.to_string()).exit_code(),
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}
