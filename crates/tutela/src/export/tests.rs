//! Whole exports of a spec that uses every key.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::Exported;
use crate::import::Fate;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tutela_schema::spec::{Loaded, Os, Sources, read};

fn load(text: &str, os: Os) -> Loaded {
    let files = BTreeMap::from([
        (PathBuf::from("/etc/tutela/shop.toml"), text.as_bytes().to_vec()),
        (PathBuf::from("/etc/tutela/.env"), b"DB_PASSWORD=hunter2\nMODE=file\n".to_vec()),
    ]);
    let sources = Sources {
        path: "/etc/tutela/shop.toml".into(),
        cwd: "/etc/tutela".into(),
        profile: None,
        env: BTreeMap::from([
            ("HOME".to_owned(), "/home/x".to_owned()),
            ("PORT".to_owned(), "9000".to_owned()),
            ("API_TOKEN".to_owned(), "sesame".to_owned()),
        ]),
        env_left_out: Vec::new(),
        os,
        files: &files,
    };
    read(&sources).unwrap()
}

const WHOLE: &str = r#"
name = "shop"
description = "Shop: 100% of it"

[services.api]
description = "The API"
command = ["./bin/api", "--port", "${PORT:8081}", "--title", "it's \"so\" $$5 100%", "--n", "${instance}"]
cwd = "/srv/shop"
env = { GREETING = "a \"b\" %c $d", N = "${instance}", MODE = "own" }
env_files = [".env"]
needs = ["db"]
instances = 2
user = "shop"
group = "www"
umask = "027"
start_timeout = "2m"
restart = { when = "on-failure", success_codes = [3], delay = "2s", factor = 2.0, max_delay = "1m", jitter = 0.2, burst = 4, within = "2m", cooldown = "10m" }
stop = { ladder = [{ command = ["./bin/drain", "now"], wait = "20s" }, { signal = "INT", wait = "5s" }, { signal = "QUIT", wait = "5s" }, { kill = true }] }
ready = { http = "http://127.0.0.1:8081/health" }
live = { notify = true, every = "10s", failures = 3 }
limits = { memory = "512MiB", cpu = "150%", processes = 64, open_files = 4096, core = "0", priority = "low" }
security = { no_new_privileges = true, capabilities = ["NET_BIND_SERVICE"], read_only_paths = ["/"], writable_paths = ["/srv/shop/data"] }
hooks = { before_start = ["./bin/migrate up"], after_ready = ["./bin/warm"], before_stop = ["./bin/leave"], after_exit = ["./bin/report"] }
logs = { dir = "/var/log/shop", keep = 3 }

[[services.api.dependencies]]
name = "mail"
tcp = "127.0.0.1:25"

[services.db]
command = "redis-server --port 6390"
ready = { notify = true }
restart = { burst = 0 }

[services.job]
command = ["/usr/bin/job"]
start = "manual"
restart = { when = "never" }

[alerts.ops]
webhook = "https://ops.example/hook"
"#;

fn unit<'a>(exported: &'a Exported, name: &str) -> &'a str {
    &exported.files.iter().find(|file| file.name == name).unwrap().text
}

#[test]
fn a_spec_becomes_units_with_everything_that_systemd_can_do() {
    let exported = super::systemd(&load(WHOLE, Os::Linux)).unwrap();
    let names: Vec<&str> = exported.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        ["shop-api-0.service", "shop-api-1.service", "shop-db.service", "shop-job.service", "shop.target"]
    );
    let api = unit(&exported, "shop-api-1.service");
    for line in [
        "Description=The API (1)",
        "Requires=shop-db.service",
        "After=shop-db.service",
        "PartOf=shop.target",
        "StartLimitBurst=5",
        "StartLimitIntervalSec=120s",
        "ExecStart=/etc/tutela/bin/api --port 9000 --title \"it's \\\"so\\\" $$5 100%%\" --n 1",
        "WorkingDirectory=/srv/shop",
        "User=shop",
        "UMask=0027",
        "EnvironmentFile=/etc/tutela/.env",
        "Environment=\"GREETING=a \\\"b\\\" %%c $d\"",
        "Environment=N=1",
        "Restart=on-failure",
        "RestartForceExitStatus=0",
        "SuccessExitStatus=3",
        "RestartSec=2s",
        "RestartSteps=5",
        "RestartMaxDelaySec=60s",
        "ExecStartPre=/etc/tutela/bin/migrate up",
        "ExecStop=-/etc/tutela/bin/leave",
        "ExecStop=-/etc/tutela/bin/drain now",
        "KillSignal=SIGINT",
        "TimeoutStopSec=20s",
        "KillMode=mixed",
        "MemoryMax=536870912",
        "CPUQuota=150%",
        "Nice=10",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "ReadWritePaths=/srv/shop/data",
        "WatchdogSec=30s",
        "WantedBy=shop.target",
    ] {
        assert!(api.lines().any(|it| it == line), "{line} is missing in\n{api}");
    }
    assert!(!api.contains("HOME") && !api.contains("hunter2"), "{api}");
    assert!(!unit(&exported, "shop-job.service").contains("[Install]"));
    assert!(unit(&exported, "shop-db.service").contains("Type=notify\n"));
    assert!(unit(&exported, "shop.target").contains("Description=Shop: 100%% of it\n"));
    assert!(!unit(&exported, "shop.target").contains("Wants=shop-job.service"));
}

