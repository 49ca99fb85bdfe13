//! `tutela install` where it must refuse: no rights, no systemd, a file system that is read-only, names and accounts
//! that are taken or unknown; and where a step fails halfway. Each time the system is compared before and after.
//!
//! What a booted systemd does with a unit is shown in `tests/beds`. Here every command runs in a room: a mount namespace
//! with its own `/etc/systemd`, `/run` and `/var/lib`, so that nothing of this computer can be changed, and with a
//! `systemctl` that is a script.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use tutela_it::{Ended, Stage, program};

/// Folders of the computer that installing could change; the room has its own.
const CHANGEABLE: &str = "/etc/systemd /etc/xdg /run /var/lib /var/log";

/// What the room's systemd answers. It keeps what is enabled as links, as the real one does, fails at the word in `$FAIL`,
/// and kills who asks at the word in `$KILL`.
const SYSTEMCTL: &str = r#"#!/bin/sh
while [ "${1#--no}" != "$1" ] || [ "$1" = --quiet ]; do shift; done
echo "$*" >>/run/systemctl.said
[ "$1" = "$FAIL" ] && { echo "not today" >&2; exit 1; }
[ "$1" = "$KILL" ] && { kill -9 $PPID; exit 1; }
wants=/etc/systemd/system/multi-user.target.wants
case $1 in
--version) echo "systemd 257 (257.9)" ;;
show)
  file=/etc/systemd/system/$2
  if [ -e "$file" ]; then
    echo "LoadState=loaded"; echo "FragmentPath=$file"
    if [ -e "$wants/$2" ]; then echo "UnitFileState=enabled"; else echo "UnitFileState=disabled"; fi
  else
    echo "LoadState=not-found"
  fi
  echo "ActiveState=inactive"; echo "SubState=dead"; echo "MainPID=0"; echo "DropInPaths=" ;;
enable) mkdir -p "$wants" && ln -sf "../$2" "$wants/$2" ;;
disable) rm -f "$wants/$2"; rmdir --ignore-fail-on-non-empty "$wants" ;;
esac
"#;

/// A place in which a command can do no harm.
struct Room {
    stage: Stage,
    spec: PathBuf,
    /// Lines of shell before the command.
    before: String,
}

impl Room {
    /// One in which systemd runs, as far as `tutela` can see.
    fn with_systemd() -> Room {
        let room = Room::without_systemd();
        let script = room.stage.write("systemctl", SYSTEMCTL);
        make_executable(&script);
        let bind = format!(
            "mkdir -p /run/systemd/system; mount --bind {} \"$(readlink -f /usr/bin/systemctl)\"\n",
            script.display()
        );
        Room { before: room.before.clone() + &bind, ..room }
    }

    fn without_systemd() -> Room {
        let stage = Stage::new();
        let spec = stage.write_spec("[services.a]\ncommand = [\"/bin/sleep\", \"60\"]\n");
        let mut before = String::from("set -e\n");
        for folder in CHANGEABLE.split(' ') {
            before.push_str(&format!("mkdir -p {folder}; mount -t tmpfs -o mode=755 none {folder}\n"));
        }
        before.push_str("mkdir -p /etc/systemd/system\n");
        Room { stage, spec, before }
    }

    /// The room's spec is installed already.
    fn installed(self) -> Room {
        let first = format!("{} install {} >/dev/null 2>&1", program::tutela().display(), self.spec.display());
        self.also(&first)
    }

    fn also(mut self, line: &str) -> Room {
        self.before.push_str(line);
        self.before.push('\n');
        self
    }

    /// Runs `tutela` with these words; `SPEC` is the room's.
    fn run(&self, words: &str) -> (Ended, String) {
        self.shell(&format!("tutela {words}"))
    }

