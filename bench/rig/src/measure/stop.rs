//! Stop of two hundred programs that end at once on SIGTERM: from the command to the last death, and to its return.
//!
//! By each subject's own command, process start of that command included; and, for the floor and Tutela, asked
//! directly: a signal from the rig, a request on the control socket. Deaths are seen by the kernel's own handle of each
//! program, waited for in order, so that the rig is seldom woken.

use crate::arena::now;
use crate::control;
use crate::figures::ms;
use crate::kernel;
use crate::options::Options;
use crate::stage::{Cast, Stage};
use crate::subject::{GUARD_NAME, Subject};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// Old enough for runit and s6, which hold back what is younger than a second.
const AGE: Duration = Duration::from_millis(1300);

/// pm2 takes 12 s.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn by_command(subject: Subject, options: &Options) -> Result<Value> {
    let (stage, handles) = crowd(subject, options)?;
    let asked = now();
    let mut command = stage.stop_command()?;
    let last = await_deaths(&handles, asked).with_context(|| stage.last_words())?;
    let status = kernel::wait(&mut command, PATIENCE)?;
    let returned = now();
    if !status.success() {
        bail!("the stop command ended with {status}: {}", stage.last_words());
    }
    Ok(json!({ "last_dead_ms": ms(last - asked), "returned_ms": ms(returned - asked) }))
}

pub(super) fn directly(subject: Subject, options: &Options) -> Result<Value> {
    let (stage, handles) = crowd(subject, options)?;
    if subject == Subject::Floor {
        let asked = now();
        kernel::signal(stage.root(), Signal::TERM);
        let last = await_deaths(&handles, asked)?;
        return Ok(json!({ "last_dead_ms": ms(last - asked) }));
    }
    let socket = control::find(&stage.home().context("it has no home")?, GUARD_NAME)?;
    let asked = now();
    let request = std::thread::spawn(move || control::stop(&socket).map(|()| now()));
    let last = await_deaths(&handles, asked).with_context(|| stage.last_words())?;
    let Ok(returned) = request.join() else { bail!("the request panicked") };
    Ok(json!({ "last_dead_ms": ms(last - asked), "returned_ms": ms(returned? - asked) }))
}

fn crowd(subject: Subject, options: &Options) -> Result<(Stage, Vec<OwnedFd>)> {
    let cast = Cast { count: options.dose.crowd, exits: false, eager: true, probed: None, speech: None };
    let mut stage = Stage::open(subject, cast, options)?;
    let born = stage.arena.await_all(cast.count, Duration::from_millis(5), Duration::from_secs(60));
    let born = born.with_context(|| stage.last_words())?;
    std::thread::sleep(AGE);
    let mut handles = Vec::with_capacity(born.len());
    for birth in born {
        handles.push(kernel::handle(birth.pid).context("a program ended before it was stopped")?);
    }
    Ok((stage, handles))
}

fn await_deaths(handles: &[OwnedFd], asked: u64) -> Result<u64> {
    let wait = Timespec::try_from(PATIENCE)?;
    for (number, handle) in handles.iter().enumerate() {
        loop {
            match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&wait)) {
                Ok(0) => bail!("program {number} was alive {} ms after the stop", ms(now() - asked)),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for a death"),
            }
        }
    }
    Ok(now())
}
