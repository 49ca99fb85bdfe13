//! `[install]`: accounts that have a form, ports and networks that exist.

use super::Os;
use super::diagnostic::Code;
use super::keys::{InstallKeys, InstallStartKey, PortKeys, ProtocolKey};
use super::section::{Section, steps};
use std::net::IpAddr;
use std::time::Duration;
use tutela_core::spec::{InstallAccount, InstallSpec, OpenPort, StartMode};

/// The most entries of each list; more are a mistake.
const ENTRIES_MAX: usize = 256;

/// The longest display name: what the Windows SCM takes.
const DISPLAY_NAME_MAX: usize = 256;

/// The installation that the keys ask for; `section` is the table `install`.
pub(super) fn install(section: &mut Section<'_>, keys: InstallKeys) -> InstallSpec {
    let default = InstallSpec::default();
    let start_timeout = section.some_time(keys.start_timeout.as_ref(), default.start_timeout, steps!["start_timeout"]);
    let stop_timeout = keys
        .stop_timeout
        .as_ref()
        .map(|span| section.some_time(Some(span), Duration::from_secs(1), steps!["stop_timeout"]));
    section.no_effect(steps!["watchdog"], &[Os::Windows, Os::Macos], "its service manager has no watchdog");
    let nothing_taken = "its service manager takes nothing from a service";
    for key in ["sandbox", "executable_memory"] {
        section.no_effect(steps![key], &[Os::Windows, Os::Macos], nothing_taken);
    }
    InstallSpec {
        display_name: display_name(section, keys.display_name),
        start: keys.start.map_or(default.start, start),
        account: account(section, keys.account.as_deref()),
        after: after(section, keys.after.unwrap_or_default()),
        start_timeout,
        stop_timeout,
        watchdog: keys.watchdog.map_or(default.watchdog, |span| Some(span.0).filter(|span| !span.is_zero())),
        restart_delay: keys.restart_delay.map_or(default.restart_delay, |span| span.0),
        sandbox: keys.sandbox.unwrap_or(default.sandbox),
        executable_memory: keys.executable_memory.unwrap_or(default.executable_memory),
        writable_paths: keys
            .writable_paths
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(at, text)| section.path(text, steps!["writable_paths", at]))
            .collect(),
        open_ports: ports(section, keys.open_ports.unwrap_or_default()),
    }
}

fn start(key: InstallStartKey) -> StartMode {
    match key {
        InstallStartKey::Auto => StartMode::Auto,
        InstallStartKey::Delayed => StartMode::Delayed,
        InstallStartKey::Manual => StartMode::Manual,
        InstallStartKey::Disabled => StartMode::Disabled,
    }
}

fn display_name(section: &mut Section<'_>, given: Option<String>) -> Option<String> {
    let name = given?;
    let why = if name.trim().is_empty() {
        "it is empty".to_owned()
    } else if name.chars().any(char::is_control) {
        "it has a character that cannot be shown".to_owned()
    } else if name.chars().count() > DISPLAY_NAME_MAX {
        format!("it has more than {DISPLAY_NAME_MAX} characters")
    } else {
        return Some(name);
    };
    section.error(Code::BadValue, steps!["display_name"], format!("this is no name for people: {why}"));
    None
}

fn account(section: &mut Section<'_>, given: Option<&str>) -> InstallAccount {
    let Some(words) = given else { return InstallAccount::Own };
    let here = steps!["account"];
    let help = "it is own, system, the name of an account, or new:NAME; on Windows also local-service, \
                network-service, managed:DOMAIN\\name$";
    let Some(account) = InstallAccount::from_words(words).filter(|_| !words.chars().any(char::is_control)) else {
        section.error_with(Code::BadValue, here, format!("{words:?} names no account"), help);
        return InstallAccount::Own;
    };
    let here_only = match &account {
        InstallAccount::LocalService | InstallAccount::NetworkService | InstallAccount::Managed(_) => {
            section.os == Os::Windows
        }
        InstallAccount::Named { create: true, .. } => section.os != Os::Windows,
        InstallAccount::Own | InstallAccount::System | InstallAccount::Named { create: false, .. } => true,
    };
    if !here_only {
        let message = format!("there is no account {words:?} on {}", section.os);
        let help = format!("give the others one of their own: [install.{}] account = \"…\"", section.os);
        section.error_with(Code::BadValue, here, message, &help);
    }
    account
}

fn after(section: &mut Section<'_>, given: Vec<String>) -> Vec<String> {
    if given.len() > ENTRIES_MAX {
        section.error(Code::TooMany, steps!["after"], format!("'after' has more than {ENTRIES_MAX} entries"));
        return Vec::new();
    }
    for (at, name) in given.iter().enumerate() {
        // What a unit, a key of the SCM and a label of launchd can be called.
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':' | '\\' | '$' | ' ');
        if name.trim().is_empty() || name.trim() != name || !name.chars().all(fits) || name.len() > 255 {
            let message = format!("{name:?} is no name of a service of the OS");
            section.error(Code::BadName, steps!["after", at], message);
        }
    }
    given
}

fn ports(section: &mut Section<'_>, given: Vec<PortKeys>) -> Vec<OpenPort> {
    if given.len() > ENTRIES_MAX {
        section.error(Code::TooMany, steps!["open_ports"], format!("'open_ports' has more than {ENTRIES_MAX} entries"));
        return Vec::new();
    }
    let mut ports = Vec::new();
    for (at, keys) in given.into_iter().enumerate() {
        let port = match keys.port.map(u16::try_from) {
            Some(Ok(port)) if port != 0 => port,
            Some(_) => {
                let here = steps!["open_ports", at, "port"];
                section.error(Code::NumberRange, here, "a port is a whole number from 1 to 65535");
                continue;
            }
            None => {
                let help = "write { port = 8081, protocol = \"tcp\" }";
                section.error_with(Code::MissingKey, steps!["open_ports", at], "the opening has no 'port'", help);
                continue;
            }
        };
        let from = keys.from.unwrap_or_default();
        for (index, network) in from.iter().enumerate() {
            if !is_network(network) {
                let message = format!("{network:?} is no address and no network");
                let help = "write an address, or one with the number of bits that count, such as \"10.0.0.0/8\"";
                section.error_with(Code::BadAddress, steps!["open_ports", at, "from", index], message, help);
            }
        }
        ports.push(OpenPort { port, udp: matches!(keys.protocol, Some(ProtocolKey::Udp)), from });
    }
    ports
}

fn is_network(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.bytes().all(|it| it.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|it| it <= most))
}
