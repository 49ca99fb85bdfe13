//! `tutela import`: what other supervisors are configured with, as a spec.

use super::words::{ImportWords, ReportForm};
use super::{Code, DONE, FAILED, WRONG, report};
use crate::import::{self, FILE_BYTES_MAX, ImportError, Imported, OnDisk, Options, Source, Surroundings};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tutela_os::files::is_same;

pub fn import(words: &ImportWords) -> Code {
    let target = words.output.as_deref();
    if let Some(path) = target.filter(|path| path.exists() && !words.force) {
        report::error(
            &format!("refused: {} exists already", path.display()),
            Some("choose another file, or write over it with --force"),
        );
        return WRONG;
    }
    let same = |file: &PathBuf| target.is_some_and(|target| is_same(file, target));
    if let Some(path) = words.files.iter().find(|file| same(file)) {
        report::error(
            &format!("refused: {} is what is read, and would be written over", path.display()),
            Some("choose another file for --output"),
        );
        return WRONG;
    }
    let mut sources = Vec::new();
    for path in &words.files {
        match source(path, target) {
            Ok(source) => sources.push(source),
            Err(message) => {
                report::error(&message, Some("name the files of the other supervisor, or - for standard input"));
                return WRONG;
            }
        }
    }
    let stem = target.and_then(Path::file_stem).and_then(|stem| stem.to_str()).map(str::to_owned);
    let options = Options { format: words.from.map(Into::into), name: words.name.clone().or(stem) };
    let imported = match import::import(&sources, &options, &OnDisk) {
        Ok(imported) => imported,
        Err(error) => return refused(&error),
    };
    write(words, &imported)
}

fn refused(error: &ImportError) -> Code {
    report::error(&error.to_string(), error.help.as_deref());
    WRONG
}

/// Reads one file; `-` is standard input, and has the working folder around it.
fn source(path: &Path, target: Option<&Path>) -> Result<Source, String> {
    let shown: Arc<str> = Arc::from(path.to_string_lossy().into_owned());
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).map(|_| bytes)
    } else {
        OnDisk.read(path)
    };
    let bytes = bytes.map_err(|error| format!("refused: {shown} cannot be read: {error}"))?;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let folder_of = |path: &Path| absolute(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let folder = folder_of(path);
    // Without a file to write, the spec is taken to go beside the first thing that it is made of.
    let beside = target.is_none_or(|target| folder_of(target) == folder);
    Ok(Source { path: path.to_path_buf(), shown, here: folder.to_string_lossy().into_owned(), beside, bytes })
}

/// Writes the spec, its overlays and the report.
fn write(words: &ImportWords, imported: &Imported) -> Code {
    let mut written: Vec<PathBuf> = Vec::new();
    if let Some(path) = &words.output {
        let mut files = vec![(path.clone(), &imported.spec)];
        for (profile, text) in &imported.overlays {
            files.push((path.with_extension(format!("{profile}.toml")), text));
        }
        for (path, text) in files {
            if let Err(error) = std::fs::write(&path, text) {
                report::error(&format!("failed to write {}: {error}", path.display()), None);
                return FAILED;
            }
            written.push(path);
        }
    }
    let told = match words.report {
        ReportForm::Json => {
            let mut json = imported.report.json();
            json["name"] = imported.name.as_str().into();
            json["spec"] = imported.spec.as_str().into();
            json["overlays"] = serde_json::json!(imported.overlays);
            json["written"] = written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().into();
            report::print(&format!("{json}\n"))
        }
        ReportForm::Text => {
            let mut read = true;
            if words.output.is_none() {
                read = report::print(&imported.spec);
                for profile in imported.overlays.keys() {
                    report::tell(&format!("the overlay of the profile {profile} is written with -o only"));
                }
            }
            report::tell(imported.report.text().trim_end());
            for path in &written {
                report::tell(&format!("wrote {}", path.display()));
            }
            if let Some(path) = &words.output {
                report::tell(&format!("next: read it, then try it with `tutela check {}`", path.display()));
            }
            read
        }
    };
    if told { DONE } else { FAILED }
}
