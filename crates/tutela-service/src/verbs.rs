//! `service install`, `start`, `status`: a command line for programs that have none of their own.
//!
//! Results go to standard output, everything for people to standard error. The exit codes are those of `tutela`.

use crate::exit::chain;
use crate::registration::{RegisterError, Registered, RegisteredState, Registration, RegistrationError, Start};
use crate::service::Service;
use std::io::Write as _;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_WORDS: u8 = 2;
const NOT_RUNNING: u8 = 3;
const MISSING: u8 = 4;
const NOT_ALLOWED: u8 = 5;

/// A verb with the words that it knows.
struct Verb {
    name: &'static str,
    about: &'static str,
    flags: &'static [&'static str],
}

const VERBS: [Verb; 8] = [
    Verb { name: "run", about: "run here; Ctrl-C stops, twice hurries (also without a verb)", flags: &[] },
    Verb {
        name: "install",
        about: "make it a service of this computer, or bring it up to date",
        flags: &["--user", "--start", "--print"],
    },
    Verb { name: "uninstall", about: "stop it and remove what install made", flags: &["--user", "--print", "--purge"] },
    Verb { name: "start", about: "start it and wait until it is ready", flags: &["--user"] },
    Verb { name: "stop", about: "stop it and wait until it has ended", flags: &["--user"] },
    Verb { name: "restart", about: "stop it if it runs, and start it", flags: &["--user"] },
    Verb { name: "status", about: "say what it is doing; exit code 3: it does not run", flags: &["--user"] },
    Verb { name: "help", about: "this text", flags: &[] },
];

const FLAGS: [(&str, &str); 4] = [
    ("--user", "for this account instead of the computer; no administrator is needed"),
    ("--start", "start it too"),
    ("--print", "show what would be done and do nothing"),
    ("--purge", "remove its folders of state and logs too"),
];

/// Carries out `words`; `None`: the service is to run.
pub(crate) fn carry_out(service: &Service, words: &[String]) -> Option<u8> {
    let (first, rest) = words.split_first()?;
    if matches!(first.as_str(), "help" | "--help" | "-h") {
        print(&help(service));
        return Some(DONE);
    }
    let Some(verb) = VERBS.iter().find(|verb| verb.name == first) else {
        let near = VERBS.iter().map(|verb| verb.name).find(|name| is_near(name, first));
        let hint = near.map_or("`help` lists the verbs".to_owned(), |name| format!("did you mean `{name}`?"));
        tell(&format!("refused: `{first}` is no verb of {}; {hint}", service.name));
        return Some(WRONG_WORDS);
    };
    if let Some(unknown) = rest.iter().find(|word| !verb.flags.contains(&word.as_str())) {
        let known = if verb.flags.is_empty() { "no words".to_owned() } else { verb.flags.join(", ") };
        tell(&format!("refused: `{first}` does not know `{unknown}`; it takes {known}"));
        return Some(WRONG_WORDS);
    }
    if verb.name == "run" {
        return None;
    }
    let has = |flag: &str| rest.iter().any(|word| word == flag);
    Some(match act(service, verb.name, &has) {
        Ok(code) => code,
        Err(error) => {
            tell(&chain(&error));
            code_of(&error)
        }
    })
}

fn act(service: &Service, verb: &str, has: &dyn Fn(&str) -> bool) -> Result<u8, RegistrationError> {
    let registration = service.registration()?;
    let registration = if has("--user") { registration.for_user() } else { registration };
    let name = &service.name;
    match verb {
        "install" if has("--print") => show(&registration.plan()?),
        "install" => {
            note(&registration.install()?);
            tell(&format!("{name} is installed"));
            if has("--start") {
                registration.start()?;
                tell(&format!("{name} runs"));
            }
        }
        "uninstall" if has("--print") => show(&registration.removal_plan(has("--purge"))?),
        "uninstall" => {
            note(&registration.uninstall(has("--purge"))?);
            tell(&format!("{name} is uninstalled"));
        }
        "start" => {
            registration.start()?;
            tell(&format!("{name} runs"));
        }
        "stop" => {
            registration.stop()?;
            tell(&format!("{name} has stopped"));
        }
        "restart" => {
            if registration.status()?.is_some_and(|it| it.state != RegisteredState::Stopped) {
                registration.stop()?;
            }
            registration.start()?;
            tell(&format!("{name} runs"));
        }
        _ => return status(name, &registration),
    }
    Ok(DONE)
}

fn status(name: &str, registration: &Registration) -> Result<u8, RegistrationError> {
    let Some(registered) = registration.status()? else {
        tell(&format!("{name} is not installed"));
        return Ok(MISSING);
    };
    print(&format!("{}\n", status_line(&registered)));
    Ok(if registered.state == RegisteredState::Running { DONE } else { NOT_RUNNING })
}

