//! The web server that is probed: one thread, one epoll, an answer of two bytes. It notes who asked when.

use crate::arena::now;
use crate::kernel::{self, Toll};
use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The listener's mark among the events; connections are counted from 1.
const LISTENER: u64 = 0;

/// What came since the last look.
#[derive(Debug, Default)]
pub struct Seen {
    /// Which service was asked about, and when; in order.
    pub asked: Vec<(u32, u64)>,
    /// Microseconds from waking up to having answered, of each.
    pub served_us: Vec<f64>,
    /// Connections that were opened.
    pub connections: u64,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Origin {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread_id: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// No port, no thread.
    pub fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
        listener.set_nonblocking(true)?;
        // std listens with a queue of 128; a thousand probes may begin in the same millisecond.
        rustix::net::listen(&listener, 4096).context("cannot lengthen the queue of the listener")?;
        let port = listener.local_addr()?.port();
        let waiter = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&waiter, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let over = Arc::new(AtomicBool::new(false));
        let thread_id = Arc::new(AtomicU32::new(0));
        let (notes, end, id) = (Arc::clone(&seen), Arc::clone(&over), Arc::clone(&thread_id));
        let thread = std::thread::Builder::new().name("origin".into()).spawn(move || {
            id.store(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), Ordering::Relaxed);
            if let Err(error) = serve(&listener, &waiter, &notes, &end) {
                eprintln!("failed to serve probes: {error:#}");
            }
        })?;
        Ok(Origin { port, seen, over, thread_id, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What came since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What its thread used so far.
    pub fn toll(&self) -> Toll {
        kernel::toll(&[std::process::id()]).only(self.thread_id.load(Ordering::Relaxed))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, waiter: &OwnedFd, notes: &Mutex<Seen>, over: &AtomicBool) -> Result<()> {
    let mut connections: HashMap<u64, TcpStream> = HashMap::new();
    let mut next = LISTENER;
    let mut events: Vec<Event> = Vec::with_capacity(256);
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !over.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(waiter, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = now();
        for event in &events {
            let mark = event.data.u64();
            if mark == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    next += 1;
                    epoll::add(waiter, &stream, EventData::new_u64(next), EventFlags::IN)?;
                    connections.insert(next, stream);
                    notes.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
                }
                continue;
            }
            let Some(stream) = connections.get_mut(&mark) else { continue };
            match answer(stream) {
                Some((index, at, keep)) => {
                    let mut seen = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.asked.push((index, at));
                    seen.served_us.push((now() - woken) as f64 / 1e3);
                    if !keep {
                        connections.remove(&mark);
                    }
                }
                None => drop(connections.remove(&mark)),
            }
        }
    }
    Ok(())
}

/// Answers one request; which service it was about, when it was read, and whether more may come. `None`: the
/// connection is over. A request comes in one piece: it is small and the way is short.
fn answer(stream: &mut TcpStream) -> Option<(u32, u64, bool)> {
    let mut buffer = [0_u8; 2048];
    let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
    let at = now();
    let request = std::str::from_utf8(&buffer[..length]).ok()?;
    let index = request.strip_prefix("GET /")?.split(' ').next()?.parse().ok()?;
    let close = request.to_ascii_lowercase().contains("connection: close");
    let word = if close { "close" } else { "keep-alive" };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: {word}\r\n\r\nok").ok()?;
    Some((index, at, !close))
}
