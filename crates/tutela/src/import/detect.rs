//! Which format a source has, told by its name and its first words.

use super::source::{ImportError, Source};

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// NSSM: a registry export of its services.
    Nssm,
    /// WinSW: the XML file beside its executable.
    Winsw,
    /// supervisord: an INI file.
    Supervisord,
    /// systemd: a unit file.
    Systemd,
    /// pm2: an ecosystem file.
    Pm2,
    /// A Procfile, as foreman and Heroku have it.
    Procfile,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] =
        [Format::Nssm, Format::Winsw, Format::Supervisord, Format::Systemd, Format::Pm2, Format::Procfile];

    /// The word on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Format::Nssm => "nssm",
            Format::Winsw => "winsw",
            Format::Supervisord => "supervisord",
            Format::Systemd => "systemd",
            Format::Pm2 => "pm2",
            Format::Procfile => "procfile",
        }
    }

    /// What it is, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Format::Nssm => "services of NSSM, from a registry export",
            Format::Winsw => "a service of WinSW",
            Format::Supervisord => "programs of supervisord",
            Format::Systemd => "a systemd unit",
            Format::Pm2 => "an ecosystem of pm2",
            Format::Procfile => "a Procfile",
        }
    }

    /// The OS that its programs run on.
    pub const fn os(self) -> tutela_schema::spec::Os {
        match self {
            Format::Nssm | Format::Winsw => tutela_schema::spec::Os::Windows,
            Format::Supervisord | Format::Systemd | Format::Pm2 | Format::Procfile => tutela_schema::spec::Os::Linux,
        }
    }
}

/// The ends of names that only units have.
const UNIT_ENDS: [&str; 7] = [".service", ".socket", ".timer", ".target", ".mount", ".path", ".slice"];

/// Finds out which format it is.
pub(super) fn detect(source: &Source, text: &str) -> Result<Format, Box<ImportError>> {
    let name = source.shown.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let begin = text.trim_start();
    if begin.starts_with("Windows Registry Editor") || begin.starts_with("REGEDIT4") || name.ends_with(".reg") {
        return Ok(Format::Nssm);
    }
    if begin.starts_with('<') || name.ends_with(".xml") {
        return Ok(Format::Winsw);
    }
    if name.starts_with("procfile") {
        return Ok(Format::Procfile);
    }
    if UNIT_ENDS.iter().any(|end| name.ends_with(end)) {
        return Ok(Format::Systemd);
    }
    let scripts = [".js", ".cjs", ".mjs", ".json"];
    if scripts.iter().any(|end| name.ends_with(end)) || begin.starts_with('{') || begin.starts_with("module.exports") {
        return Ok(Format::Pm2);
    }
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        let message = "this is YAML, which the importer does not read";
        let help = "an ecosystem of pm2 becomes JSON with: \
                    python3 -c 'import json,sys,yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)'";
        return Err(ImportError::at(&source.shown, 1, 1, message).help(help));
    }
    let mut sections = text.lines().map(str::trim).filter(|line| line.starts_with('['));
    if let Some(section) = sections.next() {
        let inner = section.trim_start_matches('[');
        let known = ["Unit]", "Service]", "Install]", "Socket]", "Timer]"];
        return Ok(match known.iter().any(|it| inner.starts_with(it)) {
            true => Format::Systemd,
            false => Format::Supervisord,
        });
    }
    let typed = |line: &str| {
        let Some((name, command)) = line.split_once(':') else { return false };
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) && command.starts_with([' ', '\t'])
    };
    if text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).is_some_and(typed) {
        return Ok(Format::Procfile);
    }
    let words: Vec<_> = Format::ALL.iter().map(|format| format.word()).collect();
    let message = "it is not clear which format this is";
    Err(ImportError::at(&source.shown, 1, 1, message).help(format!("say it: --from {}", words.join("|"))))
}
