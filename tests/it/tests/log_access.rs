//! Whose log files are and who may read them; and what somebody can do who may write to their folder: nothing to
//! anything else.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tutela::logs_view::DOORS;
use tutela_it::processes::set_mode;
use tutela_it::{BOUND, Guard, Stage, wait_until};
use tutela_logs::keeper::{KeeperHandle, Rules};
use tutela_logs::writer::{Batch, Now, Writer};
use tutela_logs::{Access, Compression, Form, Policy, Wall};

/// An account and a group that every Linux has, and that are not this test's.
const OWNER: (&str, u32) = ("daemon", 1);
const GROUP: (&str, u32) = ("adm", 4);

/// Nobody whom anybody has to trust.
const STRANGER: u32 = 65534;

/// The moment of files that are too old for everything.
const OLD: &str = "20200101T000000.000000Z";

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A guard under this umask, whatever that of the test is.
fn start_under(umask: &str, stage: Stage) -> Guard {
    let tutela = stage.command();
    let mut command = Command::new("sh");
    command.args(["-c", "umask \"$0\" && exec \"$@\"", umask]).arg(tutela.get_program()).arg("run");
    command.arg(stage.spec_path());
    stage.dress(&mut command);
    stage.start_command(command)
}

#[test]
fn every_log_file_has_the_mode_owner_and_group_of_the_spec_whatever_the_umask_is() {
    for umask in ["0", "077"] {
        let stage = Stage::new();
        stage.write_spec(&format!(
            "[services.a]\ncommand = [\"understudy\", \"once=wrote\", \"lines=4000\", \"await=more\", \"say=more\", \"hang\"]\n\
             [services.a.logs]\ndir = \"deep/logs\"\nmode = \"0640\"\nowner = \"{}\"\ngroup = \"{}\"\n\
             rotate_size = \"16KiB\"\nkeep = 100\ncompress = \"zstd\"\n",
            OWNER.0, GROUP.0
        ));
        let folder = stage.path("deep/logs");
        let guard = start_under(umask, stage);
        wait_until(BOUND, "all rotated files are compressed", || {
            let names = names(&folder);
            let is = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
            // With the last line there is nothing left to be rotated.
            let over = std::fs::read(folder.join("a-0.log")).is_ok_and(|text| text.ends_with(b" line 3999\n"));
            (over && is("Z.log") == 0 && is(".zst") > 3 && is(".new") == 0 && is(".index") > 3).then_some(())
        });
        // Those whose files they are can get to them.
        assert_eq!((mode(&guard.path("deep")), mode(&folder)), (0o755, 0o755), "under umask {umask}");
        let check = |count: usize| {
            let names = names(&folder);
            assert!(names.len() >= count, "{names:?}");
            for name in names {
                let path = folder.join(&name);
                let found = std::fs::symlink_metadata(&path).unwrap();
                let has = (found.mode() & 0o7777, found.uid(), found.gid());
                assert_eq!(has, (0o640, OWNER.1, GROUP.1), "{name} under umask {umask}");
            }
        };
        check(8);
        // The next guard goes on with the same file, also where others may put files: it is the account's of the spec.
        set_mode(&folder, 0o775);
        let guard = start_under(umask, guard.close());
        guard.write("more", "");
        wait_until(BOUND, "it goes on", || {
            std::fs::read_to_string(folder.join("a-0.log")).unwrap().contains(" more\n").then_some(())
        });
        assert!(!names(&folder).iter().any(|name| name.contains("aside")), "{:?}", names(&folder));
        check(8);
    }
}

/// Makes the second name lead to what the first one is.
type Link = fn(&Path, &Path) -> std::io::Result<()>;

/// A folder of a stranger with names of log files that lead to files of ours, and what these are.
struct Trap {
    dir: tempfile::TempDir,
    victims: Vec<PathBuf>,
}

const PRECIOUS: &str = "precious\n";

impl Trap {
    fn new() -> Trap {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        std::fs::create_dir(&folder).unwrap();
        chown(&folder, Some(STRANGER), None).unwrap();
        Trap { dir, victims: Vec::new() }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    /// A file of ours, with this name in the folder.
    fn set(&mut self, name: &str, link: Link) {
        let victim = self.dir.path().join(format!("victim{}", self.victims.len()));
        std::fs::write(&victim, PRECIOUS).unwrap();
        set_mode(&victim, 0o600);
        link(&victim, &self.folder().join(name)).unwrap();
        self.victims.push(victim);
    }

    fn is_harmless(&self) {
        for victim in &self.victims {
            let found = std::fs::symlink_metadata(victim).unwrap();
            assert_eq!(std::fs::read_to_string(victim).unwrap(), PRECIOUS, "{}", victim.display());
            assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, 0), "{}", victim.display());
        }
    }
}

/// The rules that do the most to files: every one is given away, none is kept.
fn merciless(folder: &Path) -> Arc<Policy> {
    let access = Access { mode: Some(0o644), owner: Some(STRANGER), group: Some(STRANGER) };
    Arc::new(Policy {
        rotate_size: Some(1),
        keep: 0,
        keep_for: Some(Duration::from_millis(1)),
        compress: Compression::Zstd,
        access,
        ..Policy::new(folder.to_owned(), Form::Raw)
    })
}

/// Writes lines that are each rotated away.
fn write(policy: &Arc<Policy>, lines: usize) {
    let mut writer = Writer::new(Arc::from("a-0"), policy.clone(), DOORS);
    let (mut batch, now) = (Batch::default(), Instant::now());
    for number in 0..lines {
        let now = Now { wall: Wall::now(), tick: now + Duration::from_secs(2 * number as u64) };
        writer.raw(&mut batch, b"line\n", now);
    }
}

