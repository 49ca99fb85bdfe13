//! `[install]`: what is read, what is refused and where.

use super::*;
use std::time::Duration;
use tutela_core::spec::{InstallAccount, InstallSpec, OpenPort, StartMode};

fn install(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[install]\n{keys}\n"))
}

#[test]
fn every_key_of_an_installation_is_read() {
    let loaded = install(
        r#"
        display_name = "Shop"
        start = "delayed"
        account = "new:shop"
        after = ["postgresql", "network-online.target"]
        start_timeout = "2m"
        stop_timeout = "3m"
        watchdog = "0s"
        restart_delay = "5s"
        sandbox = false
        executable_memory = true
        writable_paths = ["/srv/shop", "data"]
        open_ports = [{ port = 8081, from = ["10.0.0.0/8", "::1"] }, { port = 53, protocol = "udp" }]
        "#,
    )
    .loaded();
    let wanted = InstallSpec {
        display_name: Some("Shop".into()),
        start: StartMode::Delayed,
        account: InstallAccount::Named { name: "shop".into(), create: true },
        after: vec!["postgresql".into(), "network-online.target".into()],
        start_timeout: Duration::from_secs(120),
        stop_timeout: Some(Duration::from_secs(180)),
        watchdog: None,
        restart_delay: Duration::from_secs(5),
        sandbox: false,
        executable_memory: true,
        writable_paths: vec!["/srv/shop".into(), "/srv/data".into()],
        open_ports: vec![
            OpenPort { port: 8081, udp: false, from: vec!["10.0.0.0/8".into(), "::1".into()] },
            OpenPort { port: 53, udp: true, from: Vec::new() },
        ],
    };
    assert_eq!(loaded.spec.install, wanted);
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, (it.value, it.from))).collect();
    assert_eq!(resolved["install.start"], ("\"delayed\"".to_owned(), "shop.toml:7:17".to_owned()));
}

#[test]
fn without_the_table_the_installation_is_the_documented_one() {
    let loaded = service("").loaded();
    assert_eq!(loaded.spec.install, InstallSpec::default());
    assert_eq!(loaded.spec.install.watchdog, Some(Duration::from_secs(30)));
}

#[test]
fn the_section_of_an_os_replaces_what_is_above_it() {
    let case = install("account = \"shop\"\nafter = [\"a\"]\n[install.windows]\naccount = \"network-service\"");
    assert_eq!(case.loaded().spec.install.account, InstallAccount::Named { name: "shop".into(), create: false });
    let windows = case.os(Os::Windows).loaded().spec.install;
    assert_eq!((windows.account, windows.after), (InstallAccount::NetworkService, vec!["a".to_owned()]));
}

#[test]
fn an_unknown_key_is_told_with_the_near_one_also_in_the_section_of_another_os() {
    let found = install("acount = \"own\"\n[install.windows]\nwatch_dog = \"1s\"").refused();
    assert_eq!(places(&found), [(Code::UnknownKey, 5, 1), (Code::UnknownKey, 7, 1)]);
    assert!(found[0].help.as_deref().unwrap_or_default().contains("account"), "{:?}", found[0].help);
    assert!(found[1].help.as_deref().unwrap_or_default().contains("watchdog"), "{:?}", found[1].help);
}

#[test]
fn values_that_cannot_be_are_refused_where_they_are() {
    for (keys, code, column) in [
        ("account = \"new:\"", Code::BadValue, 11),
        ("account = \"local-service\"", Code::BadValue, 11),
        ("start = \"sometimes\"", Code::BadValue, 9),
        ("after = [\"a\", \"b;c\"]", Code::BadName, 15),
        ("start_timeout = \"0s\"", Code::NumberRange, 17),
        ("stop_timeout = \"0s\"", Code::NumberRange, 16),
        ("display_name = \"\"", Code::BadValue, 16),
        ("open_ports = [{ port = 0 }]", Code::NumberRange, 24),
        ("open_ports = [{ port = 70000 }]", Code::NumberRange, 24),
        ("open_ports = [{ protocol = \"tcp\" }]", Code::MissingKey, 15),
        ("open_ports = [{ port = 1, from = [\"10.0.0.0/33\"] }]", Code::BadAddress, 35),
        ("open_ports = [{ port = 1, from = [\"everybody\"] }]", Code::BadAddress, 35),
        ("writable_paths = [\" \"]", Code::BadValue, 19),
    ] {
        assert_eq!(places(&install(keys).refused()), [(code, 5, column)], "{keys}");
    }
    assert_eq!(install("account = \"new:shop\"").os(Os::Windows).refused().len(), 1);
    assert_eq!(places(&Case::new("name = \"s\"\ninstall = 3\n[services.a]\ncommand = \"a\"").refused()).len(), 1);
}
