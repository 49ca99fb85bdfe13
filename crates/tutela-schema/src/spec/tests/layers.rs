//! Layers, profiles, environment files, variables, sections for one OS, and where values came from.

use super::*;
use std::path::Path;
use std::time::Duration;
use tutela_core::spec::LogForm;
use tutela_core::spec::{AlertWay, ProbeTarget, StopStep};

fn from(loaded: &Loaded, key: &str) -> (String, String) {
    let all = loaded.resolved();
    let found = all.iter().find(|it| it.key == key).unwrap_or_else(|| panic!("no {key} in {all:#?}"));
    (found.value.clone(), found.from.clone())
}

#[test]
fn a_profile_lies_over_the_file_and_tables_merge() {
    let case = service("env = { A = \"1\", B = \"2\" }\nneeds = []\nrestart.delay = \"2s\"")
        .file("/srv/shop.test.toml", "[services.a]\nenv = { B = \"3\" }\ninstances = 2\n");
    assert_eq!(the_service(&case.loaded()).instances, 1);
    for case in [
        case.profile("test"),
        service("").file("/srv/shop.test.toml", "services.a.instances = 2").env("TUTELA_PROFILE", "test"),
    ] {
        let loaded = case.loaded();
        assert_eq!(the_service(&loaded).instances, 2);
        assert_eq!(loaded.profile.as_deref(), Some("test"));
        assert_eq!(loaded.files().collect::<Vec<_>>(), [Path::new("shop.toml"), Path::new("shop.test.toml")]);
        assert!(from(&loaded, "services.a.instances").1.starts_with("shop.test.toml:"));
    }
}

#[test]
fn a_profile_that_was_asked_for_must_exist_and_one_of_the_environment_need_not() {
    assert_eq!(places(&service("").profile("test").refused()), [(Code::FileNotFound, 0, 0)]);
    let loaded = service("").env("TUTELA_PROFILE", "test").loaded();
    assert_eq!(places(&loaded.warnings), [(Code::FileNotFound, 0, 0)]);
    assert!(service("").env("TUTELA_PROFILE", "").loaded().warnings.is_empty());
}

#[test]
fn a_layer_replaces_the_target_of_a_probe_and_the_way_of_an_alert() {
    let loaded = service("ready = { http = \"http://h\", every = \"7s\" }\n[alerts.x]\nwebhook = \"http://h\"")
        .file("/srv/shop.t.toml", "services.a.ready.tcp = \"h:1\"\nalerts.x.command = \"./tell\"")
        .profile("t")
        .loaded();
    let ready = the_service(&loaded).ready.as_ref().unwrap();
    assert_eq!(ready.target, ProbeTarget::Tcp("h:1".into()));
    assert_eq!(ready.every, Duration::from_secs(7));
    let AlertWay::Command(command) = &loaded.spec.alerts[&Name::new("x").unwrap()].way else { panic!("no command") };
    assert_eq!(slashes(command.render(0)), ["/srv/tell"]);
}

#[test]
fn a_section_holds_on_its_os_only_and_is_checked_on_all() {
    let text = "limits.memory = \"1GiB\"\n[services.a.windows]\ncommand = [\"a.exe\", \"${APPDATA}\"]\n[services.a.linux.limits]\nopen_files = 9";
    let linux = service(text).loaded();
    assert_eq!(the_service(&linux).launch.command.render(0), ["a"]);
    assert_eq!(the_service(&linux).limits.open_files, Some(9));
    assert_eq!(the_service(&linux).limits.memory, Some(1 << 30));
    let windows = service(text).os(Os::Windows).env("AppData", "x").loaded();
    assert_eq!(the_service(&windows).launch.command.render(0), ["a.exe", "x"]);
    assert_eq!(the_service(&windows).limits.open_files, None);
    assert_eq!(places(&service(text).os(Os::Windows).refused()), [(Code::UnsetVariable, 6, 21)]);
}

#[test]
fn what_differs_on_an_os_is_said() {
    let text = "umask = \"027\"\nstop.ladder = [{ signal = \"TERM\" }, { signal = \"INT\" }, { close-window = true }]\nsecurity.no_new_privileges = true\nlimits.memory = \"1GiB\"";
    let linux = service(text).loaded();
    assert_eq!(places(&linux.warnings), [(Code::OsDifference, 5, 74)]);
    let windows = service(text).os(Os::Windows).loaded();
    let expected = [
        (Code::OsDifference, 4, 9),
        (Code::OsDifference, 5, 27),
        (Code::OsDifference, 5, 48),
        (Code::OsDifference, 6, 30),
    ];
    assert_eq!(places(&windows.warnings), expected);
    let steps: Vec<_> = the_service(&windows).stop.iter().map(|rung| rung.step.clone()).collect();
    assert_eq!(steps, [StopStep::CtrlC, StopStep::CtrlC, StopStep::CloseWindow, StopStep::Kill]);
    assert_eq!(places(&service(text).os(Os::Macos).loaded().warnings).len(), 3);
    let default = the_service(&service("").os(Os::Windows).loaded()).stop.clone();
    let steps: Vec<_> = default.into_iter().map(|rung| rung.step).collect();
    assert_eq!(steps, [StopStep::CtrlC, StopStep::CtrlBreak, StopStep::CloseWindow, StopStep::Kill]);
}

