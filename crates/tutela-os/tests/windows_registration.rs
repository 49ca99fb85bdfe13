//! Registrations with the real SCM of Windows or Wine. Each test has a service of its own, named after itself and this
//! process, and removes it whatever happens. What was written is read back with `reg` and `sc`, not with our own code.
//! The service that they run is this test program again.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tutela_os::host::{self, Accepts, Control, ServiceExit};
use tutela_os::registration::{
    self, Account, Definition, Folders, Kind, Opening, Password, Plan, Protocol, Readiness, RegisterError,
    RegisteredState, Reload, Sandbox, Scope, Start,
};

/// How long anything may take on a slow, busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The test that is a service; the SCM runs it by this name.
const BODY: &str = "a_service_for_the_other_tests";

/// No difference.
const NOTHING: [&str; 0] = [];

/// Tests compare the whole registry before and after, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A name that no other test and no other run has, whose registration goes with it.
struct Name(String, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Name {
    fn new(test: &str) -> Name {
        // Process numbers come again; the moment does not.
        let moment = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Name(format!("tutela test {test} {}-{moment}", std::process::id()), turn)
    }

    fn key(&self) -> String {
        format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{}", self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        for scope in [Scope::System, Scope::User] {
            drop(registration::plan_removal(&self.0, scope, true).map(Plan::carry_out));
        }
        run("sc", &["delete", &self.0]);
    }
}

/// What a program of Windows says, and whether it worked.
fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).replace('\r', ""))
}

/// Everything in a key, as text; nothing when there is none.
fn registry(key: &str) -> String {
    let (found, text) = run("reg", &["query", key, "/s"]);
    if found { text } else { String::new() }
}

/// Everything that a registration could touch in the registry.
fn whole_registry() -> String {
    [
        r"HKLM\SYSTEM\CurrentControlSet\Services",
        r"HKLM\Software\Tutela",
        r"HKLM\Software\Microsoft\Windows\CurrentVersion\Run",
    ]
    .map(registry)
    .concat()
}

/// What two texts do not have in common; nothing when they are the same.
fn difference(before: &str, after: &str) -> Vec<String> {
    let only = |sign: char, a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only('-', before, after), only('+', after, before)].concat()
}

/// A key as the registry exports it, where every letter survives.
fn exported(key: &str, home: &Path) -> String {
    let file = home.join("exported.reg");
    assert!(run("reg", &["export", key, file.to_str().unwrap(), "/y"]).0);
    let units: Vec<u16> =
        std::fs::read(&file).unwrap().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    std::fs::remove_file(&file).unwrap();
    String::from_utf16_lossy(&units)
}

/// Whether the registry has a value with this text.
fn has(text: &str, name: &str, value: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        line.starts_with(name) && line.ends_with(value)
    })
}

fn definition(name: &Name, home: &Path) -> Definition {
    Definition {
        name: name.0.clone(),
        display_name: format!("{} — ünïcode", name.0),
        description: "keeps a test alive".into(),
        scope: Scope::System,
        kind: Kind::Service,
        program: std::env::current_exe().unwrap(),
        args: [BODY, "--exact", "--nocapture"].map(Into::into).to_vec(),
        folder: home.to_owned(),
        env: vec![("TUTELA_TEST_GREETING".into(), "grüß dich".into())],
        start: Start::Delayed,
        account: Account::Own,
        after: vec!["RpcSs".into()],
        readiness: Readiness::Told,
        reload: Reload::None,
        start_timeout: LIMIT,
        stop_timeout: Duration::from_secs(45),
        watchdog: None,
        keeps_programs: true,
        programs_outlive: None,
        restart_delay: Duration::from_millis(1500),
        sandbox: Sandbox::default(),
        folders: Folders { state: Some(home.join("state of it")), logs: Some(home.join("logs")), runtime: None },
        openings: Vec::new(),
    }
}

fn planned(definition: &Definition) -> Plan {
    let plan = registration::plan(definition).unwrap();
    assert!(plan.obstacle().is_none(), "{:?}", plan.obstacle());
    plan
}

fn install(definition: &Definition) {
    planned(definition).carry_out().unwrap();
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps().map(|(step, _)| step).collect()
}

