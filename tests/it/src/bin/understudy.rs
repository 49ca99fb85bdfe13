//! A program that misbehaves on cue.
//!
//! Every argument is one cue, `verb` or `verb=value`, and they are done one after the other; past the last one
//! the program ends with 0. Deliberately absent: any wish to behave. It is started by the tests of this crate as
//! the program of a service, a hook or a probe.
//!
//! | cue | does |
//! |---|---|
//! | `stamp=FILE` | adds a line `CLOCK_MONOTONIC-nanoseconds pid` to a file |
//! | `pid=FILE`, `env=FILE`, `proc=FILE` | writes its number, its environment, its `/proc/self/status` |
//! | `say=TEXT`, `cry=TEXT` | a line on standard output, on standard error |
//! | `lines=N`, `bytes=N`, `garbage=N` | N numbered lines (`lines=A..B`: those from A on and before B), N bytes without a line's end, N bytes that are no UTF-8 |
//! | `flood` | lines for ever |
//! | `drip=MS` | a numbered line every so often, until there is a file `halt` |
//! | `close` | closes its standard output and error |
//! | `write=FILE` | makes a file; ends with 66 if it cannot |
//! | `wait=MS`, `await=FILE`, `hang` | waits that long, until there is such a file, for ever |
//! | `unless=FILE` | leaves out the next cue if there is such a file; `once=FILE` makes the file too |
//! | `ignore=TERM`, `on-term=CODE`, `on-term-slowly=MS` | what it does when it is asked to end |
//! | `record=FILE` | from here on adds a line with the name of HUP, USR1 or USR2 to a file for each that comes |
//! | `exit=CODE`, `abort`, `segv`, `raise=NAME` | ends |
//! | `memory=BYTES` | uses that much |
//! | `fork=N` | N children that hang |
//! | `breed=N` | N children that end at once, one after the other |
//! | `stray=FILE` | a grandchild in a session of its own that ignores TERM and hangs; its number into the file |
//! | `orphan=FILE` | the same, but it ends by itself with 7 at once |
//! | `http=PORT,FILE` | answers HTTP with the status in the file, 200 if there is none; `-` in the file: not at all |
//! | `tcp=PORT` | accepts connections |
//! | `notify=TEXT` | tells the guard; `notify-every=MS,TEXT` goes on doing so until there is a file `mute` |
#![allow(unsafe_code, clippy::unwrap_used, reason = "a program that forks and crashes on purpose")]

