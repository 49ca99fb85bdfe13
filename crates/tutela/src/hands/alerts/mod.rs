//! Brings alerts to people: one delivery, and the box of those still to be delivered.
//!
//! [`deliver`] makes one attempt and says whether another one makes sense. [`outbox::Outbox`] is the
//! machine that decides when to attempt what; the conductor's hands feed it and carry its attempts out,
//! and the ledger keeps what is in it over a restart of the guard. Together: each alert arrives at least
//! once, or an event tells that it did not. A receiver knows a repetition by the alert's id.
//!
//! Deliberately absent: which occasion goes to whom and what an alert says (the guard's business; here it is
//! text), and the running of a command, which the spawner does.

mod email;
pub mod outbox;
#[cfg(test)]
mod tests;
mod webhook;

use crate::hands::probes::TlsContexts;
use tutela_core::spec::AlertWay;

/// An alert as it is sent: written once, so that every attempt says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Unique for ever; receivers know a repetition by it. Visible ASCII without blanks, `<`, `>` and `@`.
    pub id: String,
    /// One line, for a mail's subject.
    pub subject: String,
    /// For people, a few lines.
    pub text: String,
    /// For programs: a JSON document.
    pub json: String,
}

/// Why an alert did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It did not work. Where `retry` is false the other side has said no for good.
    #[error("{reason}")]
    Failed {
        /// Whether another attempt may work.
        retry: bool,
        /// What happened.
        reason: String,
    },
    /// The way is a command: the caller has to run it, with [`Alert::json`] on its standard input.
    #[error("refused: a command is run by the spawner, not sent")]
    IsCommand,
}

impl DeliveryError {
    fn later(reason: impl Into<String>) -> Self {
        DeliveryError::Failed { retry: true, reason: reason.into() }
    }

    fn never(reason: impl Into<String>) -> Self {
        DeliveryError::Failed { retry: false, reason: reason.into() }
    }

    /// Whether another attempt may work.
    pub fn may_retry(&self) -> bool {
        matches!(self, DeliveryError::Failed { retry: true, .. })
    }
}

/// Makes one attempt, bounded in time. To drop the future is to give the attempt up; the alert may have
/// arrived all the same.
///
/// # Errors
/// [`DeliveryError`].
pub async fn deliver(way: &AlertWay, alert: &Alert, tls: &TlsContexts) -> Result<(), DeliveryError> {
    match way {
        AlertWay::Webhook { url, headers } => webhook::post(url, headers, alert, tls).await,
        AlertWay::Email { smtp, from, to } => email::send(smtp, from, to, alert).await,
        AlertWay::Command(_) => Err(DeliveryError::IsCommand),
    }
}
