//! `tutela export`: a spec as native files.

use super::words::{ExportWords, ReportForm, TargetWord};
use super::{Code, DONE, FAILED, WRONG, report};
use crate::export::{self, Exported};
use tutela_schema::spec::{Os, Sources};

pub fn export(words: &ExportWords) -> Code {
    let mut sources = match Sources::of_process(&words.spec, words.profile.clone()) {
        Ok(sources) => sources,
        Err(error) => {
            report::error(&format!("the working folder is gone: {error}"), None);
            return FAILED;
        }
    };
    // The files are for that OS, wherever they are written.
    sources.os = match words.target {
        TargetWord::Systemd => Os::Linux,
        TargetWord::Launchd => Os::Macos,
    };
    let loaded = match tutela_schema::spec::read(&sources) {
        Ok(loaded) => loaded,
        Err(refused) => {
            report::diagnostics(&refused.diagnostics);
            return WRONG;
        }
    };
    let exported = match words.target {
        TargetWord::Systemd => export::systemd(&loaded),
        TargetWord::Launchd => export::launchd(&loaded),
    };
    match exported {
        Ok(exported) => write(words, &exported),
        Err(error) => {
            report::error(&error.to_string(), error.help());
            WRONG
        }
    }
}

fn write(words: &ExportWords, exported: &Exported) -> Code {
    let mut written = Vec::new();
    if let Some(dir) = &words.output {
        if let Some(taken) =
            exported.files.iter().map(|file| dir.join(&file.name)).find(|path| path.exists() && !words.force)
        {
            let help = "choose another folder, or write over it with --force";
            report::error(&format!("refused: {} exists already", taken.display()), Some(help));
            return WRONG;
        }
        let made = std::fs::create_dir_all(dir);
        for file in &exported.files {
            let path = dir.join(&file.name);
            let done = made.as_ref().map_err(ToString::to_string);
            let done = done.and_then(|()| std::fs::write(&path, &file.text).map_err(|error| error.to_string()));
            if let Err(error) = done {
                report::error(&format!("failed to write {}: {error}", path.display()), None);
                return FAILED;
            }
            written.push(path.display().to_string());
        }
    }
    let read = match words.report {
        ReportForm::Json => {
            let mut json = exported.json();
            json["written"] = written.into();
            report::print(&format!("{json}\n"))
        }
        ReportForm::Text => {
            let mut read = true;
            if words.output.is_none() {
                let texts: Vec<String> =
                    exported.files.iter().map(|file| format!("# ---- {} ----\n{}", file.name, file.text)).collect();
                read = report::print(&texts.join("\n"));
            }
            report::tell(exported.text().trim_end());
            for path in written {
                report::tell(&format!("wrote {path}"));
            }
            read
        }
    };
    if read { DONE } else { FAILED }
}
