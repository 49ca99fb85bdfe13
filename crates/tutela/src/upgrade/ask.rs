//! The guard's own side: it tries the new program beside itself, and makes room for it.

use super::caretaker::{Charge, become_caretaker};
use super::trial::Trial as OwnTrial;
use super::{HANDOVER, ON_TRIAL, READY, REFUSED, leave, micros, own_words, words_with};
use crate::hands::spawner::chain;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tutela_os::clock;
use tutela_os::files::{self, Look};
use tutela_os::safe::Safe;
use tutela_os::succession::{self, Candidate, Heard, Trial};
use tutela_schema::api::{ErrorCode, ErrorReply, UpgradeReply, UpgradeRequest};
use tutela_schema::saved::handover::{self, Handover};

/// How long the new program may take to read the spec and to look at this computer. The guard guards meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The longest version that is taken from a stranger's word, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// The longest name of an upgrade that its asker gives it, in bytes.
const ID_BYTES_MAX: usize = 64;

/// What the guard needs to make room.
pub struct Desk {
    room: Result<Room, String>,
    /// One at a time.
    under_way: Arc<AtomicBool>,
    /// This guard is on trial itself, for as long as somebody takes care of that.
    trial: Option<Arc<OwnTrial>>,
}

struct Room {
    safe: Safe,
    socket: PathBuf,
    guard: String,
}

/// One upgrade, from the trial on. Dropping it ends that and leaves everything as it was.
pub struct Tried {
    /// What is answered.
    pub reply: UpgradeReply,
    by: String,
    trial: Trial,
    safe: Safe,
    socket: PathBuf,
    guard: String,
    _under_way: UnderWay,
}

struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the conductor does when it has let go.
pub struct Leave {
    /// What whoever asked for it was answered; `None`: nobody asked.
    pub reply: Option<UpgradeReply>,
    go: Box<dyn FnOnce(u64) -> String + Send>,
}

impl std::fmt::Debug for Leave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leave").finish_non_exhaustive()
    }
}

impl Leave {
    /// This process ends: another one guards.
    pub fn ending(at_last: impl FnOnce(u64) + Send + 'static) -> Leave {
        let go = move |programs| {
            at_last(programs);
            std::process::exit(0)
        };
        Leave { reply: None, go: Box::new(go) }
    }

    /// This process becomes another program; the answer is why it did not, after which it goes on guarding. `programs` is
    /// how many run under it.
    pub fn go(self, programs: u64) -> String {
        (self.go)(programs)
    }
}

impl Desk {
    /// `safe`: what outlives the guard, or why nothing does.
    pub fn new(guard: &str, socket: &Path, safe: Result<Safe, String>, trial: Option<Arc<OwnTrial>>) -> Desk {
        let room = safe.map(|safe| Room { safe, socket: socket.to_owned(), guard: guard.to_owned() });
        Desk { room, under_way: Arc::default(), trial }
    }

    /// Tries `program`. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It cannot take this guard's place, or another one is being tried. Nothing has changed.
    pub fn attempt(&self, request: &UpgradeRequest, by: &str) -> Result<Tried, ErrorReply> {
        let program = request.program.as_str();
        let conflict = |message: String, help: Option<String>| {
            ErrorReply::new(ErrorCode::Conflict, format!("refused: {message}; nothing was changed"), help)
        };
        let room = self.room.as_ref().map_err(|why| conflict(why.clone(), None))?;
        let on_trial = self.trial.as_ref().is_some_and(|trial| trial.is_taken_care_of());
        if on_trial || self.under_way.swap(true, Ordering::AcqRel) {
            return Err(conflict("another upgrade is under way".into(), Some("wait for its end".into())));
        }
        let under_way = UnderWay(self.under_way.clone());
        let (candidate, id) = (look_at(program)?, request.id.clone());
        if id.as_ref().is_some_and(|id| !is_id(id)) {
            let message = "refused: the id of an upgrade has up to 64 letters, digits and `-`; nothing was changed";
            return Err(ErrorReply::new(ErrorCode::BadRequest, message, None));
        }
        let unfit = |why: String, help: &str| {
            conflict(format!("{program} cannot take the place of this guard: {why}"), Some(help.to_owned()))
        };
        let words = words_with(own_words(), &[ON_TRIAL]);
        let trial = succession::begin_trial(&candidate, &words)
            .map_err(|error| unfit(chain(&error), "this computer may have no process to spare just now; try again"))?;
        let to = match hear_version(&trial, &candidate) {
            Ok(version) => version,
            Err((why, help)) => {
                // Whatever it does, it is not wanted any more. One that has ended cannot be dismissed.
                let _ = succession::dismiss(trial.pid);
                return Err(unfit(why, help));
            }
        };
        let id = id.unwrap_or_else(|| format!("{}-{}", std::process::id(), micros(clock::now())));
        let reply = UpgradeReply { id, from: env!("CARGO_PKG_VERSION").to_owned(), to, program: program.to_owned() };
        let Room { safe, socket, guard } = room;
        let (safe, socket, guard) = (safe.clone(), socket.clone(), guard.clone());
        Ok(Tried { reply, by: by.to_owned(), trial, safe, socket, guard, _under_way: under_way })
    }
}