    /// Runs a line of shell in which `tutela` is the program and `SPEC` the room's. Answers with what it came to, and
    /// with what is different in the system afterwards.
    fn shell(&self, line: &str) -> (Ended, String) {
        let line = line
            .replace("tutela ", &format!("{} ", program::tutela().display()))
            .replace("SPEC", &self.spec.display().to_string());
        let (out, error) = (self.stage.path("out"), self.stage.path("error"));
        let script = format!(
            "{before}\n\
             look() {{ find {CHANGEABLE} -not -name systemctl.said -printf '%p %M %l\\n'\n\
             find {CHANGEABLE} -type f -not -name systemctl.said -exec cksum {{}} ';'; cksum /etc/passwd /etc/group; }}\n\
             look | sort >/dev/shm/before.$$\nset +e\n{{ {line}; }} >{out} 2>{error}\ncode=$?\n\
             look | sort >/dev/shm/after.$$\ndiff /dev/shm/before.$$ /dev/shm/after.$$\n\
             rm -f /dev/shm/before.$$ /dev/shm/after.$$\nexit $code\n",
            before = self.before,
            out = out.display(),
            error = error.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script]);
        let output = command.env_remove("TUTELA_HOME").env_remove("TUTELA_PROFILE").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(out.exists(), "the room was not made: {said}");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let ended = Ended { code: output.status.code().unwrap_or(-1), stdout: read(&out), stderr: read(&error) };
        (ended, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[track_caller]
    fn refuses(&self, words: &str, code: i32, says: &[&str]) {
        self.shell_refuses(&format!("tutela {words}"), code, says);
    }

    #[track_caller]
    fn shell_refuses(&self, words: &str, code: i32, says: &[&str]) {
        let (ended, changed) = self.shell(words);
        assert_eq!(ended.code, code, "{words}: {}", ended.stderr);
        for says in says {
            assert!(ended.stderr.contains(says), "{words} does not say {says:?}: {}", ended.stderr);
        }
        assert_eq!(changed, "", "{words} changed the system");
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn printing_needs_neither_rights_nor_systemd_and_changes_nothing() {
    let room = Room::without_systemd();
    let (ended, changed) = room.run("install SPEC --print");
    let unit = format!("/etc/systemd/system/{}.service", room.stage.name());
    assert_eq!((ended.code, changed.as_str()), (0, ""), "{}", ended.stderr);
    assert!(ended.stdout.starts_with(&format!("## write {unit}\n")), "{}", ended.stdout);
    for line in ["[Unit]", "Type=notify", "DynamicUser=yes", "[Install]"] {
        assert!(ended.stdout.lines().any(|it| it == line), "no {line} in {}", ended.stdout);
    }
    assert!(ended.stderr.contains("without --print this would be refused"), "{}", ended.stderr);
    assert!(ended.stderr.contains("/home"), "what differs from the foreground is told: {}", ended.stderr);
}

#[test]
fn without_systemd_an_installation_is_refused_with_what_to_do() {
    let room = Room::without_systemd();
    room.refuses("install SPEC", 1, &["systemd does not run this computer", "here run it in the foreground"]);
    room.refuses(&format!("uninstall {}", room.stage.name()), 1, &["systemd does not run"]);
}

#[test]
fn a_purge_for_ones_own_account_never_takes_what_is_the_computers() {
    let room = Room::with_systemd().installed();
    let name = room.stage.name().to_owned();
    let room = room.also(&format!("mkdir -p /var/lib/tutela/{name}; echo whole >/var/lib/tutela/{name}/ledger"));
    room.refuses(&format!("uninstall --user --purge {name}"), 4, &[]);
    let (ended, changed) = room.run(&format!("uninstall --purge {name}"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("remove /var/lib/tutela/{name} with everything in it")), "{}", ended.stderr);
    assert!(changed.contains("ledger"), "{changed}");
}

#[test]
fn what_an_installation_that_was_killed_left_is_taken_over_by_the_next_one() {
    let room = Room::with_systemd();
    for word in ["daemon-reload", "enable"] {
        let (ended, _) = room.shell(&format!("KILL={word} tutela install SPEC"));
        assert_eq!(ended.code, 137, "{word}: {}", ended.stderr);
        let again = "tutela install SPEC >/dev/null 2>&1 && tutela uninstall --purge SPEC";
        let (ended, changed) = room.shell(&format!("KILL={word} tutela install SPEC; {again}"));
        assert_eq!((ended.code, changed.as_str()), (0, ""), "{word}: {}", ended.stderr);
    }
}

#[test]
fn a_full_disk_and_a_path_that_is_too_long_are_refused() {
    let full = Room::with_systemd()
        .also("mount -t tmpfs -o size=4k none /etc/systemd/system; head -c 4096 /dev/zero >/etc/systemd/system/filler");
    full.refuses("install SPEC", 1, &["/etc/systemd/system", "No space left on device"]);
    let room = Room::with_systemd();
    room.refuses(&format!("install /{}/tutela.toml", "x".repeat(300)), 2, &["too long"]);
    room.refuses(&format!("install /{}tutela.toml", "x/".repeat(3000)), 2, &["too long"]);
}

#[test]
fn without_rights_an_installation_is_refused_with_how_to_get_them() {
    let room = Room::with_systemd();
    // The folder of the build may be closed to others.
    let copy = room.stage.path("copy-of-it");
    std::fs::copy(program::tutela(), &copy).unwrap();
    let nobody = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {}", copy.display());
    room.shell_refuses(&format!("{nobody} install SPEC"), 5, &["sudo", "--user"]);
    let (ended, changed) = room.shell(&format!("{nobody} install SPEC --print"));
    assert_eq!((ended.code, changed.as_str()), (0, ""), "{}", ended.stderr);
    assert!(ended.stdout.contains("StateDirectory=tutela/"), "{}", ended.stdout);
}

#[test]
fn a_read_only_etc_is_refused_and_nothing_is_changed() {
    let room = Room::with_systemd().also("mount -o remount,ro /etc/systemd");
    room.refuses("install SPEC", 1, &["/etc/systemd/system", "read-only", "--print"]);
}

#[test]
fn accounts_that_cannot_be_are_refused_and_nothing_is_changed() {
    let room = Room::with_systemd();
    room.refuses("install SPEC --account nosuchaccount", 2, &["nosuchaccount", "new:nosuchaccount"]);
    room.refuses("install SPEC --account new:Not.A.Name", 2, &["small letters"]);
    room.refuses("install SPEC --account local-service", 2, &["Windows"]);
    room.refuses("install SPEC --account new:", 2, &["names no account"]);
    room.refuses("install SPEC --account root --password-stdin </dev/null", 2, &["no password"]);
}

#[test]
fn a_name_that_is_too_long_is_refused_where_it_is_written() {
    let room = Room::with_systemd();
    let long = "x".repeat(49);
    let spec = room.stage.write("long.toml", &format!("name = \"{long}\"\n[services.a]\ncommand = \"a\"\n"));
    room.refuses(&format!("install {}", spec.display()), 2, &["long.toml:1:8", "at most 48"]);
    room.refuses(&format!("uninstall {long}"), 2, &["at most 48"]);
}

#[test]
fn what_somebody_else_registered_is_never_touched() {
    let room = Room::with_systemd();
    let unit = format!("/etc/systemd/system/{}.service", room.stage.name());
    let room = room.also(&format!("printf '[Service]\\nExecStart=/bin/true\\n' >{unit}"));
    room.refuses("install SPEC", 1, &[&unit, "not by Tutela"]);
    room.refuses(&format!("uninstall {} --purge", room.stage.name()), 1, &[&unit, "not by Tutela"]);
    let masked = Room::with_systemd();
    let unit = format!("/etc/systemd/system/{}.service", masked.stage.name());
    masked.also(&format!("ln -s /dev/null {unit}")).refuses("install SPEC", 1, &[&unit]);
}

#[test]
fn a_step_that_fails_takes_everything_back() {
    for word in ["enable", "daemon-reload"] {
        let room = Room::with_systemd().also(&format!("export FAIL={word}"));
        room.refuses("install SPEC", 1, &[word, "not today"]);
    }
}

#[test]
fn an_installation_is_a_unit_that_is_enabled_and_installing_again_changes_nothing() {
    let room = Room::with_systemd();
    let unit = format!("/etc/systemd/system/{}.service", room.stage.name());
    let (ended, changed) = room.run("install SPEC");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(changed.contains(&format!("> {unit} -rw-r--r--")), "{changed}");
    assert!(changed.contains("multi-user.target.wants"), "{changed}");
    let (ended, changed) = room.installed().run("install SPEC");
    assert_eq!((ended.code, changed.as_str()), (0, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("is installed already"), "{}", ended.stderr);
}

#[test]
fn uninstalling_leaves_the_system_as_it_was_before_the_installation() {
    let room = Room::with_systemd();
    let name = room.stage.name();
    let (ended, changed) = room.shell(&format!("tutela install SPEC && tutela uninstall {name} --purge"));
    assert_eq!((ended.code, changed.as_str()), (0, ""), "{}", ended.stderr);
}

#[test]
fn a_unit_that_somebody_edited_is_kept_beside_the_new_one_and_that_is_told() {
    let room = Room::with_systemd();
    let (unit, program) = (format!("/etc/systemd/system/{}.service", room.stage.name()), program::tutela());
    let first =
        format!("{} install {} >/dev/null 2>&1; echo '# mine' >>{unit}", program.display(), room.spec.display());
    let (ended, changed) = room.also(&first).run("install SPEC");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("was changed by somebody") && ended.stderr.contains(".bak"), "{}", ended.stderr);
    assert!(changed.contains(&format!("> {unit}.bak")), "{changed}");
}

#[test]
fn what_is_not_installed_cannot_be_uninstalled() {
    Room::with_systemd().refuses("uninstall nosuchguard", 4, &["nosuchguard"]);
}
