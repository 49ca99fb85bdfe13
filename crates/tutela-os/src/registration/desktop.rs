//! Text of an XDG autostart entry: what a desktop session starts when somebody logs in. Pure, as
//! [`super::systemd`].

use super::Definition;
use super::systemd::{Made, marked};
use std::ffi::OsStr;

/// The text of `tutela-NAME.desktop`.
///
/// # Errors
/// A word of the command is no text, which an entry must be; for people.
pub fn entry(definition: &Definition) -> Result<String, String> {
    let words = std::iter::once(definition.program.as_os_str()).chain(definition.args.iter().map(AsRef::as_ref));
    let words: Vec<String> = words.map(word).collect::<Result<_, _>>()?;
    let folder = definition.folder.to_str().ok_or("the working folder is no text")?;
    let lines = [
        "# Written by an installation, and anew by the next one.".to_owned(),
        "[Desktop Entry]".to_owned(),
        "Type=Application".to_owned(),
        "Version=1.5".to_owned(),
        format!("Name={}", value(&definition.display_name)),
        format!("Comment={}", value(&definition.description)),
        format!("Exec={}", value(&words.join(" "))),
        format!("Path={}", value(folder)),
        "Terminal=false".to_owned(),
        "NoDisplay=true".to_owned(),
        "X-GNOME-Autostart-enabled=true".to_owned(),
    ];
    Ok(marked(lines.join("\n") + "\n", &Made::default()))
}

/// A value of any key: escapes of the file's own, before everything else.
fn value(text: &str) -> String {
    let mut out = String::new();
    for (at, letter) in text.chars().enumerate() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // What is before a value is cut off.
            ' ' if at == 0 => out.push_str("\\s"),
            letter => out.push(letter),
        }
    }
    out
}

/// A word of a command: quoted where it has to be, and with field codes that stand for themselves.
fn word(word: &OsStr) -> Result<String, String> {
    let text = word.to_str().ok_or_else(|| format!("{} is no text, as an autostart entry needs it", word.display()))?;
    let doubled = text.replace('%', "%%");
    let plain = |it: char| it.is_alphanumeric() || "-_./:=,+@%".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(doubled);
    }
    let mut out = String::from("\"");
    for letter in doubled.chars() {
        if matches!(letter, '"' | '`' | '$' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_by_the_rules_of_desktop_entries() {
        let words = |text: &str| value(&word(OsStr::new(text)).expect("a text"));
        assert_eq!(words("/usr/bin/tutela"), "/usr/bin/tutela");
        assert_eq!(words("my shop.toml"), "\"my shop.toml\"");
        assert_eq!(words("50%"), "50%%");
        // Quoted for the command first, escaped for the file then.
        assert_eq!(words("a\"b$c\\d"), r#""a\\"b\\$c\\\\d""#);
        assert_eq!(words(""), "\"\"");
    }

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(value(" a\nb"), "\\sa\\nb");
    }
}
