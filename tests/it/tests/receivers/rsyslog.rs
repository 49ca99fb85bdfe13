//! Syslog, read by rsyslog.

use crate::certificates::Certificates;
use crate::stage::{deliver, full, numbered, open, run, why};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tutela_core::spec::{SinkWay, SyslogTransport, TlsSpec};
use tutela_it::processes::{free_port, kill};
use tutela_it::{BOUND, receiver, wait_until};

/// An rsyslog, and where it writes what it got.
struct Rsyslog {
    process: Option<Child>,
    dir: PathBuf,
    port: u16,
}

impl Rsyslog {
    /// Starts one with this input, which has the port where `PORT` stands.
    fn start(dir: &Path, input: &str) -> Rsyslog {
        let port = free_port();
        let property = |name: &str| format!("property(outname=\"{name}\" name=\"{name}\" format=\"jsonf\") ");
        let texts: String = ["pri", "hostname", "app-name", "procid", "msgid", "msg"].map(property).concat();
        let config = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"64k\" parser.escapeControlCharactersOnReceive=\"off\")\n\
             main_queue(queue.type=\"LinkedList\" queue.timeoutShutdown=\"60000\")\n\
             module(load=\"mmpstrucdata\")\n{input}\n\
             template(name=\"line\" type=\"list\" option.jsonf=\"on\") {{ {texts} \
             property(outname=\"time\" name=\"timereported\" dateFormat=\"rfc3339\" format=\"jsonf\") \
             property(outname=\"parsed\" name=\"$!\" format=\"jsonf\") }}\n\
             action(type=\"mmpstrucdata\")\n\
             action(type=\"omfile\" file=\"{dir}/got\" template=\"line\")\n",
            dir = dir.display()
        );
        std::fs::write(dir.join("rsyslog.conf"), config.replace("PORT", &port.to_string())).unwrap();
        let mut rsyslog = Rsyslog { process: None, dir: dir.to_owned(), port };
        rsyslog.begin();
        rsyslog
    }

    fn begin(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(self.dir.join("rsyslog.conf")).arg("-i").arg(self.dir.join("pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("rsyslogd: {error}")));
    }

    /// Until it takes connections.
    fn is_up(&self) {
        wait_until(BOUND, "rsyslog listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Ends in order, or at once.
    fn end(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            kill(process.id(), signal);
            process.wait().unwrap();
        }
        let _ = std::fs::remove_file(self.dir.join("pid"));
    }

    fn got(&self) -> Vec<Value> {
        receiver::got(&self.dir.join("got"))
    }

    fn way(&self, transport: SyslogTransport) -> SinkWay {
        SinkWay::Syslog { address: format!("127.0.0.1:{}", self.port), transport, facility: 16 }
    }

    /// Waits until each number below `count` is there; how many messages came twice.
    fn wait_for_all(&self, count: u64) -> usize {
        let numbers = || -> Vec<u64> {
            let number = |line: Value| line["msg"].as_str()?.strip_prefix("record ")?.parse().ok();
            self.got().into_iter().filter_map(number).collect()
        };
        let all: BTreeSet<u64> = (0..count).collect();
        wait_until(BOUND, "every record is there", || {
            (numbers().into_iter().collect::<BTreeSet<_>>() == all).then_some(())
        });
        numbers().len() - all.len()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.end("KILL");
        if std::thread::panicking() {
            println!("{}", std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
    }
}

fn tcp() -> String {
    "module(load=\"imtcp\") input(type=\"imtcp\" address=\"127.0.0.1\" port=\"PORT\")".to_owned()
}

#[test]
fn everything_that_a_record_has_is_read_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let rsyslog = Rsyslog::start(dir.path(), &tcp());
    rsyslog.is_up();
    let message = "two\nlines\tof \"gr\u{fc}n\"";
    run(async {
        let mut way = open(&rsyslog.way(SyslogTransport::Tcp), BOUND);
        way.deliver(&[full(message.as_bytes()), full(b""), full(&[b'x'; 60_000])]).await.unwrap();
    });
    let got = wait_until(BOUND, "three messages are there", || Some(rsyslog.got()).filter(|got| got.len() == 3));
    let first = &got[0];
    for (name, wanted) in [
        ("pri", "132"),
        ("time", "2026-11-20T21:23:45.123456Z"),
        ("hostname", "box.example"),
        ("app-name", "api"),
        ("procid", "2"),
        ("msgid", "stderr"),
    ] {
        assert_eq!(first[name], wanted, "{name} in {first}");
    }
    assert_eq!(first["msg"].as_str().unwrap().trim_start_matches('\u{feff}'), message);
    let parsed: Value = serde_json::from_str(first["parsed"].as_str().unwrap()).unwrap();
    let elements = &parsed["rfc5424-sd"];
    assert_eq!(elements["meta"]["sequenceid"], "1", "{elements}");
    assert_eq!(elements["origin"]["ip"], "192.0.2.7");
    assert_eq!(elements["tutela@0"], serde_json::json!({ "guard": "shop", "id": "7-0", "level": "warn" }));
    assert_eq!(elements["fields@0"]["user"], "a]b\"c\\");
    assert_eq!(elements["fields@0"]["deep"], "{\"a\":[1.5,null]}");
    assert_eq!(got[1]["msg"], "");
    assert_eq!(got[2]["msg"].as_str().unwrap().len(), 60_000);
}

#[test]
fn every_record_arrives_over_restarts_of_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let mut rsyslog = Rsyslog::start(dir.path(), &tcp());
    rsyslog.is_up();
    let records = numbered(20_000);
    run(async {
        let mut way = open(&rsyslog.way(SyslogTransport::Tcp), BOUND);
        deliver(&mut *way, &records, |batch| {
            if batch % 10 == 5 {
                rsyslog.end("TERM");
                rsyslog.begin();
            }
        })
        .await;
    });
    let twice = rsyslog.wait_for_all(20_000);
    println!("{twice} of 20000 records came twice over 4 restarts");
    assert!(twice < 20_000);
}

#[test]
fn over_tls_both_sides_show_who_they_are_and_restarts_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = Certificates::make(dir.path());
    let input = format!(
        "global(defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{ca}\" \
         defaultNetstreamDriverCertFile=\"{cert}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"PORT\")",
        ca = made.path("ca.pem").display(),
        cert = made.path("server.pem").display(),
        key = made.path("server.key").display(),
    );
    let mut rsyslog = Rsyslog::start(dir.path(), &input);
    rsyslog.is_up();
    let good = TlsSpec {
        ca: Some(made.path("ca.pem")),
        identity: Some((made.path("client.pem"), made.path("client.key"))),
        server_name: Some("logs.example".to_owned()),
    };
    let records = numbered(10_000);
    run(async {
        let soon = Duration::from_secs(10);
        let named = |spec: TlsSpec| open(&rsyslog.way(SyslogTransport::Tls(spec)), soon);
        let reason = why(&mut *named(TlsSpec { server_name: None, ..good.clone() }), &records[..1]).await;
        assert!(
            reason.contains(&format!("127.0.0.1:{}", rsyslog.port)) && reason.contains("not valid for"),
            "{reason}"
        );
        let reason = why(&mut *named(TlsSpec { ca: None, ..good.clone() }), &records[..1]).await;
        assert!(reason.contains("UnknownIssuer"), "{reason}");
        let missing = TlsSpec { ca: Some(made.path("none.pem")), ..good.clone() };
        let reason = why(&mut *named(missing), &records[..1]).await;
        assert!(reason.contains("none.pem"), "{reason}");
        assert_eq!(rsyslog.got(), Vec::<Value>::new());

        let mut way = open(&rsyslog.way(SyslogTransport::Tls(good.clone())), BOUND);
        deliver(&mut *way, &records, |batch| {
            if batch % 10 == 5 {
                rsyslog.end("TERM");
                rsyslog.begin();
            }
        })
        .await;
    });
    let twice = rsyslog.wait_for_all(10_000);
    println!("{twice} of 10000 records came twice over 2 restarts");
    let got = rsyslog.got().len();
    run(async {
        let mut nameless = open(&rsyslog.way(SyslogTransport::Tls(TlsSpec { identity: None, ..good })), BOUND);
        let reason = why(&mut *nameless, &records[..1]).await;
        assert!(reason.contains(&rsyslog.port.to_string()), "{reason}");
    });
    assert_eq!(rsyslog.got().len(), got, "somebody without a certificate was let in");
}

#[test]
fn datagrams_are_read_as_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let input = "module(load=\"imudp\") input(type=\"imudp\" address=\"127.0.0.1\" port=\"PORT\" rcvbufSize=\"4m\")";
    let rsyslog = Rsyslog::start(dir.path(), input);
    // Whether it has the port is looked up: to bind it here would take it from rsyslog.
    let socket = format!(" 0100007F:{:04X} ", rsyslog.port);
    wait_until(BOUND, "rsyslog has the port", || {
        std::fs::read_to_string("/proc/net/udp").unwrap().contains(&socket).then_some(())
    });
    run(async {
        let mut way = open(&rsyslog.way(SyslogTransport::Udp), BOUND);
        way.deliver(&numbered(200)).await.unwrap();
    });
    assert_eq!(rsyslog.wait_for_all(200), 0);
}