/// Not a test: what the SCM starts. Serves until it is stopped; one for the test of failures fails at once. Started by anybody
/// else it ends, because no SCM answers.
#[test]
fn a_service_for_the_other_tests() {
    let served = host::serve_scm("", |scm| {
        if scm.name().contains("failing") {
            return ServiceExit::code(42);
        }
        scm.running(Accepts::default());
        let controls = scm.controls();
        while let Some(control) = controls.next_blocking() {
            if matches!(control, Control::Stop | Control::Shutdown) {
                break;
            }
        }
        ServiceExit::Done
    });
    drop(served);
}

#[test]
fn a_fresh_registration_has_every_value_and_goes_without_a_trace() {
    let home = tempfile::Builder::new().prefix("tutela ü ").tempdir().unwrap();
    let name = Name::new("fresh");
    let before = whole_registry();
    let definition = definition(&name, home.path());
    let plan = planned(&definition);
    let shown: String = plan.steps().map(|(step, text)| format!("{step}\n{}\n", text.unwrap_or_default())).collect();
    println!("{shown}\n{:#?}", plan.notes());
    assert_eq!(difference(&before, &whole_registry()), NOTHING, "planning changes nothing");
    plan.carry_out().unwrap();

    let key = registry(&name.key());
    println!("{key}");
    let program = std::env::current_exe().unwrap();
    assert!(has(&key, "ImagePath", &format!("\"{}\" {BODY} --exact --nocapture", program.display())));
    assert!(exported(&name.key(), home.path()).contains(&format!("\"DisplayName\"=\"{}\"", definition.display_name)));
    assert!(has(&key, "Description", "keeps a test alive"));
    assert!(has(&key, "ObjectName", &format!(r"NT SERVICE\{}", name.0)));
    assert!(has(&key, "Start", "0x2") && has(&key, "Type", "0x10") && has(&key, "ErrorControl", "0x1"));
    assert!(has(&key, "DelayedAutoStart", "0x1") || shown_as_unknown(&definition, "delayed start"));
    assert!(has(&key, "PreshutdownTimeout", "0xafc8"), "45 seconds");
    assert!(key.contains("TUTELA_TEST_GREETING="));
    assert!(has(&key, "Tutela", env!("CARGO_PKG_VERSION")), "the mark");
    assert!(home.path().join("state of it").is_dir() && home.path().join("logs").is_dir());
    let source = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\{}", name.0);
    assert!(registry(&source).contains("EventCreate.exe"));

    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    assert!(found.ours);
    assert_eq!((found.state, found.pid), (RegisteredState::Stopped, None));
    assert_eq!(found.account, format!(r"NT SERVICE\{}", name.0));
    assert!(registration::list(Scope::System).unwrap().iter().any(|each| each.name == name.0));
    let (known, said) = run("sc", &["qc", &name.0]);
    println!("sc qc: {known} {said}");

    registration::plan_removal(&name.0, Scope::System, true).unwrap().carry_out().unwrap();
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
    assert!(!home.path().join("state of it").exists() && !home.path().join("logs").exists());
    assert!(registration::query(&name.0, Scope::System).unwrap().is_none());
    let gone = registration::plan_removal(&name.0, Scope::System, true).unwrap_err();
    assert!(matches!(gone, RegisterError::Missing { .. }), "{gone}");
}

/// Whether a plan says that this computer's SCM has no such value.
fn shown_as_unknown(definition: &Definition, what: &str) -> bool {
    planned(definition).notes().iter().any(|note| note.contains(&format!("knows no {what}")))
}

