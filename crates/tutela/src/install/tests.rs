//! From spec texts to definitions.

use super::*;
use std::path::PathBuf;
use tutela_schema::spec::Sources;

fn load(text: &str, os: Os, env: &[(&str, &str)]) -> Loaded {
    let files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::from([("/srv/shop.toml".into(), text.as_bytes().to_vec())]);
    tutela_schema::spec::read(&Sources {
        path: "shop.toml".into(),
        cwd: "/srv".into(),
        profile: None,
        env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        env_left_out: Vec::new(),
        os,
        files: &files,
    })
    .unwrap_or_else(|refused| panic!("{refused}"))
}

fn wanted(loaded: &Loaded, os: Os) -> Wanted<'_> {
    Wanted {
        loaded,
        spec: Path::new("/srv/shop.toml"),
        program: Path::new("/usr/bin/tutela"),
        os,
        scope: Scope::System,
        kind: Kind::Service,
        account: None,
        password: None,
        enable: None,
        home: None,
        folders: Folders { state: Some("/var/lib/tutela/shop".into()), ..Folders::default() },
    }
}

fn defined(keys: &str) -> Defined {
    let loaded = load(&format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n{keys}\n"), Os::Linux, &[]);
    define(wanted(&loaded, Os::Linux))
}

fn names(definition: &Definition) -> Vec<&'static str> {
    definition.sandbox.capabilities.iter().flatten().map(|it| it.name()).collect()
}

#[test]
fn a_plain_spec_gets_an_account_of_its_own_and_no_rights() {
    let Defined { definition, notes, .. } = defined("");
    assert_eq!((definition.account, definition.start), (Account::Own, Start::Auto));
    assert_eq!(definition.args, ["run", "--service", "/srv/shop.toml"]);
    assert_eq!(definition.sandbox.capabilities, Some(Vec::new()));
    assert!(definition.after.is_empty() && notes.is_empty(), "{notes:?}");
    assert_eq!(definition.stop_timeout, Duration::from_secs(25), "a ladder of 10 s and what closing takes");
}

#[test]
fn a_service_with_a_user_makes_the_guard_the_oss_own_with_the_rights_that_takes() {
    let Defined { definition, notes, .. } = defined("user = \"shop\"");
    assert_eq!(definition.account, Account::System);
    assert_eq!(names(&definition), ["CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"]);
    assert!(notes[0].contains("because a has an account"), "{notes:?}");
    let named = defined("user = \"shop\"\nsecurity.capabilities = [\"NET_RAW\"]\nsecurity.read_only_paths = [\"/\"]");
    for name in ["NET_RAW", "SETPCAP", "SYS_ADMIN"] {
        assert!(names(&named.definition).contains(&name), "{name}");
    }
}

#[test]
fn rights_that_a_service_names_reach_a_guard_with_an_account_of_its_own() {
    let names = names(&defined("security.capabilities = [\"NET_BIND_SERVICE\"]").definition);
    assert_eq!(names, ["SETPCAP", "NET_BIND_SERVICE"], "and the right to keep the others from a program");
}

#[test]
fn services_that_need_each_other_stop_one_after_the_other() {
    let text = "name = \"s\"\n[services.a]\ncommand = \"a\"\nneeds = [\"b\"]\n[services.b]\ncommand = \"b\"\n\
                hooks.after_exit = [{ command = \"c\", timeout = \"5s\" }]\n[services.c]\ncommand = \"c\"\n";
    let loaded = load(text, Os::Linux, &[]);
    assert_eq!(define(wanted(&loaded, Os::Linux)).definition.stop_timeout, Duration::from_secs(10 + 10 + 5 + 15));
}

#[test]
fn folders_that_logs_go_to_can_be_written_to_once() {
    let keys = "logs.dir = \"data/logs\"\n[install]\nwritable_paths = [\"data\"]";
    assert_eq!(defined(keys).definition.sandbox.writable, [PathBuf::from("/srv/data")]);
    assert_eq!(defined("logs.dir = \"logs\"").definition.sandbox.writable, [PathBuf::from("/srv/logs")]);
}

#[test]
fn a_program_with_a_jit_keeps_its_memory_executable_and_that_is_told() {
    for command in ["node app.js", "/usr/bin/php8.2 x", "java -jar x"] {
        let loaded = load(&format!("name = \"s\"\n[services.a]\ncommand = \"{command}\""), Os::Linux, &[]);
        let Defined { definition, notes, .. } = define(wanted(&loaded, Os::Linux));
        assert!(definition.sandbox.executable_memory && notes[0].contains("run time"), "{command}: {notes:?}");
    }
    assert!(!defined("").definition.sandbox.executable_memory);
}

