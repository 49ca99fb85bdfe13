//! Words turned into the one line of text that a Windows program gets.
//!
//! Two readers, two rules. Programs split their line by the rules of the C runtime, in which a backslash is
//! an escape only before a quote. Batch files are read by `cmd.exe`, which knows other special characters,
//! expands variables within quotes, and runs what it takes for a command: what cannot be written for it
//! without doubt is refused (a class of holes known as BatBadBut).

use crate::platform::wide;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The most that the kernel takes, its zero included.
const LINE_UNITS_MAX: usize = 32_767;

/// The most that `cmd.exe` reads of a line.
const BATCH_UNITS_MAX: usize = 8_191;

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const SPACE: u16 = b' ' as u16;

/// The line of a program, with its zero. The first word is the name that it sees itself under.
pub(super) fn for_program(words: &[OsString]) -> io::Result<Vec<u16>> {
    let mut line = Vec::new();
    let (name, rest) = words.split_first().ok_or_else(|| refused("there is not even a first argument"))?;
    if name.encode_wide().any(|unit| unit == QUOTE) {
        // The first word ends at the next quote, whatever stands before it.
        return Err(refused("the first argument, the program's own name, cannot have a quote in it"));
    }
    line.push(QUOTE);
    line.extend(name.encode_wide());
    line.push(QUOTE);
    for word in rest {
        line.push(SPACE);
        append(&mut line, word);
    }
    finished(line, LINE_UNITS_MAX)
}

/// Appends a word so that the C runtime reads it back.
fn append(line: &mut Vec<u16>, word: &OsStr) {
    let units: Vec<u16> = word.encode_wide().collect();
    let special = |unit: &u16| matches!(*unit, SPACE | QUOTE | 0x09..=0x0d);
    if !units.is_empty() && !units.iter().any(special) {
        return line.extend(units);
    }
    line.push(QUOTE);
    let mut backslashes = 0;
    for unit in units {
        if unit == QUOTE {
            // Those before a quote count double, and one more makes the quote an ordinary character.
            line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
        }
        backslashes = if unit == BACKSLASH { backslashes + 1 } else { 0 };
        line.push(unit);
    }
    line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
}

/// The line of `cmd.exe`, at the path `interpreter`, that runs the batch file `script`.
///
/// Every word is quoted, which takes their meaning from `& | < > ( ) ^` and blanks. `/v:off` takes it from
/// `!`, `/d` keeps commands of the registry out, and `/s` makes the outer quotes the ones that are taken off.
pub(super) fn for_batch(interpreter: &Path, script: &Path, words: &[OsString]) -> io::Result<Vec<u16>> {
    let mut line = vec![QUOTE];
    line.extend(interpreter.as_os_str().encode_wide());
    line.extend("\" /e:on /v:off /d /s /c \"".encode_utf16());
    append_for_batch(&mut line, script.as_os_str(), "the path of the batch file")?;
    for word in words.iter().skip(1) {
        line.push(SPACE);
        append_for_batch(&mut line, word, "an argument of a batch file")?;
    }
    line.push(QUOTE);
    finished(line, BATCH_UNITS_MAX)
}

fn append_for_batch(line: &mut Vec<u16>, word: &OsStr, what: &str) -> io::Result<()> {
    let units: Vec<u16> = word.encode_wide().collect();
    let has = |wanted: fn(&u16) -> bool| units.iter().any(wanted);
    if has(|unit| *unit == u16::from(b'%')) {
        return Err(refused(format!("{what} cannot have a % in it: cmd.exe would take it for a variable")));
    }
    if has(|unit| *unit == QUOTE) {
        return Err(refused(format!("{what} cannot have a quote in it: cmd.exe would run what is behind it")));
    }
    if has(|unit| *unit < SPACE) {
        return Err(refused(format!("{what} cannot have a control character in it: cmd.exe ends its line there")));
    }
    line.push(QUOTE);
    line.extend(&units);
    // The program that the batch file hands its arguments to reads them by the rule of the C runtime.
    let backslashes = units.iter().rev().take_while(|unit| **unit == BACKSLASH).count();
    line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
    Ok(())
}