#[test]
fn registering_again_changes_nothing_and_one_change_is_one_step() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("again");
    let mut definition = definition(&name, home.path());
    install(&definition);
    assert_eq!(steps(&planned(&definition)), Vec::<String>::new());

    definition.description = "something else".into();
    assert_eq!(steps(&planned(&definition)), [format!("set the description of the service {}", name.0)]);
    install(&definition);
    assert!(has(&registry(&name.key()), "Description", "something else"));

    definition.args.push("--an argument".into());
    let plan = planned(&definition);
    assert_eq!(steps(&plan), [format!("set the command line of the service {}", name.0)]);
    let text = plan.steps().next().unwrap().1.unwrap();
    assert!(text.contains(r#""--an argument" (was "#), "{text}");
    plan.carry_out().unwrap();
    assert!(has(&registry(&name.key()), "ImagePath", r#""--an argument""#));

    definition.env.clear();
    assert_eq!(steps(&planned(&definition)).len(), 1);
    install(&definition);
    assert!(!registry(&name.key()).contains("Environment"));

    definition.start = Start::Manual;
    install(&definition);
    assert!(has(&registry(&name.key()), "Start", "0x3"));
    assert_eq!(steps(&planned(&definition)), Vec::<String>::new());
    assert_eq!(registration::query(&name.0, Scope::System).unwrap().unwrap().start, Start::Manual);

    definition.account = Account::LocalService;
    let changes = steps(&planned(&definition));
    assert!(changes.contains(&format!("set the account of the service {}", name.0)), "{changes:?}");
    install(&definition);
    assert!(has(&registry(&name.key()), "ObjectName", r"NT AUTHORITY\LocalService"));
}

#[test]
fn a_service_of_somebody_else_is_never_touched() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("foreign");
    assert!(run("sc", &["create", &name.0, "binPath=", r"C:\other.exe"]).0);
    let before = whole_registry();
    assert!(before.contains(r"C:\other.exe"));
    let refused = registration::plan(&definition(&name, home.path())).unwrap_err();
    assert!(matches!(&refused, RegisterError::Foreign { place, .. } if place.contains(r"C:\other.exe")), "{refused}");
    for refused in [
        registration::plan_removal(&name.0, Scope::System, true).map(drop),
        registration::start(&name.0, Scope::System, LIMIT),
        registration::stop(&name.0, Scope::System, LIMIT),
    ] {
        assert!(matches!(refused, Err(RegisterError::Foreign { .. })), "{refused:?}");
    }
    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    assert!(!found.ours);
    assert!(!registration::list(Scope::System).unwrap().iter().any(|each| each.name == name.0));
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}

#[test]
fn a_registration_that_fails_leaves_everything_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("undone");
    let before = whole_registry();
    let plan = planned(&definition(&name, home.path()));
    // Between planning and doing, somebody puts a file where a folder is to be.
    std::fs::write(home.path().join("logs"), "").unwrap();
    let error = plan.carry_out().unwrap_err();
    assert!(error.step.contains("logs"), "{error}");
    assert_eq!(error.stuck, Vec::<String>::new());
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
    assert!(!home.path().join("state of it").exists());
    assert!(registration::query(&name.0, Scope::System).unwrap().is_none());
}

#[test]
fn a_change_that_fails_leaves_the_registration_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("unchanged");
    let mut definition = definition(&name, home.path());
    install(&definition);
    let before = whole_registry();
    definition.description = "never".into();
    definition.start = Start::Manual;
    definition.env.push(("MORE".into(), "1".into()));
    definition.folders.runtime = Some(home.path().join("deep").join("run"));
    let plan = planned(&definition);
    std::fs::write(home.path().join("deep"), "").unwrap();
    let error = plan.carry_out().unwrap_err();
    assert_eq!(error.stuck, Vec::<String>::new(), "{error}");
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}

#[test]
fn a_service_is_started_and_stopped_and_removed_while_it_runs() {
    let home = tempfile::Builder::new().prefix("tutela ö ").tempdir().unwrap();
    let name = Name::new("running");
    let mut definition = definition(&name, home.path());
    definition.after.clear();
    install(&definition);
    registration::start(&name.0, Scope::System, LIMIT).unwrap();
    registration::start(&name.0, Scope::System, LIMIT).unwrap();
    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    assert_eq!(found.state, RegisteredState::Running);
    assert!(found.pid.is_some());
    // An update of what runs is told.
    definition.args.push("--more".into());
    assert!(planned(&definition).notes().iter().any(|note| note.contains("next start")));
    registration::stop(&name.0, Scope::System, LIMIT).unwrap();
    registration::stop(&name.0, Scope::System, LIMIT).unwrap();
    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    assert_eq!((found.state, found.exit_code), (RegisteredState::Stopped, Some(0)));
    // Removing stops first.
    registration::start(&name.0, Scope::System, LIMIT).unwrap();
    let removal = registration::plan_removal(&name.0, Scope::System, false).unwrap();
    assert!(steps(&removal)[0].starts_with("stop the service"));
    assert!(removal.notes().iter().any(|note| note.contains("--purge")));
    removal.carry_out().unwrap();
    assert!(registration::query(&name.0, Scope::System).unwrap().is_none());
    assert!(home.path().join("logs").is_dir(), "logs stay");
}

