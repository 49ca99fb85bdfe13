//! Commands written for a shell: whether they need one, and their words where they do not.

use super::text::Text;

/// What only a POSIX shell understands.
const SHELL_SIGNS: &[char] = &['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', '#', '~', '{', '\n', '!'];

/// What only cmd.exe understands.
const CMD_SIGNS: &[char] = &['|', '&', '<', '>', '^'];

/// A command line as a service has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<Text>,
    /// Variables that stood before it: `RAILS_ENV=production bundle …`.
    pub(super) env: Vec<(String, String)>,
    /// The folder of a `cd` before it.
    pub(super) cwd: Option<String>,
    /// Whether a shell runs it.
    pub(super) shell: bool,
}

impl Line {
    /// How it was changed, in words; `None`: it was not.
    pub(super) fn told(&self) -> Option<String> {
        let mut told = Vec::new();
        if self.cwd.is_some() {
            told.push("the 'cd' before it is the key cwd");
        }
        if !self.env.is_empty() {
            told.push("the variables before it are in env");
        }
        if self.shell {
            told.push("no shell runs commands here, so it is given to one by name");
        }
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// A command that a POSIX shell ran.
pub(super) fn posix(line: &str) -> Line {
    let mut rest = line.trim();
    let mut cwd = None;
    if let Some(after) = rest.strip_prefix("cd ")
        && let Some((folder, command)) = after.split_once("&&")
        && let folder = folder.trim()
        && !folder.is_empty()
        && !folder.contains(SHELL_SIGNS)
        && !folder.contains(['"', '\'', '\\', ' '])
    {
        cwd = Some(folder.to_owned());
        rest = command.trim();
    }
    let mut env = Vec::new();
    while let Some((assignment, after)) = rest.split_once(' ')
        && let Some((name, value)) = assignment.split_once('=')
        && is_variable(name)
        && !value.contains(SHELL_SIGNS)
        && !value.contains(['"', '\'', '\\'])
    {
        env.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    let assigns =
        rest.split(' ').next().is_some_and(|word| word.split_once('=').is_some_and(|(name, _)| is_variable(name)));
    if !needs_shell(rest)
        && !assigns
        && let Ok(words) = shell_words::split(rest)
        && !words.is_empty()
    {
        // The spec runs programs, and `exec` is a word of the shell.
        let words = match words.as_slice() {
            [first, others @ ..] if first == "exec" && !others.is_empty() => others,
            words => words,
        };
        return Line { words: words.iter().map(|word| Text::literal(word)).collect(), env, cwd, shell: false };
    }
    // One simple command takes the place of the shell, so that signals reach it.
    let simple = !rest.contains(['|', ';', '&', '\n', '(', '{', '!']) && !assigns && !rest.starts_with("exec ");
    let script = if simple { format!("exec {rest}") } else { rest.to_owned() };
    let words = ["sh", "-c", &script].map(Text::literal).to_vec();
    Line { words, env, cwd, shell: true }
}

/// Whether a line means more than its words to a POSIX shell. Signs within single quotes mean themselves.
fn needs_shell(line: &str) -> bool {
    let mut quote = None;
    let mut escaped = false;
    let mut word_start = true;
    for c in line.chars() {
        if std::mem::take(&mut escaped) {
            word_start = false;
            continue;
        }
        match (quote, c) {
            (None, '\\') | (Some('"'), '\\') => escaped = true,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (Some('"'), '$' | '`') => return true,
            (Some(_), _) => {}
            // These mean something only where a word begins.
            (None, '#' | '~' | '!') if !word_start => {}
            (None, '{' | '[') => {}
            (None, c) if SHELL_SIGNS.contains(&c) => return true,
            (None, _) => {}
        }
        word_start = c.is_whitespace();
    }
    quote.is_some()
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The words of a Windows command line, by the rules of the C runtime: backslashes escape only before a quote.
pub(super) fn windows(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut begun, mut quoted) = (false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' if !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\\' => {
                let mut slashes = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    slashes += 1;
                }
                if chars.peek() == Some(&'"') {
                    word.push_str(&"\\".repeat(slashes / 2));
                    if slashes % 2 == 1 {
                        chars.next();
                        word.push('"');
                    }
                } else {
                    word.push_str(&"\\".repeat(slashes));
                }
            }
            // Two quotes within quotes are one.
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                word.push('"');
            }
            '"' => quoted = !quoted,
            c => word.push(c),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

/// Whether a script is one that only cmd.exe runs.
pub(super) fn is_batch(program: &str) -> bool {
    let lower = program.to_ascii_lowercase();
    lower.ends_with(".bat") || lower.ends_with(".cmd")
}

/// Whether arguments have signs that only cmd.exe understands, outside of quotes.
pub(super) fn has_cmd_signs(line: &str) -> bool {
    let mut quoted = false;
    line.chars().any(|c| {
        quoted ^= c == '"';
        !quoted && CMD_SIGNS.contains(&c)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &Line) -> Vec<&str> {
        line.words.iter().map(Text::as_str).collect()
    }

    #[test]
    fn a_simple_command_becomes_its_words() {
        let line = posix("bundle exec puma -C 'config/puma file.rb' -t 5:5");
        assert_eq!(words(&line), ["bundle", "exec", "puma", "-C", "config/puma file.rb", "-t", "5:5"]);
        assert_eq!(line.told(), None);
        let line = posix("celery -A app[main] -E exec");
        assert!(!line.shell);
    }

    #[test]
    fn what_needs_a_shell_is_given_to_one() {
        assert_eq!(words(&posix("web -p $PORT")), ["sh", "-c", "exec web -p $PORT"]);
        assert_eq!(words(&posix("a | b")), ["sh", "-c", "a | b"]);
        assert_eq!(words(&posix("a \"$HOME\"")), ["sh", "-c", "exec a \"$HOME\""]);
        assert_eq!(words(&posix("echo 'a | $b'")), ["echo", "a | $b"]);
        assert!(posix("run 'open").shell);
    }

    #[test]
    fn variables_and_a_folder_before_a_command_become_keys() {
        let line = posix("cd app && RAILS_ENV=production A=1 exec bin/rails s");
        assert_eq!(line.cwd.as_deref(), Some("app"));
        assert_eq!(line.env, [("RAILS_ENV".into(), "production".into()), ("A".into(), "1".into())]);
        assert_eq!(words(&line), ["bin/rails", "s"]);
    }

    #[test]
    fn windows_command_lines_split_as_the_c_runtime_does() {
        assert_eq!(windows(r#"a "b c" d\e "f\\" "g\"h" "" x"y z"w"#), ["a", "b c", r"d\e", r"f\", "g\"h", "", "xy zw"]);
        assert_eq!(windows(r#"--path "C:\Program Files\x" "a""b""#), ["--path", r"C:\Program Files\x", "a\"b"]);
        assert!(windows("  ").is_empty());
        assert!(has_cmd_signs("a > b") && !has_cmd_signs("\"a > b\""));
    }
}
