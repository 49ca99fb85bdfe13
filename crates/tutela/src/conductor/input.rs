//! Everything that can wake the conductor, in one closed list, and the bounded way in.

use super::errands::ErrandEnd;
use crate::api::door::News;
use crate::audit::Asker;
use crate::hands::alerts::DeliveryError;
use crate::hands::alerts::outbox::Ticket;
use crate::hands::launch::Order;
use crate::hands::sinks::hand::SinkNews;
use crate::hands::spawner::Started;
use crate::upgrade::ask::Leave;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tutela_core::guard::{self, Command, Target};
use tutela_core::names::{InstanceKey, ServiceName};
use tutela_core::spec::GuardSpec;
use tutela_os::process::{ChildToken, Exit, Tree};
use tutela_schema::api::{CommandReply, ErrorReply, GuardStatus, ReloadReply, ServiceStatus, Verb};
use tutela_schema::spec::Diagnostic;

/// Inputs that may wait. A start of 10,000 instances brings one each, and the hands wait when it is full:
/// only signals, deadlines and ends of programs must never wait, and they have ways of their own.
const INPUTS_MAX: usize = 16_384;

/// What the hands and the API tell the conductor.
#[derive(Debug)]
pub enum Input {
    /// Something happened to an instance.
    Instance {
        /// Which.
        key: InstanceKey,
        /// What.
        input: guard::Input,
    },
    /// An ordered start was made, or was not.
    Started {
        /// Whose.
        order: Order,
        /// What came of it.
        result: Box<Result<Started, String>>,
    },
    /// An errand of the conductor's own came to its end.
    ErrandEnded(ErrandEnd),
    /// A program that an earlier guard had started ended. `None`: the OS does not tell how.
    EndedElsewhere {
        /// Which.
        token: ChildToken,
        /// How.
        exit: Option<Exit>,
    },
    /// Somebody asks something through the API.
    Request(Request),
    /// An alert was tried.
    AlertTried {
        /// Which.
        ticket: Ticket,
        /// What came of it.
        result: Result<(), DeliveryError>,
    },
    /// Something happened to a sink.
    Sink(SinkNews),
    /// The disk refuses the output of a label, or takes it again.
    Output {
        /// Whose: `api-0`.
        label: Arc<str>,
        /// What.
        news: OutputNews,
    },
    /// Something happened at the door on TCP.
    Door(News),
    /// A hand met trouble of its own, in words.
    Trouble(String),
    /// Another guard is to have the room of this one.
    Leave(Leave),
}

/// What a disk does with output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputNews {
    /// It refuses it, for this reason; it is dropped and counted.
    Failing(String),
    /// It takes it again.
    Recovered {
        /// How many bytes are missing.
        dropped_bytes: u64,
        /// How many lines are missing or not whole.
        dropped_lines: u64,
    },
}

/// What became of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertNews {
    /// Its number.
    pub id: String,
    /// Where it went.
    pub way: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it did not arrive; `None`: it arrived.
    pub error: Option<String>,
    /// Whether it is tried again.
    pub again: bool,
}

/// A request of an operator or a program.
#[derive(Debug)]
pub enum Request {
    /// The status, of everything or of one target.
    Status {
        /// Of whom.
        target: Target,
        /// The answer, with the trees to measure, by the number of the instance in the answer's order.
        reply: oneshot::Sender<Result<StatusAnswer, ErrorReply>>,
    },
    /// Where the output of a target is kept.
    LogDir {
        /// Whose.
        target: Target,
        /// The folder.
        reply: oneshot::Sender<Result<std::path::PathBuf, ErrorReply>>,
    },
    /// A command.
    Command {
        /// The word.
        verb: Verb,
        /// What is asked.
        command: Command,
        /// Who asks.
        by: Asker,
        /// Whether the answer waits until it is carried out.
        wait: bool,
        /// The answer.
        reply: oneshot::Sender<Result<CommandReply, ErrorReply>>,
    },
    /// Another spec, read and checked already.
    Reload {
        /// The spec.
        spec: Box<GuardSpec>,
        /// What is worth knowing about it.
        warnings: Vec<Diagnostic>,
        /// Who asks.
        by: Asker,
        /// Whether the answer waits until everything has settled.
        wait: bool,
        /// The answer.
        reply: oneshot::Sender<Result<ReloadReply, ErrorReply>>,
    },
    /// A reload that was refused before it came here, for the record.
    ReloadRefused {
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
        /// What is answered.
        refusal: Box<ErrorReply>,
        /// Who asks.
        by: Asker,
    },
    /// Everything that figures are made of.
    Figures(oneshot::Sender<Result<super::FiguresAnswer, ErrorReply>>),
    /// Something that only proves that the conductor turns.
    Ping(oneshot::Sender<()>),
}

/// A status, and what the usage of each instance can be read from.
#[derive(Debug)]
pub struct StatusAnswer {
    /// The status without usage.
    pub status: GuardStatus,
    /// The trees of living instances: the place of service and instance in the status, and the tree.
    pub trees: Vec<(usize, usize, Tree)>,
}

impl StatusAnswer {
    /// The only service of an answer about one.
    pub fn into_service(mut self) -> Option<ServiceStatus> {
        self.status.services.pop()
    }
}

/// The way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Input>,
}

/// The conductor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused: this guard has ended")]
pub struct Ended;

impl Inbox {
    /// A way in and its other end.
    pub fn new() -> (Inbox, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INPUTS_MAX);
        (Inbox { sender }, receiver)
    }

    /// Sends from a thread that may wait.
    ///
    /// # Errors
    /// The conductor has ended.
    pub fn send_blocking(&self, input: Input) -> Result<(), Ended> {
        self.sender.blocking_send(input).map_err(|_| Ended)
    }

    /// Sends from a task; waits while the inbox is full.
    ///
    /// # Errors
    /// The conductor has ended.
    pub async fn send(&self, input: Input) -> Result<(), Ended> {
        self.sender.send(input).await.map_err(|_| Ended)
    }

    /// Sends from where nobody may wait; a full inbox refuses.
    ///
    /// # Errors
    /// The input, when it was not taken.
    pub fn try_send(&self, input: Input) -> Result<(), Box<Input>> {
        self.sender.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(input) | mpsc::error::TrySendError::Closed(input) => Box::new(input),
        })
    }
}

/// One instance, as the hands have to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRef {
    /// Its service.
    pub service: ServiceName,
    /// Which copy.
    pub index: u16,
}

impl InstanceRef {
    /// The name of its log files: `api-0`.
    pub fn label(&self) -> String {
        format!("{}-{}", self.service, self.index)
    }

    /// The name of its process tree: `api.0`.
    pub fn tree(&self) -> String {
        format!("{}.{}", self.service, self.index)
    }
}

/// Lines that matched, on their way from the pump, which must not wait. Each pattern matches at most once a
/// run, so there are never more than there are patterns.
#[derive(Debug, Default)]
pub struct Matches {
    found: std::sync::Mutex<Vec<(InstanceKey, guard::Input)>>,
    bell: tokio::sync::Notify,
}

impl Matches {
    /// A new, empty one.
    pub fn new() -> Arc<Matches> {
        Arc::default()
    }

    /// Puts one in.
    pub fn put(&self, key: InstanceKey, input: guard::Input) {
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((key, input));
        self.bell.notify_one();
    }

    /// Waits until there are some, and takes them.
    pub async fn take(&self) -> Vec<(InstanceKey, guard::Input)> {
        self.bell.notified().await;
        std::mem::take(&mut *self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