#[test]
fn the_network_is_waited_for_only_when_another_computer_is_spoken_to() {
    let check = |address: &str| {
        defined(&format!("[[services.a.dependencies]]\nname = \"x\"\ntcp = \"{address}\"")).definition.after
    };
    assert!(check("127.0.0.1:1").is_empty() && check("[::1]:1").is_empty() && check("localhost:1").is_empty());
    assert_eq!(check("db.example:5432"), ["network-online.target"]);
    assert_eq!(defined("[install]\nopen_ports = [{ port = 1 }]").definition.after, ["network-online.target"]);
    assert_eq!(defined("[alerts.x]\nwebhook = \"https://ops.example/a\"").definition.after, ["network-online.target"]);
}

#[test]
fn variables_of_the_shell_are_told_because_the_service_will_not_have_them() {
    let text = "name = \"s\"\n[services.a]\ncommand = [\"a\", \"${PORT}\", \"${OTHER:x}\"]";
    let loaded = load(text, Os::Linux, &[("PORT", "1"), ("PATH", "/bin")]);
    let notes = define(wanted(&loaded, Os::Linux)).notes;
    assert!(notes[0].contains("uses PORT from"), "{notes:?}");
}

#[test]
fn what_the_command_line_says_outweighs_the_spec() {
    let loaded = load("name = \"s\"\n[services.a]\ncommand = \"a\"\n[install]\nstart = \"delayed\"", Os::Linux, &[]);
    let with = |enable, account| define(Wanted { enable, account, ..wanted(&loaded, Os::Linux) }).definition;
    assert_eq!(with(None, None).start, Start::Delayed);
    assert_eq!(with(Some(true), None).start, Start::Delayed);
    assert_eq!(with(Some(false), None).start, Start::Manual);
    assert_eq!(with(None, Some(InstallAccount::System)).account, Account::System);
}

#[test]
fn a_task_of_windows_is_not_started_by_the_scm() {
    let loaded = load("name = \"s\"\n[services.a]\ncommand = \"a\"", Os::Windows, &[]);
    let task = define(Wanted { kind: Kind::Task, ..wanted(&loaded, Os::Windows) }).definition;
    assert_eq!((task.args[1].to_str(), task.readiness), (Some("--quiet"), Readiness::Running));
    assert_eq!(define(wanted(&loaded, Os::Windows)).definition.args[1], "--service");
}

#[test]
fn what_windows_starts_without_the_scm_is_told_whose_folders_it_has() {
    let loaded = load("name = \"s\"\n[services.a]\ncommand = \"a\"", Os::Windows, &[]);
    let args = |os, scope, kind| define(Wanted { scope, kind, ..wanted(&loaded, os) }).definition.args;
    let spec = "/srv/shop.toml";
    let computer = args(Os::Windows, Scope::System, Kind::Task);
    assert_eq!(computer, ["run", "--quiet", "--folders", "computer", spec]);
    for (scope, kind) in [(Scope::User, Kind::Task), (Scope::User, Kind::Login), (Scope::System, Kind::Login)] {
        assert_eq!(
            args(Os::Windows, scope, kind),
            ["run", "--quiet", "--folders", "account", spec],
            "{scope:?} {kind:?}"
        );
    }
    // A service has the computer's, and elsewhere an account has only one place.
    assert_eq!(args(Os::Windows, Scope::System, Kind::Service), ["run", "--service", spec]);
    assert_eq!(args(Os::Linux, Scope::User, Kind::Login), ["run", "--quiet", spec]);
}

#[test]
fn programs_without_a_folder_are_looked_up_as_the_service_will() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["only-here", "sh"] {
        // A program of any kind, with the rights of one.
        std::fs::copy("/bin/sh", dir.path().join(name)).unwrap();
    }
    let path = format!("{}:/bin", dir.path().display());
    let define_with = |keys: &str| {
        let loaded = load(&format!("name = \"shop\"\n[services.a]\n{keys}\n"), Os::Linux, &[("PATH", &path)]);
        define(wanted(&loaded, Os::Linux))
    };
    let found = define_with("command = \"only-here\"");
    assert!(found.missing[0].starts_with("a: only-here is ") && found.notes.is_empty(), "{:?}", found.missing);
    // The same name is another file there; and what is the same file by another way is not worth a word.
    let found = define_with("command = \"sh\"\nhooks.before_start = [\"cat /dev/null\"]");
    assert!(found.missing.is_empty() && found.notes.len() == 1, "{:?} {:?}", found.missing, found.notes);
    assert!(found.notes[0].starts_with("a: sh will be /"), "{:?}", found.notes);
    assert!(found.definition.sandbox.readable.iter().any(|path| path.ends_with("cat")));
    // Who says a PATH is taken at that word.
    let found = define_with(&format!("command = \"only-here\"\nenv.PATH = \"{path}\""));
    assert!(found.missing.is_empty() && found.notes.is_empty(), "{:?}", found.notes);
}
