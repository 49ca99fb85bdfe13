//! The output of a program that outlives its guard: its sluices, and the tray of what the pump has in hand.
//!
//! Made by the spawner's thread when a program is started, and of the deposit's handles when it is taken back. The order
//! of the handles in a deposit is this room's: tray, then pipe and chamber of standard output, then of standard error.

use crate::hands::spawner::chain;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};
use tutela_logs::Stream;
use tutela_logs::tray::{Memory, Sluice, SluiceSource, TRAY_BYTES, Tray};
use tutela_os::handle::Handle;
use tutela_os::lasting::Lasting;
use tutela_os::sluice::{self, IdleSluice};

/// What the pump is given.
pub struct KeptOutput {
    /// What it has in hand lies here.
    pub tray: Tray,
    /// What it reads.
    pub sluices: Vec<(Stream, SluiceSource)>,
}

impl std::fmt::Debug for KeptOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptOutput").finish_non_exhaustive()
    }
}

/// A new output, what the program writes to, and what is deposited.
#[derive(Debug)]
pub struct NewOutput {
    /// For the pump.
    pub output: KeptOutput,
    /// Standard output and standard error of the program.
    pub writes: [Handle; 2],
    /// For the safe.
    pub deposit: Vec<Handle>,
}

/// What is to be deposited from now on, in the place of what was.
#[derive(Debug)]
pub struct NewDeposit {
    /// The handles.
    pub handles: Vec<Handle>,
    /// Why, in words.
    pub why: String,
}

impl KeptOutput {
    /// The output of a program that is about to be started.
    ///
    /// # Errors
    /// Too many files are open, in words.
    pub fn create() -> Result<NewOutput, String> {
        let (tray, handle) = new_tray()?;
        let mut deposit = vec![handle];
        let mut make = |stream: Stream| {
            let (idle, write) = sluice::sluiced_output_pipe(None).map_err(|error| chain(&error))?;
            deposit.extend(idle.handles());
            Ok::<_, String>(((stream, source(idle)), write))
        };
        let ((out, write_out), (err, write_err)) = (make(Stream::Out)?, make(Stream::Err)?);
        let output = KeptOutput { tray, sluices: vec![out, err] };
        Ok(NewOutput { output, writes: [write_out, write_err], deposit })
    }

    /// The output of a program that an earlier guard had started, by what was deposited. Where its tray cannot be used there
    /// is a new one, and with it what is to be deposited from now on; the text says why.
    ///
    /// # Errors
    /// There is no output in these handles, in words.
    pub fn open(handles: &[Handle]) -> Result<(KeptOutput, Option<NewDeposit>), String> {
        let [tray, out, out_chamber, err, err_chamber] = handles else {
            return Err(format!("{} descriptors are no output of a program", handles.len()));
        };
        let sluice = |pipe: &Handle, chamber: &Handle| {
            IdleSluice::from_handles(pipe.clone(), chamber.clone()).map_err(|error| chain(&error))
        };
        let (out_sluice, err_sluice) = (sluice(out, out_chamber)?, sluice(err, err_chamber)?);
        let opened = Lasting::open(tray.clone()).map_err(|error| chain(&error));
        let opened = opened.and_then(|memory| Tray::open(Box::new(Shared(memory))).map_err(|error| error.to_string()));
        let (tray, replaced) = match opened {
            Ok(tray) => (tray, None),
            Err(why) => {
                let (tray, handle) = new_tray()?;
                let handles = vec![handle, out.clone(), out_chamber.clone(), err.clone(), err_chamber.clone()];
                (tray, Some(NewDeposit { handles, why }))
            }
        };
        let sluices = vec![(Stream::Out, source(out_sluice)), (Stream::Err, source(err_sluice))];
        Ok((KeptOutput { tray, sluices }, replaced))
    }
}

fn new_tray() -> Result<(Tray, Handle), String> {
    let memory = Lasting::create(TRAY_BYTES).map_err(|error| chain(&error))?;
    let handle = memory.handle();
    let tray = Tray::create(Box::new(Shared(memory))).map_err(|error| error.to_string())?;
    Ok((tray, handle))
}

fn source(idle: IdleSluice) -> SluiceSource {
    Box::new(move || match idle.activate() {
        Ok(sluice) => Ok(Box::new(Watched(sluice))),
        Err(error) => Err(io::Error::other(chain(&error))),
    })
}

struct Shared(Lasting);

impl Memory for Shared {
    fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }

    fn release(&mut self, part: Range<usize>) {
        self.0.release(part);
    }

    fn is_blank(&self) -> bool {
        self.0.is_blank()
    }
}

struct Watched(sluice::Sluice);

impl Sluice for Watched {
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.0.poll_fill(cx, most)
    }

    fn filled(&self) -> io::Result<usize> {
        self.0.filled()
    }

    fn drain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.drain(into)
    }
}