#[test]
fn what_a_removal_left_is_purged_by_its_name_later_and_nothing_else_is() {
    let (turn, paths) = (Name::new("left"), tutela_os::paths::Paths::of_host(|key| std::env::var_os(key)));
    // As a guard is called.
    let name = turn.0.replace(' ', "-");
    let missing =
        |purge| matches!(registration::plan_removal(&name, Scope::System, purge), Err(RegisterError::Missing { .. }));
    assert!(missing(true));
    let (state, logs, other) = (paths.state_dir(&name), paths.log_dir(&name), paths.state_dir("other"));
    for folder in [&state, &logs, &other] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("kept"), "by an earlier one").unwrap();
    }
    assert!(missing(false));
    registration::plan_removal(&name, Scope::System, true).unwrap().carry_out().unwrap();
    assert!(!state.exists() && !logs.exists() && other.join("kept").exists());
    assert!(missing(true));
    std::fs::remove_dir_all(other).unwrap();
    // What is no name could lead anywhere.
    std::fs::create_dir_all(&state).unwrap();
    let astray = format!(r"x\..\{}", name);
    assert!(registration::plan_removal(&astray, Scope::System, true).is_err() && state.exists());
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_service_that_ends_during_its_start_is_told_with_its_own_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("failing");
    let mut definition = definition(&name, home.path());
    definition.after.clear();
    install(&definition);
    let error = registration::start(&name.0, Scope::System, LIMIT).unwrap_err().to_string();
    assert!(error.contains("exit code 42") && error.contains("Event Log"), "{error}");
    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    assert_eq!((found.state, found.exit_code), (RegisteredState::Failed, Some(42)));
}

#[test]
fn a_service_that_is_marked_for_deletion_is_refused_and_says_who_may_hold_it() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("leaving");
    let mut definition = definition(&name, home.path());
    definition.after.clear();
    install(&definition);
    registration::start(&name.0, Scope::System, LIMIT).unwrap();
    // One that runs stays until it has ended.
    assert!(run("sc", &["delete", &name.0]).0);
    definition.args.push("--never".into());
    // Windows says so before anything is tried, Wine with the first word.
    let refused = match registration::plan(&definition) {
        Err(refused) => {
            assert!(matches!(refused, RegisterError::Leaving { .. }), "{refused}");
            assert_eq!(registration::query(&name.0, Scope::System).unwrap().unwrap().state, RegisteredState::Leaving);
            refused.to_string()
        }
        Ok(plan) => plan.carry_out().unwrap_err().to_string(),
    };
    println!("{refused}");
    assert!(refused.contains("marked for deletion and still held open by"), "{refused}");
    drop(registration::stop(&name.0, Scope::System, LIMIT));
}

#[test]
fn what_no_windows_can_register_is_refused_before_anything_is_changed() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("refused");
    let before = whole_registry();
    let good = definition(&name, home.path());
    let named =
        |user: &str| Account::Named { name: user.into(), password: Some(Password("wrong".into())), create: false };
    let bad: Vec<(&str, Definition)> = vec![
        ("no name", Definition { name: String::new(), ..good.clone() }),
        ("a backslash", Definition { name: r"a\b".into(), ..good.clone() }),
        ("a slash", Definition { name: "a/b".into(), ..good.clone() }),
        ("a long name", Definition { name: "x".repeat(257), ..good.clone() }),
        ("a long line", Definition { args: vec!["x".repeat(33_000).into()], ..good.clone() }),
        ("a variable in the line", Definition { args: vec!["%PATH%".into()], ..good.clone() }),
        ("needs itself", Definition { after: vec![name.0.to_uppercase()], ..good.clone() }),
        ("of a single account", Definition { scope: Scope::User, ..good.clone() }),
        ("speaks to nobody", Definition { readiness: Readiness::Running, ..good.clone() }),
        ("not absolute", Definition { program: PathBuf::from("t.exe"), ..good.clone() }),
        ("a NUL", Definition { description: "a\0b".into(), ..good.clone() }),
        ("a variable without a name", Definition { env: vec![(String::new(), "x".into())], ..good.clone() }),
        ("an unknown account", Definition { account: named("no such account here"), ..good.clone() }),
        ("a managed account without a dollar", Definition { account: Account::Managed("x".into()), ..good.clone() }),
    ];
    for (what, definition) in bad {
        let refused = registration::plan(&definition).unwrap_err();
        println!("{what}: {refused}");
        assert!(refused.to_string().starts_with("refused: "), "{what}: {refused}");
    }
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}

