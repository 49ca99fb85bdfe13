//! How a program ends, and what that means to the host: errors, exit codes, panics.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Once;

/// Any error. `?` makes one of every error type, of `anyhow::Error`, and of a text: `Err("no database".into())`.
pub type Failure = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What every part of a program answers.
pub type Outcome = Result<(), Failure>;

/// The exit code after a failure that names no other.
pub const FAILED: u32 = 1;

/// The exit code after a panic: the one that Rust itself ends with.
pub const PANICKED: u32 = 101;

/// The exit code when the program was not ready within its start timeout.
pub const NOT_READY: u32 = 102;

/// The exit code when the program, or work that it tracks, had not ended within its stop timeout.
pub const NOT_STOPPED: u32 = 103;

/// A failure with an exit code of its own.
///
/// The SCM gets the code as service-specific (`sc query` shows it as `SERVICE_EXIT_CODE`), everybody else as the exit
/// code of the process. There, codes above 255 become 255, because not every OS has room for more.
///
/// ```
/// use tutela_service::{ExitWith, Outcome};
///
/// fn check_license() -> Outcome {
///     Err(ExitWith::new(42, "the license has expired"))?
/// }
/// assert_eq!(check_license().unwrap_err().to_string(), "the license has expired");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitWith {
    code: u32,
    message: String,
}

impl ExitWith {
    /// A failure that ends the process with `code`. Zero is taken as [`FAILED`]: a failure is no success.
    pub fn new(code: u32, message: impl Into<String>) -> ExitWith {
        ExitWith { code: if code == 0 { FAILED } else { code }, message: message.into() }
    }

    /// The code.
    pub fn code(&self) -> u32 {
        self.code
    }
}

impl fmt::Display for ExitWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitWith {}

/// How a service ended: the last word to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Zero: as it should.
    pub(crate) code: u32,
    /// What went wrong, where something did.
    pub(crate) message: Option<String>,
}

impl Ending {
    /// Everything went as it should.
    pub(crate) fn well() -> Ending {
        Ending { code: 0, message: None }
    }

    /// It went wrong.
    pub(crate) fn with(code: u32, message: impl Into<String>) -> Ending {
        Ending { code, message: Some(message.into()) }
    }

    /// The end that a failure means, with the whole chain of its causes.
    pub(crate) fn of_failure(failure: &Failure) -> Ending {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(failure.as_ref());
        let mut code = FAILED;
        while let Some(error) = cause {
            if let Some(exit) = error.downcast_ref::<ExitWith>() {
                code = exit.code;
                break;
            }
            cause = error.source();
        }
        Ending::with(code, chain(failure.as_ref()))
    }

    /// As a process says it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(self.code).unwrap_or(u8::MAX))
    }
}

/// An error with its causes, in one line. A cause that its error repeats already is left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

thread_local! {
    /// What the last panic of this thread said, and where it was.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on a panic remembers where it was, besides what the hook that was there before does with it.
pub(crate) fn remember_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let said = info.payload_as_str().unwrap_or("with a value that is no text");
            let text = match info.location() {
                Some(place) => format!("{said} ({}:{})", place.file(), place.line()),
                None => said.to_owned(),
            };
            // Not there any more while the thread ends; then nobody catches the panic either.
            let _ = LAST_PANIC.try_with(|last| last.replace(Some(text)));
            before(info);
        }));
    });
}

/// Calls `work`; a panic in it becomes an [`Ending`].
pub(crate) fn catch<T>(who: &str, work: impl FnOnce() -> T) -> Result<T, Ending> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = LAST_PANIC.with(|last| last.take()).unwrap_or_else(|| {
            let said = payload.downcast_ref::<String>().map(String::as_str);
            said.or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("with a value that is no text")
                .to_owned()
        });
        Ending::with(PANICKED, format!("{who} panicked: {text}").replace(['\n', '\r'], " "))
    })
}

/// [`catch`] for what answers an [`Outcome`].
pub(crate) fn catch_outcome(who: &str, work: impl FnOnce() -> Outcome) -> Result<(), Ending> {
    match catch(who, work) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(Ending::of_failure(&failure)),
        Err(ending) => Err(ending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to open the shop")]
    struct Outer(#[source] ExitWith);

    #[test]
    fn a_code_is_found_below_other_errors_and_the_message_has_the_whole_chain() {
        let failure: Failure = Box::new(Outer(ExitWith::new(7, "no key")));
        assert_eq!(Ending::of_failure(&failure), Ending::with(7, "failed to open the shop: no key"));
    }

    #[test]
    fn a_failure_cannot_end_with_success() {
        assert_eq!(ExitWith::new(0, "broken").code(), FAILED);
    }

    #[test]
    fn a_panic_becomes_an_ending_that_says_what_and_where() {
        remember_panics();
        let ending = catch("the program", || panic!("out of {}", "paper")).expect_err("it panics");
        assert_eq!(ending.code, PANICKED);
        let message = ending.message.unwrap_or_default();
        assert!(message.starts_with("the program panicked: out of paper ("), "{message}");
        assert!(message.contains("exit.rs:"), "{message}");
    }
}
