//! What the service manager of the OS hears of the services: that they are up, when it is true, and a line for people.
//! The service manager is a socket of the test's own, in the words of `sd_notify`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use tutela_it::{BOUND, Guard, Stage, wait_until};

/// The ear of a service manager, and all that it heard.
struct Ear {
    socket: UnixDatagram,
    heard: Vec<(Duration, String)>,
    began: Instant,
}

impl Ear {
    fn listen(stage: Stage, services: &str) -> (Guard, Ear) {
        let spec = stage.write_spec(services);
        let address = stage.path("host");
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut command = stage.command();
        command.arg("run").arg(spec).env("NOTIFY_SOCKET", address);
        let began = Instant::now();
        (stage.start_command(command), Ear { socket, heard: Vec::new(), began })
    }

    fn hear(&mut self) {
        let mut text = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut text) {
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            self.heard.push((self.began.elapsed(), text));
        }
    }

    /// Waits for a message with `part`, and gives when it came.
    fn waits_for(&mut self, part: &str) -> Duration {
        wait_until(BOUND, &format!("the host hears {part:?}"), || {
            self.hear();
            self.heard.iter().find(|(_, text)| text.contains(part)).map(|(at, _)| *at)
        })
    }

    fn heard(&mut self, part: &str) -> bool {
        self.hear();
        self.heard.iter().any(|(_, text)| text.contains(part))
    }
}

#[test]
fn ready_is_told_once_everything_is_up_and_the_line_follows_what_happens() {
    let (guard, mut ear) = Ear::listen(
        Stage::new(),
        "[services.db]\ncommand = [\"understudy\", \"pid=db\", \"await=go\", \"notify=READY=1\", \"hang\"]\n\
         [services.db.ready]\nnotify = true\n\
         [services.api]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"db\"]\n\
         [services.once]\ncommand = [\"understudy\", \"exit=0\"]\nrestart = { when = \"on-failure\" }\n",
    );
    guard.wait_state("once", "done");
    let pid = guard.written_pid("db");
    assert!(!ear.heard("READY=1"), "{:?}", ear.heard);
    guard.write("go", "now\n");
    ear.waits_for("READY=1\nSTATUS=3 of 3 up");
    guard.cli_ok(&["stop", &format!("{}/api", guard.name())]);
    ear.waits_for("STATUS=2 of 2 up");
    std::fs::remove_file(guard.path("go")).unwrap();
    tutela_it::processes::kill(pid, "KILL");
    ear.waits_for("STATUS=1 of 2 up: db:0 ");
}

#[test]
fn a_service_that_cools_down_and_those_that_wait_for_it_hold_up_no_start() {
    let (_guard, mut ear) = Ear::listen(
        Stage::new(),
        "[services.db]\ncommand = [\"understudy\", \"exit=1\"]\n\
         restart = { delay = \"10ms\", burst = 2, within = \"60s\", cooldown = \"1h\" }\n\
         [services.db.ready]\nnotify = true\n\
         [services.api]\ncommand = [\"understudy\", \"hang\"]\nneeds = [\"db\"]\n\
         [services.web]\ncommand = [\"understudy\", \"hang\"]\n",
    );
    ear.waits_for("READY=1\nSTATUS=1 of 3 up: db:0 cooldown, api:0 waiting");
}

#[test]
fn a_service_that_fails_again_and_again_holds_up_half_of_the_time_of_a_start() {
    let (_guard, mut ear) = Ear::listen(
        Stage::new(),
        "[install]\nstart_timeout = \"4s\"\n\
         [services.bad]\ncommand = [\"understudy\", \"exit=1\"]\nrestart = { delay = \"50ms\", factor = 1.0, burst = 100000 }\n\
         [services.bad.ready]\nnotify = true\n",
    );
    let at = ear.waits_for("READY=1\nSTATUS=0 of 1 up: bad:0 ");
    assert!(at >= Duration::from_secs(2), "{at:?}");
}
