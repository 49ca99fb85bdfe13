//! The running systemd, spoken to through `systemctl`.
//!
//! Why not D-Bus: `systemctl` is there wherever systemd is, with the same version, also for users' managers and in
//! containers; its words are what an operator would type, so that a plan can be printed as commands; and a message bus
//! library would be the largest dependency of this crate. What is read is read from `systemctl show`, which is made for
//! programs.

use crate::Error;
use crate::registration::{RegisterError, RegisteredState, Scope, Start};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a question may take: systemd answers in milliseconds, unless it is reloading a large number of units.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked whether a command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The most that is read of what a command says.
const SAID_BYTES_MAX: u64 = 64 * 1024;

/// The systemd of the computer, or of a user.
#[derive(Debug, Clone)]
pub(super) struct Systemctl {
    systemctl: PathBuf,
    scope: Scope,
}

impl Systemctl {
    /// The one that runs here.
    pub(super) fn find(scope: Scope) -> Result<Systemctl, RegisterError> {
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(RegisterError::NoServiceManager(
                "systemd does not run this computer, so no service can be registered or removed here; let what starts \
                 programs here run it in the foreground, and see the unit with `install --print`"
                    .into(),
            ));
        }
        let systemctl = program("systemctl").ok_or_else(|| {
            RegisterError::NoServiceManager("systemd runs here, but there is no systemctl in /usr/bin or /bin".into())
        })?;
        let manager = Systemctl { systemctl, scope };
        if scope == Scope::User && !runtime_dir().join("systemd/private").exists() {
            let user = crate::platform::accounts::user_name(rustix::process::geteuid().as_raw());
            return Err(RegisterError::NoServiceManager(format!(
                "systemd runs no manager for the user {user}; log in as {user}, not with su, or have one from the boot \
                 on with `loginctl enable-linger {user}`"
            )));
        }
        Ok(manager)
    }

    /// The command as people would type it.
    pub(super) fn words(scope: Scope, words: &[&str]) -> String {
        let user = if scope == Scope::User { "--user " } else { "" };
        format!("systemctl {user}{}", words.join(" "))
    }

    /// Runs a command and waits for its end, or until `bound`.
    pub(super) fn run(&self, words: &[&str], bound: Duration) -> Result<String, Said> {
        let mut command = Command::new(&self.systemctl);
        if self.scope == Scope::User {
            command.arg("--user").env("XDG_RUNTIME_DIR", runtime_dir());
        }
        command.args(["--no-ask-password", "--no-pager"]).args(words);
        run(&mut command, bound)
    }

    /// Runs a command that is over at once.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String, Error> {
        self.run(words, ANSWER_LIMIT).map_err(|said| said.error(&Systemctl::words(self.scope, words)))
    }

    /// systemd's version.
    pub(super) fn version(&self) -> Option<u32> {
        version_of(&self.ask(&["--version"]).ok()?)
    }

    /// What systemd knows of a unit.
    pub(super) fn show(&self, unit: &str) -> Result<Shown, Error> {
        const PROPERTIES: &str = "--property=LoadState,LoadError,ActiveState,SubState,MainPID,UnitFileState,\
                                  FragmentPath,DropInPaths,ExecMainStatus,ExecMainCode,Result,User,StatusText,\
                                  TimeoutStopUSec";
        Ok(Shown::parse(&self.ask(&["show", unit, PROPERTIES])?))
    }
}

/// What `systemctl show` said.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(BTreeMap<String, String>);

