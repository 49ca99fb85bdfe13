//! Asks one question of a program over the network, within a deadline.
//!
//! Called by the conductor's hands, once per question that a probe machine wants asked; when to ask, how
//! often, and what an answer means for the service is that machine's business. Everything here is a pure
//! async function: to drop the future is to stop asking, and nothing is left behind, no task and no
//! connection.
//!
//! A [`Question`] is made once, when a spec is read, and asked many times. Every asking is a connection of
//! its own: a program that cannot accept any more is not well, whatever it says on connections it has.
//!
//! How connections end: after a plain HTTP exchange they are reset, so that a thousand probes a second do
//! not fill the kernel with sockets in TIME_WAIT; the request says `connection: close`, so the program does
//! not read again and does not notice. TCP, TLS and gRPC connections are closed in order, as their servers
//! log a reset as an error.
//!
//! Deliberately absent: programs, output patterns and notify messages as probes (they need other hands),
//! redirects (the answer of another place proves nothing about this one), HTTP proxies.

mod dial;
mod grpc;
mod http;
mod target;
#[cfg(test)]
mod tests;
mod tls;

pub(in crate::hands) use dial::{Stage, Trouble, addresses, dial, secure};
pub use grpc::GrpcQuestion;
pub(in crate::hands) use grpc::Tasks;
pub(in crate::hands) use grpc::percent_decoded;
pub use http::HttpQuestion;
pub(in crate::hands) use http::{drive, excerpt};
pub(in crate::hands) use target::Url;
pub use target::{QuestionRefusal, Target};
pub use tls::TlsContexts;

use std::time::Duration;
use tokio::time::Instant;
use tutela_core::spec::ProbeTarget;

/// What a program can be asked over the network; checked and taken apart already.
#[derive(Debug, Clone)]
pub enum Question {
    /// A GET that answers with a good status.
    Http(HttpQuestion),
    /// A connection that is accepted.
    Tcp(Target),
    /// `grpc.health.v1.Health/Check` that answers SERVING.
    Grpc(GrpcQuestion),
}

/// What came back, and after how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What came back.
    pub outcome: Outcome,
    /// From the question to the answer, or to the deadline.
    pub took: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A good answer.
    Pass,
    /// Nobody listens there: every address refused the connection. A program that is still starting does
    /// this, which is why it is told apart.
    Refused(String),
    /// A bad answer, or none in time.
    Failed(String),
}

impl Question {
    /// The question behind a probe of instance `index`; `None`: it is not asked over the network.
    ///
    /// # Errors
    /// An address, URL or header that cannot be one.
    pub fn from_target(target: &ProbeTarget, index: u16) -> Option<Result<Question, QuestionRefusal>> {
        match target {
            ProbeTarget::Http { url, status, headers, tls_verify } => {
                let headers = headers.iter().map(|(name, value)| (name.clone(), value.render(index)));
                Some(HttpQuestion::new(&url.render(index), *status, headers, *tls_verify).map(Question::Http))
            }
            ProbeTarget::Tcp(address) => Some(Target::parse(&address.render(index)).map(Question::Tcp)),
            ProbeTarget::Grpc { address, service } => {
                Some(GrpcQuestion::new(&address.render(index), &service.render(index)).map(Question::Grpc))
            }
            ProbeTarget::Exec(_) | ProbeTarget::Log(_) | ProbeTarget::Notify => None,
        }
    }
}

/// Asks, and waits for the answer at most until `deadline` has passed: name lookup, connecting, TLS and
/// reading included.
pub async fn ask(question: &Question, deadline: Duration, tls: &TlsContexts) -> Answer {
    let began = Instant::now();
    let (by, stage) = (began + deadline, Stage::default());
    let asked = async {
        match question {
            Question::Http(question) => http::ask(question, by, tls, &stage).await,
            Question::Tcp(target) => dial(target, by, &stage).await.map(drop),
            Question::Grpc(question) => grpc::ask(question, by, tls, &stage).await,
        }
    };
    let outcome = match tokio::time::timeout_at(by, asked).await {
        Ok(Ok(())) => Outcome::Pass,
        Ok(Err(Trouble::Refused(reason))) => Outcome::Refused(reason),
        Ok(Err(Trouble::Failed(reason))) => Outcome::Failed(reason),
        Err(_) => Outcome::Failed(format!("no answer within {deadline:?}: still {stage}")),
    };
    Answer { outcome, took: began.elapsed() }
}
