//! What is local to one computer on Windows: the control pipe, the notify pipe, locks between processes. A
//! second process is this test program again, told by a variable what to be.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tutela_os::endpoint::{self, BindError, Listener};
use tutela_os::files::{Lock, LockError};
use tutela_os::notify::{Inbox, MESSAGE_BYTES_MAX, Notice, parse};
use tutela_os::paths::Paths;

/// What a second process is to be.
const ROLE: &str = "TUTELA_TEST_ROLE";
/// The folder that it shares with its test.
const HOME: &str = "TUTELA_TEST_HOME";
/// How long anything may take on a slow, busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// This program again as `role`. It says a line when it is ready, and ends when its input does.
struct Second {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Second {
    fn start(role: &str, home: &Path) -> Second {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "second_process", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(HOME, home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut second = Second { child, output };
        second.said("ready");
        second
    }

    /// Waits until it says `word`; what the test frame prints is passed over.
    fn said(&mut self, word: &str) {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(word) {
                return;
            }
            line.clear();
        }
        panic!("the second process ended without saying {word}");
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test by itself: the body of the second process.
#[test]
fn second_process() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let home = PathBuf::from(std::env::var_os(HOME).unwrap());
    let paths = Paths::under(&home);
    let runtime = runtime();
    let _inside = runtime.enter();
    let until_told = || {
        println!("ready");
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).unwrap();
    };
    match role.to_str().unwrap() {
        "guard" => {
            let listener = Listener::bind(&paths.socket("shop")).unwrap();
            runtime.spawn(async move {
                while let Ok(connection) = listener.accept().await {
                    drop(connection);
                }
            });
            println!("ready");
            runtime.block_on(async {
                tokio::task::spawn_blocking(move || std::io::stdin().read_to_end(&mut Vec::new()))
                    .await
                    .unwrap()
                    .unwrap()
            });
        }
        "lock" => {
            let _held = Lock::take(&home.join("a.lock")).unwrap();
            until_told();
        }
        "speaker" => {
            let mut pipe = OpenOptions::new().write(true).open(paths.notify_socket("shop")).unwrap();
            pipe.write_all(b"READY=1\nSTATUS=from another process").unwrap();
            drop(pipe);
            until_told();
        }
        other => panic!("nobody plays {other}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn within<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(async { tokio::time::timeout(LIMIT, future).await.unwrap() })
}

fn home() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    (dir, paths)
}

#[test]
fn a_second_guard_is_refused_and_told_the_first_ones_process() {
    let (dir, paths) = home();
    // As a guard does; where pipes cannot be listed, its name is found by it.
    tutela_os::files::make_private_dir(&paths.state_dir("shop")).unwrap();
    let first = Second::start("guard", dir.path());
    let pid = first.child.id();
    within(async {
        let refusal = Listener::bind(&paths.socket("shop")).unwrap_err();
        assert!(matches!(refusal, BindError::InUse { pid: Some(found), .. } if found == pid), "{refusal}");
        let found = endpoint::list(&paths).unwrap();
        assert_eq!(
            found.iter().map(|found| (found.name.as_str(), found.pid)).collect::<Vec<_>>(),
            [("shop", Some(pid))]
        );
        // Another home has nothing to do with it.
        let (_other, elsewhere) = home();
        Listener::bind(&elsewhere.socket("shop")).unwrap();
        assert!(endpoint::list(&Paths::under(Path::new("/nowhere"))).unwrap().is_empty());
    });
    first.end();
    // The name is free when the process is gone.
    within(async { Listener::bind(&paths.socket("shop")).map(drop) }).unwrap();
}

#[test]
fn nobody_answers_where_no_guard_is() {
    let (_dir, paths) = home();
    let error = within(endpoint::connect(&paths.socket("shop"))).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::NotFound));
}

#[test]
fn many_clients_at_once_are_each_answered_and_known() {
    const CLIENTS: usize = 24;
    let (_dir, paths) = home();
    let path = paths.socket("shop");
    within(async {
        let listener = Listener::bind(&path).unwrap();
        let server = async {
            for _ in 0..CLIENTS {
                let (mut stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.pid, Some(std::process::id()));
                assert!(peer.may_control() && peer.is_own_account(), "{peer:?}");
                assert_eq!(peer.account, tutela_os::accounts::current().unwrap().id());
                tokio::spawn(async move {
                    let mut head = [0; 5];
                    stream.read_exact(&mut head).await.unwrap();
                    let length = usize::from(u16::from_le_bytes([head[3], head[4]]));
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    stream.write_all(&body).await.unwrap();
                    stream.shutdown().await.unwrap();
                    assert!(stream.write(b"more").await.is_err());
                });
            }
        };
        let clients = async {
            let asked: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let path = path.clone();
                    tokio::spawn(async move {
                        let mut stream = endpoint::connect(&path).await.unwrap();
                        // Longer than any buffer on the way.
                        let body = vec![u8::try_from(number).unwrap(); 60_000];
                        let mut whole = b"ask".to_vec();
                        whole.extend(u16::try_from(body.len()).unwrap().to_le_bytes());
                        whole.extend(&body);
                        let (mut reader, mut writer) = tokio::io::split(&mut stream);
                        let mut answer = Vec::new();
                        let (sent, read) = tokio::join!(writer.write_all(&whole), reader.read_to_end(&mut answer));
                        sent.unwrap();
                        read.unwrap();
                        assert!(answer == body, "client {number} got {} bytes", answer.len());
                    })
                })
                .collect();
            for client in asked {
                client.await.unwrap();
            }
        };
        tokio::join!(server, clients);
    });
}

