//! One line of text out of a program and its arguments, so that the program gets exactly these back, and nobody can
//! put another program in between (CWE-428): the program is always quoted.
//!
//! Pure; the rules are those by which the C runtime and Rust's standard library split a line.

/// The longest line that Windows starts a program with, in UTF-16 units, the NUL among them.
const LONGEST: usize = 32_767;

/// The longest line of a Run key; Windows ignores longer ones.
const LONGEST_AT_LOGIN: usize = 260;

/// The line, or why there can be none.
pub(super) fn command_line(program: &str, args: &[String]) -> Result<String, String> {
    if program.contains('"') {
        return Err(format!("the path {program} has a quotation mark, which no path on Windows can have"));
    }
    let mut line = format!("\"{program}\"");
    for arg in args {
        line.push(' ');
        push_argument(&mut line, arg);
    }
    let length = line.encode_utf16().count() + 1;
    if length > LONGEST {
        return Err(format!(
            "the command line is {length} characters long, and Windows starts a program with at most {LONGEST}; \
             move arguments into a file"
        ));
    }
    Ok(line)
}

/// The line for a Run key.
pub(super) fn command_line_at_login(program: &str, args: &[String]) -> Result<String, String> {
    let line = command_line(program, args)?;
    let length = line.encode_utf16().count();
    if length > LONGEST_AT_LOGIN {
        return Err(format!(
            "the command line is {length} characters long, and Windows runs at most {LONGEST_AT_LOGIN} at login; \
             move the program or its spec to a shorter path, or install it as a task"
        ));
    }
    Ok(line)
}

/// Whether Windows would put a variable of the environment into this text: the SCM expands `ImagePath`, and there is
/// no way to write a percent sign that it leaves alone.
pub(super) fn names_a_variable(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    let between: Vec<&str> = parts.collect();
    // With two signs there is one name between them; what follows the last sign is none.
    between.len() > 1 && between[..between.len() - 1].iter().any(|name| !name.is_empty())
}

/// The arguments alone, as a task has them.
pub(super) fn arguments(args: &[String]) -> String {
    let mut line = String::new();
    for arg in args {
        if !line.is_empty() {
            line.push(' ');
        }
        push_argument(&mut line, arg);
    }
    line
}

fn push_argument(line: &mut String, arg: &str) {
    let plain = !arg.is_empty() && !arg.contains([' ', '\t', '\n', '\u{b}', '"']);
    if plain {
        line.push_str(arg);
        return;
    }
    line.push('"');
    let mut backslashes = 0;
    for character in arg.chars() {
        if character == '\\' {
            backslashes += 1;
        } else {
            // Backslashes mean themselves except before a quotation mark: there each is doubled, and one more
            // makes the mark a character.
            if character == '"' {
                line.extend(std::iter::repeat_n('\\', backslashes + 1));
            }
            backslashes = 0;
        }
        line.push(character);
    }
    line.extend(std::iter::repeat_n('\\', backslashes));
    line.push('"');
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> String {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        command_line(r"C:\Program Files\t.exe", &args).unwrap()
    }

    #[test]
    fn the_program_is_always_quoted() {
        assert_eq!(command_line(r"C:\t.exe", &[]).unwrap(), r#""C:\t.exe""#);
    }

    #[test]
    fn arguments_come_back_as_they_were() {
        assert_eq!(line(&["run", "--service"]), r#""C:\Program Files\t.exe" run --service"#);
        assert_eq!(line(&[r"C:\my specs\"]), r#""C:\Program Files\t.exe" "C:\my specs\\""#);
        assert_eq!(line(&[r"C:\specs\"]), r#""C:\Program Files\t.exe" C:\specs\"#);
        assert_eq!(line(&[r#"a\"b"#, ""]), r#""C:\Program Files\t.exe" "a\\\"b" """#);
    }

    #[test]
    fn a_line_that_windows_cannot_start_is_refused() {
        assert!(command_line(r"C:\t.exe", &["x".repeat(40_000)]).unwrap_err().contains("32767"));
        assert!(command_line_at_login(r"C:\t.exe", &["x".repeat(300)]).unwrap_err().contains("260"));
    }

    #[test]
    fn only_a_name_between_two_percent_signs_is_a_variable() {
        assert!(names_a_variable(r"C:\%TEMP%\x"));
        assert!(!names_a_variable("100%"));
        assert!(!names_a_variable("100%%"));
        assert!(names_a_variable("5% and 6% of it"));
    }
}
