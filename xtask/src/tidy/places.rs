//! Paths and hosts of somebody's machine: a repository that names them works in one place only, and tells
//! strangers about that place.

use super::Violation;
use crate::tree::Tree;

/// Folders that only one machine has. In two pieces each, so that this file does not name them.
const FOLDERS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/tar", "get-"), ("/home/run", "ner/")];

/// Settings that send a package tool to a registry of one's own.
const REGISTRY_SETTINGS: [(&str, &str); 4] =
    [("replace-", "with"), ("index-", "url"), ("[sour", "ce."), ("[regis", "tries")];

/// Parts of the names of hosts that mirror a registry, or that only an inner network knows.
const HOST_PARTS: [&str; 5] = ["artifactory", "jfrog", "nexus.", "mirror", "proxy."];

/// Ends of the names of hosts that only an inner network knows.
const HOST_ENDS: [&str; 4] = [".internal", ".corp", ".lan", ".intra"];

/// Where a crate may come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Judges every text file.
pub fn judge(tree: &Tree, violations: &mut Vec<Violation>) {
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            let mut report = |what: String| violations.push(Violation::new(&file.path, index + 1, what));
            for (front, back) in FOLDERS {
                let folder = format!("{front}{back}");
                if holds_path(line, &folder) {
                    report(format!("`{folder}` is a folder of one machine"));
                }
            }
            for (front, back) in REGISTRY_SETTINGS {
                let setting = format!("{front}{back}");
                if line.contains(&setting) {
                    report(format!("`{setting}` sends a package tool to a registry of one's own"));
                }
            }
            for host in hosts(line).filter(|host| is_inner(host)) {
                report(format!("`{host}` is a host that others cannot reach"));
            }
            if file.path.ends_with("Cargo.lock")
                && let Some(source) = line.strip_prefix("source = ")
                && source.trim_matches('"') != CRATES_IO
            {
                report(format!("{source} is not crates.io"));
            }
        }
    }
}

/// Whether `line` has `folder` as the beginning of a path, not as a part of a longer one.
fn holds_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "._-/*})".contains(character))
    })
}

/// The hosts of the addresses in `line`.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).filter_map(|rest| {
        let authority = rest.split(['/', '"', '\'', '`', ' ', ')', '>', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        host.split(':').next()
    })
}

fn is_inner(host: &str) -> bool {
    HOST_PARTS.iter().any(|part| host.contains(part)) || HOST_ENDS.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_folder_of_one_machine_is_found() {
        let line =
            format!("cd {}{}main && ls docs{}{}x ./{0}{1}", FOLDERS[0].0, FOLDERS[0].1, FOLDERS[0].0, FOLDERS[0].1);
        let wrong = found(judge, &[("a.sh", &line)]);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].ends_with("is a folder of one machine"), "{wrong:?}");
    }

    #[test]
    fn a_host_that_others_cannot_reach_is_found() {
        // In pieces, so that this file does not name them.
        let (host, inner) = (["crates.", "artifactory", ".example"].concat(), ["ci", ".lan"].concat());
        let line = format!("https://ops.example/hook, https://x:y@{host}:8443/x and http://{inner}");
        assert_eq!(
            found(judge, &[("a.md", &line)]),
            [
                format!("a.md:1: `{host}` is a host that others cannot reach"),
                format!("a.md:1: `{inner}` is a host that others cannot reach"),
            ]
        );
    }

    #[test]
    fn a_crate_from_elsewhere_is_found() {
        let lock = format!("source = \"{CRATES_IO}\"\nsource = \"git+https://example.org/x\"\n");
        assert_eq!(
            found(judge, &[("Cargo.lock", &lock)]),
            ["Cargo.lock:2: \"git+https://example.org/x\" is not crates.io"]
        );
    }
}
