//! The repository's own text, read once: what `tidy` judges.
//!
//! Files that git tracks and files it does not ignore: so a slip is told before it is committed, and nothing
//! that was built or downloaded is ever judged.

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// One text file.
#[derive(Debug)]
pub struct File {
    /// Relative to the root, with `/` between the parts.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl File {
    /// Whether it is a Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it lies in `folder`, which is written without a slash at its end.
    pub fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Tree {
    /// Text files, by path.
    pub files: Vec<File>,
    /// Every path that a link may lead to: files of any kind, and the folders that hold them.
    pub places: BTreeSet<String>,
}

impl Tree {
    /// Reads the tree below `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let listed = Command::new("git")
            // A clone may belong to another account than the one that checks it; listing its names is harmless.
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("failed to start git")?;
        if !listed.status.success() {
            bail!("`git ls-files` failed: {}", String::from_utf8_lossy(&listed.stderr).trim());
        }
        let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
        let mut tree = Tree::default();
        // A path can be listed twice while a merge is under way, so the set comes first.
        let names: BTreeSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
        for name in names {
            let path = root.join(name);
            if !path.is_file() {
                continue; // deleted but not yet committed, or a link
            }
            let bytes = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            tree.add_place(name);
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.push(File { path: name.to_owned(), text });
            }
        }
        Ok(tree)
    }

    /// Adds a path and every folder above it.
    fn add_place(&mut self, path: &str) {
        self.places.insert(path.to_owned());
        for (at, _) in path.match_indices('/') {
            self.places.insert(path[..at].to_owned());
        }
    }
}

#[cfg(test)]
impl Tree {
    /// A tree with these files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.add_place(path);
            tree.files.push(File { path: (*path).to_owned(), text: (*text).to_owned() });
        }
        tree
    }
}
