//! A receiver of records over HTTP, in the test's own process: it counts what it is sent, and misbehaves when it is told.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How it answers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Good,
    /// Takes nothing and says so.
    Busy,
    /// Answers what is no HTTP.
    Garbage,
    /// Never answers.
    Hangs,
    /// Closes each connection at once, as one that nobody serves.
    Away,
}

/// See the module's text. Its thread ends with the test's process.
#[derive(Debug, Clone)]
pub struct Receiver {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    mood: Mood,
    /// How often each message came, by `service-instance`.
    messages: BTreeMap<String, BTreeMap<String, u32>>,
    /// Messages in the order in which they came.
    order: Vec<String>,
    last: Option<Value>,
    posts: u64,
    /// A text that nothing that comes may hold, and whether something did.
    forbidden: Option<(String, bool)>,
}

impl Receiver {
    /// One that listens.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Inner {
            mood: Mood::Good,
            messages: BTreeMap::new(),
            order: Vec::new(),
            last: None,
            posts: 0,
            forbidden: None,
        };
        let receiver = Receiver { address, inner: Arc::new(Mutex::new(inner)) };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        receiver
    }

    /// Where to send.
    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// Answers differently from here on, on connections that are open too.
    pub fn set(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    /// How often each message of a label came: `a-0`.
    pub fn messages(&self, label: &str) -> BTreeMap<String, u32> {
        self.inner.lock().unwrap().messages.get(label).cloned().unwrap_or_default()
    }

    /// How many different messages of a label came.
    pub fn count(&self, label: &str) -> usize {
        self.inner.lock().unwrap().messages.get(label).map_or(0, BTreeMap::len)
    }

    /// Every message in the order in which it came.
    pub fn order(&self) -> Vec<String> {
        self.inner.lock().unwrap().order.clone()
    }

    /// The last record.
    pub fn last(&self) -> Option<Value> {
        self.inner.lock().unwrap().last.clone()
    }

    /// How many deliveries it took.
    pub fn posts(&self) -> u64 {
        self.inner.lock().unwrap().posts
    }

    /// From here on looks for this text in all that comes.
    pub fn forbid(&self, text: &str) {
        self.inner.lock().unwrap().forbidden = Some((text.to_owned(), false));
    }

    /// Whether what [`Receiver::forbid`] names came.
    pub fn has_forbidden(&self) -> bool {
        self.inner.lock().unwrap().forbidden.as_ref().is_some_and(|(_, came)| *came)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mood = self.inner.lock().unwrap().mood;
            if mood == Mood::Away {
                return;
            }
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let mood = self.inner.lock().unwrap().mood;
            let answer = match mood {
                Mood::Good => {
                    self.take(&body);
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                }
                Mood::Busy => "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nfull",
                Mood::Garbage => "220 mail.example ready\r\n",
                Mood::Hangs => {
                    // Until the other side gives up.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Mood::Away => return,
            };
            if stream.write_all(answer.as_bytes()).is_err() || mood == Mood::Garbage {
                return;
            }
        }
    }

    fn take(&self, body: &[u8]) {
        let mut inner = self.inner.lock().unwrap();
        inner.posts += 1;
        if let Some((text, came)) = &mut inner.forbidden {
            *came |= String::from_utf8_lossy(body).contains(text.as_str());
        }
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).unwrap();
            let label =
                format!("{}-{}", record["service_name"].as_str().unwrap(), record["instance"].as_str().unwrap());
            let message = record["message"].as_str().unwrap().to_owned();
            inner.order.push(message.clone());
            *inner.messages.entry(label).or_default().entry(message).or_default() += 1;
            inner.last = Some(record);
        }
    }
}
