//! Alerts: each arrives at a real receiver at least once, with the same number at every try, over a crash of the
//! guard too.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use tutela_it::{BOUND, Container, Guard, Stage, wait_until};

const LOOPING: &str = "[services.a]\ncommand = [\"understudy\", \"exit=1\"]\nrestart = { delay = \"0s\", burst = 2, cooldown = \"1h\" }\n";

/// What a receiver was sent.
#[derive(Debug, Clone)]
struct Post {
    head: String,
    body: Value,
    answered: u16,
}

impl Post {
    fn header(&self, name: &str) -> String {
        let name = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix(&name).map(str::to_owned))
            .unwrap_or_default()
    }
}

/// A receiver of webhooks that answers the first posts with an error.
struct Receiver {
    url: String,
    posts: Arc<Mutex<Vec<Post>>>,
    refusing: Arc<Mutex<usize>>,
}

impl Receiver {
    /// One that fails the first `failing` posts.
    fn start(failing: usize) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?team=ops", listener.local_addr().unwrap());
        let (posts, refusing) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(failing)));
        let (all, left) = (posts.clone(), refusing.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut left = left.lock().unwrap();
                let status = if *left > 0 { 503 } else { 200 };
                *left = left.saturating_sub(1);
                drop(left);
                take(stream, status, &all);
            }
        });
        Receiver { url, posts, refusing }
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    fn wait_for(&self, count: usize) -> Vec<Post> {
        wait_until(BOUND, &format!("{count} posts came"), || Some(self.posts()).filter(|posts| posts.len() >= count))
    }
}

/// Takes a post down, and answers it then: whoever has heard the answer finds the post.
fn take(mut stream: TcpStream, status: u16, posts: &Mutex<Vec<Post>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    posts.lock().unwrap().push(Post { head, body: serde_json::from_slice(&body).unwrap(), answered: status });
    write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()
}

#[test]
fn an_alert_reaches_a_receiver_that_fails_twice_first_exactly_once() {
    let receiver = Receiver::start(2);
    let guard = Guard::start(&format!(
        "[alerts.ops]\nwebhook = \"{}\"\nheaders = {{ X-Team = \"ops\" }}\non = [\"cooldown\"]\n{LOOPING}",
        receiver.url
    ));
    let cooldown = guard.wait_event("cooldown", |_| true);
    let delivered = guard.wait_event("alert_delivered", |_| true);
    let posts = receiver.posts();
    let answers: Vec<u16> = posts.iter().map(|post| post.answered).collect();
    assert_eq!(answers, [503, 503, 200], "one delivery is accepted, and it is the last try");
    let id = posts[0].body["id"].as_str().unwrap();
    for post in &posts {
        assert!(post.head.starts_with("POST /hook?team=ops HTTP/1.1"), "{}", post.head);
        assert_eq!(post.header("content-type"), "application/json");
        assert_eq!(post.header("x-team"), "ops");
        assert_eq!(post.header("idempotency-key"), id.to_ascii_lowercase());
        assert_eq!(post.body, posts[0].body, "every try says the same");
    }
    let body = &posts[0].body;
    assert_eq!((&body["occasion"], &body["instance"]), (&"cooldown".into(), &"a:0".into()), "{body}");
    assert_eq!(body["guard"], guard.name());
    assert_eq!(body["event"], cooldown);
    assert_eq!((&delivered["data"]["alert"], &delivered["data"]["attempts"]), (&id.into(), &3.into()));
    assert_eq!(guard.events_of("alert_failed").len(), 2);
    // What arrived is over for the next guard too.
    let guard = guard.crash().start(Container::ControlGroup);
    guard.wait_state("a", "cooldown");
    assert_eq!(guard.close().read("nothing"), "");
    assert_eq!(receiver.posts().len(), 3);
}

#[test]
fn an_alert_that_did_not_arrive_is_delivered_by_the_next_guard() {
    let receiver = Receiver::start(usize::MAX);
    let stage = Stage::new();
    stage.write_spec(&format!("[alerts.ops]\nwebhook = \"{}\"\non = [\"cooldown\"]\n{LOOPING}", receiver.url));
    let guard = stage.start(Container::ControlGroup);
    receiver.wait_for(1);
    let stage = guard.crash();
    let tried = receiver.posts();
    *receiver.refusing.lock().unwrap() = 0;
    let guard = stage.start(Container::ControlGroup);
    let delivered = guard.wait_event("alert_delivered", |_| true);
    let posts = receiver.posts();
    assert_eq!(posts.iter().filter(|post| post.answered == 200).count(), 1);
    let last = posts.last().unwrap();
    assert_eq!(last.body, tried[0].body, "the next guard says what the first one did");
    assert_eq!(delivered["data"]["alert"], last.body["id"]);
    // The service is in the cool-down still: it was no new alert.
    assert_eq!(guard.events_of("cooldown").len(), 1);
}