use std::io::{BufWriter, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The bytes of `bytes=N`, over and over: of a length that divides no power of two, so that a piece that is
/// missing or comes twice is seen.
const PATTERN: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz.";

fn main() {
    let mut cues = std::env::args().skip(1);
    while let Some(cue) = cues.next() {
        let (verb, value) = cue.split_once('=').unwrap_or((&cue, ""));
        match verb {
            "unless" if std::path::Path::new(value).exists() => drop(cues.next()),
            "unless" => {}
            "once" if std::path::Path::new(value).exists() => drop(cues.next()),
            "once" => std::fs::write(value, "").unwrap(),
            _ => play(verb, value),
        }
    }
}

fn play(verb: &str, value: &str) {
    match verb {
        "stamp" => append(value, &format!("{} {}\n", monotonic(), std::process::id())),
        "pid" => whole(value, &format!("{}\n", std::process::id())),
        "env" => whole(value, &environment()),
        "proc" => whole(value, &std::fs::read_to_string("/proc/self/status").unwrap()),
        "say" => println!("{value}"),
        "cry" => eprintln!("{value}"),
        "lines" => match value.split_once("..") {
            Some((from, to)) => lines(number(from)..number(to)),
            None => lines(0..number(value)),
        },
        "bytes" => bytes(number(value), PATTERN),
        "garbage" => bytes(number(value), &[0xff, 0xfe, 0xc3, 0x28, 0x00, 0x80, b'\n']),
        "flood" => loop {
            lines(0..1 << 20);
        },
        "drip" => {
            let mut numbers = 0..;
            while !std::path::Path::new("halt").exists() {
                lines(numbers.next().map(|number| number..number + 1).unwrap());
                std::thread::sleep(Duration::from_millis(number(value)));
            }
        }
        "close" => [1, 2].into_iter().for_each(close),
        "write" => {
            if let Err(error) = std::fs::write(value, "") {
                println!("{value}: {error}");
                std::process::exit(66);
            }
        }
        "wait" => std::thread::sleep(Duration::from_millis(number(value))),
        "await" => {
            while !std::path::Path::new(value).exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        "hang" => hang(),
        "ignore" => handle(signal(value), libc::SIG_IGN),
        "on-term" => on_term(Duration::ZERO, i32::try_from(number(value)).unwrap()),
        "on-term-slowly" => on_term(Duration::from_millis(number(value)), 0),
        "record" => record(value),
        "exit" => std::process::exit(value.parse().unwrap()),
        "abort" => std::process::abort(),
        "segv" => raise(libc::SIGSEGV),
        "raise" => raise(signal(value)),
        "memory" => use_memory(number(value)),
        "fork" => (0..number(value)).for_each(|_| {
            if fork() == 0 {
                hang();
            }
        }),
        "breed" => (0..number(value)).for_each(|_| match fork() {
            0 => leave(0),
            child => reap(child),
        }),
        // Whoever reads its number may ask it to end at once.
        "stray" => stray(value, || handle(libc::SIGTERM, libc::SIG_IGN), || hang()),
        "orphan" => stray(value, || {}, || leave(7)),
        "http" => http(value),
        "tcp" => {
            let listener = std::net::TcpListener::bind(("127.0.0.1", u16::try_from(number(value)).unwrap())).unwrap();
            std::thread::spawn(move || listener.incoming().for_each(drop));
        }
        "notify" => notify(value),
        "notify-every" => {
            let (every, text) = value.split_once(',').unwrap();
            let (every, text) = (Duration::from_millis(number(every)), text.to_owned());
            std::thread::spawn(move || {
                while !std::path::Path::new("mute").exists() {
                    notify(&text);
                    std::thread::sleep(every);
                }
            });
        }
        other => {
            eprintln!("no cue {other:?}");
            std::process::exit(64);
        }
    }
}

fn number(value: &str) -> u64 {
    value.parse().unwrap_or_else(|_| panic!("no number: {value:?}"))
}

fn signal(name: &str) -> i32 {
    match name {
        "TERM" => libc::SIGTERM,
        "INT" => libc::SIGINT,
        "HUP" => libc::SIGHUP,
        "KILL" => libc::SIGKILL,
        "STOP" => libc::SIGSTOP,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        other => panic!("no signal {other:?}"),
    }
}

/// Writes a file that others see whole or not at all.
fn whole(file: &str, text: &str) {
    let new = format!("{file}.{}", std::process::id());
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, file).unwrap();
}

fn append(file: &str, text: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn environment() -> String {
    std::env::vars_os().map(|(key, value)| format!("{}={}\n", key.display(), value.display())).collect()
}

fn lines(numbers: std::ops::Range<u64>) {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for line in numbers {
        if writeln!(out, "line {line}").is_err() {
            return;
        }
    }
}

fn bytes(count: u64, pattern: &[u8]) {
    let block = pattern.repeat((1 << 16) / pattern.len());
    let mut out = std::io::stdout().lock();
    let mut left = usize::try_from(count).unwrap();
    while left > 0 {
        let now = left.min(block.len());
        if out.write_all(&block[..now]).is_err() {
            return;
        }
        left -= now;
    }
    let _ = out.flush();
}

fn http(value: &str) {
    let (port, file) = value.split_once(',').unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", u16::try_from(number(port)).unwrap())).unwrap();
    let file = file.to_owned();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let status = std::fs::read_to_string(&file).unwrap_or_default();
            let status = status.trim();
            if status == "-" {
                silent.push(stream);
                continue;
            }
            let status = if status.is_empty() { "200" } else { status };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
}

fn notify(text: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { std::process::exit(65) };
    let socket = UnixDatagram::unbound().unwrap();
    let text = text.replace("\\n", "\n");
    // A guard that is gone is told nothing.
    let _ = match address.to_str().and_then(|address| address.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            socket.send_to_addr(text.as_bytes(), &address)
        }
        None => socket.send_to(text.as_bytes(), address),
    };
}

fn monotonic() -> u128 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct that is passed.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u128::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u128::try_from(now.tv_nsec).unwrap()
}

