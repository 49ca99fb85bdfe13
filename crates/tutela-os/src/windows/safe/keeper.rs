//! The safe's own process: a loop over a pipe and the processes of the programs in it.
//!
//! It trusts who has the guard's account, and nobody else. One guard speaks to it at a time; the next one is let in when
//! the former is gone.

use super::line::Line;
use super::message;
use crate::platform::container::members;
use crate::platform::handle::Handle;
use crate::safe::Deposit;
use crate::safe::link::MESSAGE_WAIT;
use crate::safe::message::Message;
use std::collections::BTreeMap;
use std::io;
use std::os::windows::io::OwnedHandle;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a safe without a guard outlives the last program in it: as long as a host may take to start the next guard,
/// which then still gets the programs' last lines.
const WAIT_FOR_GUARD: Duration = Duration::from_secs(120);

/// How often a safe without a guard looks whether anybody can still want it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is kept, by name.
#[derive(Default)]
struct Kept(BTreeMap<String, Deposit>);

/// Keeps until it is told to end, or until nobody can want it any more.
pub(super) fn keep(name: &Path) -> io::Result<()> {
    let line = Line::listen(name)?;
    let mut kept = Kept::default();
    loop {
        let mut idle_since = Instant::now();
        let met = line.meet(LOOK_EVERY, || {
            if kept.lives() {
                idle_since = Instant::now();
            }
            idle_since.elapsed() < WAIT_FOR_GUARD
        });
        match met {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // One that was gone again before it was looked at.
            Err(_) => {
                line.part();
                continue;
            }
        }
        // One that is gone, or does not make sense: the next one is waited for.
        let served = line.guest().and_then(|guest| kept.serve(&line, &guest));
        if let Ok(Served::End) = served {
            return Ok(());
        }
        line.part();
    }
}

/// Why a guard is not served any more.
enum Served {
    Gone,
    End,
}

impl Kept {
    fn serve(&mut self, line: &Line, guest: &OwnedHandle) -> io::Result<Served> {
        while let Some(bytes) = line.receive(None)? {
            let message = message::read(&bytes, |number| message::copied_from(guest, number))?;
            let ends = matches!(message, Message::End);
            match message {
                Message::Deposit(deposit) => drop(self.0.insert(deposit.name.clone(), deposit)),
                Message::Release(name) => drop(self.0.remove(&name)),
                Message::Tell => {
                    self.tell(line, guest)?;
                    continue;
                }
                Message::End | Message::Told | Message::Done => {}
            }
            let answered = line.send(&message::bytes(&Message::Done)?, MESSAGE_WAIT);
            if ends {
                return Ok(Served::End);
            }
            answered?;
        }
        Ok(Served::Gone)
    }

    fn tell(&self, line: &Line, guest: &OwnedHandle) -> io::Result<()> {
        for deposit in self.0.values().cloned() {
            let bytes = message::bytes_with(&Message::Deposit(deposit), |handle| message::copied_to(guest, handle))?;
            line.send(&bytes, MESSAGE_WAIT)?;
        }
        line.send(&message::bytes(&Message::Told)?, MESSAGE_WAIT)
    }

    /// Whether the first process of any program lives.
    fn lives(&self) -> bool {
        let programs = self.0.values().filter(|deposit| deposit.program().is_some());
        programs.filter_map(|deposit| deposit.handles.first()).any(|handle| match &handle.0 {
            Handle::Program { process, .. } => !members::has_ended(process),
            Handle::File(_) | Handle::Socket(_) => false,
        })
    }
}
