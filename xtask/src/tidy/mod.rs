//! What rustfmt and clippy cannot know about our own text: how a module begins, where an OS may be named, which
//! words are banned, whether a link leads somewhere.
//!
//! Each file here holds one concern: a function from the [`Tree`] to violations. Nothing here reads a disk, so a
//! test plants a violation in a tree of its own.
//!
//! - [`source`]: Rust text taken apart into code and comments; the door to the next two;
//! - [`modules`]: how a Rust module begins, is called and how long it gets;
//! - [`borders`]: where an OS may be named, and what the ground floor may not name at all;
//! - [`manifests`]: `Cargo.toml` and `clippy.toml`;
//! - [`links`]: links in Markdown;
//! - [`places`]: paths and hosts of somebody's machine.

mod borders;
mod links;
mod manifests;
mod modules;
mod places;
pub(crate) mod source;

use crate::tree::Tree;
use anyhow::{Result, bail};
use std::fmt;
use std::path::Path;

/// Something to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    /// Counted from 1; 0 where it is about the whole file.
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Violation { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Every file is tidy. Prints the ten longest, so that growth is seen before it hurts.
pub fn step(root: &Path) -> Result<String> {
    let tree = Tree::read(root)?;
    println!("longest files:");
    for (lines, path) in modules::longest(&tree) {
        println!("  {lines:>5}  {path}");
    }
    let violations = judge(&tree);
    if !violations.is_empty() {
        let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
        bail!("{} places are untidy\n  {}", lines.len(), lines.join("\n  "));
    }
    Ok(format!("{} files", tree.files.len()))
}

fn judge(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    modules::judge(tree, &mut violations);
    borders::judge(tree, &mut violations);
    manifests::judge(tree, &mut violations);
    links::judge(tree, &mut violations);
    places::judge(tree, &mut violations);
    violations.sort();
    violations
}

/// What one concern finds in a tree of these files, as it would be printed.
#[cfg(test)]
fn found(judge: fn(&Tree, &mut Vec<Violation>), files: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    judge(&Tree::of(files), &mut violations);
    violations.iter().map(Violation::to_string).collect()
}