fn close(descriptor: i32) {
    // SAFETY: nothing here writes to it afterwards but by the standard library, which takes that as an error.
    unsafe { libc::close(descriptor) };
}

fn hang() -> ! {
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

fn handle(signal: i32, action: libc::sighandler_t) {
    // SAFETY: the action is one of the kernel's own or a function of the right kind that only makes calls
    // that may be made in one.
    unsafe { libc::signal(signal, action) };
}

fn raise(signal: i32) {
    handle(signal, libc::SIG_DFL);
    // SAFETY: sends a signal to this very thread.
    unsafe { libc::raise(signal) };
}

/// Ends without the ceremonies, as a child of a fork has to.
fn leave(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

fn fork() -> i32 {
    // SAFETY: no thread was started when a cue that forks is played; a test that did so would hang and fail.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

fn reap(child: i32) {
    // SAFETY: waits for a child of this process; no status is asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

/// A grandchild in a session of its own, that is on its way and whose parent is gone when this returns.
fn stray(file: &str, before: impl FnOnce(), then: impl FnOnce()) {
    // One of an earlier life would be taken for the one that is to come.
    let _ = std::fs::remove_file(file);
    let child = fork();
    if child > 0 {
        reap(child);
        play("await", file);
        return;
    }
    // SAFETY: a new child leads no group, so this cannot fail.
    unsafe { libc::setsid() };
    if fork() > 0 {
        leave(0);
    }
    before();
    whole(file, &format!("{}\n", std::process::id()));
    then();
    leave(0);
}

static TERM_WAIT_MS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
static TERM_CODE: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static RECORD: std::sync::OnceLock<std::ffi::CString> = std::sync::OnceLock::new();

fn on_term(wait: Duration, code: i32) {
    use std::sync::atomic::Ordering;
    TERM_WAIT_MS.store(u64::try_from(wait.as_millis()).unwrap(), Ordering::Relaxed);
    TERM_CODE.store(code, Ordering::Relaxed);
    handle(libc::SIGTERM, ended_by_term as *const () as libc::sighandler_t);
}

extern "C" fn ended_by_term(_: i32) {
    use std::sync::atomic::Ordering;
    let wait = TERM_WAIT_MS.load(Ordering::Relaxed);
    // SAFETY: may be called in a handler; nothing is shared.
    unsafe { libc::usleep(u32::try_from(wait * 1000).unwrap_or(u32::MAX)) };
    leave(TERM_CODE.load(Ordering::Relaxed));
}

fn record(file: &str) {
    RECORD.get_or_init(|| std::ffi::CString::new(file).unwrap());
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        handle(signal, recorded as *const () as libc::sighandler_t);
    }
}

extern "C" fn recorded(signal: i32) {
    let Some(file) = RECORD.get() else { return };
    let text: &[u8] = match signal {
        libc::SIGHUP => b"HUP\n",
        libc::SIGUSR1 => b"USR1\n",
        _ => b"USR2\n",
    };
    // SAFETY: may be called in a handler; the path ends with a NUL.
    let opened = unsafe { libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND, 0o644) };
    // SAFETY: may be called in a handler; the text is as long as said.
    unsafe { libc::write(opened, text.as_ptr().cast(), text.len()) };
    close(opened);
}

fn use_memory(bytes: u64) {
    let used = vec![1_u8; usize::try_from(bytes).unwrap()];
    std::hint::black_box(&used);
    std::mem::forget(used);
}
