//! Whole imports: each folder of `testdata/FORMAT/` has a source, the spec that it becomes, and the report.
//!
//! `TUTELA_BLESS=1` writes what came out; what it writes is to be read, because a wrong translation that is blessed is a
//! defect like any other.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::{Fate, Format, Imported, OnDisk, Options, Source, Surroundings, import};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The fewest cases of each format.
const CASES_MIN: usize = 20;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/testdata")
}

/// Files of one case, by paths within it.
struct Within(PathBuf);

impl Surroundings for Within {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OnDisk.read(&self.0.join(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        OnDisk.list(&self.0.join(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    OnDisk.list(folder).unwrap()
}

/// The folder that the source would have on its own computer.
fn here(format: Format) -> &'static str {
    match format {
        Format::Nssm | Format::Winsw => "C:\\Services\\app",
        Format::Supervisord => "/etc/supervisor",
        Format::Systemd => "/etc/systemd/system",
        Format::Pm2 | Format::Procfile => "/srv/shop",
    }
}

fn run(format: Format, folder: &Path) -> Imported {
    let sources: Vec<Source> = names(folder)
        .into_iter()
        .filter(|name| !name.starts_with("expected") && !name.starts_with('.') && folder.join(name).is_file())
        .map(|name| Source {
            path: PathBuf::from(&name),
            shown: Arc::from(name.as_str()),
            here: here(format).to_owned(),
            beside: matches!(format, Format::Pm2 | Format::Procfile),
            bytes: std::fs::read(folder.join(&name)).unwrap(),
        })
        .collect();
    let options = Options { format: None, name: None };
    match import(&sources, &options, &Within(folder.to_path_buf())) {
        Ok(imported) => imported,
        Err(error) => panic!("{}: {error}: {:?}", folder.display(), error.help),
    }
}

fn cases(format: Format) {
    let bless = std::env::var_os("TUTELA_BLESS").is_some();
    let root = testdata().join(format.word());
    let folders = names(&root);
    assert!(folders.len() >= CASES_MIN, "{} has {} cases", format.word(), folders.len());
    let mut different = Vec::new();
    for case in &folders {
        let folder = root.join(case);
        let imported = run(format, &folder);
        let mut files = BTreeMap::from([
            ("expected.toml".to_owned(), imported.spec.clone()),
            ("expected.report".to_owned(), imported.report.text()),
        ]);
        for (profile, text) in &imported.overlays {
            files.insert(format!("expected.{profile}.toml"), text.clone());
        }
        for (name, text) in files {
            let path = folder.join(&name);
            if bless {
                std::fs::write(&path, &text).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n") != text {
                different.push(format!("{}\n{text}", path.display()));
            }
        }
        assert!(
            imported.report.sources.iter().all(|(_, known)| *known == format),
            "{case} is taken for another format"
        );
        is_valid(format, &folder, &imported);
        tells_of_everything(&imported);
    }
    assert!(different.is_empty(), "{} files differ:\n{}", different.len(), different.join("\n"));
}

/// The blessed spec is read by the schema, as `tutela check --offline` would.
fn is_valid(format: Format, folder: &Path, imported: &Imported) {
    let text = std::fs::read_to_string(folder.join("expected.toml")).unwrap();
    // Secrets are for whoever runs it to give.
    let env = super::verify::wanted(&text).map(|name| (name.to_owned(), "given".to_owned())).collect();
    let mut files = BTreeMap::from([(PathBuf::from("/spec/guard.toml"), text.into_bytes())]);
    for path in env_files(&imported.spec) {
        files.insert(path, Vec::new());
    }
    let sources = tutela_schema::spec::Sources {
        path: "/spec/guard.toml".into(),
        cwd: "/spec".into(),
        profile: None,
        env,
        env_left_out: Vec::new(),
        os: format.os(),
        files: &files,
    };
    if let Err(refused) = tutela_schema::spec::read(&sources) {
        panic!("{}: {refused}", folder.display());
    }
}

/// The environment files that a spec reads, where it looks for them.
fn env_files(spec: &str) -> Vec<PathBuf> {
    let table: toml::Table = spec.parse().unwrap();
    let services = table.get("services").and_then(toml::Value::as_table).unwrap();
    let files = services.values().filter_map(|it| it.get("env_files")).filter_map(toml::Value::as_array).flatten();
    let path = |file: &toml::Value| {
        file.as_str().or_else(|| file.get("path")?.as_str()).map(|path| Path::new("/spec").join(path))
    };
    files.filter_map(path).collect()
}

/// Nothing is told without saying how or why, and no password is in anything that is written.
fn tells_of_everything(imported: &Imported) {
    for finding in &imported.report.findings {
        assert_eq!(finding.note.is_empty(), finding.fate == Fate::Kept, "{finding:?}");
        assert!(finding.line > 0 && !finding.key.is_empty(), "{finding:?}");
    }
    for text in imported.overlays.values().chain([&imported.spec, &imported.report.text()]) {
        assert!(!text.contains("hunter2"), "a password is in {text}");
    }
}

macro_rules! formats {
    ($($test:ident: $format:ident,)*) => { $(
        #[test]
        fn $test() {
            cases(Format::$format);
        }
    )* };
}

formats! {
    services_of_nssm_become_what_is_expected: Nssm,
    services_of_winsw_become_what_is_expected: Winsw,
    programs_of_supervisord_become_what_is_expected: Supervisord,
    units_of_systemd_become_what_is_expected: Systemd,
    apps_of_pm2_become_what_is_expected: Pm2,
    procfiles_become_what_is_expected: Procfile,
}

fn source(name: &str, bytes: impl Into<Vec<u8>>) -> Source {
    Source { path: name.into(), shown: Arc::from(name), here: "/srv/it".to_owned(), beside: true, bytes: bytes.into() }
}

fn refusal(name: &str, bytes: impl Into<Vec<u8>>) -> (u32, u32, String) {
    let error = import(&[source(name, bytes)], &Options::default(), &OnDisk).unwrap_err();
    (error.line, error.column, error.message)
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let names = ["a.reg", "a.xml", "a.conf", "a.service", "a.json", "Procfile"];
    for name in names {
        for bytes in [&b""[..], b"  \n\n", b"\xEF\xBB\xBF"] {
            assert_eq!(refusal(name, bytes), (1, 1, "the file is empty".to_owned()), "{name}");
        }
        let (line, column, message) = refusal(name, &b"ab\nc\xFFd"[..]);
        assert_eq!((line, column), (2, 2), "{name}: {message}");
        let (line, column, message) = refusal(name, &b"[a]\nx=\0y"[..]);
        assert_eq!((line, column), (2, 3), "{name}: {message}");
        let large = vec![b'x'; 20 * 1024 * 1024];
        assert!(refusal(name, large).2.contains("larger than"), "{name}");
    }
    assert!(refusal("a.reg", &b"\xFF\xFEa\0b"[..]).2.contains("within a character"));
    assert!(refusal("a.reg", &b"\xFF\xFE\x00\xD8a\x00"[..]).2.contains("half of a character"));
}

#[test]
fn a_large_file_that_is_allowed_takes_no_time_that_grows_faster_than_it() {
    let many = "[program:a]\ncommand=/bin/a\n".to_owned()
        + &"; a comment of some length, as people write them\n".repeat(300_000);
    let imported = import(&[source("a.conf", many)], &Options::default(), &OnDisk).unwrap();
    assert_eq!(imported.name, "a");
    let many: String = (0..1001).map(|n| format!("p{n}: run\n")).collect();
    assert!(refusal("Procfile", many).2.contains("1001 services"));
}

#[test]
fn xml_with_entities_of_its_own_is_refused() {
    let bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [\n <!ENTITY a \"aaaaaaaaaa\">\n <!ENTITY b \"&a;&a;&a;&a;\">\n]>\n\
                <service><id>&b;</id><executable>x</executable></service>";
    let (line, column, message) = refusal("a.xml", bomb);
    assert_eq!((line, column), (2, 1));
    assert!(message.contains("DTD"));
    let deep = "<service>".to_owned() + &"<a>".repeat(100_000);
    assert!(refusal("a.xml", deep).2.contains("no XML"));
    assert_eq!(refusal("a.xml", "<service>\n <id>x</id\n</service>").0, 3);
}

#[test]
fn files_that_include_each_other_and_themselves_are_read_once() {
    struct Circle;
    impl Surroundings for Circle {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let text = format!("[program:{name}]\ncommand=/bin/x\n[include]\nfiles = *.ini a.conf\n");
            Ok(text.into_bytes())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(vec!["a.conf".into(), "b.ini".into(), "c.ini".into()])
        }
    }
    let main = "[include]\nfiles = *.ini x/../b.ini a.conf\n[program:main]\ncommand=/bin/m\n";
    let imported = import(&[source("a.conf", main)], &Options::default(), &Circle).unwrap();
    let services = ["b.ini", "c.ini", "main"].map(|name| format!("[services.{}]", super::text::key(name)));
    for service in services {
        assert_eq!(imported.spec.matches(&service).count(), 1, "{service} in {}", imported.spec);
    }
}

#[test]
fn several_sources_become_one_spec_in_which_they_need_each_other() {
    let folder = testdata();
    let unit = "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\nExecStart=/bin/api\n[Install]\nWantedBy=multi-user.target\n";
    let db = "[Service]\nExecStart=/bin/db\nType=notify\n";
    let sources = [source("api.service", unit), source("db.service", db), source("Procfile", "api: node x\n")];
    let options = Options { name: Some("shop".to_owned()), ..Options::default() };
    let imported = import(&sources, &options, &Within(folder)).unwrap();
    assert!(imported.spec.contains("name = \"shop\""));
    assert!(imported.spec.contains("needs = [\"db\"]"), "{}", imported.spec);
    assert!(imported.spec.contains("[services.api-2]"), "{}", imported.spec);
}

#[test]
fn a_key_that_nobody_knows_is_lost_and_told() {
    let text = "[Service]\nExecStart=/bin/x\nFrobnicate=yes\n";
    let imported = import(&[source("x.service", text)], &Options::default(), &OnDisk).unwrap();
    let lost: Vec<_> = imported.report.findings.iter().filter(|it| it.fate == Fate::Lost).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].key.as_str(), lost[0].line), ("Frobnicate", 3));
    assert!(imported.spec.contains("# Lost: Frobnicate"), "{}", imported.spec);
    let json = imported.report.json();
    assert_eq!(json["counts"]["lost"], 1);
}

#[test]
fn what_no_format_has_is_not_guessed() {
    assert!(refusal("notes.txt", "hello there").2.contains("not clear"));
    assert!(refusal("ecosystem.yml", "apps:\n  - script: x\n").2.contains("YAML"));
    assert!(refusal("x.target", "[Unit]\nDescription=y\n").2.contains("no program"));
}
