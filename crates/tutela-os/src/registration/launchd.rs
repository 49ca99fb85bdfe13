//! Text of launchd property lists, from a [`Definition`]. Pure: the same on every OS, for `install --print` and
//! `export`.
//!
//! launchd hears nothing from a job but its end: there is no readiness, no watchdog and no reload. It starts a job again
//! that ended, at the earliest after its throttle interval, and sends TERM and then KILL to stop one. Output that no log
//! file takes is the job's own business, so only what the guard says before its logs are open goes to a file.
//!
//! Deliberately absent: a sandbox. launchd takes nothing from a job; what a definition asks for in that way is told.

use super::{Account, Definition, Kind, Scope, Start};
use std::fmt::Write;
use std::path::PathBuf;

/// The shortest throttle interval that launchd takes for what it says.
const THROTTLE_MIN_SECONDS: u64 = 1;

/// Files that a guard of many programs has open.
const OPEN_FILES: u32 = 65_536;

/// What stands before the sum over the rest of the file, by which a file is known to be ours and unchanged.
const MARK: &str = "<!-- Written by an installation, and anew by the next one; sum ";

/// The label of a job, which is the name of its file too.
pub fn label(name: &str) -> String {
    format!("tutela.{name}")
}

/// The text of `tutela.NAME.plist`.
///
/// # Errors
/// What in the definition launchd cannot be told, for people.
pub fn plist(definition: &Definition) -> Result<String, String> {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n",
    );
    text(&mut out, "Label", &label(&definition.name))?;
    key(&mut out, "ProgramArguments");
    out.push_str("  <array>\n");
    for word in std::iter::once(definition.program.as_os_str()).chain(definition.args.iter().map(AsRef::as_ref)) {
        let word = word.to_str().ok_or_else(|| format!("{} is no text, as launchd needs it", word.display()))?;
        let _ = writeln!(out, "    <string>{}</string>", escaped(word)?);
    }
    out.push_str("  </array>\n");
    let folder = definition.folder.to_str().ok_or("the working folder is no text")?;
    text(&mut out, "WorkingDirectory", folder)?;
    if !definition.env.is_empty() {
        key(&mut out, "EnvironmentVariables");
        out.push_str("  <dict>\n");
        for (name, value) in &definition.env {
            let _ = writeln!(out, "    <key>{}</key>\n    <string>{}</string>", escaped(name)?, escaped(value)?);
        }
        out.push_str("  </dict>\n");
    }
    if let (Scope::System, Account::Named { name, .. }) = (definition.scope, &definition.account) {
        text(&mut out, "UserName", name)?;
    }
    let at_load = matches!(definition.start, Start::Auto | Start::Delayed);
    truth(&mut out, "RunAtLoad", at_load);
    if definition.kind != Kind::Login {
        key(&mut out, "KeepAlive");
        if at_load {
            out.push_str("  <true/>\n");
        } else {
            // One that nobody starts at boot is kept only once somebody has started it.
            out.push_str("  <dict>\n    <key>Crashed</key>\n    <true/>\n  </dict>\n");
        }
    }
    number(&mut out, "ThrottleInterval", definition.restart_delay.as_secs().max(THROTTLE_MIN_SECONDS));
    number(&mut out, "ExitTimeOut", definition.stop_timeout.as_secs().saturating_add(1));
    // 077; property lists have no octal numbers.
    number(&mut out, "Umask", 0o77);
    text(&mut out, "ProcessType", if definition.kind == Kind::Login { "Interactive" } else { "Standard" })?;
    key(&mut out, "SoftResourceLimits");
    let _ = writeln!(out, "  <dict>\n    <key>NumberOfFiles</key>\n    <integer>{OPEN_FILES}</integer>\n  </dict>");
    if let Some(file) = early_log(definition) {
        text(&mut out, "StandardErrorPath", &file.to_string_lossy())?;
    }
    out.push_str("</dict>\n</plist>\n");
    let sum = sum(&out);
    let _ = writeln!(out, "{MARK}{sum:016x} -->");
    Ok(out)
}

/// The file of what a guard says before its own logs are open, such as why a spec is refused.
pub fn early_log(definition: &Definition) -> Option<PathBuf> {
    definition.folders.logs.as_ref().map(|folder| folder.join("launchd.log"))
}

/// What launchd does not do of what the definition asks for, for people.
pub fn told(definition: &Definition) -> Vec<String> {
    let mut told = Vec::new();
    if !definition.sandbox.off && definition.kind != Kind::Login {
        told.push("launchd takes nothing from a job: it and its programs have every right of their account".to_owned());
    }
    if !definition.after.is_empty() {
        told.push(format!(
            "launchd orders nothing, so {} may be started after it; a probe or a dependency check can wait for them",
            definition.after.join(", ")
        ));
    }
    if definition.start == Start::Delayed {
        told.push("launchd knows no delayed start: it starts with the computer".to_owned());
    }
    if definition.watchdog.is_some() {
        told.push("launchd has no watchdog: a guard that hangs is not ended".to_owned());
    }
    if !definition.openings.is_empty() {
        told.push("the firewall of macOS goes by programs, not by ports: nothing is opened".to_owned());
    }
    told
}

