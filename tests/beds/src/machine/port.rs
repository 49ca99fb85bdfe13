//! The port between a test and its machine: commands go in, what they came to comes back.
//!
//! Here it is QEMU's standard input and output, in the machine it is `/dev/virtio-ports/bed`, with `guest/hands` behind
//! it. The words, each on a line, with the bytes that they count right behind them:
//!
//! ```text
//! run NUMBER SECONDS SCRIPT-BYTES INPUT-BYTES         to the machine
//! hello BOOT                                          from it, once a boot
//! ended NUMBER CODE OUTPUT-BYTES ERROR-BYTES          from it, once a command
//! ```

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Answers that nobody took yet. One command is under way at a time, so more than two are never there.
const UNHEARD: usize = 16;

/// What a machine says.
#[derive(Debug)]
pub enum Told {
    /// It is up.
    Hello {
        /// The kernel's name for this boot.
        boot: String,
    },
    /// A command ended.
    Ended {
        /// Which one.
        number: u32,
        /// Its exit code.
        code: i32,
        /// What it wrote for programs.
        out: String,
        /// What it wrote for people.
        err: String,
    },
}

/// Our end.
#[derive(Debug)]
pub struct Port {
    to: Option<ChildStdin>,
    heard: Receiver<Told>,
}

impl Port {
    /// The port behind these pipes. A thread listens until the machine is off.
    pub fn open(to: Option<ChildStdin>, from: Option<ChildStdout>) -> Self {
        let (tell, heard) = sync_channel(UNHEARD);
        if let Some(from) = from {
            std::thread::spawn(move || {
                let mut from = BufReader::new(from);
                while let Some(told) = read(&mut from) {
                    if tell.send(told).is_err() {
                        break;
                    }
                }
            });
        }
        Port { to, heard }
    }

    /// Sends a command; `false` when the machine is off.
    pub fn ask(&mut self, number: u32, seconds: u64, script: &[u8], input: &[u8]) -> bool {
        let Some(to) = self.to.as_mut() else { return false };
        let words = format!("run {number} {seconds} {} {}\n", script.len(), input.len());
        [words.as_bytes(), script, input].into_iter().all(|part| to.write_all(part).is_ok()) && to.flush().is_ok()
    }

    /// The next thing that the machine says; `None` when it is off, or says nothing for so long.
    pub fn hear(&self, patience: Duration) -> Option<Told> {
        self.heard.recv_timeout(patience).ok()
    }
}

/// Reads the next message. What is none, such as the half of one before a reboot, is passed over.
fn read(from: &mut BufReader<ChildStdout>) -> Option<Told> {
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hello", boot] => return Some(Told::Hello { boot: (*boot).to_owned() }),
            ["ended", number, code, out, err] => {
                let (Ok(number), Ok(code), Ok(out), Ok(err)) = (number.parse(), code.parse(), out.parse(), err.parse())
                else {
                    continue;
                };
                let mut text = |bytes: usize| -> Option<String> {
                    let mut text = vec![0; bytes];
                    from.read_exact(&mut text).ok()?;
                    Some(String::from_utf8_lossy(&text).into_owned())
                };
                return Some(Told::Ended { number, code, out: text(out)?, err: text(err)? });
            }
            _ => {}
        }
    }
}
