//! What a PE file imports, and where Windows would look for it.
//!
//! In the order of a desktop program with safe search: the program's own folder, the system folder, the Windows folder,
//! `PATH`. The working folder is left out: a service's is no place to load code from. API sets (`api-ms-win-…`) are no
//! files but names of the system's own.

use super::{FILES_MAX, Missing};
use object::pe;
use object::read::pe::{ImageNtHeaders, PeFile};
use object::{LittleEndian, ReadCache, ReadCacheOps};
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Everything that `program`, and what lies beside it and is imported in turn, needs and nobody finds. What the system
/// itself imports is there with it.
pub(super) fn missing(program: &Path, path: Option<&OsStr>) -> Vec<Missing> {
    let windows = std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from);
    let own = program.parent().unwrap_or(Path::new("")).to_owned();
    let Some((wide, imports)) = read(program) else { return Vec::new() };
    // What a narrow program sees as System32 is another folder on a wide system.
    let narrow = windows.join("SysWOW64");
    let system = if wide || !narrow.is_dir() { windows.join("System32") } else { narrow };
    let mut folders = vec![own, system.clone(), windows.clone()];
    folders.extend(path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default());
    search(program, imports, &folders, |file| file.starts_with(&system) || file.starts_with(&windows))
}

fn search(
    program: &Path,
    imports: Vec<String>,
    folders: &[PathBuf],
    of_the_system: impl Fn(&Path) -> bool,
) -> Vec<Missing> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([(program.to_owned(), imports)]);
    while let Some((file, imports)) = open.pop_front() {
        for name in imports {
            let lower = name.to_ascii_lowercase();
            if lower.starts_with("api-ms-")
                || lower.starts_with("ext-ms-")
                || !seen.insert(lower)
                || seen.len() > FILES_MAX
            {
                continue;
            }
            match folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file()) {
                None => out.push(Missing { name, needed_by: file.clone() }),
                Some(found) if of_the_system(&found) => {}
                Some(found) => open.extend(read(&found).map(|(_, imports)| (found, imports))),
            }
        }
    }
    out
}

/// Whether it is a program of 64 bits, and what it imports.
fn read(path: &Path) -> Option<(bool, Vec<String>)> {
    let cached = ReadCache::new(File::open(path).ok()?);
    imports::<pe::ImageNtHeaders64, _>(&cached)
        .map(|names| (true, names))
        .or_else(|| imports::<pe::ImageNtHeaders32, _>(&cached).map(|names| (false, names)))
}

fn imports<Pe: ImageNtHeaders, R: ReadCacheOps>(cached: &ReadCache<R>) -> Option<Vec<String>> {
    let file = PeFile::<Pe, &ReadCache<R>>::parse(cached).ok()?;
    let Some(table) = file.import_table().ok()? else { return Some(Vec::new()) };
    let mut names = Vec::new();
    let mut descriptors = table.descriptors().ok()?;
    while let Ok(Some(descriptor)) = descriptors.next() {
        let name = table.name(descriptor.name.get(LittleEndian)).ok()?;
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Some(names)
}
