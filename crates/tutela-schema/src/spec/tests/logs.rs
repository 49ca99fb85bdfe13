//! `[logs]` and `[services.X.logs]`: forms, joined lines, patterns, and which texts are secrets.

use super::*;
use std::time::Duration;
use tutela_core::spec::{LogForm, MultilineRule, MultilineSpec};

fn refuses(case: Case, code: Code, at: (u32, u32), words: &str) {
    let found = case.refused();
    assert_eq!(places(&found), [(code, at.0, at.1)], "{found:?}");
    assert!(found[0].message.contains(words), "{}", found[0].message);
}

#[test]
fn a_form_is_said_by_format_and_timestamps_and_records_always_have_their_time() {
    let form = |keys: &str| the_service(&service(keys).loaded()).logs.form;
    assert_eq!(form(""), LogForm::Stamped);
    assert_eq!(form("logs.timestamps = false"), LogForm::Raw);
    assert_eq!(form("logs.format = \"json\""), LogForm::Json);
    let both = service("logs.format = \"json\"\nlogs.timestamps = false");
    refuses(both, Code::BadValue, (5, 19), "records in JSON have timestamps");
}

#[test]
fn lines_that_belong_together_are_told_by_one_pattern() {
    let loaded =
        service("logs.multiline = { start = '^\\d{4}', wait = \"2s\", lines = 40 }\nlogs.redact = [\"a+\"]").loaded();
    let wanted =
        MultilineSpec { rule: MultilineRule::Start("^\\d{4}".into()), wait: Duration::from_secs(2), lines: 40 };
    assert_eq!(the_service(&loaded).logs.multiline, Some(wanted));
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, (it.value, it.from))).collect();
    assert_eq!(resolved["services.a.logs.multiline.wait"], ("\"2s\"".to_owned(), "shop.toml:4:45".to_owned()));
    assert_eq!(resolved["services.a.logs.redact"].0, "[\"a+\"]");
    let rest = service("logs.multiline.continue = '^\\s'").loaded();
    let rest = the_service(&rest).logs.multiline.clone().unwrap();
    assert_eq!((rest.wait, rest.lines), (Duration::from_millis(500), 500));
    assert_eq!(rest.rule, MultilineRule::Continue("^\\s".into()));
}

#[test]
fn joining_that_is_not_told_or_told_twice_is_refused_where_it_stands() {
    refuses(service("logs.multiline = {}"), Code::MissingKey, (4, 6), "which lines belong together");
    refuses(service("logs.multiline = { start = 'a', continue = 'b' }"), Code::BadValue, (4, 44), "two ways");
    refuses(service("logs.multiline = { start = '(' }"), Code::BadPattern, (4, 28), "unclosed group");
    refuses(service("logs.multiline = { start = 'a', wait = \"2m\" }"), Code::NumberRange, (4, 40), "at most 1m");
    refuses(service("logs.multiline = { start = 'a', lines = 1 }"), Code::NumberRange, (4, 41), "2 to 10000");
}

#[test]
fn a_pattern_to_mask_that_cannot_be_used_is_refused_where_it_stands() {
    refuses(service("logs.redact = [\"ok\", \"(\"]"), Code::BadPattern, (4, 22), "unclosed group");
    refuses(service("logs.redact = [\"a*\"]"), Code::BadPattern, (4, 16), "matches the empty text");
    refuses(service("logs.redact = ['\\b']"), Code::BadPattern, (4, 16), "matches the empty text");
    let guard = |keys: &str| Case::new(format!("name = \"s\"\n[services.a]\ncommand = \"a\"\n[logs]\n{keys}\n"));
    refuses(guard("redact = [\"x\", \"[\"]"), Code::BadPattern, (5, 16), "unclosed character class");
    let loaded = guard("redact = [\"x\"]\nredact_secrets = false").loaded();
    assert_eq!(loaded.spec.redaction.patterns, ["x"]);
    assert_eq!(loaded.spec.redaction.secrets, None);
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, it.value)).collect();
    assert_eq!(resolved["logs.redact_secrets"], "false");
}

#[test]
fn the_secrets_of_a_spec_are_those_that_it_hides_wherever_they_stand() {
    let text = r#"
name = "shop"
[services.a]
command = ["a", "--password", "by-option", "--api-key=by-assignment", "--key-file", "/etc/key", "x=${DB_TOKEN}"]
env_files = [".env"]
[services.a.env]
API_KEY = "by-name"
KEY_FILE = "/etc/other-key"
PLAIN = "plain-value"
URL = "postgres://user:by-address@db/x"
[services.a.ready]
http = "http://localhost/"
headers = { Authorization = "Bearer by-header", Accept = "text/plain" }
[services.b]
command = "b --token by-string"
instances = 2
env = { SECRET = "part-${instance}" }
[alerts.ops]
webhook = "https://ops/hook"
headers = { Authorization = "Basic by-user" }
[metrics]
otlp = "http://collector"
headers = { x-token = "by-metrics" }
"#;
    let case = Case::new(text).file("/srv/.env", "FILE_SECRET=by-file\nOTHER=other-value\n");
    let case = case.env("DB_TOKEN", "by-variable").env("HOME_TOKEN", "by-process");
    let loaded = case.loaded();
    let found: Vec<_> = loaded.spec.redaction.secrets.unwrap().into_iter().collect();
    assert_eq!(
        found,
        [
            "by-address",
            "by-assignment",
            "by-file",
            "by-header",
            "by-metrics",
            "by-name",
            "by-option",
            "by-process",
            "by-string",
            "by-user",
            "by-variable",
            "part-0",
            "part-1",
        ]
    );
    assert!(!format!("{:?}", case.loaded().spec.redaction).contains("by-name"));
}
