//! Values of units with what systemd puts into them: specifiers everywhere, variables in commands.

use super::super::text::Text;
use super::super::unit::{self, Word};
use std::collections::BTreeMap;

/// What the values of one unit can be made of.
pub(super) struct Scope {
    /// The name of the unit without its type: `foo@bar`.
    pub(super) name: String,
    /// Before the `@`.
    pub(super) prefix: String,
    /// After the `@`; `None`: the unit is no template.
    pub(super) instance: Option<String>,
    /// The unit is a template without an instance, so that the number of ours takes its place.
    pub(super) template: bool,
    /// The account, if the unit has one.
    pub(super) user: Option<String>,
    /// Variables of `Environment=`.
    pub(super) own: BTreeMap<String, String>,
}

/// A command as the spec has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) words: Vec<Text>,
    /// How it is not the same.
    pub(super) notes: Vec<String>,
    /// It had the prefix `-`: its failure did not matter.
    pub(super) ignored: bool,
    /// It uses `$MAINPID`, which nothing here gives.
    pub(super) main_pid: bool,
}

impl Scope {
    /// Puts specifiers in.
    pub(super) fn specified(&self, value: &str, notes: &mut Vec<String>) -> Text {
        let mut out = Text::default();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('%') {
            out.push(&Text::literal(before));
            let mut chars = after.chars();
            let letter = chars.next();
            rest = chars.as_str();
            let mut note = |text: &str| {
                if !notes.iter().any(|known| known == text) {
                    notes.push(text.to_owned());
                }
            };
            let literal = match letter {
                None => "%",
                Some('%') => "%",
                Some('n') => &format!("{}.service", self.name),
                Some('N') => &self.name,
                Some('p' | 'P' | 'j') => &self.prefix,
                Some('i' | 'I') => match &self.instance {
                    Some(instance) => instance,
                    None if self.template => {
                        out.push(&Text::instance());
                        continue;
                    }
                    None => "",
                },
                Some('t') => "/run",
                Some('S') => "/var/lib",
                Some('C') => "/var/cache",
                Some('L') => "/var/log",
                Some('E') => "/etc",
                Some('T') => "/tmp",
                Some('V') => "/var/tmp",
                Some('u') if self.user.is_none() => "root",
                Some('U') if self.user.is_none() => "0",
                Some('u') => self.user.as_deref().unwrap_or_default(),
                Some('h') => {
                    out.push(&Text::variable("HOME"));
                    note("%h is in the variable HOME of the guard");
                    continue;
                }
                Some('H' | 'l' | 'q') => {
                    out.push(&Text::spec("${HOSTNAME:localhost}"));
                    note("the name of the host is in the variable HOSTNAME, where it is set");
                    continue;
                }
                Some(other) => {
                    note(&format!("%{other} is not known here and stays as it is"));
                    &format!("%{other}")
                }
            };
            out.push(&Text::literal(literal));
        }
        out.push(&Text::literal(rest));
        out
    }