/// `env` is what the services of a spec have, `api` among them; the outcome of a key of it.
fn exported(env: &str, target: fn(&Loaded) -> Result<Exported, super::ExportError>, os: Os) -> Exported {
    target(&load(&format!("name = \"shop\"\n[services.api]\ncommand = [\"/bin/api\", \"${{PORT:1}}\"]\n{env}\n"), os))
        .unwrap()
}

#[test]
fn what_only_some_may_read_is_in_no_file_that_all_may_read() {
    let env = "env_files = [\".env\", { path = \"gone.env\", optional = true }]\n\
               env = { A = \"${DB_PASSWORD:}\", URL = \"x${API_TOKEN:}\", API_TOKEN = \"written\", HERE = \"${PORT}\", MODE = \"own\" }";
    for (target, os) in [(super::systemd as fn(&Loaded) -> _, Os::Linux), (super::launchd, Os::Macos)] {
        let exported = exported(env, target, os);
        let texts: String = exported.files.iter().map(|file| file.text.as_str()).collect();
        assert!(!texts.contains("hunter2") && !texts.contains("sesame"), "{texts}");
        let told = |key: &str| exported.outcomes.iter().find(|it| it.key == format!("services.api.env.{key}")).unwrap();
        for (key, fate, note) in [
            ("A", Fate::Lost, "it is made with DB_PASSWORD of an environment file"),
            ("URL", Fate::Lost, "it is made with API_TOKEN of the environment"),
            ("API_TOKEN", Fate::Changed, "can be read by every account"),
            ("HERE", Fate::Changed, "it has what PORT was in the environment of this export"),
            ("MODE", Fate::Changed, "an environment file has it too"),
        ] {
            assert_eq!(told(key).fate, fate, "{key}");
            assert!(told(key).note.contains(note), "{key}: {}", told(key).note);
        }
        assert!(exported.notes.iter().any(|note| note.starts_with("services.api.command has what PORT was")));
        if os == Os::Linux {
            let files: Vec<&str> = texts.lines().filter(|line| line.starts_with("EnvironmentFile=")).collect();
            assert_eq!(files, ["EnvironmentFile=/etc/tutela/.env", "EnvironmentFile=-/etc/tutela/gone.env"]);
        }
    }
}

#[test]
fn every_key_of_the_spec_is_told_of() {
    for exported in [super::systemd(&load(WHOLE, Os::Linux)).unwrap(), super::launchd(&load(WHOLE, Os::Macos)).unwrap()]
    {
        let fate = |key: &str| exported.outcomes.iter().find(|it| it.key == key).map(|it| it.fate);
        assert_eq!(fate("services.api.command"), Some(Fate::Kept));
        assert_eq!(fate("services.api.ready"), Some(Fate::Lost));
        assert_eq!(fate("services.api.restart.jitter"), Some(Fate::Lost));
        assert_eq!(fate("services.api.dependencies"), Some(Fate::Lost));
        assert_eq!(fate("alerts.ops"), Some(Fate::Lost));
        assert_eq!(fate("services.db.restart.jitter"), None, "defaults are not told of");
        let unknown: Vec<_> = exported.outcomes.iter().filter(|it| it.note.starts_with("nothing is written")).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", exported.target);
        assert!(exported.outcomes.iter().all(|it| it.note.is_empty() == (it.fate == Fate::Kept)));
        for it in &exported.outcomes {
            let fates = exported.outcomes.iter().filter(|other| other.key == it.key && other.fate != it.fate).count();
            assert_eq!(fates, 0, "{} has two fates in {}", it.key, exported.target);
        }
        assert!(!exported.text().contains("hunter2"));
    }
}

#[test]
fn a_spec_becomes_property_lists_that_are_xml() {
    let exported = super::launchd(&load(WHOLE, Os::Macos)).unwrap();
    for file in &exported.files {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        roxmltree::Document::parse_with_options(&file.text, options).unwrap();
    }
    let api = unit(&exported, "shop.api.0.plist");
    for text in [
        "<string>it's \"so\" $5 100%</string>",
        "<key>ExitTimeOut</key>\n\t<integer>30</integer>",
        "<key>SuccessfulExit</key>",
    ] {
        assert!(api.contains(text), "{text} is missing in\n{api}");
    }
    assert!(!api.contains("hunter2"));
    assert!(unit(&exported, "shop.job.plist").contains("<key>RunAtLoad</key>\n\t<false/>"));
}

#[test]
fn what_a_unit_cannot_say_is_refused() {
    let text = "name = \"a\"\n[services.b]\ncommand = [\"/srv/it's/b\"]\n";
    let error = super::systemd(&load(text, Os::Linux)).unwrap_err();
    assert_eq!((error.service.as_str(), error.key.as_str()), ("b", "command"));
    assert!(error.help().is_some());
    let text = "name = \"a\"\n[services.b]\ncommand = [\"/b\", \"\\u0001\"]\n";
    assert!(super::launchd(&load(text, Os::Macos)).is_err());
}