#[test]
fn variables_see_the_process_then_the_files_then_the_default() {
    let text = "env_files = [\".env\", \"b.env\"]\nenv = { P = \"${P}\", F = \"${F}\", D = \"${D:x}\", N = 8080 }";
    let loaded =
        service(text).file("/srv/.env", "P=file\nF=one\nG=g").file("/srv/b.env", "F=two").env("P", "process").loaded();
    let env = &the_service(&loaded).launch.env;
    let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={}", value.render(0))).collect();
    assert_eq!(env, ["D=x", "F=two", "G=g", "N=8080", "P=process"]);
    assert_eq!(from(&loaded, "services.a.env.P").1, "shop.toml:5:13, P from the environment");
    assert_eq!(slashes([from(&loaded, "services.a.env.F").1]), ["shop.toml:5:25, F from /srv/b.env:1:1"]);
    assert_eq!(from(&loaded, "services.a.env.D").1, "shop.toml:5:37, D from its default");
    assert_eq!(slashes([from(&loaded, "services.a.env.G").1]), ["/srv/.env:3:1"]);
}

#[test]
fn the_environment_is_that_of_the_guard_then_the_files_then_the_spec() {
    let loaded = service("env_files = [\".env\"]\nenv = { C = \"spec\" }")
        .file("/srv/.env", "B=file\nC=file")
        .env("A", "guard")
        .env("B", "guard")
        .env("C", "guard")
        .env("NOTIFY_SOCKET", "/run/x")
        .loaded();
    let env = &the_service(&loaded).launch.env;
    let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={}", value.render(0))).collect();
    assert_eq!(env, ["A=guard", "B=file", "C=spec"]);
    assert_eq!(from(&loaded, "services.a.env.A").1, "the environment");
}

#[test]
fn on_windows_names_of_variables_do_not_differ_by_case() {
    let loaded = service("env = { PATH = \"x;${pAtH}\" }").env("Path", "y").os(Os::Windows).loaded();
    let env = &the_service(&loaded).launch.env;
    assert_eq!(env.keys().count(), 1);
    assert_eq!(env["PATH"].render(0), "x;y");
}

#[test]
fn a_variable_can_be_a_number_or_a_truth() {
    let text = "instances = \"${N:2}\"\nrestart.factor = \"${F:1.5}\"\nlogs.timestamps = \"${T:false}\"\nstart_timeout = \"${S:5s}\"";
    let loaded = service(text).env("N", "3").loaded();
    let it = the_service(&loaded);
    assert_eq!((it.instances, it.restart.factor, it.logs.form), (3, 1.5, LogForm::Raw));
    assert_eq!(it.start_timeout, Some(Duration::from_secs(5)));
    assert_eq!(places(&service(text).env("N", "x").refused()), [(Code::WrongType, 4, 13)]);
    assert_eq!(places(&service("cwd = \"${A:-b}\"").loaded().warnings), [(Code::Suspicious, 4, 7)]);
}

#[test]
fn the_instance_stays_open_until_there_is_one() {
    let text = "command = [\"./w-${instance}\", \"$${instance}\"]\nenv.N = \"${X:n}${instance}\"\nready.http = \"http://h:80${instance}/\"\nhooks.before_start = [\"./m ${instance}\"]\ninstances = 3";
    let case = Case::new(format!("name = \"s\"\n[services.a]\n{text}"));
    let loaded = case.loaded();
    let it = the_service(&loaded);
    assert_eq!(slashes(it.launch.command.render(2)), ["/srv/w-2", "${instance}"]);
    assert_eq!(it.launch.env["N"].render(1), "n1");
    assert_eq!(slashes(it.hooks.before_start[0].command.render(1)), ["/srv/m", "1"]);
    let Some(ProbeTarget::Http { url, .. }) = it.ready.as_ref().map(|probe| &probe.target) else { panic!("no http") };
    assert_eq!(url.render(2), "http://h:802/");
}

#[test]
fn paths_start_at_the_folder_of_the_spec() {
    let loaded = service("cwd = \"./work\"\nlogs.dir = \"logs\"\nsecurity.read_only_paths = [\"/\", \"x\"]").loaded();
    let it = the_service(&loaded);
    assert_eq!(it.launch.cwd, Path::new("/srv/work"));
    assert_eq!(it.logs.dir.as_deref(), Some(Path::new("/srv/logs")));
    assert_eq!(it.launch.security.read_only_paths, [Path::new("/"), Path::new("/srv/x")]);
    assert_eq!(it.launch.command.render(0), ["a"]);
    assert_eq!(the_service(&service("").loaded()).launch.cwd, Path::new("/srv"));
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let text = "env_files = [\".env\"]\nenv = { DB_PASSWORD = \"hunter2\", URL = \"http://u:hunter2@h/\", T = \"${API_TOKEN}\" }\n\
        ready = { http = \"http://h\", headers = { Authorization = \"hunter2\" } }\n\
        stop.ladder = [{ command = \"./s --password=hunter2 --token hunter2\" }]\n\
        [alerts.x]\nemail = { smtp = \"smtp://u:hunter2@h\", from = \"a@b\", to = [\"c@d\"] }\n\
        [alerts.y]\nwebhook = \"https://h/\"\nheaders = { X-Api-Key = \"hunter2\" }\n[services.b]\ncommand = [\"b\", \"${API_TOKEN}\"]";
    let loaded = service(text).file("/srv/.env", "MY_SECRET=hunter2").env("API_TOKEN", "hunter2").loaded();
    let shown = format!("{:#?}", loaded.resolved());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("******"));
    assert_eq!(from(&loaded, "services.a.env.URL").0, "\"http://******@h/\"");
}