#[test]
fn a_receiver_that_says_no_for_good_is_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let posts = Mutex::default();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = take(stream, 404, &posts)));
    let guard = Guard::start(&format!("[alerts.ops]\nwebhook = \"{url}\"\non = [\"cooldown\"]\n{LOOPING}"));
    let told = guard.wait_event("alert_failed", |_| true);
    assert!(told["message"].as_str().unwrap().contains("404"), "{told}");
    assert!(told["message"].as_str().unwrap().contains("given up"), "{told}");
    assert_eq!(guard.instance("a").state, "cooldown");
}

#[test]
fn a_command_gets_the_alert_as_json_on_its_standard_input() {
    let guard = Guard::start(&format!(
        "[alerts.pager]\ncommand = [\"sh\", \"-c\", \"cat > body.new; echo \\\"$TUTELA_ALERT_SUBJECT\\\" > subject; mv body.new body\"]\non = [\"cooldown\"]\n{LOOPING}"
    ));
    let delivered = guard.wait_event("alert_delivered", |_| true);
    let body: Value = serde_json::from_str(&guard.read("body")).unwrap();
    assert_eq!((&body["occasion"], &body["id"]), (&"cooldown".into(), &delivered["data"]["alert"]));
    assert!(guard.read("subject").contains("[cooldown]"), "{}", guard.read("subject"));
    // It belongs to no service, and nothing of it stays.
    wait_until(BOUND, "its process is gone", || guard.living().is_empty().then_some(()));
}

#[test]
fn a_command_that_fails_is_tried_again_until_it_takes_the_alert() {
    let guard = Guard::start(&format!(
        "[alerts.pager]\ncommand = [\"understudy\", \"stamp=tries\", \"unless=second\", \"exit=9\", \"exit=0\"]\non = [\"cooldown\"]\n{LOOPING}"
    ));
    let failed = guard.wait_event("alert_failed", |_| true);
    assert!(failed["message"].as_str().unwrap().contains("code 9"), "{failed}");
    guard.write("second", "");
    let delivered = guard.wait_event("alert_delivered", |_| true);
    assert_eq!(delivered["data"]["alert"], failed["data"]["alert"]);
    assert_eq!(guard.read("tries").lines().count() as u64, delivered["data"]["attempts"].as_u64().unwrap());
}

/// A relay that takes one mail after the other; answers with what each client said.
fn relay() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails = Arc::new(Mutex::new(Vec::new()));
    let kept = mails.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(mail) = take_mail(stream) {
                kept.lock().unwrap().push(mail);
            }
        }
    });
    (port, mails)
}

fn take_mail(mut stream: TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut said, mut in_data) = (String::new(), false);
    stream.write_all(b"220 relay.test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(said);
        }
        said.push_str(&line);
        let command = line.trim_end().to_ascii_uppercase();
        let answer: &[u8] = match command.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                b"250 taken\r\n"
            }
            _ if in_data => continue,
            "EHLO" => b"250-relay.test\r\n250 8BITMIME\r\n",
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n")?;
                return Ok(said);
            }
            _ => b"250 yes\r\n",
        };
        stream.write_all(answer)?;
    }
}

#[test]
fn a_mail_reaches_the_relay_with_its_sender_receivers_and_body() {
    let (port, mails) = relay();
    let guard = Guard::start(&format!(
        "[alerts.mail]\nemail = {{ smtp = \"smtp://127.0.0.1:{port}\", from = \"Guard <guard@example.org>\", to = [\"ops@example.org\", \"boss@example.org\"] }}\non = [\"cooldown\"]\n{LOOPING}"
    ));
    let delivered = guard.wait_event("alert_delivered", |_| true);
    let said = wait_until(BOUND, "the mail is taken", || mails.lock().unwrap().first().cloned());
    for part in [
        "MAIL FROM:<guard@example.org>",
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<boss@example.org>",
        "From: ",
        "Subject: [cooldown]",
        delivered["data"]["alert"].as_str().unwrap(),
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(mails.lock().unwrap().len(), 1);
}

#[test]
fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = Receiver::start(0);
    let mut guard = Guard::start(&format!(
        "[alerts.silent]\nwebhook = \"http://{}/\"\non = [\"cooldown\"]\n[alerts.well]\nwebhook = \"{}\"\non = [\"cooldown\"]\n{LOOPING}",
        silent.local_addr().unwrap(),
        receiver.url
    ));
    let delivered = guard.wait_event("alert_delivered", |_| true);
    assert_eq!(delivered["data"]["way"], "well");
    // Nor the guard's end; the alert is kept for the next one.
    let began = std::time::Instant::now();
    assert_eq!(guard.end(), 0);
    assert!(began.elapsed() < BOUND / 4, "the end took {:?}", began.elapsed());
}