/// Lets the keeper look once, with a budget of nothing; what it told. A look is over when the last of all that it may
/// remove is gone.
fn keep(policy: &Arc<Policy>) -> Vec<String> {
    let own = tempfile::tempdir().unwrap();
    let last = own.path().join("gone-0.20990101T000000.000000Z.log");
    std::fs::write(&last, "x").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let keeper = KeeperHandle::new(DOORS, || {}, move |text| tell.lock().unwrap().push(text));
    let labels = vec![(Arc::from("a-0"), policy.clone())];
    keeper.set_rules(Rules { labels, own: own.path().to_owned(), budget: Some(1) }).unwrap();
    wait_until(BOUND, "the keeper has looked", || (!last.exists()).then_some(()));
    keeper.stop();
    let told = told.lock().unwrap();
    told.clone()
}

#[test]
fn links_with_names_of_log_files_lead_nowhere_whoever_writes_rotates_compresses_or_removes() {
    let links: [Link; 2] = [|from, to| symlink(from, to), |from, to| std::fs::hard_link(from, to)];
    for link in links {
        let mut trap = Trap::new();
        let rotated = format!("a-0.{OLD}.log");
        for name in [
            "a-0.log".to_owned(),
            "a-0.log.index".to_owned(),
            rotated.clone(),
            format!("{rotated}.index"),
            "a-0.20200102T000000.000000Z.log.zst".to_owned(),
            "a-0.20200103T000000.000000Z.log.zst.new".to_owned(),
            "a-0.20990101T000000.000000Z.log".to_owned(),
        ] {
            trap.set(&name, link);
        }
        // One that is to be compressed, and somebody was there first.
        std::fs::write(trap.folder().join("a-0.20210101T000000.000000Z.log"), "old\n").unwrap();
        trap.set("a-0.20210101T000000.000000Z.log.zst.new", link);
        let all = merciless(&trap.folder());
        let kept = Arc::new(Policy { keep: 1000, keep_for: None, ..(*all).clone() });
        for policy in [&kept, &all] {
            write(policy, 3);
            keep(policy);
            trap.is_harmless();
        }
        // What was written is in files of its own.
        let current = trap.folder().join("a-0.log");
        assert!(std::fs::symlink_metadata(&current).unwrap().is_file());
        assert_eq!(std::fs::read_to_string(&current).unwrap(), "line\n");
    }
}

#[test]
fn what_is_not_ours_in_a_folder_of_logs_stays_whatever_is_removed_by_number_age_and_budget() {
    let dir = tempfile::tempdir().unwrap();
    let strangers = [
        "notes.txt",
        ".hidden",
        "a-0.log.1",
        "a-0.log.bak",
        "a-0.2020.log",
        "a-0.20209999T000000.000000Z.log",
        "a-0.20200101T000000.000000Z.log.xz",
        "a-0.20200101T000000.000000Z.log.zst.bak",
        "a-0x20200101T000000.000000Z.log",
        "b-0.20200101T000000.000000Z.log",
        "b-0.20200101T000000.000000Z.log.zst",
        "b-0.20200101T000000.000000Z.log.index",
        "b-0.20200101T000000.000000Z.log.zst.new",
        "b-0.log",
    ];
    for name in strangers {
        std::fs::write(dir.path().join(name), PRECIOUS).unwrap();
    }
    std::fs::create_dir_all(dir.path().join("a-0.20200105T000000.000000Z.log/inside")).unwrap();
    let policy = merciless(dir.path());
    for name in ["a-0.20200101T000000.000000Z.log", "a-0.20200102T000000.000000Z.log.gz"] {
        std::fs::write(dir.path().join(name), "ours").unwrap();
    }
    write(&policy, 4);
    assert_eq!(keep(&policy), [""; 0]);
    let mut left: Vec<String> = strangers.map(str::to_owned).into();
    left.extend(["a-0.20200105T000000.000000Z.log", "a-0.log", "a-0.log.index"].map(str::to_owned));
    left.sort();
    assert_eq!(names(dir.path()), left);
    for name in strangers {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), PRECIOUS, "{name}");
    }
    assert!(dir.path().join("a-0.20200105T000000.000000Z.log/inside").is_dir());
}

#[test]
fn a_strangers_link_in_the_place_of_the_folder_removes_and_writes_nothing_where_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    let (others, link) = (dir.path().join("others"), dir.path().join("logs"));
    std::fs::create_dir(&others).unwrap();
    let before = [format!("a-0.{OLD}.log"), "a-0.20210101T000000.000000Z.log".to_owned(), "a-0.log".to_owned()];
    for name in &before {
        std::fs::write(others.join(name), PRECIOUS).unwrap();
    }
    symlink("others", &link).unwrap();
    lchown(&link, Some(STRANGER), None).unwrap();
    let policy = merciless(&link);
    write(&policy, 3);
    let told = keep(&policy);
    assert!(told.len() == 1 && told[0].contains("is a link that the account 65534 made"), "{told:?}");
    let mut writer = Writer::new(Arc::from("a-0"), policy.clone(), DOORS);
    writer.raw(&mut Batch::default(), b"line\n", Now::read());
    assert_eq!(writer.status().dropped_lines, 1, "it is counted");
    assert!(writer.status().last_error.unwrap().contains("is a link that the account 65534 made"));
    // Nor is a folder made there.
    let mut deep = Writer::new(Arc::from("a-0"), merciless(&link.join("new")), DOORS);
    deep.raw(&mut Batch::default(), b"line\n", Now::read());
    assert_eq!(deep.status().dropped_lines, 1);
    let mut names = names(&others);
    names.retain(|name| std::fs::read_to_string(others.join(name)).unwrap() == PRECIOUS);
    assert_eq!(names, before);
}
