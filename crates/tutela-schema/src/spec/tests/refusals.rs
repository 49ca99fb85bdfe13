//! Every bad input: its code, its line, its column, and the words that matter.

use super::*;

/// One error, at this place, whose one-line form has these words.
fn refuses(case: Case, code: Code, place: (u32, u32), words: &str) {
    let all = case.refused();
    let errors: Vec<_> = all.iter().filter(|it| it.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{all:#?}");
    assert_eq!(
        places(&all)[all.iter().position(|it| it.severity == Severity::Error).unwrap()],
        (code, place.0, place.1),
        "{all:#?}"
    );
    let line = errors[0].to_string();
    assert!(line.contains(words) || slashes([line.clone()])[0].contains(words), "{line}");
}

#[test]
fn an_unknown_key_is_refused_and_the_near_one_named() {
    refuses(service("comand = 1"), Code::UnknownKey, (4, 1), "did you mean 'command'?");
    refuses(
        service("[services.a.restart]\n  delai = \"1s\""),
        Code::UnknownKey,
        (5, 3),
        "services.a.restart has no key 'delai' (did you mean 'delay'?)",
    );
    refuses(
        Case::new("name = \"s\"\nservice = 1\n[services.a]\ncommand = \"a\""),
        Code::UnknownKey,
        (2, 1),
        "did you mean 'services'?",
    );
    refuses(service("qqq = 1"), Code::UnknownKey, (4, 1), "it has description, command");
    refuses(service("[services.a.freebsd]\ncwd = \".\""), Code::UnknownKey, (4, 13), "services.a has no key 'freebsd'");
    refuses(
        service("[services.a.windows]\ncomand = \"x\""),
        Code::UnknownKey,
        (5, 1),
        "services.a.windows has no key 'comand'",
    );
    refuses(service("[services.a.windows.linux]\ncommand = \"x\""), Code::UnknownKey, (4, 21), "has no key 'linux'");
}

#[test]
fn a_key_that_stands_in_the_wrong_table_is_sent_to_its_own() {
    let top = |text: &str| Case::new(format!("name = \"s\"\n{text}\n[services.a]\ncommand = \"a\""));
    refuses(
        top("[logs]\nkeep = 3"),
        Code::UnknownKey,
        (3, 1),
        "logs has no key 'keep' ('keep' is about each service's own files: it belongs into [services.NAME.logs])",
    );
    refuses(top("[logs]\nkep = 3"), Code::UnknownKey, (3, 1), "it has budget");
    refuses(top("[restart]\ndelay = \"1s\""), Code::UnknownKey, (2, 2), "it belongs into [services.NAME])");
    refuses(service("[services.a.logs]\nbudget = \"1GiB\""), Code::UnknownKey, (5, 1), "it belongs into [logs])");
    refuses(service("metrics = {}"), Code::UnknownKey, (4, 1), "it belongs to the top of the spec)");
}

#[test]
fn a_wrong_type_is_refused_with_both_types() {
    refuses(
        service("instances = \"two\""),
        Code::WrongType,
        (4, 13),
        "'instances' must be a whole number, not the text \"two\"",
    );
    refuses(service("needs = \"db\""), Code::WrongType, (4, 9), "'needs' must be an array, not the text \"db\"");
    refuses(service("restart = true"), Code::WrongType, (4, 11), "'restart' must be a table, not true");
    refuses(service("start = 3"), Code::WrongType, (4, 9), "must be a text in quotes, not the number 3");
    refuses(service("cwd = 2026-11-20"), Code::WrongType, (4, 7), "not the date 2026-11-20");
    refuses(service("needs = [[]]"), Code::WrongType, (4, 10), "'needs[0]' must be a text in quotes, not an array");
    refuses(Case::new("name = \"s\"\nservices = 1"), Code::WrongType, (2, 12), "must be a table of tables");
    refuses(Case::new("name = \"s\"\n[services]\na = 1"), Code::WrongType, (3, 5), "'services.a' must be a table");
    refuses(service("start = \"atuo\""), Code::BadValue, (4, 9), "did you mean 'auto'?");
    refuses(service("windows = 1"), Code::WrongType, (4, 11), "'services.a.windows' must be a table");
    refuses(service("stop.ladder = [1]"), Code::WrongType, (4, 16), "'stop.ladder[0]' must be a table");
}

#[test]
fn a_bad_duration_or_size_is_refused() {
    refuses(service("start_timeout = 5"), Code::WrongType, (4, 17), "write the number with its unit, such as \"5s\"");
    refuses(service("start_timeout = \"5\""), Code::BadDuration, (4, 17), "\"5\" is no duration");
    refuses(service("start_timeout = \"5 parsecs\""), Code::BadDuration, (4, 17), "is no duration");
    refuses(service("start_timeout = \"-5s\""), Code::BadDuration, (4, 17), "is no duration");
    refuses(service("start_timeout = \"11years\""), Code::NumberRange, (4, 17), "longer than ten years");
    refuses(service("start_timeout = \"99999999999999999999s\""), Code::BadDuration, (4, 17), "is no duration");
    refuses(service("limits.memory = \"lots\""), Code::BadSize, (4, 17), "\"lots\" is no size");
    refuses(service("limits.memory = 512"), Code::WrongType, (4, 17), "512MiB");
    refuses(service("limits.memory = \"9EiB\""), Code::NumberRange, (4, 17), "larger than 1 EiB");
    refuses(service("limits.memory = \"0\""), Code::NumberRange, (4, 17), "lets nothing run");
    refuses(service("limits.cpu = \"150\""), Code::BadValue, (4, 14), "is no percentage");
    refuses(service("limits.cpu = \"0%\""), Code::NumberRange, (4, 14), "not from 1%");
    refuses(service("logs.rotate_size = \"1kB\""), Code::NumberRange, (4, 20), "at least 4096");
    for mode in ["0755", "0400", "rw-r-----", "0840", "4640"] {
        refuses(service(&format!("logs.mode = {mode:?}")), Code::BadValue, (4, 13), "is no mode of a log file");
    }
}

#[test]
fn a_duplicate_is_refused() {
    refuses(service("command = \"b\""), Code::DuplicateKey, (4, 1), "duplicate key");
    refuses(service("[services.a]"), Code::DuplicateKey, (4, 11), "duplicate key");
    let twice = "[[services.a.dependencies]]\nname = \"d\"\ntcp = \"h:1\"\n".repeat(2);
    refuses(service(&twice), Code::DuplicateName, (8, 8), "the dependency d is there twice");
}

#[test]
fn a_missing_need_and_a_circle_are_refused_and_named() {
    refuses(service("needs = [\"db\"]"), Code::MissingNeed, (4, 10), "the service a needs db, which does not exist");
    refuses(
        service("needs = [\"databse\"]\n[services.database]\ncommand = \"d\""),
        Code::MissingNeed,
        (4, 10),
        "did you mean 'database'?",
    );
    refuses(service("needs = [\"a\"]"), Code::NeedCycle, (4, 10), "needs itself");
    let circle = "needs = [\"b\"]\n[services.b]\ncommand = \"b\"\nneeds = [\"c\"]\n[services.c]\ncommand = \"c\"\nneeds = [\"a\"]";
    refuses(service(circle), Code::NeedCycle, (4, 10), "a -> b -> c -> a");
    refuses(service("needs = [\"/\"]"), Code::BadName, (4, 10), "not '/'");
    // A service that is refused for something else is no missing need.
    refuses(
        service("needs = [\"b\"]\n[services.b]\ncommand = 1"),
        Code::WrongType,
        (6, 11),
        "'command' must be a command",
    );
}

#[test]
fn what_is_needed_and_missing_is_refused() {
    refuses(Case::new(""), Code::Empty, (1, 1), "the spec is empty");
    refuses(Case::new("# nothing\n"), Code::Empty, (1, 1), "the spec is empty");
    refuses(Case::new("name = \"s\""), Code::Empty, (1, 1), "no services");
    refuses(Case::new("name = \"s\"\n[services]"), Code::Empty, (2, 2), "no services");
    refuses(Case::new("[services.a]\ncommand = \"a\""), Code::MissingKey, (1, 1), "no 'name'");
    refuses(Case::new("name = \"s\"\n[services.a]"), Code::MissingKey, (2, 11), "no 'command'");
    refuses(
        service("command = []").file("/srv/shop.toml", "name = \"s\"\n[services.a]\ncommand = []"),
        Code::BadCommand,
        (3, 11),
        "the command is empty",
    );
    refuses(Case::new("name = \"s\"\n[services.a]\ncommand = \"a 'b\""), Code::BadCommand, (3, 11), "never closed");
    refuses(Case::new("name = \"s\"\n[services.a]\ncommand = \" \""), Code::BadCommand, (3, 11), "empty");
    refuses(Case::new("name = \"s\"\n[services.a]\ncommand = [\"\"]"), Code::BadCommand, (3, 11), "has no program");
    let mut gone = Case::new("");
    gone.files.clear();
    refuses(gone, Code::FileNotFound, (0, 0), "the spec file shop.toml does not exist");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    refuses(Case::new(b"name = \"s\"\n# \xff\n"), Code::NotUtf8, (2, 3), "save it as UTF-8");
    refuses(Case::new(b"\xff\xfen\0a\0"), Code::NotUtf8, (1, 1), "UTF-16");
    refuses(Case::new(vec![b' '; 20 << 20]), Code::FileTooLarge, (0, 0), "larger than the 1024 KiB");
    refuses(service("cwd = \"a\\u0000b\""), Code::Nul, (4, 7), "NUL");
    refuses(service("env = { \"a\\u0000b\" = \"\" }"), Code::Nul, (4, 9), "NUL");
    refuses(Case::new("name = \"s\0\""), Code::Syntax, (1, 10), "error[syntax]");
    refuses(Case::new("name = \n"), Code::Syntax, (1, 8), "error[syntax]");
    assert_eq!(Case::new("\u{FEFF}name = \"s\"\n[services.a]\ncommand = \"a\"").loaded().spec.name.as_str(), "s");
    refuses(
        Case::new("\u{FEFF}nam = \"s\"\n[services.a]\ncommand = \"a\""),
        Code::UnknownKey,
        (1, 1),
        "did you mean 'name'?",
    );
}

#[test]
fn absurd_numbers_are_refused() {
    for (keys, column) in [
        ("instances = 0", 13),
        ("instances = 1001", 13),
        ("instances = -1", 13),
        ("instances = 99999999999999999999", 13),
        ("restart.factor = 0.5", 18),
        ("restart.factor = inf", 18),
        ("restart.factor = nan", 18),
        ("restart.jitter = 1.1", 18),
        ("restart.jitter = -0.1", 18),
        ("restart.burst = -1", 17),
        ("restart.success_codes = [0, 4294967296]", 29),
        ("restart.success_codes = [-2147483649]", 26),
        ("restart.cooldown = \"0s\"", 20),
        ("limits.processes = 0", 20),
        ("limits.open_files = -1", 21),
        ("logs.keep = 100001", 13),
        ("ready = { tcp = \"h:1\", failures = 0 }", 35),
        ("ready = { tcp = \"h:1\", successes = 1001 }", 36),
        ("ready = { tcp = \"h:1\", every = \"1ms\" }", 32),
        ("ready = { tcp = \"h:1\", timeout = \"0s\" }", 34),
        ("restart.delay = \"2m\"\nrestart.max_delay = \"1m\"", 0),
    ] {
        let place = if column == 0 { (5, 21) } else { (4, column) };
        refuses(service(keys), Code::NumberRange, place, "");
    }
    let many: String = (0..11).map(|at| format!("[services.s{at}]\ncommand = \"x\"\ninstances = 1000\n")).collect();
    refuses(service(&many), Code::TooMany, (0, 0), "11001 instances are more than the 10000");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let rest = "\n[services.a]\ncommand = \"a\"";
    refuses(Case::new(format!("name = \"a/b\"{rest}")), Code::BadName, (1, 8), "not '/'");
    refuses(Case::new(format!("name = \"\"{rest}")), Code::BadName, (1, 8), "cannot be empty");
    refuses(Case::new("name = \"s\"\n[services.\"a/b\"]\ncommand = \"a\""), Code::BadName, (2, 11), "not '/'");
    refuses(service("[alerts.\"-x\"]\nwebhook = \"http://h\""), Code::BadName, (4, 9), "starts with");
    refuses(service("env = { \"A=B\" = \"\" }"), Code::BadName, (4, 17), "no name of a variable");
    refuses(service("user = \"\""), Code::BadName, (4, 8), "no name of an account");
    refuses(service("umask = \"999\""), Code::BadValue, (4, 9), "octal");
    refuses(service("").profile("../x"), Code::BadName, (0, 0), "no name");
}

#[test]
fn a_variable_that_cannot_be_put_in_is_refused() {
    refuses(service("cwd = \"${HOMEDIR}\""), Code::UnsetVariable, (4, 7), "HOMEDIR is not set and has no default");
    refuses(
        service("cwd = \"${HOMEDIR:?where is it}\""),
        Code::UnsetVariable,
        (4, 7),
        "HOMEDIR is not set: where is it",
    );
    refuses(service("cwd = \"${PROT}\"").env("PORT", "1"), Code::UnsetVariable, (4, 7), "did you mean 'PORT'?");
    refuses(service("cwd = \"${\""), Code::BadVariable, (4, 7), "has no '}'");
    refuses(service("cwd = \"${1}\""), Code::BadVariable, (4, 7), "no name of a variable");
    refuses(service("cwd = \"x-${instance}\""), Code::InstanceNotHere, (4, 7), "${instance} has no meaning here");
    refuses(service("hooks.after_exit = [[\"${NOPE}\"]]"), Code::UnsetVariable, (4, 22), "NOPE");
    refuses(service("ready = { tcp = \"${NOPE}\" }"), Code::UnsetVariable, (4, 17), "NOPE");
    refuses(service("[alerts.x]\nwebhook = \"${NOPE}\""), Code::UnsetVariable, (5, 11), "NOPE");
    refuses(service("env = { A = [] }"), Code::WrongType, (4, 13), "'env.A' must be a text");
}

#[test]
fn an_environment_file_that_cannot_be_read_is_refused() {
    refuses(service("env_files = [\".env\"]"), Code::FileNotFound, (4, 14), "/srv/.env does not exist");
    refuses(service("env_files = [\".env\"]").file("/srv/.env", b"A=\xff"), Code::NotUtf8, (1, 3), "/srv/.env:1:3");
    refuses(service("env_files = [\".env\"]").file("/srv/.env", "A=1\nB\n"), Code::BadEnvFile, (2, 2), "/srv/.env:2:2");
    refuses(service("env_files = [1]"), Code::WrongType, (4, 14), "'env_files[0]' must be a path");
    service("env_files = [{ path = \".env\", optional = true }]").loaded();
}

#[test]
fn a_probe_that_cannot_be_asked_is_refused() {
    refuses(service("ready = { every = \"5s\" }"), Code::ProbeTarget, (4, 1), "asks nothing");
    refuses(service("ready = { tcp = \"h:1\", http = \"http://h\" }"), Code::ProbeTarget, (4, 1), "http, tcp");
    refuses(service("ready = { http = \"ftp://h\" }"), Code::BadAddress, (4, 18), "begins with http://");
    refuses(service("ready = { http = \"http://h:70000/\" }"), Code::BadAddress, (4, 18), "no port");
    refuses(service("ready = { http = \"http://u:p@h/\" }"), Code::BadAddress, (4, 18), "go into a header");
    refuses(service("ready = { tcp = \"localhost\" }"), Code::BadAddress, (4, 17), "has no port");
    refuses(service("instances = 20\nready = { tcp = \"h:6553${instance}\" }"), Code::BadAddress, (5, 17), "h:655319");
    refuses(service("ready = { log = \"(\" }"), Code::BadPattern, (4, 17), "unclosed group");
    refuses(service("live = { log = \"x\" }"), Code::ProbeTarget, (4, 16), "'log' is for startup and ready");
    refuses(service("ready = { notify = false }"), Code::ProbeTarget, (4, 20), "asks nothing");
    refuses(service("ready = { tcp = \"h:1\", status = 200 }"), Code::MisplacedKey, (4, 33), "'status' is for http");
    refuses(service("ready = { http = \"http://h\", status = \"20\" }"), Code::BadValue, (4, 39), "no HTTP status");
    refuses(
        service("ready = { http = \"http://h\", headers = { \"a b\" = \"\" } }"),
        Code::BadValue,
        (4, 50),
        "no header",
    );
    refuses(service("dependencies = [{ tcp = \"h:1\" }]"), Code::MissingKey, (4, 17), "no 'name'");
    refuses(
        service("dependencies = [{ name = \"d\", notify = true }]"),
        Code::ProbeTarget,
        (4, 40),
        "the program itself",
    );
    refuses(service("ready = { grpc = \"h\" }"), Code::BadAddress, (4, 18), "no port");
}

#[test]
fn a_ladder_that_asks_wrongly_is_refused() {
    refuses(service("stop.ladder = [{ signal = \"TREM\" }]"), Code::BadSignal, (4, 27), "did you mean 'TERM'?");
    refuses(service("stop.ladder = [{ signal = \"9\" }]"), Code::BadSignal, (4, 27), "it is one of TERM");
    refuses(service("stop.ladder = [{ wait = \"1s\" }]"), Code::MissingKey, (4, 16), "asks for nothing");
    refuses(service("stop.ladder = [{ kill = true, ctrl-c = true }]"), Code::BadValue, (4, 16), "several things");
    refuses(service("stop.ladder = [{ kill = false }]"), Code::BadValue, (4, 25), "asks for nothing");
    refuses(service("stop.ladder = [{ ctrl_c = true }]"), Code::UnknownKey, (4, 18), "did you mean 'ctrl-c'?");
}

#[test]
fn an_alert_that_cannot_be_sent_is_refused() {
    refuses(service("[alerts.x]\non = [\"failed\"]"), Code::AlertWay, (4, 9), "no way to go");
    refuses(service("[alerts.x]\nwebhook = \"http://h\"\ncommand = \"c\""), Code::AlertWay, (4, 9), "several ways");
    refuses(service("[alerts.x]\nwebhook = \"h\""), Code::BadAddress, (5, 11), "begins with http://");
    refuses(service("[alerts.x]\nwebhook = \"http://u:p@h\""), Code::BadAddress, (5, 11), "go into a header");
    refuses(service("[alerts.x]\nwebhook = \"http://h\"\non = []"), Code::BadValue, (6, 6), "never sent");
    refuses(
        service("[alerts.x]\nwebhook = \"http://h\"\non = [\"faild\"]"),
        Code::BadValue,
        (6, 7),
        "did you mean 'failed'?",
    );
    refuses(
        service("[alerts.x]\nemail = { smtp = \"smtp://h\", from = \"a@b\" }"),
        Code::MissingKey,
        (5, 1),
        "alerts.x.email needs the key 'to'",
    );
    refuses(
        service("[alerts.x]\nemail = { smtp = \"http://h\", from = \"a@b\", to = [\"c@d\"] }"),
        Code::BadAddress,
        (5, 18),
        "no mail relay",
    );
    refuses(
        service("[alerts.x]\nemail = { smtp = \"smtp://h\", from = \"a\", to = [\"c@d\"] }"),
        Code::BadAddress,
        (5, 37),
        "no mail address",
    );
    refuses(service("[alerts.x]\ncommand = \"c\"\nheaders = {}"), Code::MisplacedKey, (6, 1), "for a webhook");
}

#[test]
fn capabilities_are_known_by_name() {
    refuses(
        service("security.capabilities = [\"NET_BIND\"]"),
        Code::BadValue,
        (4, 26),
        "did you mean 'NET_BIND_SERVICE'?",
    );
}

#[test]
fn one_look_names_every_mistake() {
    let all = Case::new(
        "nam = \"x\"\n[services.a]\ncomand = \"a\"\ninstances = \"x\"\n[services.b]\ncommand = \"b\"\ninstances = 0\n\
         restart.factor = 0.1\nready = { tcp = \"h\" }\nneeds = [\"c\"]\n[alerts.x]\n",
    )
    .refused();
    let expected = [
        (Code::UnknownKey, 1, 1),
        (Code::UnknownKey, 3, 1),
        (Code::WrongType, 4, 13),
        (Code::NumberRange, 7, 13),
        (Code::NumberRange, 8, 18),
        (Code::BadAddress, 9, 17),
        (Code::MissingNeed, 10, 10),
        (Code::AlertWay, 11, 9),
    ];
    assert_eq!(places(&all), expected, "{all:#?}");
    assert_eq!(all[1].origin.as_ref().unwrap().line_text(), "comand = \"a\"");
}