#[test]
fn a_client_that_goes_at_once_keeps_nobody_from_the_next_one() {
    let (_dir, paths) = home();
    let path = paths.socket("shop");
    within(async {
        let listener = Listener::bind(&path).unwrap();
        for _ in 0..8 {
            drop(endpoint::connect(&path).await.unwrap());
            let mut stream = None;
            let client = async { stream = Some(endpoint::connect(&path).await.unwrap()) };
            let server = async {
                // The one that went may be told of, as a connection that is over, or not.
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut byte = [0];
                    let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
                    if !matches!(read, Ok(Ok(0) | Err(_))) {
                        break;
                    }
                }
            };
            tokio::join!(client, server);
        }
    });
}

#[test]
fn a_message_comes_with_the_process_that_wrote_it() {
    let (dir, paths) = home();
    within(async {
        let inbox = Inbox::bind(&paths.notify_socket("shop")).unwrap();
        assert_eq!(inbox.address(), paths.notify_socket("shop").into_os_string());
        let home = dir.path().to_path_buf();
        let speaker = tokio::task::spawn_blocking(move || Second::start("speaker", &home));
        let message = inbox.recv().await.unwrap();
        let speaker = speaker.await.unwrap();
        assert_eq!(message.pid, speaker.child.id());
        assert_eq!(parse(&message.text), [Notice::Ready, Notice::Status("from another process".into())]);
        speaker.end();
    });
}

#[test]
fn messages_of_one_program_are_heard_in_order_past_those_that_say_nothing() {
    let (_dir, paths) = home();
    let path = paths.notify_socket("shop");
    within(async {
        let inbox = Inbox::bind(&path).unwrap();
        let speaker = tokio::task::spawn_blocking(move || {
            // Silent, and more of them than are waited for.
            let silent: Vec<_> = (0..80).map(|_| open(&path)).collect();
            for number in 0..20 {
                open(&path).write_all(format!("STATUS={number}").as_bytes()).unwrap();
            }
            let mut kept = open(&path);
            for number in 20..40 {
                kept.write_all(format!("STATUS={number}").as_bytes()).unwrap();
            }
            drop(silent);
        });
        for number in 0..40 {
            let message = inbox.recv().await.unwrap();
            assert_eq!(parse(&message.text), [Notice::Status(number.to_string())]);
        }
        speaker.await.unwrap();
    });
}

#[test]
fn a_message_that_is_too_long_is_marked_and_the_next_one_is_whole() {
    let (_dir, paths) = home();
    let path = paths.notify_socket("shop");
    within(async {
        let inbox = Inbox::bind(&path).unwrap();
        let speaker = tokio::task::spawn_blocking(move || {
            // It is cut off in the middle, so it may learn that nobody reads on.
            let _ = open(&path).write_all(&vec![b'x'; MESSAGE_BYTES_MAX * 3]);
            open(&path).write_all(b"READY=1").unwrap();
        });
        assert!(inbox.recv().await.unwrap().truncated);
        let whole = inbox.recv().await.unwrap();
        assert!(!whole.truncated);
        assert_eq!(parse(&whole.text), [Notice::Ready]);
        speaker.await.unwrap();
    });
}

#[test]
fn a_barrier_is_answered_when_its_message_is_dropped() {
    let (_dir, paths) = home();
    let path = paths.notify_socket("shop");
    within(async {
        let inbox = Inbox::bind(&path).unwrap();
        let (answered, mut answer) = tokio::sync::oneshot::channel();
        let speaker = tokio::task::spawn_blocking(move || {
            let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            pipe.write_all(b"BARRIER=1").unwrap();
            // Ends, in whichever way, when the guard closes its end.
            let _ = pipe.read(&mut [0]);
            answered.send(()).unwrap();
        });
        let message = inbox.recv().await.unwrap();
        assert_eq!(parse(&message.text), [Notice::Barrier]);
        assert!(answer.try_recv().is_err());
        drop(message);
        // The inbox lets go of the connection as it goes on.
        tokio::select! {
            heard = inbox.recv() => panic!("nobody said {heard:?}"),
            answered = &mut answer => answered.unwrap(),
        }
        speaker.await.unwrap();
    });
}

/// As a program does that knows nothing of the guard; a full pipe is tried again.
fn open(path: &Path) -> std::fs::File {
    let until = std::time::Instant::now() + LIMIT;
    loop {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => return file,
            Err(error) if std::time::Instant::now() < until && error.raw_os_error() == Some(231) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_lock_of_another_process_names_its_holder_and_is_free_when_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.lock");
    let holder = Second::start("lock", dir.path());
    let pid = holder.child.id();
    let refused = Lock::take(&path).unwrap_err();
    assert!(matches!(refused, LockError::Held { holder: Some(found), .. } if found == pid), "{refused}");
    assert_eq!(Lock::holder(&path), Some(pid));
    holder.end();
    Lock::take(&path).unwrap();
}
