//! Programs as values, with a method for each thing that a host can ask.
//!
//! A closure is enough for most programs ([`crate::Service::run`], [`crate::Service::run_async`]); the traits are for
//! those that have state which several of these things touch. Methods are called one at a time, on one thread.

use crate::context::Context;
use crate::event::{Controls, Event, StopReason};
use crate::exit::Outcome;

/// A program with threads of its own.
///
/// ```no_run
/// use tutela_service::{Context, Controls, Outcome, Program, Service, StopReason};
///
/// struct Printer;
///
/// impl Program for Printer {
///     fn start(&mut self, context: &Context) -> Outcome {
///         context.thread("queue", |context| {
///             context.stopping().wait();
///             Ok(())
///         })?;
///         Ok(())
///     }
///
///     fn stop(&mut self, _context: &Context, _reason: &StopReason) -> Outcome {
///         Ok(())
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     Service::new("printer").run_program(Printer)
/// }
/// ```
pub trait Program: Send + 'static {
    /// Starts the work and returns; the service is ready then. What goes on is in threads ([`Context::thread`]).
    ///
    /// # Errors
    /// It could not start: the service ends with this failure, without [`Program::stop`].
    fn start(&mut self, context: &Context) -> Outcome;

    /// Ends the work and returns when it is over. Not called when the start failed.
    ///
    /// # Errors
    /// It did not end as it should; the exit code says so.
    fn stop(&mut self, context: &Context, reason: &StopReason) -> Outcome;

    /// [`Program::stop`] because the computer goes down. Unless written, it is the same.
    ///
    /// # Errors
    /// As [`Program::stop`].
    fn shutdown(&mut self, context: &Context) -> Outcome {
        self.stop(context, &StopReason::Shutdown)
    }

    /// Which of the methods below are to be called. The host offers nothing else.
    fn controls(&self) -> Controls {
        Controls::NONE
    }

    /// Holds the work still.
    ///
    /// # Errors
    /// It goes on working, and the host is told so.
    fn pause(&mut self, _context: &Context) -> Outcome {
        Ok(())
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// It stays still, and the host is told so.
    fn resume(&mut self, _context: &Context) -> Outcome {
        Ok(())
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// Everything is as before, and the host is told so.
    fn reload(&mut self, _context: &Context) -> Outcome {
        Ok(())
    }

    /// Something happened around the service.
    fn event(&mut self, _context: &Context, _event: &Event) {}
}

/// [`Program`] for async programs: the methods may wait, on the service's tokio runtime.
///
/// Each is written as an `async fn`; see [`Program`] for what each is for.
#[cfg(feature = "tokio")]
pub trait AsyncProgram: Send + 'static {
    /// Starts the work and returns; the service is ready then. What goes on is in tasks ([`Context::spawn`]).
    ///
    /// # Errors
    /// As [`Program::start`].
    fn start(&mut self, context: &Context) -> impl Future<Output = Outcome>;

    /// Ends the work and returns when it is over.
    ///
    /// # Errors
    /// As [`Program::stop`].
    fn stop(&mut self, context: &Context, reason: &StopReason) -> impl Future<Output = Outcome>;

    /// [`AsyncProgram::stop`] because the computer goes down. Unless written, it is the same.
    ///
    /// # Errors
    /// As [`Program::stop`].
    fn shutdown(&mut self, context: &Context) -> impl Future<Output = Outcome> {
        self.stop(context, &StopReason::Shutdown)
    }

    /// Which of the methods below are to be called.
    fn controls(&self) -> Controls {
        Controls::NONE
    }

    /// Holds the work still.
    ///
    /// # Errors
    /// As [`Program::pause`].
    fn pause(&mut self, _context: &Context) -> impl Future<Output = Outcome> {
        std::future::ready(Ok(()))
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// As [`Program::resume`].
    fn resume(&mut self, _context: &Context) -> impl Future<Output = Outcome> {
        std::future::ready(Ok(()))
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// As [`Program::reload`].
    fn reload(&mut self, _context: &Context) -> impl Future<Output = Outcome> {
        std::future::ready(Ok(()))
    }

    /// Something happened around the service.
    fn event(&mut self, _context: &Context, _event: &Event) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}