    /// Reads a command line of `ExecStart=` and its kin.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn command(&self, value: &str) -> Result<Command, String> {
        let mut out = Command::default();
        let mut rest = value.trim();
        let (mut literal, mut second_is_name) = (false, false);
        loop {
            match rest.chars().next() {
                Some('-') => out.ignored = true,
                Some('@') => second_is_name = true,
                Some(':') => literal = true,
                Some('+') => out.notes.push("it runs as the program's account, not as root".to_owned()),
                Some('!') => out.notes.push("it has no other rights than the program".to_owned()),
                Some('|') => out.notes.push("no login shell runs it".to_owned()),
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut words = unit::words(rest)?;
        if words.is_empty() {
            return Err("the command is empty".to_owned());
        }
        if second_is_name && words.len() > 1 {
            let name = words.remove(1);
            out.notes.push(format!("the program is not told that its name is {:?}", name.text));
        }
        out.main_pid = words.iter().any(|word| word.text.contains("$MAINPID") || word.text.contains("${MAINPID}"));
        if literal {
            for word in &words {
                let text = self.specified(&word.text, &mut out.notes);
                out.words.push(text);
            }
            return Ok(out);
        }
        if words.iter().any(|word| self.splits(word)) {
            return Ok(self.by_shell(&words, out));
        }
        for word in &words {
            self.word(word, &mut out);
        }
        Ok(out)
    }

    /// Whether a word is a variable alone, which becomes any number of words, and whose value only the program's
    /// start knows.
    fn splits(&self, word: &Word) -> bool {
        lone_variable(&word.text).is_some_and(|name| !self.own.contains_key(name) && name != "MAINPID")
    }

    /// Puts variables and specifiers into one word.
    fn word(&self, word: &Word, out: &mut Command) {
        if let Some(name) = lone_variable(&word.text)
            && let Some(value) = self.own.get(name)
        {
            for part in value.split_whitespace() {
                let text = self.specified(part, &mut out.notes);
                out.words.push(text);
            }
            out.note(format!("${name} is put in, as Environment has it"));
            return;
        }
        let mut text = Text::default();
        let mut rest = word.text.as_str();
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            text.push(&self.specified(before, &mut out.notes));
            let after = &after[1..];
            if let Some(after) = after.strip_prefix('$') {
                text.push(&Text::literal("$"));
                rest = after;
            } else if let Some((name, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
                match self.own.get(name) {
                    Some(value) => {
                        text.push(&Text::literal(value));
                        out.note(format!("${{{name}}} is put in, as Environment has it"));
                    }
                    None => {
                        text.push(&Text::variable(name));
                        out.note(format!(
                            "{name} is read when the spec is, from env_files or the guard's environment, and empty where it is missing"
                        ));
                    }
                }
                rest = after;
            } else {
                text.push(&Text::literal("$"));
                rest = after;
            }
        }
        text.push(&self.specified(rest, &mut out.notes));
        out.words.push(text);
    }

    /// A shell splits variables as systemd does, and knows the whole environment of the program.
    fn by_shell(&self, words: &[Word], mut out: Command) -> Command {
        let mut script = Text::literal("exec");
        for word in words {
            script.push(&Text::literal(" "));
            if self.splits(word) {
                script.push(&Text::literal(&word.text));
                continue;
            }
            let mut one = Command::default();
            self.word(word, &mut one);
            for note in one.notes {
                out.note(note);
            }
            let parts: Vec<String> = one.words.iter().map(|part| quoted(part.as_str())).collect();
            script.push(&Text::spec(parts.join(" ")));
        }
        out.note("a word of variables alone becomes several words, or none: a shell does that, with the program's environment".to_owned());
        out.words = vec![Text::literal("sh"), Text::literal("-c"), script];
        out
    }
}

impl Command {
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// A word for a shell. What is in the notation of a spec stays readable where nothing needs quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The name of the variable that the whole word is: `$OPTIONS`.
fn lone_variable(word: &str) -> Option<&str> {
    let name = word.strip_prefix('$')?;
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn scope() -> Scope {
        Scope {
            name: "web@blue".to_owned(),
            prefix: "web".to_owned(),
            instance: Some("blue".to_owned()),
            template: false,
            user: None,
            own: BTreeMap::from([("PORT".to_owned(), "80".to_owned()), ("ARGS".to_owned(), "-a -b".to_owned())]),
        }
    }

    fn words(value: &str) -> Vec<String> {
        scope().command(value).unwrap().words.iter().map(|word| word.as_str().to_owned()).collect()
    }

    #[test]
    fn specifiers_and_variables_are_put_in() {
        assert_eq!(
            words("/bin/x %i %n 5%% %t/x ${PORT} $ARGS $$5"),
            ["/bin/x", "blue", "web@blue.service", "5%", "/run/x", "80", "-a", "-b", "$$5"]
        );
        assert_eq!(words("/bin/x --h=${OTHER}"), ["/bin/x", "--h=${OTHER:}"]);
        assert_eq!(words(":/bin/x ${PORT}"), ["/bin/x", "$${PORT}"]);
    }

    #[test]
    fn a_variable_that_is_split_needs_a_shell() {
        assert_eq!(words("/usr/sbin/sshd -D $OPTS 'a b'"), ["sh", "-c", "exec /usr/sbin/sshd -D $OPTS 'a b'"]);
    }

    #[test]
    fn prefixes_are_told() {
        let command = scope().command("-@!/bin/x name a").unwrap();
        assert!(command.ignored);
        assert_eq!(command.words.len(), 2);
        assert_eq!(command.notes.len(), 2);
        assert!(scope().command("-").is_err() && scope().command("/bin/x \"").is_err());
    }
}