impl Shown {
    fn parse(text: &str) -> Shown {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Shown(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// Whether there is a unit of this name, however it is.
    pub(super) fn exists(&self) -> bool {
        !matches!(self.get("LoadState"), "not-found" | "")
    }

    pub(super) fn state(&self) -> RegisteredState {
        match self.get("ActiveState") {
            "active" | "reloading" | "refreshing" => RegisteredState::Running,
            "activating" => RegisteredState::Starting,
            "deactivating" => RegisteredState::Stopping,
            "failed" => RegisteredState::Failed,
            _ => RegisteredState::Stopped,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        matches!(self.get("UnitFileState"), "enabled" | "enabled-runtime")
    }

    /// When systemd starts it, as far as enabling says.
    pub(super) fn start(&self) -> Start {
        match self.get("UnitFileState") {
            "enabled" | "enabled-runtime" => Start::Auto,
            "masked" | "masked-runtime" => Start::Disabled,
            _ => Start::Manual,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }

    /// What it last ended with, for people; empty: it has not.
    pub(super) fn how_it_is(&self) -> String {
        let state = format!("{} ({})", self.get("ActiveState"), self.get("SubState"));
        match (self.get("Result"), self.get("ExecMainStatus")) {
            ("success" | "", _) => state,
            ("exit-code", code) => format!("{state}, it ended with code {code}"),
            (result, _) => format!("{state}, {result}"),
        }
    }
}

/// A command that did not do as it was asked.
#[derive(Debug)]
pub(super) enum Said {
    /// It could not be run.
    NotRun(io::Error),
    /// It ended with something else than 0.
    Failed {
        code: Option<i32>,
        /// What it wrote to standard error.
        text: String,
    },
    /// It had not ended within the bound, and was left to itself.
    Late,
}

impl Said {
    pub(super) fn error(self, command: &str) -> Error {
        let what = format!("run `{command}`");
        match self {
            Said::NotRun(source) => Error::io(what, source),
            Said::Failed { code, text } => {
                let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
                let text = text.trim().replace('\n', "; ");
                let text = if text.is_empty() { "it said nothing".to_owned() } else { text };
                Error::io(what, io::Error::other(format!("it ended with {code}: {text}")))
            }
            Said::Late => Error::io(what, io::Error::new(io::ErrorKind::TimedOut, "it took too long")),
        }
    }
}

/// Runs a program of the system and answers with its output. It gets no input, no words of ours but the given ones,
/// and a language that can be relied on.
pub(super) fn run(command: &mut Command, bound: Duration) -> Result<String, Said> {
    let child = command
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Said::NotRun)?;
    finish(child, bound)
}

fn finish(mut child: Child, bound: Duration) -> Result<String, Said> {
    // Read beside the wait: one who writes more than a pipe holds would never end.
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What is beyond the bound is not read, and closing the pipe ends whoever still writes.
            let _ = pipe.map(|pipe| pipe.take(SAID_BYTES_MAX).read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let error = reader(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let until = Instant::now() + bound;
    let status = loop {
        match child.try_wait().map_err(Said::NotRun)? {
            Some(status) => break status,
            None if Instant::now() >= until => {
                // What it asked systemd for goes on; only the waiting ends.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Said::Late);
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let (out, error) = (out.join().unwrap_or_default(), error.join().unwrap_or_default());
    if status.success() { Ok(out) } else { Err(Said::Failed { code: status.code(), text: error }) }
}

/// A program of the system by its absolute path. `PATH` is not asked: who registers a service is root.
pub(super) fn program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(Path::new);
    folders.into_iter().map(|folder| folder.join(name.as_ref())).find(|path| path.is_file())
}

/// The folder of the user's session.
pub(super) fn runtime_dir() -> PathBuf {
    let set = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())))
}

/// `systemd 257 (257.9-1~deb13u1)`.
fn version_of(text: &str) -> Option<u32> {
    let word = text.split_ascii_whitespace().nth(1)?;
    word.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_shows_is_read_by_its_keys() {
        let shown = Shown::parse(
            "LoadState=loaded\nActiveState=failed\nSubState=failed\nMainPID=0\nUnitFileState=enabled\n\
             Result=exit-code\nExecMainStatus=2\nStatusText=a=b\n",
        );
        assert!(shown.exists() && shown.is_enabled());
        assert_eq!((shown.state(), shown.pid(), shown.get("StatusText")), (RegisteredState::Failed, None, "a=b"));
        assert_eq!(shown.how_it_is(), "failed (failed), it ended with code 2");
        assert!(!Shown::parse("LoadState=not-found\n").exists());
    }

    #[test]
    fn a_version_is_read_with_what_distributions_put_behind_it() {
        assert_eq!(version_of("systemd 257 (257.9-1~deb13u1)\n+PAM"), Some(257));
        assert_eq!(version_of("systemd 258~rc2 (258~rc2)"), Some(258));
        assert_eq!(version_of("something"), None);
    }

    #[test]
    fn a_command_that_never_ends_is_left_after_its_bound() {
        let late = run(Command::new("/bin/sh").args(["-c", "exec sleep 600"]), Duration::from_millis(50));
        assert!(matches!(late, Err(Said::Late)));
        let failed = run(Command::new("/bin/sh").args(["-c", "echo no >&2; exit 5"]), Duration::from_secs(60));
        assert!(matches!(failed.unwrap_err(), Said::Failed { code: Some(5), text } if text == "no\n"));
    }
}