/// What the trial says first: its version. Else why it is no good, and what helps.
fn hear_version(trial: &Trial, candidate: &Candidate) -> Result<String, (String, &'static str)> {
    const OTHER: &str = "it has to be a Tutela that knows how to take a guard's place; try `FILE check SPEC`";
    const OUTPUT: &str = "what it wrote is in this guard's own output; try `FILE check SPEC`";
    const EXECUTE: &str = "see that it may be executed (chmod +x), and that what it needs is there: `FILE version`";
    let heard = trial.line.hear(READY_WITHIN).map_err(|error| (chain(&error), EXECUTE))?;
    let Heard::Said(word) = heard else {
        return Err(match heard {
            Heard::Closed => ("it ended without a word".into(), OUTPUT),
            _ => (format!("it was not ready within {} s", READY_WITHIN.as_secs()), OUTPUT),
        });
    };
    if let Some(why) = word.strip_prefix(REFUSED) {
        return Err((why.to_owned(), "mend that first: `FILE check SPEC` says the same"));
    }
    match word.strip_prefix(READY).filter(|version| is_version(version)) {
        Some(_) if !candidate.is_run_by(trial.pid) => {
            Err(("it has become another program; name that one itself".into(), "name the file that it starts"))
        }
        Some(version) => Ok(version.to_owned()),
        None => Err((format!("it answered {word:?}"), OTHER)),
    }
}

/// Whether a stranger's word can be shown as a version.
fn is_version(text: &str) -> bool {
    (1..=VERSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What is begun gets everything that this guard may do, so nobody else may have made it.
fn look_at(program: &str) -> Result<Candidate, ErrorReply> {
    let refused = |why: String, help: &str| {
        let message = format!("refused: {program:?} {why}; nothing was changed");
        ErrorReply::new(ErrorCode::BadRequest, message, Some(help.to_owned()))
    };
    let path = Path::new(program);
    if !path.is_absolute() {
        return Err(refused("is no absolute path".into(), "write it from the root on, such as /usr/bin/tutela"));
    }
    let path = path.canonicalize().map_err(|error| refused(format!("cannot be found: {error}"), "look at the path"))?;
    if !path.is_file() {
        return Err(refused("is no file".into(), "name the program itself"));
    }
    for (above, part) in path.ancestors().enumerate() {
        // The file and its folder are nobody else's; on the way to them nobody else can put others in their place.
        let look = if above < 2 { Look::Folder } else { Look::Way };
        files::refuse_strangers(part, look).map_err(|error| {
            refused(format!("is not to be trusted: {}", chain(&error)), "mend it, or copy it to a folder of yours")
        })?;
    }
    Candidate::open(&path)
        .map_err(|error| refused(format!("will not do: {}", chain(&error)), "name the program itself"))
}

impl Tried {
    /// What the conductor does with it once it has let go.
    pub fn into_leave(self) -> Leave {
        Leave { reply: Some(self.reply.clone()), go: Box::new(move |programs| self.hand_over(programs)) }
    }

    /// Returns only when it did not work, with the reason.
    fn hand_over(self, programs: u64) -> String {
        let UpgradeReply { id, from, to, program } = self.reply.clone();
        let last_turn_us = micros(clock::now());
        let handover = Handover { id, from, to, program, by: self.by, last_turn_us, programs, ..Handover::default() };
        if let Err(error) = leave(&self.safe, &handover) {
            return chain(&error);
        }
        let charge = Charge {
            pid: self.trial.pid,
            program: PathBuf::from(&self.reply.program),
            safe: self.socket,
            guard: self.guard,
            handover: handover::encode(&handover),
            words: own_words(),
        };
        let why = become_caretaker(&self.trial.line, charge);
        self.safe.release(HANDOVER);
        why
    }
}
