//! The program of the tests: it does what its cue says.

use std::ffi::OsString;
use std::io::Write;
use std::os::windows::ffi::OsStrExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE};
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::core::BOOL;

/// The first argument of an understudy.
pub const CUE: &str = "understudy";

/// No understudy lives longer, whatever becomes of its test.
const LIFE: Duration = Duration::from_secs(120);

static EVENT: AtomicU32 = AtomicU32::new(u32::MAX);

#[expect(clippy::zombie_processes, reason = "leaving children behind is what it is for")]
pub fn play(words: &[OsString]) -> ExitCode {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    match word(0) {
        "args" => {
            for arg in &words[1..] {
                let units: Vec<String> = arg.encode_wide().map(|unit| format!("{unit:04x}")).collect();
                say(&format!("[{}]", units.join(" ")));
            }
        }
        "env" => std::env::vars_os().for_each(|(name, value)| say(&format!("{}={}", name.display(), value.display()))),
        "cwd" => say(&std::env::current_dir().unwrap().display().to_string()),
        "handles" => {
            for number in &words[1..] {
                let handle: HANDLE = std::ptr::without_provenance_mut(number.to_str().unwrap().parse().unwrap());
                let mut flags = 0;
                // SAFETY: asks about a number, which may be that of no handle.
                let open = unsafe { GetHandleInformation(handle, &raw mut flags) } != 0;
                say(if open { "open" } else { "closed" });
            }
        }
        "listen" => {
            use std::os::windows::io::FromRawSocket;
            let number = std::env::var("LISTEN_HANDLES").unwrap().parse().unwrap();
            // SAFETY: it was handed over, and nobody else in this process knows of it.
            let listener = unsafe { std::net::TcpListener::from_raw_socket(number) };
            say("listening");
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"from the understudy").unwrap();
        }
        "exit" => std::process::exit(word(1).parse::<u32>().unwrap().cast_signed()),
        "sleep" => {
            say(&std::process::id().to_string());
            stay();
        }
        // A chain of processes, each of which says its number.
        "chain" => {
            say(&std::process::id().to_string());
            let depth: u32 = word(1).parse().unwrap();
            if depth > 0 {
                me(&["chain", &(depth - 1).to_string()]).spawn().unwrap();
            }
            stay();
        }
        // Leaves a child behind.
        "leave" => {
            me(&["sleep"]).spawn().unwrap();
        }
        "flood" => {
            let bytes: usize = word(1).parse().unwrap();
            let block: Vec<u8> = (0..=250).collect();
            let mut out = std::io::stdout().lock();
            let mut left = bytes;
            while left > 0 {
                let part = left.min(block.len());
                out.write_all(&block[..part]).unwrap();
                left -= part;
            }
            out.flush().unwrap();
        }
        "count" => {
            let began = Instant::now();
            while began.elapsed() < LIFE {
                say("tick");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "work" => {
            let mut sum = 0_u64;
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(300) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            say("worked");
            stay();
        }
        // Says what event it hears and ends with 40 + the event. With a further word it has a child that does so too.
        "console" => {
            // SAFETY: the function is of this program.
            unsafe { SetConsoleCtrlHandler(Some(hear), 1) };
            if word(1) == "two" {
                me(&["console"]).spawn().unwrap();
            }
            say("ready");
            let began = Instant::now();
            while EVENT.load(Ordering::Acquire) == u32::MAX && began.elapsed() < LIFE {
                std::thread::sleep(Duration::from_millis(2));
            }
            let event = EVENT.load(Ordering::Acquire);
            say(&format!("event {event}"));
            std::process::exit(40 + event.cast_signed());
        }
        "guard" => {
            let ward = crate::ward::ward();
            let child = ward.nursery.spawn(&crate::ward::understudy("kept", &["chain", "1"])).unwrap();
            say(&child.pid().to_string());
            stay();
        }
        other => panic!("there is no cue {other:?}"),
    }
    ExitCode::SUCCESS
}

/// One write per line, so that lines of several processes do not mix.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn stay() {
    std::thread::sleep(LIFE);
}

fn me(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(CUE).args(words).stdin(Stdio::null());
    command
}

unsafe extern "system" fn hear(event: u32) -> BOOL {
    EVENT.store(event, Ordering::Release);
    1
}