/// Whether a file is ours, and then whether somebody changed it; `None`: it is somebody else's.
pub fn mark(text: &str) -> Option<bool> {
    let (before, rest) = text.rsplit_once(MARK)?;
    let intact = rest.strip_suffix(" -->\n").is_some_and(|it| u64::from_str_radix(it, 16) == Ok(sum(before)));
    Some(!intact)
}

fn key(out: &mut String, key: &str) {
    let _ = writeln!(out, "  <key>{key}</key>");
}

fn text(out: &mut String, name: &str, value: &str) -> Result<(), String> {
    key(out, name);
    let _ = writeln!(out, "  <string>{}</string>", escaped(value)?);
    Ok(())
}

fn number(out: &mut String, name: &str, value: u64) {
    key(out, name);
    let _ = writeln!(out, "  <integer>{value}</integer>");
}

fn truth(out: &mut String, name: &str, value: bool) {
    key(out, name);
    let _ = writeln!(out, "  <{value}/>");
}

/// A text between tags. XML has no way to write most control characters.
fn escaped(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reader turns these into spaces or other ends of lines.
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(letter),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => {
                return Err(format!("{value:?} has a control character, which a property list cannot have"));
            }
            letter => out.push(letter),
        }
    }
    Ok(out)
}

/// FNV-1a of 64 bits: against mistakes, not against forgers.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::{Folders, Readiness, Reload, Sandbox};
    use std::time::Duration;

    fn shop() -> Definition {
        Definition {
            name: "shop".into(),
            display_name: "Shop".into(),
            description: String::new(),
            scope: Scope::System,
            kind: Kind::Service,
            program: "/usr/local/bin/tutela".into(),
            args: vec!["run".into(), "--service".into(), "/etc/tutela/a & <b>.toml".into()],
            folder: "/etc/tutela".into(),
            env: vec![("A".into(), "\"x\" 'y' %z $HOME".into())],
            start: Start::Auto,
            account: Account::Named { name: "shop".into(), password: None, create: false },
            after: vec!["db".into()],
            readiness: Readiness::Told,
            reload: Reload::None,
            start_timeout: Duration::from_secs(90),
            stop_timeout: Duration::from_secs(20),
            watchdog: Some(Duration::from_secs(30)),
            keeps_programs: true,
            programs_outlive: None,
            restart_delay: Duration::from_millis(200),
            sandbox: Sandbox::default(),
            folders: Folders { logs: Some("/var/log/tutela/shop".into()), ..Folders::default() },
            openings: Vec::new(),
        }
    }

    #[test]
    fn a_job_is_kept_alive_and_has_time_to_stop() {
        let text = plist(&shop()).expect("a list");
        for wanted in [
            "<key>Label</key>\n  <string>tutela.shop</string>",
            "<string>/etc/tutela/a &amp; &lt;b&gt;.toml</string>",
            "<key>A</key>\n    <string>\"x\" 'y' %z $HOME</string>",
            "<key>UserName</key>\n  <string>shop</string>",
            "<key>KeepAlive</key>\n  <true/>",
            "<key>ThrottleInterval</key>\n  <integer>1</integer>",
            "<key>ExitTimeOut</key>\n  <integer>21</integer>",
            "<key>Umask</key>\n  <integer>63</integer>",
        ] {
            assert!(text.contains(wanted), "no {wanted} in\n{text}");
        }
        // The computer that writes it has its own sign between folders.
        let text = text.replace('\\', "/");
        assert!(text.contains("<string>/var/log/tutela/shop/launchd.log</string>"), "{text}");
        assert_eq!(text.matches("<dict>").count(), text.matches("</dict>").count());
    }

    #[test]
    fn a_manual_job_is_not_started_at_load() {
        let text = plist(&Definition { start: Start::Manual, ..shop() }).expect("a list");
        assert!(text.contains("<key>RunAtLoad</key>\n  <false/>") && text.contains("<key>Crashed</key>"), "{text}");
    }

    #[test]
    fn a_text_that_xml_cannot_have_is_refused() {
        assert!(plist(&Definition { args: vec!["a\u{1}".into()], ..shop() }).is_err());
        assert!(plist(&Definition { args: vec!["a\nb\tc\r".into()], ..shop() }).is_ok());
    }

    #[test]
    fn a_change_anywhere_is_seen_and_what_has_no_mark_is_foreign() {
        let text = plist(&shop()).expect("a list");
        assert_eq!(mark(&text), Some(false));
        assert_eq!(mark(&text.replace("63", "18")), Some(true));
        assert_eq!(mark(&format!("{text}<!-- x -->\n")), Some(true));
        assert_eq!(mark("<plist/>"), None);
    }

    #[test]
    fn what_launchd_does_not_do_is_told() {
        let told = told(&shop()).join("\n");
        for word in ["every right", "db", "watchdog"] {
            assert!(told.contains(word), "{told}");
        }
    }
}
