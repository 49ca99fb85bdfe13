//! What programs link to, and whether this computer has it: the reason that a copied program most often does not start.
//!
//! - [`elf`]: what an ELF file names, and how the dynamic linker would look for it;
//! - [`cache`]: the list that `ldconfig` makes;
//! - [`pe`]: what a PE file imports, and where Windows would look for it.
//!
//! Deliberately absent: what a program loads by itself while it runs; nobody can know that.

mod cache;
mod elf;
mod pe;

use super::{Call, Chart};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tutela_os::Os;
use tutela_schema::spec::Code;

/// Files that are looked at for one program; a desktop's largest have some two hundred.
const FILES_MAX: usize = 500;

/// A library that nobody finds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    name: String,
    /// The file that names it.
    needed_by: PathBuf,
}

/// What was found out about programs already, by file and the folders that their environment adds.
#[derive(Debug, Default)]
pub(super) struct Inspected(BTreeMap<(PathBuf, Option<OsString>), Vec<Missing>>);

pub(super) fn examine(chart: &mut Chart<'_>, inspected: &mut Inspected, call: &Call<'_>, program: &Path) {
    let added = match Os::CURRENT {
        Os::Linux => call.variable("LD_LIBRARY_PATH"),
        Os::Windows => call.variable("PATH"),
        // Its linker's own cache holds libraries that are in no folder.
        Os::MacOs => return,
    };
    let missing = inspected.0.entry((program.to_owned(), added.clone())).or_insert_with(|| match Os::CURRENT {
        Os::Windows => pe::missing(program, added.as_deref()),
        _ => elf::missing(&interpreter(program), added.as_deref()),
    });
    for Missing { name, needed_by } in missing.iter() {
        let message = format!("{} needs {name}, which is not on this computer", needed_by.display());
        chart.wrong(Code::LibraryMissing, call.service.name.as_str(), &call.keys, message, advice(name));
    }
}

/// What runs: the program itself, or the one that the first line of a script names.
fn interpreter(program: &Path) -> PathBuf {
    use std::io::{BufRead, BufReader, Read};
    /// The kernel reads no more of a first line.
    const LINE_BYTES_MAX: u64 = 256;
    let Ok(file) = std::fs::File::open(program) else { return program.to_owned() };
    let mut line = Vec::new();
    if BufReader::new(file.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).is_err() {
        return program.to_owned();
    }
    let line = String::from_utf8_lossy(&line);
    line.strip_prefix("#!")
        .and_then(|rest| rest.split_whitespace().next())
        .map_or_else(|| program.to_owned(), PathBuf::from)
}

fn advice(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("vcruntime") || lower.starts_with("msvcp") {
        return "install the Microsoft Visual C++ Redistributable of the same architecture".into();
    }
    if lower.starts_with("ld-") || lower.starts_with("libc.so") || lower.starts_with("libc.musl") {
        return "it was built for another C library: build it for this one, or statically (musl)".into();
    }
    match Os::CURRENT {
        Os::Windows => "install what has it, or put it beside the program".into(),
        _ => format!("install the package that has it (such as apt-file search {name}), or set LD_LIBRARY_PATH in env"),
    }
}
