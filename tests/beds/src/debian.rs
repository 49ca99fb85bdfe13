//! Debian folders: made with debootstrap, filled with apt, both through what the machine's own apt goes through.
//!
//! Only the making of beds calls this, in namespaces of its own ([`crate::make`]): what debootstrap mounts, and what a
//! package's scripts leave running, ends with them.

use crate::room::inside::mount_system;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The release of all beds: its systemd is current, and its Wine runs what current compilers build.
pub const RELEASE: &str = "trixie";

/// Where Debian is had when the machine's own sources have no mirror that knows the release.
const MIRROR: &str = "http://deb.debian.org/debian";

/// How often a download is tried: a mirror that is busy is no reason to fail.
const TRIES: u32 = 3;

/// How long between two tries.
const PAUSE: Duration = Duration::from_secs(10);

/// A folder being made, and where its tools write what they print.
#[derive(Debug)]
pub struct Debian<'a> {
    root: &'a Path,
    log: &'a File,
}

impl<'a> Debian<'a> {
    /// Debian in `root`, which has to be there already or to be made with [`Debian::bootstrap`].
    pub fn at(root: &'a Path, log: &'a File) -> Self {
        Debian { root, log }
    }

    /// Makes the smallest Debian with these packages.
    ///
    /// # Errors
    /// No mirror had it.
    pub fn bootstrap(&self, packages: &[&str]) -> Result<()> {
        let mirrors = mirrors();
        for attempt in 0..TRIES {
            for mirror in &mirrors {
                crate::place::remove(self.root)?;
                let mut command = Command::new("debootstrap");
                command.arg("--variant=minbase").arg(format!("--include={}", packages.join(",")));
                command.arg(RELEASE).arg(self.root).arg(mirror).envs(proxies());
                match self.run(&mut command) {
                    Ok(()) => return self.prepare_apt(),
                    Err(error) => println!("{error:#}, from {mirror}"),
                }
            }
            if attempt + 1 < TRIES {
                std::thread::sleep(PAUSE);
            }
        }
        bail!("failed to get Debian {RELEASE} from any of {}", mirrors.join(", "))
    }

    /// Mounts what programs inside expect, until our namespaces end.
    ///
    /// # Errors
    /// See [`mount_system`].
    pub fn furnish(&self) -> Result<()> {
        mount_system(self.root)
    }

    /// Installs packages, without what they merely recommend.
    ///
    /// # Errors
    /// apt failed each time.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        let mut tried = 1;
        loop {
            let mut command = self.inside("apt-get");
            command.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages);
            match self.run(&mut command) {
                Ok(()) => break,
                Err(error) if tried == TRIES => return Err(error),
                Err(error) => println!("{error:#}, trying again"),
            }
            std::thread::sleep(PAUSE);
            // What a mirror refuses may be what it had when the lists were fetched.
            let _ = self.run(self.inside("apt-get").args(["update", "--quiet"]));
            tried += 1;
        }
        self.run(self.inside("apt-get").arg("clean"))
    }

    /// A command inside, with an environment of its own.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.root).args(["/usr/bin/env", "-i", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"]);
        command.arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin").arg(program);
        command
    }

    /// Runs a command with its output in the log.
    ///
    /// # Errors
    /// It failed; the message names it.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
        let log = || self.log.try_clone().context("failed to share the log");
        let status = command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).status();
        let status = status.with_context(|| format!("failed to start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed: {status}");
        }
        Ok(())
    }

    /// Writes a file.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.root.join(path.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Gives apt inside what the one outside goes through, and keeps documentation away.
    fn prepare_apt(&self) -> Result<()> {
        let mut words = String::from("Acquire::Retries \"5\";\n");
        for (kind, proxy) in apt_proxies() {
            words.push_str(&format!("Acquire::{kind}::Proxy \"{proxy}\";\n"));
        }
        self.write("/etc/apt/apt.conf.d/90bed", &words)?;
        // Nothing here has to survive the machine it is made on.
        self.write(
            "/etc/dpkg/dpkg.cfg.d/bed",
            "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n",
        )
    }
}

/// The mirrors of this machine's own sources that are Debian's, then the one that everybody can reach.
fn mirrors() -> Vec<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"]);
    let listed = command.stderr(Stdio::null()).output().map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let mut mirrors: Vec<String> = Vec::new();
    for line in listed.lines() {
        let mut words = line.split(' ');
        let (Some(address), Some("Debian"), Some("Debian")) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // `mirror+file:` and such are apt's own; debootstrap speaks HTTP.
        let address = address.trim_end_matches('/').to_owned();
        if address.starts_with("http") && !mirrors.contains(&address) {
            mirrors.push(address);
        }
    }
    if !mirrors.iter().any(|mirror| mirror == MIRROR) {
        mirrors.push(MIRROR.to_owned());
    }
    mirrors
}

/// Proxies that this machine's apt goes through, by `http` and `https`.
fn apt_proxies() -> Vec<(&'static str, String)> {
    let mut proxies = Vec::new();
    for kind in ["http", "https"] {
        let mut command = Command::new("apt-config");
        command.args(["dump", "--format", "%v%n", &format!("Acquire::{kind}::Proxy")]).stderr(Stdio::null());
        let proxy = command.output().map(|output| output.stdout).unwrap_or_default();
        let proxy = String::from_utf8_lossy(&proxy).lines().next().unwrap_or_default().trim().to_owned();
        if !proxy.is_empty() && proxy != "DIRECT" {
            proxies.push((kind, proxy));
        }
    }
    proxies
}

/// The same for debootstrap, which takes them from variables. What is set already stays.
fn proxies() -> Vec<(String, String)> {
    let named = apt_proxies().into_iter().map(|(kind, proxy)| (format!("{kind}_proxy"), proxy));
    named.filter(|(name, _)| std::env::var_os(name).is_none()).collect()
}
