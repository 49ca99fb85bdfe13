//! Where an OS may be named, and what the ground floor may not name at all.
//!
//! `tutela-os` holds the only switch between OSes. A second one elsewhere is a difference that no capability
//! report tells the user about.

use super::Violation;
use super::source::{Source, Token};
use crate::tree::{File, Tree};

/// The only crate that knows OSes.
const OS_CRATE: &str = "crates/tutela-os";

/// Linux programs by nature: they may use what the standard library has for one OS, and still have no switch.
const LINUX_PROGRAMS: [&str; 4] = ["bench", "tests/beds", "tests/it", "xtask"];

/// What decides and touches nothing.
const GROUND_FLOOR: &str = "crates/tutela-core";

/// The standard library's ways out of the ground floor.
const OUTSIDE: [&str; 5] = ["std::fs", "std::env", "std::net", "std::process", "std::thread"];

/// Words of a condition that name an OS.
const OS_CONDITIONS: [&str; 5] = ["unix", "windows", "target_os", "target_family", "target_vendor"];

/// Judges every Rust source.
pub fn judge(tree: &Tree, violations: &mut Vec<Violation>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let source = Source::of(&file.text);
        if !file.is_below(OS_CRATE) {
            judge_conditions(file, &source, violations);
        }
        judge_paths(file, &source, violations);
    }
}

fn judge_conditions(file: &File, source: &Source, violations: &mut Vec<Violation>) {
    let tokens = source.tokens();
    for (at, token) in tokens.iter().enumerate() {
        let what = match token.text {
            "cfg_select" | "cfg_if" => format!("`{}!` belongs into {OS_CRATE}", token.text),
            "cfg" | "cfg_attr" => match os_condition(&tokens[at + 1..]) {
                Some(word) => format!("a condition on `{word}` belongs into {OS_CRATE}"),
                None => continue,
            },
            _ => continue,
        };
        violations.push(Violation::new(&file.path, token.line, what));
    }
}

/// The first word of the condition in parentheses right at the front of `tokens` that names an OS.
fn os_condition<'a>(tokens: &[Token<'a>]) -> Option<&'a str> {
    let mut tokens = tokens.iter().skip_while(|token| token.text == "!");
    if tokens.next()?.text != "(" {
        return None;
    }
    let mut depth = 1;
    for token in tokens {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            // What follows in a `cfg_attr` are attributes.
            "," if depth == 1 => return None,
            word if OS_CONDITIONS.contains(&word) => return Some(word),
            _ => {}
        }
        if depth == 0 {
            return None;
        }
    }
    None
}

fn judge_paths(file: &File, source: &Source, violations: &mut Vec<Violation>) {
    let may_name_an_os = file.is_below(OS_CRATE) || LINUX_PROGRAMS.iter().any(|folder| file.is_below(folder));
    for (line, path) in source.std_paths() {
        if !may_name_an_os && starts_with(&path, "std::os") {
            violations.push(Violation::new(&file.path, line, format!("`{path}` belongs into {OS_CRATE}")));
        }
        if file.is_below(GROUND_FLOOR) && OUTSIDE.iter().any(|outside| starts_with(&path, outside)) {
            violations.push(Violation::new(&file.path, line, format!("`{path}` touches the world; core only decides")));
        }
    }
}

/// Whether `path` is `module` or something in it.
fn starts_with(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_switch_between_oses_is_found_outside_its_crate() {
        let text = "\
#[cfg(unix)]
#[cfg(all(test, not(target_os = \"linux\")))]
#[cfg(test)]
#[cfg(feature = \"windows\")]
#[cfg_attr(windows, allow(dead_code))]
fn f() { if cfg!(windows) {} }
// cfg(unix)
";
        let wrong = found(judge, &[("crates/tutela/src/x.rs", text), ("crates/tutela-os/src/x.rs", text)]);
        assert_eq!(
            wrong,
            [
                "crates/tutela/src/x.rs:1: a condition on `unix` belongs into crates/tutela-os",
                "crates/tutela/src/x.rs:2: a condition on `target_os` belongs into crates/tutela-os",
                "crates/tutela/src/x.rs:5: a condition on `windows` belongs into crates/tutela-os",
                "crates/tutela/src/x.rs:6: a condition on `windows` belongs into crates/tutela-os",
            ]
        );
    }

    #[test]
    fn what_the_standard_library_has_for_one_os_is_found_in_what_ships() {
        let text = "use std::{io, os::unix::fs::PermissionsExt};\n";
        let files = [("crates/tutela/src/x.rs", text), ("tests/it/src/x.rs", text), ("xtask/src/x.rs", text)];
        assert_eq!(
            found(judge, &files),
            ["crates/tutela/src/x.rs:1: `std::os::unix::fs::PermissionsExt` belongs into crates/tutela-os"]
        );
    }

    #[test]
    fn the_ground_floor_touching_the_world_is_found() {
        let text = "use std::path::PathBuf;\nfn f() { std::thread::yield_now(); }\nuse std::{fmt, net::{IpAddr}};\n";
        let files = [("crates/tutela-core/src/x.rs", text), ("crates/tutela-logs/src/x.rs", text)];
        assert_eq!(
            found(judge, &files),
            [
                "crates/tutela-core/src/x.rs:2: `std::thread::yield_now` touches the world; core only decides",
                "crates/tutela-core/src/x.rs:3: `std::net::IpAddr` touches the world; core only decides",
            ]
        );
    }
}
