//! One delivery: what every kind of sink can do.

use crate::hands::probes::Stage;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use tutela_logs::record::Record;

/// Why records were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The receiver is away, busy, or refuses for now: all of it is to be sent again.
    #[error("{reason}")]
    Later {
        /// What happened, with the address.
        reason: String,
        /// When the receiver wants to hear of us again, if it said so.
        after: Option<Duration>,
    },
    /// It is too much at once: less of it is to be sent. Of a single record it is a refusal.
    #[error("{reason}")]
    TooLarge {
        /// What it said.
        reason: String,
    },
    /// The receiver is there and refuses these records for good: again would be the same. They are counted as dropped.
    #[error("{reason}")]
    Refused {
        /// What it said.
        reason: String,
        /// How many of them it refused; the others it took.
        records: u64,
    },
}

impl Undelivered {
    /// To be sent again when the sink's own wait is over.
    pub(super) fn later(reason: impl Into<String>) -> Self {
        Undelivered::Later { reason: reason.into(), after: None }
    }
}

/// Waits for a delivery by then at the latest. A late one says how far it came.
pub(super) async fn by_then(
    by: Instant,
    timeout: Duration,
    stage: &Stage,
    sending: impl Future<Output = Result<(), String>> + Send,
) -> Result<(), String> {
    let sent = tokio::time::timeout_at(by, sending).await;
    sent.unwrap_or_else(|_| Err(format!("still {stage} after {timeout:?}")))
}

/// What did not work, with the receiver's address once: much of what goes wrong tells it already.
pub(super) fn told(doing: &str, receiver: &impl Display, reason: &str) -> String {
    let address = receiver.to_string();
    if reason.contains(&address) { reason.to_owned() } else { format!("{doing} {address}: {reason}") }
}

/// What a delivery is: ready when the receiver has taken the records, as far as the protocol tells.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send + 'a>>;

/// Somewhere to send to. It keeps its connection between deliveries, and makes a new one where that broke.
pub trait Way: Send {
    /// Brings the records there, in their order. Dropping the future gives the delivery up: the records may have arrived
    /// all the same, and the connection is not used again.
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a>;
}