fn finished(mut line: Vec<u16>, most: usize) -> io::Result<Vec<u16>> {
    if line.contains(&0) {
        return Err(refused("an argument has a zero character in it, which would cut it off"));
    }
    line.push(0);
    if line.len() > most {
        let long = line.len() - 1;
        return Err(refused(format!("the arguments make a line of {long} characters, and {} are the most", most - 1)));
    }
    Ok(line)
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// Whether the OS would run the file with `cmd.exe`. Blanks and dots at the end of a name are no part of it
/// for Windows, so `a.bat. .` is a batch file too.
pub(super) fn is_batch(program: &Path) -> bool {
    let Some(name) = program.file_name() else { return false };
    let units: Vec<u16> = name.encode_wide().collect();
    let end = units.iter().rposition(|unit| *unit != SPACE && *unit != u16::from(b'.')).map_or(0, |last| last + 1);
    let name = OsString::from_wide(units.get(..end).unwrap_or_default());
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.ends_with(".bat") || name.ends_with(".cmd")
}

/// `cmd.exe` in the folder of the system: neither `PATH` nor `ComSpec` may choose another.
pub(super) fn interpreter() -> io::Result<std::path::PathBuf> {
    use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;
    let mut units = [0_u16; 512];
    let room = u32::try_from(units.len()).unwrap_or(0);
    // SAFETY: the call writes at most `room` units to the array, which is ours and live.
    let length = unsafe { GetSystemDirectoryW(units.as_mut_ptr(), room) };
    if length == 0 {
        return Err(io::Error::last_os_error());
    }
    if length >= room {
        return Err(refused("the path of the system's folder is too long"));
    }
    Ok(std::path::PathBuf::from(wide::until_zero(&units)).join("cmd.exe"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        wide::until_zero(&for_program(&words).unwrap()).into_string().unwrap()
    }

    fn batch(words: &[&str]) -> io::Result<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let line = for_batch(Path::new(r"C:\w\cmd.exe"), Path::new(r"C:\a b\run.bat"), &words)?;
        Ok(wide::until_zero(&line).into_string().unwrap())
    }

    #[test]
    fn words_are_quoted_only_where_the_c_runtime_needs_it() {
        assert_eq!(line(&["p", "plain", r"C:\a\b", "", "a b"]), r#""p" plain C:\a\b "" "a b""#);
        assert_eq!(line(&["p", r#"say "hi""#, r#"\"#, r"a b\", r#"a\"b"#]), r#""p" "say \"hi\"" \ "a b\\" "a\\\"b""#);
        assert_eq!(line(&[r"C:\with blank\", "\t", "\n"]), "\"C:\\with blank\\\" \"\t\" \"\n\"");
    }

    #[test]
    fn a_line_that_would_be_cut_off_or_is_too_long_is_refused() {
        assert!(for_program(&["p".into(), "a\0b".into()]).is_err());
        assert!(for_program(&["p".into(), "x".repeat(40_000).into()]).is_err());
        assert!(for_program(&["a\"b".into()]).is_err());
        assert!(for_program(&[]).is_err());
    }

    #[test]
    fn a_batch_file_gets_every_word_in_quotes() {
        let told = batch(&["run", "a&b", "c d\\", "^|<>!"]).unwrap();
        let wanted = r#""C:\w\cmd.exe" /e:on /v:off /d /s /c ""C:\a b\run.bat" "a&b" "c d\\" "^|<>!"""#;
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_cmd_would_read_as_something_else_is_refused() {
        for word in ["%PATH%", "50%", "\"&calc", "a\r\ncalc", "a\tb"] {
            let error = batch(&["run", word]).unwrap_err();
            assert!(error.to_string().contains("cmd.exe"), "{error}");
        }
    }

    #[test]
    fn a_batch_file_is_known_however_its_name_is_written() {
        for name in ["a.bat", "a.CMD", "a.bat.", "a.cmd. .", r"C:\x\y.Bat "] {
            assert!(is_batch(Path::new(name)), "{name}");
        }
        for name in ["a.exe", "bat", "a.bat.exe", r"C:\a.bat\b.exe"] {
            assert!(!is_batch(Path::new(name)), "{name}");
        }
    }
}