#[test]
fn a_name_or_a_display_name_that_is_taken_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("display");
    let mut definition = definition(&name, home.path());
    let taken = registration::query("RpcSs", Scope::System).unwrap();
    assert!(taken.is_some_and(|taken| !taken.ours));
    definition.name = "RpcSs".into();
    definition.after.clear();
    assert!(matches!(registration::plan(&definition), Err(RegisterError::Foreign { .. })));
}

#[test]
fn no_step_shows_a_password() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("secret");
    let mut definition = definition(&name, home.path());
    let user = std::env::var("USERNAME").unwrap();
    let password = Some(Password("sEcReT-7".into()));
    definition.account = Account::Named { name: user, password, create: false };
    // A computer that checks the password says that it is wrong, without saying it.
    match registration::plan(&definition) {
        Ok(plan) => {
            let shown: String = plan.steps().map(|(step, text)| format!("{step} {text:?}")).collect();
            println!("{shown}\n{:#?}", plan.notes());
            assert!(!shown.contains("sEcReT") && !plan.notes().concat().contains("sEcReT"));
        }
        Err(error) => assert!(matches!(error, RegisterError::Account { .. }) && !error.to_string().contains("sEcReT")),
    }
}

#[test]
fn ports_are_opened_in_the_firewall_or_it_is_told_that_they_are_not() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("ports");
    let mut definition = definition(&name, home.path());
    definition.openings = vec![Opening { port: 48_081, protocol: Protocol::Tcp, from: vec!["10.0.0.0/8".into()] }];
    let plan = planned(&definition);
    let opened = steps(&plan).iter().any(|step| step.contains("48081"));
    assert!(opened || plan.notes().iter().any(|note| note.contains("48081")), "{:?}", plan.notes());
    println!("{:?} {:?}", steps(&plan), plan.notes());
    plan.carry_out().unwrap();
    registration::plan_removal(&name.0, Scope::System, true).unwrap().carry_out().unwrap();
}

