//! `secret://`: where it may stand, what it becomes, and what is refused with which words.

use super::{Case, Code, Os, places, service, the_service};

#[test]
fn a_variable_of_a_service_may_be_a_secret_and_its_path_begins_at_the_spec() {
    let text = "env = { DB = \"secret://file/keys/db\", ABS = \"secret://file//etc/x\", SD = \"secret://systemd/api\", N = \"secret://file/${instance}.key\", P = \"plain\" }";
    let loaded = service(text).loaded();
    let launch = &the_service(&loaded).launch;
    let render = |name: &str| launch.secrets[name].render(3).replace('\\', "/");
    assert_eq!(render("DB"), "secret://file//srv/keys/db");
    assert_eq!(render("ABS"), "secret://file//etc/x");
    assert_eq!(render("SD"), "secret://systemd/api");
    assert_eq!(render("N"), "secret://file//srv/3.key");
    assert_eq!(launch.env.keys().map(|key| &**key).collect::<Vec<_>>(), ["P"]);
    let resolved = loaded.resolved();
    let shown = resolved.iter().find(|it| it.key == "services.a.env.ABS").unwrap();
    assert_eq!((shown.value.as_str(), shown.from.as_str()), ("\"secret://file//etc/x\"", "shop.toml:4:45"));
    assert!(loaded.spec.redaction.secrets.unwrap().is_empty(), "a reference is no secret");
}

#[test]
fn a_secret_takes_the_place_of_what_files_and_the_process_say() {
    let case = service("env_files = [\".env\"]\nenv = { DB = \"secret://systemd/db\" }");
    let loaded = case.file("/srv/.env", "DB=from-file\nOTHER=x\n").env("DB", "from-process").loaded();
    let launch = &the_service(&loaded).launch;
    assert!(!launch.env.contains_key("DB") && launch.env.contains_key("OTHER"));
    assert!(launch.secrets.contains_key("DB"));
}

#[test]
fn headers_keys_and_addresses_of_alerts_may_be_secrets() {
    let text = r#"
name = "shop"
[services.a]
command = "a"
[alerts.hook]
webhook = "secret://file/hook"
headers = { X-Any = "secret://file/token" }
[alerts.mail.email]
smtp = "secret://file/relay"
from = "a@b.c"
to = ["d@e.f"]
[sinks.web]
http = "https://logs"
headers = { X-Any = "secret://systemd/t" }
[sinks.fluent]
fluent = "logs:24224"
shared_key = "secret://file/shared"
[metrics]
otlp = "http://collector"
headers = { X-Any = "secret://file/${FOLDER:m}/token" }
"#;
    let loaded = Case::new(text).loaded();
    let push = loaded.spec.metrics.push.as_ref().unwrap();
    assert_eq!(push.headers["X-Any"].replace('\\', "/"), "secret://file//srv/m/token");
    assert!(loaded.spec.redaction.secrets.unwrap().is_empty());
}

#[test]
fn a_secret_anywhere_else_is_refused_with_the_reason() {
    let refused = |keys: &str, words: &str| {
        let found = service(keys).refused();
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::BadSecret], "{found:#?}");
        assert!(found[0].to_string().contains(words), "{}", found[0]);
        places(&found)[0]
    };
    let line = refused("hooks.before_start = [[\"x\", \"secret://file/x\"]]", "command lines of others");
    assert_eq!(line, (Code::BadSecret, 4, 29));
    refused("live.exec = [\"x\", \"--token=secret://file/x\"]", "command lines of others");
    refused("description = \"secret://file/x\"", "cannot stand here");
    refused("cwd = \"secret://file/x\"", "cannot stand here");
    refused("env = { A = \"Bearer secret://file/x\" }", "the whole value");
    refused("env = { A = \"Secret://file/x\" }", "no capitals");
    refused("env = { A = \"secret://vault/x\" }", "no such kind");
    refused("env = { A = \"secret://file/\" }", "does not say which");
    refused("env = { A = \"secret://systemd/a/b\" }", "has no '/'");
    refused("env = { A = \"secret://dpapi/x\" }", "this spec is read for linux");
    let command =
        Case::new("name = \"shop\"\n[services.a]\ncommand = [\"a\", \"--key\", \"secret://file/x\"]\n").refused();
    assert_eq!(places(&command)[0], (Code::BadSecret, 3, 26));
}

#[test]
fn each_os_says_which_secrets_it_has_not() {
    let of = |os: Os, kind: &str| service(&format!("env = {{ A = \"secret://{kind}/x\" }}")).os(os).read();
    for (os, kind) in [(Os::Windows, "systemd"), (Os::Macos, "systemd"), (Os::Linux, "dpapi"), (Os::Macos, "dpapi")] {
        let refused = of(os, kind).unwrap_err().to_string();
        assert!(refused.contains(os.key()), "{refused}");
    }
    assert!(of(Os::Windows, "dpapi").is_ok() && of(Os::Linux, "systemd").is_ok());
    // What is written for another OS is not this one's to refuse.
    let elsewhere = "windows.env = { A = \"secret://dpapi/x\" }\nenv = { A = \"secret://file/x\" }";
    assert!(service(elsewhere).read().is_ok());
}

#[test]
fn who_writes_an_environment_file_names_no_secrets() {
    let case = |keys: &str| service(keys).file("/srv/.env", "REF=secret://file//etc/shadow\nPART=../../etc/shadow\n");
    let by_variable = case("env_files = [\".env\"]\nenv = { A = \"${REF}\" }").refused();
    assert!(by_variable.iter().any(|it| it.message.contains("came out of a variable")), "{by_variable:#?}");
    let by_part = case("env_files = [\".env\"]\nenv = { A = \"secret://file/${PART}\" }").refused();
    assert!(by_part.iter().any(|it| it.message.contains("PART of an environment file")), "{by_part:#?}");
    let as_text = case("env_files = [\".env\"]").loaded();
    assert_eq!(the_service(&as_text).launch.env["REF"].render(0), "secret://file//etc/shadow");
    assert_eq!(places(&as_text.warnings)[0], (Code::BadSecret, 1, 1));
}

#[test]
fn the_text_below_a_refusal_shows_where_a_secret_is_and_no_secret() {
    let text = "TOKEN = \"secret://file/x\"\nPASSWORD = \"hunter2\"";
    assert_eq!(super::super::blanked(text), "TOKEN = \"secret://file/x\"\nPASSWORD = \"*******\"");
}
