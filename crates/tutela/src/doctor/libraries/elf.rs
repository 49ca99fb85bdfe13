//! What an ELF file names, and how the dynamic linker of glibc or musl would look for it.
//!
//! In the linker's order: the file's own `RPATH` where it has no `RUNPATH`, `LD_LIBRARY_PATH`, its `RUNPATH`, the cache,
//! the standard folders. A file of another class or machine is passed over, as the linker does.

use super::{FILES_MAX, Missing, cache};
use object::elf;
use object::read::elf::{ElfFile, FileHeader};
use object::{Endianness, ReadCache, ReadCacheOps};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where glibc looks when the cache does not know; on most systems the cache knows.
const STANDARD: [&str; 6] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"];

/// musl's, where `/etc/ld-musl-ARCH.path` says nothing else.
const STANDARD_MUSL: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// What the kernel gives to every program.
const OF_THE_KERNEL: [&str; 3] = ["linux-vdso.so.1", "linux-gate.so.1", "linux-vdso64.so.1"];

/// What a file says about what it links to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Links {
    interpreter: Option<PathBuf>,
    needed: Vec<String>,
    rpath: Vec<String>,
    runpath: Vec<String>,
}

/// Class and machine: what two files that are linked must share.
type Kind = (u8, [u8; 2]);

/// Everything that `program`, and what it links to in turn, needs and nobody finds. Empty for what is no ELF file or is
/// linked statically.
pub(super) fn missing(program: &Path, added: Option<&OsStr>) -> Vec<Missing> {
    let (Some(kind), Some(links)) = (kind_of(program), read(program)) else { return Vec::new() };
    let Some(linker) = links.interpreter.clone() else { return Vec::new() };
    let mut out = Vec::new();
    if !linker.exists() {
        let name = linker.display().to_string();
        return vec![Missing { name, needed_by: program.to_owned() }];
    }
    let search = Search::of(&linker, added, kind);
    let mut seen: HashSet<PathBuf> = HashSet::from([program.to_owned()]);
    let mut open = VecDeque::from([(program.to_owned(), links, Vec::new())]);
    while let Some((file, links, inherited)) = open.pop_front() {
        // An RPATH goes for what is linked in turn too, unless the file has a RUNPATH.
        let mut rpath = if links.runpath.is_empty() { expanded(&links.rpath, &file) } else { Vec::new() };
        rpath.extend(inherited);
        let runpath = expanded(&links.runpath, &file);
        for name in &links.needed {
            if OF_THE_KERNEL.contains(&name.as_str()) {
                continue;
            }
            match search.find(name, &rpath, &runpath) {
                None => out.push(Missing { name: name.clone(), needed_by: file.clone() }),
                Some(found) => {
                    if seen.len() < FILES_MAX
                        && seen.insert(found.clone())
                        && let Some(links) = read(&found)
                    {
                        open.push_back((found, links, rpath.clone()));
                    }
                }
            }
        }
    }
    // The same library, missed by several, is told once.
    let mut told = HashSet::new();
    out.retain(|missing| told.insert(missing.name.clone()));
    out
}

/// Where is looked besides what the files say themselves.
struct Search {
    added: Vec<PathBuf>,
    cache: HashMap<String, Vec<PathBuf>>,
    standard: Vec<PathBuf>,
    kind: Kind,
}

impl Search {
    fn of(linker: &Path, added: Option<&OsStr>, kind: Kind) -> Search {
        let added = added.map(|added| std::env::split_paths(added).collect()).unwrap_or_default();
        let name = linker.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(arch) = name.strip_prefix("ld-musl-") else {
            let cache = std::fs::read("/etc/ld.so.cache").map(|bytes| cache::parse(&bytes)).unwrap_or_default();
            return Search { added, cache, standard: STANDARD.map(PathBuf::from).to_vec(), kind };
        };
        let list = format!("/etc/ld-musl-{}.path", arch.split('.').next().unwrap_or(arch));
        let standard = match std::fs::read_to_string(list) {
            Ok(text) => text.split([':', '\n']).filter(|line| !line.is_empty()).map(PathBuf::from).collect(),
            Err(_) => STANDARD_MUSL.map(PathBuf::from).to_vec(),
        };
        // musl's linker and its C library are one file.
        Search { added, cache: HashMap::from([(format!("libc.musl-{arch}"), vec![linker.to_owned()])]), standard, kind }
    }

    fn find(&self, name: &str, rpath: &[PathBuf], runpath: &[PathBuf]) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| self.fits(path));
        }
        let folders = |list: &[PathBuf]| list.iter().map(|folder| folder.join(name)).find(|path| self.fits(path));
        folders(rpath)
            .or_else(|| folders(&self.added))
            .or_else(|| folders(runpath))
            .or_else(|| self.cache.get(name)?.iter().find(|path| self.fits(path)).cloned())
            .or_else(|| folders(&self.standard))
    }

    fn fits(&self, path: &Path) -> bool {
        kind_of(path) == Some(self.kind)
    }
}

fn kind_of(path: &Path) -> Option<Kind> {
    let mut head = [0_u8; 20];
    Read::read_exact(&mut File::open(path).ok()?, &mut head).ok()?;
    (head[..4] == elf::ELFMAG).then_some((head[4], [head[18], head[19]]))
}

fn read(path: &Path) -> Option<Links> {
    let (class, _) = kind_of(path)?;
    let cached = ReadCache::new(File::open(path).ok()?);
    if class == elf::ELFCLASS64.0 {
        links::<elf::FileHeader64<Endianness>, _>(&cached)
    } else {
        links::<elf::FileHeader32<Endianness>, _>(&cached)
    }
}

fn links<Elf: FileHeader<Endian = Endianness>, R: ReadCacheOps>(cached: &ReadCache<R>) -> Option<Links> {
    use object::read::elf::ProgramHeader;
    let file = ElfFile::<Elf, &ReadCache<R>>::parse(cached).ok()?;
    let mut links = Links::default();
    for header in file.elf_program_headers() {
        if let Ok(Some(path)) = header.interpreter(file.endian(), cached) {
            links.interpreter = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        }
    }
    let table = file.elf_dynamic_table().ok()?;
    for entry in &table {
        let Ok(text) = table.string(entry) else { continue };
        let text = || String::from_utf8_lossy(text).into_owned();
        let folders = |text: String| text.split(':').filter(|one| !one.is_empty()).map(String::from).collect();
        match entry.tag {
            elf::DT_NEEDED => links.needed.push(text()),
            elf::DT_RPATH => links.rpath = folders(text()),
            elf::DT_RUNPATH => links.runpath = folders(text()),
            _ => {}
        }
    }
    Some(links)
}

/// Folders with what stands for the file's own folder filled in.
fn expanded(folders: &[String], file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let origin = real.parent().unwrap_or(Path::new("/")).display().to_string();
    let expand = |folder: &String| {
        let whole = folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
        whole.replace("${LIB}", "lib").replace("$LIB", "lib")
    };
    folders.iter().map(expand).map(PathBuf::from).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_the_files_own_folder_is_filled_in() {
        let folders = ["$ORIGIN/../lib".to_owned(), "/opt/x".to_owned(), "${ORIGIN}".to_owned()];
        let expanded = expanded(&folders, Path::new("/no/such/bin/api"));
        assert_eq!(expanded, ["/no/such/bin/../lib", "/opt/x", "/no/such/bin"].map(PathBuf::from));
    }

    #[test]
    fn a_file_that_is_no_program_misses_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert_eq!(missing(file.path(), None), []);
        assert_eq!(missing(Path::new("/no/such/file"), None), []);
    }
}
