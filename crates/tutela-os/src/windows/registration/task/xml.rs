//! The text of a task. Pure.

use super::scheduler::Logon;
use std::time::Duration;

/// What a task is made of.
#[derive(Debug, Clone)]
pub(super) struct TaskText<'a> {
    pub(super) description: &'a str,
    pub(super) program: &'a str,
    pub(super) arguments: &'a str,
    pub(super) folder: &'a str,
    /// The account's identifier.
    pub(super) sid: &'a str,
    pub(super) logon: Logon,
    pub(super) trigger: Trigger,
    pub(super) enabled: bool,
    pub(super) restart: Duration,
}

/// When a task is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Only when somebody says so.
    Never,
    /// When the computer starts, and this long after.
    Boot(Duration),
    /// When its account logs in, and this long after.
    Login(Duration),
}

/// The text, or why there can be none.
pub(super) fn xml(task: &TaskText<'_>) -> Result<String, String> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\n");
    let mut line = |indent: usize, content: &str| {
        text.extend(std::iter::repeat_n("  ", indent));
        text.push_str(content);
        text.push('\n');
    };
    line(0, "<Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">");
    line(1, "<RegistrationInfo>");
    line(2, "<Author>Tutela</Author>");
    line(2, &element("Description", task.description)?);
    line(1, "</RegistrationInfo>");
    line(1, "<Triggers>");
    match task.trigger {
        Trigger::Never => {}
        Trigger::Boot(delay) => {
            let delay = seconds(delay);
            line(2, &format!("<BootTrigger><Enabled>true</Enabled><Delay>{delay}</Delay></BootTrigger>"));
        }
        Trigger::Login(delay) => {
            let (delay, user) = (seconds(delay), element("UserId", task.sid)?);
            line(2, &format!("<LogonTrigger><Enabled>true</Enabled>{user}<Delay>{delay}</Delay></LogonTrigger>"));
        }
    }
    line(1, "</Triggers>");
    line(1, "<Principals>");
    line(2, "<Principal id=\"Author\">");
    line(3, &element("UserId", task.sid)?);
    match task.logon {
        Logon::Password => line(3, "<LogonType>Password</LogonType>"),
        Logon::WithoutPassword => line(3, "<LogonType>S4U</LogonType>"),
        Logon::Session => line(3, "<LogonType>InteractiveToken</LogonType>"),
        Logon::OfOs => {}
    }
    line(3, "<RunLevel>LeastPrivilege</RunLevel>");
    line(2, "</Principal>");
    line(1, "</Principals>");
    line(1, "<Settings>");
    line(2, "<MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>");
    line(2, "<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>");
    line(2, "<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>");
    line(2, "<StartWhenAvailable>true</StartWhenAvailable>");
    line(2, "<AllowStartOnDemand>true</AllowStartOnDemand>");
    line(2, &format!("<Enabled>{}</Enabled>", task.enabled));
    // By default a task is ended after three days.
    line(2, "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>");
    // By default a task runs with less than the usual priority.
    line(2, "<Priority>6</Priority>");
    line(2, "<RestartOnFailure>");
    line(3, &format!("<Interval>{}</Interval>", seconds(task.restart)));
    line(3, &format!("<Count>{}</Count>", super::RESTARTS));
    line(2, "</RestartOnFailure>");
    line(1, "</Settings>");
    line(1, "<Actions Context=\"Author\">");
    line(2, "<Exec>");
    line(3, &element("Command", &format!("\"{}\"", task.program))?);
    if !task.arguments.is_empty() {
        line(3, &element("Arguments", task.arguments)?);
    }
    line(3, &element("WorkingDirectory", task.folder)?);
    line(2, "</Exec>");
    line(1, "</Actions>");
    line(0, "</Task>");
    Ok(text)
}

/// A duration as XML has it.
fn seconds(duration: Duration) -> String {
    format!("PT{}S", duration.as_secs())
}

fn element(name: &str, value: &str) -> Result<String, String> {
    let mut escaped = String::new();
    for character in value.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // A reader would make a line feed of it.
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(character),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                return Err(format!("{value:?} has the character {character:?}, which no XML can have"));
            }
            character => escaped.push(character),
        }
    }
    Ok(format!("<{name}>{escaped}</{name}>"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn task() -> TaskText<'static> {
        TaskText {
            description: "Shop & <Söhne>",
            program: r"C:\Program Files\t.exe",
            arguments: r#"run "C:\my specs\shop.toml""#,
            folder: r"C:\my specs",
            sid: "S-1-5-19",
            logon: Logon::OfOs,
            trigger: Trigger::Boot(Duration::from_secs(120)),
            enabled: true,
            restart: Duration::from_secs(60),
        }
    }

    #[test]
    fn every_text_is_escaped_and_the_program_quoted() {
        let text = xml(&task()).unwrap();
        assert!(text.contains("<Description>Shop &amp; &lt;Söhne&gt;</Description>"), "{text}");
        assert!(text.contains(r"<Command>&quot;C:\Program Files\t.exe&quot;</Command>"), "{text}");
        assert!(text.contains(r"<Arguments>run &quot;C:\my specs\shop.toml&quot;</Arguments>"), "{text}");
        assert!(text.contains("<Delay>PT120S</Delay>") && !text.contains("LogonType"), "{text}");
        assert!(xml(&TaskText { description: "a\u{1}", ..task() }).is_err());
    }

    #[test]
    fn a_task_of_an_account_starts_when_it_logs_in() {
        let text = xml(&TaskText { trigger: Trigger::Login(Duration::ZERO), logon: Logon::Session, ..task() }).unwrap();
        assert!(text.contains("<LogonTrigger><Enabled>true</Enabled><UserId>S-1-5-19</UserId>"), "{text}");
        assert!(text.contains("<LogonType>InteractiveToken</LogonType>"), "{text}");
    }
}
