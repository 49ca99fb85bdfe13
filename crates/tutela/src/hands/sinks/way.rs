//! One delivery: what every kind of sink can do.

use std::future::Future;
use std::pin::Pin;
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
        after: Option<std::time::Duration>,
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

/// What a delivery is: ready when the receiver has taken the records, as far as the protocol tells.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send + 'a>>;

/// Somewhere to send to. It keeps its connection between deliveries, and makes a new one where that broke.
pub trait Way: Send {
    /// Brings the records there, in their order. Dropping the future gives the delivery up: the records may have arrived
    /// all the same, and the connection is not used again.
    fn deliver<'a>(&'a mut self, records: &'a [Record]) -> Delivery<'a>;
}
