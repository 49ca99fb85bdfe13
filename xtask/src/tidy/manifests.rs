//! `Cargo.toml` and `clippy.toml`: nobody leaves the house rules by having a file of its own.

use super::Violation;
use crate::tree::{File, Tree};
use std::collections::BTreeSet;

/// Folders whose `Cargo.toml` is a member of the workspace. The fuzz crate is a workspace of its own, because
/// its sanitizer flags must not reach anybody else.
const MEMBERS: [&str; 4] = ["crates", "tests", "xtask", "bench"];

/// The only crate whose dependencies may differ from OS to OS.
const OS_CRATE: &str = "crates/tutela-os";

/// The bans that hold everywhere.
const ROOT_BANS: &str = "clippy.toml";

/// Judges every manifest and every clippy configuration.
pub fn judge(tree: &Tree, violations: &mut Vec<Violation>) {
    let root_bans = tree.files.iter().find(|file| file.path == ROOT_BANS).map(bans).unwrap_or_default();
    for file in &tree.files {
        if file.path.ends_with("/Cargo.toml") && MEMBERS.iter().any(|folder| file.is_below(folder)) {
            judge_member(file, violations);
        }
        if file.path.ends_with("/clippy.toml") {
            let own = bans(file);
            for lost in root_bans.iter().filter(|ban| !own.contains(*ban)) {
                let what = format!("clippy reads only the nearest file, so repeat the root's ban of `{lost}`");
                violations.push(Violation::new(&file.path, 0, what));
            }
        }
    }
}

fn judge_member(file: &File, violations: &mut Vec<Violation>) {
    let mut section = "";
    let mut has_lints = false;
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        let entry = line.replace(' ', "");
        has_lints |= match section {
            "[lints]" => entry == "workspace=true",
            _ => entry == "lints.workspace=true",
        };
        if section == line && line.starts_with("[target.") && !file.is_below(OS_CRATE) {
            let what = format!("dependencies of one OS belong into {OS_CRATE}");
            violations.push(Violation::new(&file.path, index + 1, what));
        }
    }
    if !has_lints {
        violations.push(Violation::new(&file.path, 0, "lacks `[lints] workspace = true`"));
    }
}

/// The paths that a clippy configuration bans.
fn bans(file: &File) -> BTreeSet<&str> {
    let lines = file.text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once("path = \"")?.1.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_member_without_the_workspace_lints_is_found() {
        let files = [
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n"),
            ("crates/b/Cargo.toml", "[package]\nlints.workspace = true\n"),
            ("crates/c/Cargo.toml", "[package]\nname = \"c\"\n[lints.rust]\nworkspace = true\n"),
            ("fuzz/Cargo.toml", "[workspace]\n"),
            ("Cargo.toml", "[workspace]\n"),
        ];
        assert_eq!(found(judge, &files), ["crates/c/Cargo.toml: lacks `[lints] workspace = true`"]);
    }

    #[test]
    fn dependencies_of_one_os_are_found_outside_their_crate() {
        let text = "[lints]\nworkspace = true\n[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n";
        let files = [("crates/tutela/Cargo.toml", text), ("crates/tutela-os/Cargo.toml", text)];
        assert_eq!(
            found(judge, &files),
            ["crates/tutela/Cargo.toml:3: dependencies of one OS belong into crates/tutela-os"]
        );
    }

    #[test]
    fn a_crate_that_shakes_off_a_ban_is_found() {
        let files = [
            (
                "clippy.toml",
                "disallowed-methods = [\n  { path = \"std::a\", reason = \"r\" },\n  { path = \"std::b\" },\n]\n",
            ),
            ("crates/a/clippy.toml", "disallowed-methods = [{ path = \"std::b\" }]\n# { path = \"std::a\" }\n"),
        ];
        assert_eq!(
            found(judge, &files),
            ["crates/a/clippy.toml: clippy reads only the nearest file, so repeat the root's ban of `std::a`"]
        );
    }
}
