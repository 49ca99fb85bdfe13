//! What the code writes about itself: schemas and references, made by the binary, kept in the repository.
//!
//! The binary's hidden command `generate DIR` writes every such file below DIR under the path it has here. The
//! step compares, `cargo xtask generate` writes in place; so a change of a spec key, a route or a flag shows up
//! in review as the text that users will read.

use crate::cargo::{cargo, run};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// What must be made. More may be; less means that a generator was lost.
const EXPECTED: [&str; 4] =
    ["schema/spec.schema.json", "schema/openapi.json", "docs/reference/spec.md", "docs/reference/cli.md"];

/// The files in the repository are what the code generates.
pub fn compare(root: &Path) -> Result<String> {
    let made = Made::by_the_binary(root)?;
    let mut stale = Vec::new();
    for file in &made.files {
        let fresh = fs::read_to_string(made.dir.0.join(file))?;
        match fs::read_to_string(root.join(file)) {
            Ok(kept) if kept == fresh => {}
            Ok(kept) => stale.push(format!("{}: {}", file.display(), first_difference(&kept, &fresh))),
            Err(error) => stale.push(format!("{}: {error}", file.display())),
        }
    }
    if !stale.is_empty() {
        let count = stale.len();
        bail!("{count} generated files are stale; mend with `cargo xtask generate`\n  {}", stale.join("\n  "));
    }
    Ok(format!("{} files", made.files.len()))
}

/// Writes the files into the repository.
pub fn write(root: &Path) -> Result<String> {
    let made = Made::by_the_binary(root)?;
    for file in &made.files {
        let target = root.join(file);
        fs::create_dir_all(target.parent().context("a generated file has no folder")?)?;
        fs::copy(made.dir.0.join(file), &target).with_context(|| format!("failed to write {}", target.display()))?;
        println!("wrote {}", file.display());
    }
    Ok(format!("{} files", made.files.len()))
}

struct Made {
    dir: TemporaryDir,
    /// Relative to `dir` and to the repository's root alike.
    files: Vec<PathBuf>,
}

impl Made {
    fn by_the_binary(root: &Path) -> Result<Self> {
        let dir = TemporaryDir::new()?;
        let mut command = cargo(root);
        command.args(["run", "--quiet", "--locked", "--package", "tutela", "--", "generate"]).arg(&dir.0);
        run(&mut command)?;
        let mut files = Vec::new();
        collect(&dir.0, Path::new(""), &mut files)?;
        files.sort();
        for expected in EXPECTED {
            if !files.iter().any(|file| file == Path::new(expected)) {
                bail!("`tutela generate` wrote no {expected}");
            }
        }
        Ok(Made { dir, files })
    }
}

fn collect(dir: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(dir, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The first line that differs, for a message that fits one line.
fn first_difference(kept: &str, fresh: &str) -> String {
    let mut fresh_lines = fresh.lines();
    for (index, line) in kept.lines().enumerate() {
        match fresh_lines.next() {
            Some(other) if other == line => {}
            Some(other) => return format!("line {}: has `{}`, should be `{}`", index + 1, line.trim(), other.trim()),
            None => return format!("line {} and what follows it should not be there", index + 1),
        }
    }
    match fresh_lines.next() {
        Some(line) => format!("ends before `{}`", line.trim()),
        None => "line ends differ".to_owned(),
    }
}

/// A folder of our own, gone when this is dropped.
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tutela-generated-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("failed to make {}", path.display()))?;
        Ok(TemporaryDir(path))
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What stays behind is a few kilobytes in the OS's own temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told_by_line() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), "line 2: has `b`, should be `c`");
        assert_eq!(first_difference("a\n", "a\nb\n"), "ends before `b`");
        assert_eq!(first_difference("a\nb\n", "a\n"), "line 2 and what follows it should not be there");
        assert_eq!(first_difference("a\n", "a"), "line ends differ");
    }
}