/// `shop: running, pid 4711, starts at boot, as NT SERVICE\shop (SCM key shop)`.
fn status_line(registered: &Registered) -> String {
    let state = match registered.state {
        RegisteredState::Stopped => "stopped",
        RegisteredState::Starting => "starting",
        RegisteredState::Running => "running",
        RegisteredState::Stopping => "stopping",
        RegisteredState::Paused => "paused",
        RegisteredState::Failed => "failed",
        RegisteredState::Leaving => "marked for deletion",
    };
    let start = match registered.start {
        Start::Auto => "starts at boot",
        Start::Delayed => "starts some time after boot",
        Start::Manual => "starts when it is told to",
        Start::Disabled => "disabled",
    };
    let mut line = format!("{}: {state}", registered.name);
    if let Some(pid) = registered.pid {
        line.push_str(&format!(", pid {pid}"));
    }
    if let Some(code) = registered.exit_code.filter(|code| *code != 0 && registered.pid.is_none()) {
        line.push_str(&format!(", last exit code {code}"));
    }
    line.push_str(&format!(", {start}, as {} ({})", registered.account, registered.place));
    if !registered.ours {
        line.push_str("; not installed by this program");
    }
    line
}

fn show(plan: &crate::registration::Plan) {
    for (step, text) in plan.steps() {
        print(&format!("{step}\n"));
        for line in text.iter().flat_map(|text| text.lines()) {
            print(&format!("    {line}\n"));
        }
    }
    if plan.is_empty() {
        tell("nothing is to be done");
    }
    note(plan.notes());
}

fn note(notes: &[String]) {
    for text in notes {
        tell(&format!("note: {text}"));
    }
}

fn code_of(error: &RegistrationError) -> u8 {
    match error {
        RegistrationError::Refused(RegisterError::Missing { .. }) => MISSING,
        RegistrationError::Refused(RegisterError::NotAllowed { .. }) => NOT_ALLOWED,
        _ => FAILED,
    }
}

fn help(service: &Service) -> String {
    let mut text = service.name.clone();
    if !service.wish.description.is_empty() {
        text.push_str(&format!(": {}", service.wish.description));
    }
    text.push_str("\n\nverbs:\n");
    for verb in &VERBS {
        text.push_str(&format!("  {:<10} {}\n", verb.name, verb.about));
    }
    text.push_str("\nwords after some of them:\n");
    for (flag, about) in FLAGS {
        let verbs: Vec<&str> = VERBS.iter().filter(|verb| verb.flags.contains(&flag)).map(|verb| verb.name).collect();
        text.push_str(&format!("  {flag:<10} {about} ({})\n", verbs.join(", ")));
    }
    text
}

/// Whether one slip of a finger makes `word` of `name`: a letter more, less, another one, or two swapped.
fn is_near(name: &str, word: &str) -> bool {
    let (name, word) = (name.as_bytes(), word.as_bytes());
    let same = name.iter().zip(word).take_while(|(a, b)| a == b).count();
    let (name, word) = (&name[same..], &word[same..]);
    match (name, word) {
        ([_, rest @ ..], word) if rest == word => true,
        (name, [_, rest @ ..]) if rest == name => true,
        ([_, name @ ..], [_, word @ ..]) if name == word => true,
        ([a, b, name @ ..], [c, d, word @ ..]) => a == d && b == c && name == word,
        _ => false,
    }
}

/// A result. A reader that has gone wants none.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// For people.
fn tell(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_answered_with_the_verb_that_was_meant() {
        assert!(is_near("install", "instal") && is_near("install", "insatll") && is_near("stop", "atop"));
        assert!(is_near("start", "starrt"));
        assert!(!is_near("start", "stop"));
    }

    #[test]
    fn words_that_make_no_sense_are_refused_and_run_is_left_to_the_caller() {
        let service = Service::new("shop");
        let code = |words: &[&str]| carry_out(&service, &words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(code(&[]), None);
        assert_eq!(code(&["run"]), None);
        assert_eq!(code(&["instal"]), Some(WRONG_WORDS));
        assert_eq!(code(&["start", "--purge"]), Some(WRONG_WORDS));
        assert_eq!(code(&["help"]), Some(DONE));
    }

    #[test]
    fn a_status_says_what_a_person_wants_to_know_first() {
        let registered = Registered {
            name: "shop".into(),
            ours: true,
            state: RegisteredState::Failed,
            pid: None,
            start: Start::Auto,
            command: "/opt/shop run".into(),
            account: "shop".into(),
            place: "/etc/systemd/system/shop.service".into(),
            exit_code: Some(102),
        };
        assert_eq!(
            status_line(&registered),
            "shop: failed, last exit code 102, starts at boot, as shop (/etc/systemd/system/shop.service)"
        );
    }
}