/// Carries a plan out where the computer can: `false` when it has no such service manager.
fn works(plan: Result<Plan, RegisterError>) -> bool {
    match plan {
        Ok(plan) => {
            plan.carry_out().unwrap();
            true
        }
        Err(RegisterError::NoServiceManager(why)) => {
            println!("not proved here: {why}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_program_is_started_at_login_and_no_more_when_it_is_removed() {
    let home = tempfile::tempdir().unwrap();
    for scope in [Scope::User, Scope::System] {
        let name = Name::new("login");
        let before = whole_registry();
        let run_key = match scope {
            Scope::User => r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run",
            Scope::System => r"HKLM\Software\Microsoft\Windows\CurrentVersion\Run",
        };
        let definition = Definition {
            kind: Kind::Login,
            scope,
            program: PathBuf::from(r"C:\Program Files\t.exe"),
            args: vec!["run".into(), r"C:\my specs\s.toml".into()],
            start: Start::Auto,
            folders: Folders::default(),
            ..definition(&name, home.path())
        };
        install(&definition);
        assert!(has(&registry(run_key), &name.0, r#""C:\Program Files\t.exe" run "C:\my specs\s.toml""#));
        assert_eq!(steps(&planned(&definition)), NOTHING);
        let found = registration::query(&name.0, scope).unwrap().unwrap();
        assert!(found.ours && found.start == Start::Auto);
        assert!(registration::list(scope).unwrap().iter().any(|each| each.name == name.0));
        let changed = Definition { args: vec!["--other".into()], ..definition.clone() };
        install(&changed);
        assert!(has(&registry(run_key), &name.0, r#""C:\Program Files\t.exe" --other"#));
        assert!(registration::start(&name.0, scope, LIMIT).is_err());
        // The same name cannot become a service meanwhile.
        if scope == Scope::System {
            let service = Definition { kind: Kind::Service, ..definition.clone() };
            assert!(registration::plan(&service).unwrap_err().to_string().contains("as a login already"));
        }
        registration::plan_removal(&name.0, scope, false).unwrap().carry_out().unwrap();
        assert_eq!(difference(&before, &whole_registry()), NOTHING);
        assert!(registration::query(&name.0, scope).unwrap().is_none());
    }
}

#[test]
fn what_somebody_else_starts_at_login_is_never_touched() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("login of another");
    let run_key = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run";
    assert!(run("reg", &["add", run_key, "/v", &name.0, "/d", "other.exe", "/f"]).0);
    let before = whole_registry();
    let definition = Definition {
        kind: Kind::Login,
        scope: Scope::User,
        program: PathBuf::from(r"C:\t.exe"),
        args: Vec::new(),
        ..definition(&name, home.path())
    };
    assert!(matches!(registration::plan(&definition), Err(RegisterError::Foreign { .. })));
    assert!(registration::plan_removal(&name.0, Scope::User, true).is_err());
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
    assert!(run("reg", &["delete", run_key, "/v", &name.0, "/f"]).0);
}

#[test]
fn a_task_is_registered_changed_and_removed_without_a_trace() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("task");
    let before = whole_registry();
    let definition = Definition {
        kind: Kind::Task,
        program: PathBuf::from(r"C:\windows\system32\cmd.exe"),
        args: vec!["/c".into(), "exit".into()],
        start: Start::Manual,
        folders: Folders::default(),
        ..definition(&name, home.path())
    };
    if !works(registration::plan(&definition)) {
        assert_eq!(difference(&before, &whole_registry()), NOTHING);
        return;
    }
    assert_eq!(steps(&planned(&definition)), NOTHING);
    let found = registration::query(&name.0, Scope::System).unwrap().unwrap();
    println!("{found:?}");
    assert!(found.ours && found.start == Start::Manual);
    assert_eq!(found.command, r#""C:\windows\system32\cmd.exe" /c exit"#);
    let changed = Definition { description: "another — ünïcode".into(), ..definition.clone() };
    let steps_to_it = steps(&planned(&changed));
    assert!(steps_to_it.contains(&format!(r"register the task \Tutela\{}", name.0)), "{steps_to_it:?}");
    install(&changed);
    assert_eq!(steps(&planned(&changed)), NOTHING);
    registration::plan_removal(&name.0, Scope::System, false).unwrap().carry_out().unwrap();
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
    assert!(registration::query(&name.0, Scope::System).unwrap().is_none());
}

#[test]
fn a_task_of_an_account_of_people_is_given_the_right_to_run_or_it_is_told() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("task of people");
    let before = whole_registry();
    let user = std::env::var("USERNAME").unwrap();
    let definition = Definition {
        kind: Kind::Task,
        program: PathBuf::from(r"C:\windows\system32\cmd.exe"),
        args: vec!["/c".into(), "exit".into()],
        account: Account::Named { name: user, password: None, create: false },
        start: Start::Manual,
        ..definition(&name, home.path())
    };
    let plan = match registration::plan(&definition) {
        Ok(plan) => plan,
        Err(RegisterError::NoServiceManager(why)) => return println!("not proved here: {why}"),
        Err(error) => panic!("{error}"),
    };
    let all = steps(&plan);
    let place = |what: &str| all.iter().position(|step| step.contains(what));
    println!("{all:?}\n{:#?}", plan.notes());
    let granted = place("the right to log on as a batch job");
    if let Some(granted) = granted {
        assert!(place("make the key") < Some(granted), "a mark remembers it");
        assert!(Some(granted) < place("register the task"), "the scheduler asks for it");
    } else {
        println!("not proved here: this account has the right, or it cannot be asked for");
    }
    let mark = format!(r"HKLM\Software\Tutela\Registrations\{}", name.0);
    match plan.carry_out() {
        // Where no right can be granted, nothing of it may stay.
        Err(error) => println!("not proved here: {error}"),
        Ok(()) => {
            assert_eq!(registry(&mark).contains("GrantedBatchLogonRight"), granted.is_some());
            // Wine says that it has granted the right, and has not.
            let again = steps(&planned(&definition));
            assert!(again.iter().all(|step| step.contains("batch job")), "{again:?}");
            let removal = registration::plan_removal(&name.0, Scope::System, true).unwrap();
            println!("{:?} {:?}", steps(&removal), removal.notes());
            let taken = steps(&removal).iter().any(|step| step.contains("batch job"));
            let kept = removal.notes().iter().any(|note| note.contains("keeps the right to log on as a batch job"));
            assert_eq!(taken || kept, granted.is_some());
            removal.carry_out().unwrap();
        }
    }
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}

#[test]
fn an_account_of_people_is_given_the_right_it_needs_or_it_is_told() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("people");
    let before = whole_registry();
    let user = std::env::var("USERNAME").unwrap();
    let definition = definition(&name, home.path());
    let named = |password: Option<&str>| Definition {
        account: Account::Named {
            name: user.clone(),
            password: password.map(|password| Password(password.into())),
            create: false,
        },
        ..definition.clone()
    };
    let refused = registration::plan(&named(None)).unwrap_err();
    assert!(matches!(refused, RegisterError::Account { .. }), "{refused}");
    // Where passwords are checked this one is wrong; where they are not, the whole way can be gone.
    match registration::plan(&named(Some("wrong"))) {
        Err(refused) => assert!(matches!(refused, RegisterError::Account { .. }), "{refused}"),
        Ok(plan) => {
            println!("{:?}", steps(&plan));
            let done = plan.carry_out();
            println!("{done:?}");
            if done.is_ok() {
                registration::plan_removal(&name.0, Scope::System, true).unwrap().carry_out().unwrap();
            }
        }
    }
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}

#[test]
fn a_service_is_registered_after_its_guard_was_tried_in_an_elevated_prompt() {
    let (turn, paths) = (Name::new("tried"), tutela_os::paths::Paths::of_host(|key| std::env::var_os(key)));
    // As a guard is called.
    let name = turn.0.replace(' ', "-");
    let (state, logs) = (paths.state_dir(&name), paths.log_dir(&name));
    for folder in [&state, &logs] {
        tutela_os::files::make_private_dir(folder).unwrap();
        std::fs::write(folder.join("kept"), "by the try").unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let shared = state.parent().unwrap();
    // What a folder lets whom do; nothing where the host keeps no such lists.
    let list = || {
        let file = home.path().join("saved list");
        run("icacls", &[shared.to_str().unwrap(), "/save", file.to_str().unwrap()]);
        let bytes = std::fs::read(&file).unwrap_or_default();
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    println!("{}", list());
    let is_known = list().contains(";;;BU)");
    // As tries with other versions left it: no other account can even see whose it is.
    run("icacls", &[shared.to_str().unwrap(), "/remove:g", "*S-1-5-32-545"]);
    let folders = Folders { state: Some(state.clone()), logs: Some(logs.clone()), runtime: None };
    let definition = Definition { folders, ..definition(&turn, home.path()) };
    let plan = planned(&definition);
    println!("{:#?} {:#?}", steps(&plan), plan.notes());
    let mended = format!("let everybody look into the folder {}", shared.display());
    assert_eq!(steps(&plan).iter().any(|step| step.starts_with(&mended)), is_known);
    plan.carry_out().unwrap();
    assert_eq!(steps(&planned(&definition)), NOTHING);
    assert_eq!(list().contains(";;;BU)"), is_known);
    registration::plan_removal(&turn.0, Scope::System, true).unwrap().carry_out().unwrap();
    assert!(!state.exists() && !logs.exists());
}

#[test]
fn what_is_no_folder_where_a_folder_is_to_be_is_refused_before_anything_is_changed() {
    let home = tempfile::tempdir().unwrap();
    let name = Name::new("planted");
    let before = whole_registry();
    std::fs::write(home.path().join("logs"), "").unwrap();
    let refused = registration::plan(&definition(&name, home.path())).unwrap_err();
    assert!(matches!(&refused, RegisterError::Refused(why) if why.contains("is no folder")), "{refused}");
    assert_eq!(difference(&before, &whole_registry()), NOTHING);
}
