//! A spec on its way: what the translations fill and `write` turns into TOML. `None` and empty mean that the spec is
//! silent and its default holds.

use super::report::{Entry, Report};
use super::text::{Text, fit_name, is_secret};
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole spec.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) services: Vec<Service>,
    /// Services of the OS that the guard is started after.
    pub(super) after: Vec<String>,
    /// Variables of a profile: profile, service, name, value.
    pub(super) profiles: BTreeMap<String, BTreeMap<String, BTreeMap<String, Text>>>,
}

/// One service.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    /// The file that it came from, for its comment.
    pub(super) from: String,
    pub(super) description: String,
    pub(super) command: Vec<Text>,
    pub(super) cwd: Option<Text>,
    pub(super) env: BTreeMap<String, Text>,
    pub(super) env_files: Vec<EnvFile>,
    pub(super) needs: Vec<String>,
    pub(super) instances: Option<u16>,
    pub(super) start: Option<&'static str>,
    pub(super) start_timeout: Option<Duration>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) umask: Option<u32>,
    pub(super) restart: Restart,
    pub(super) ladder: Vec<Step>,
    pub(super) ready_notify: bool,
    pub(super) watchdog: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) security: Security,
    pub(super) logs: Logs,
    pub(super) before_start: Vec<Hook>,
    pub(super) after_ready: Vec<Hook>,
    pub(super) before_stop: Vec<Hook>,
    pub(super) after_exit: Vec<Hook>,
}

/// A file of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvFile {
    pub(super) path: Text,
    pub(super) optional: bool,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Restart {
    pub(super) when: Option<&'static str>,
    pub(super) success_codes: Option<Vec<i64>>,
    pub(super) delay: Option<Duration>,
    pub(super) factor: Option<f64>,
    pub(super) max_delay: Option<Duration>,
    pub(super) jitter: Option<f64>,
    pub(super) reset_after: Option<Duration>,
    pub(super) burst: Option<u32>,
    pub(super) within: Option<Duration>,
    pub(super) cooldown: Option<Duration>,
}

/// One step of a stop and how long it may work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) way: Way,
    pub(super) wait: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Command(Vec<Text>),
    Signal(String),
    CtrlC,
    CloseWindow,
    Kill,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Limits {
    pub(super) memory: Option<u64>,
    pub(super) cpu: Option<u32>,
    pub(super) processes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) core: Option<u64>,
    pub(super) priority: Option<&'static str>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Security {
    pub(super) no_new_privileges: bool,
    pub(super) capabilities: Option<Vec<String>>,
    pub(super) read_only_paths: Vec<Text>,
    pub(super) writable_paths: Vec<Text>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Logs {
    pub(super) dir: Option<Text>,
    pub(super) timestamps: Option<bool>,
    pub(super) rotate_size: Option<u64>,
    pub(super) rotate_every: Option<Duration>,
    pub(super) keep: Option<u32>,
}

/// A command around the life of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) command: Vec<Text>,
    pub(super) timeout: Option<Duration>,
}

impl Hook {
    pub(super) fn new(command: Vec<Text>) -> Hook {
        Hook { command, timeout: None }
    }
}

impl Draft {
    /// A name for a service that no other one has, made of what the source calls it; what is different is told.
    pub(super) fn name(&self, wanted: &str, report: &mut Report) -> String {
        let (fitted, how) = fit_name(wanted, "service");
        if let Some(how) = how {
            report.note(format!("{how}; the service is {fitted}"));
        }
        let taken = |name: &str| self.services.iter().any(|service| service.name == name);
        if !taken(&fitted) {
            return fitted;
        }
        let stem: String = fitted.chars().take(40).collect();
        let mut number = 2_u32;
        let mut name = format!("{stem}-{number}");
        while taken(&name) {
            number += 1;
            name = format!("{stem}-{number}");
        }
        report.note(format!("there is a service {fitted} already; the next of that name is {name}"));
        name
    }
}

impl Service {
    /// Sets a variable. The value of one whose name or form says that it is a secret is not copied.
    pub(super) fn set(&mut self, report: &mut Report, entry: &Entry, name: &str, value: Text) {
        if name.is_empty() || name.contains(['=', '\0']) {
            report.lost(entry, format!("{name:?} is no name of a variable"));
            return;
        }
        let to = format!("env.{}", super::text::key(name));
        if !value.is_empty() && (is_secret(name) || has_password(value.as_str())) {
            let how = "a secret is not copied; set it in the guard's environment, or in a file of env_files that only \
                       its account can read";
            report.changed(entry, &to, how);
            self.env.insert(name.to_owned(), Text::secret(name));
            return;
        }
        report.kept(entry, &to);
        self.env.insert(name.to_owned(), value);
    }
}

/// Whether a text has an address with a password in it.
pub(super) fn has_password(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        rest = &rest[at + 3..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(rest.len());
        let authority = &rest[..end];
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        if user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.starts_with("${")) {
            return true;
        }
    }
    false
}

/// Takes the values of secret options out of a command. Answers the names of the variables that now stand for them.
pub(super) fn hide_secrets(words: &mut [Text]) -> Vec<String> {
    let mut hidden = Vec::new();
    let variable = |option: &str| {
        let name: String = option.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        name.trim_matches('_').to_ascii_uppercase()
    };
    let mut before: Option<String> = None;
    for word in words.iter_mut() {
        let text = word.as_str().to_owned();
        let follows = before.take();
        if let Some(option) = follows.filter(|_| !text.starts_with('-') && !text.starts_with("${") && !text.is_empty())
        {
            hidden.push(variable(&option));
            *word = Text::secret(&variable(&option));
        } else if let Some((option, value)) = text.split_once('=')
            && (is_secret(option) || has_password(value))
            && !option.contains(char::is_whitespace)
            && !value.is_empty()
        {
            let name = variable(option);
            *word = Text::spec(format!("{option}={}", Text::secret(&name).as_str()));
            hidden.push(name);
        } else if has_password(&text) && !text.contains(char::is_whitespace) {
            hidden.push("ADDRESS".to_owned());
            *word = Text::secret("ADDRESS");
        } else if text.starts_with('-') && is_secret(&text) && !text.contains('=') && !text.contains("file") {
            before = Some(text);
        }
    }
    hidden
}

/// Tells that secrets were left out of a command, if there are some.
pub(super) fn tell_secrets(report: &mut Report, entry: &Entry, to: &str, hidden: &[String]) {
    if !hidden.is_empty() {
        let names = hidden.join(" and ");
        let how = format!("a secret is not copied; {names} in the guard's environment or a file of env_files gives it");
        report.changed(entry, to, how);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_commands_become_variables() {
        let mut words: Vec<Text> =
            ["java", "-secret", "abc", "--db-password=x", "amqp://u:p@h/v", "--token-file", "f", "k=v"]
                .map(Text::literal)
                .to_vec();
        assert_eq!(hide_secrets(&mut words), ["SECRET", "DB_PASSWORD", "ADDRESS"]);
        let shown: Vec<_> = words.iter().map(Text::as_str).collect();
        let expected = [
            "java",
            "-secret",
            "${SECRET:?a secret that was not copied}",
            "--db-password=${DB_PASSWORD:?a secret that was not copied}",
            "${ADDRESS:?a secret that was not copied}",
            "--token-file",
            "f",
            "k=v",
        ];
        assert_eq!(shown, expected);
        assert!(!has_password("http://user@host/ and http://host:80/@"));
    }
}
