//! What the programs of a spec need of the OS: rights, files, memory, the network.

use crate::preflight::{commands_of, enabled, variable};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tutela_core::spec::{AlertWay, Capability, Command, GuardSpec, Priority, ProbeTarget, ServiceSpec};
use tutela_os::files::is_same;
use tutela_os::process::find_program;
use tutela_schema::spec::{Loaded, Os};

/// Programs that are known to make code at run time, by the names of their files without a version behind them. Each
/// fails, or is many times slower, where memory cannot be writable and executable.
const WITH_A_JIT: [&str; 26] = [
    "java", "javaw", "node", "nodejs", "dotnet", "deno", "bun", "npm", "npx", "yarn", "pnpm", "pypy", "luajit", "php",
    "php-fpm", "ruby", "erl", "beam.smp", "elixir", "mono", "julia", "chrome", "chromium", "electron", "wasmtime",
    "pwsh",
];

/// What root needs to keep programs of other accounts: to become them, to end them, to give them their files, to write
/// their logs where only they may.
const TO_KEEP_OTHERS: [&str; 5] = ["SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE"];

/// What programs that are to be root's mostly are root's for.
const TO_BE_ROOT: [&str; 4] = ["FOWNER", "FSETID", "NET_BIND_SERVICE", "DAC_READ_SEARCH"];

/// The capabilities that the guard needs, for itself and for its programs.
pub(super) fn capabilities(spec: &GuardSpec, runs_as_os: bool) -> Vec<Capability> {
    let mut names: BTreeSet<Capability> = BTreeSet::new();
    let services = || spec.services.values();
    names.extend(services().flat_map(|it| it.launch.security.capabilities.iter().flatten().copied()));
    let mut add = |wanted: &[&str]| names.extend(wanted.iter().filter_map(|name| Capability::from_name(name)));
    if services().any(|it| it.launch.security.capabilities.is_some()) {
        // Taking rights from a program is a right of its own.
        add(&["SETPCAP"]);
    }
    if runs_as_os {
        add(&TO_KEEP_OTHERS);
        if services().any(|it| it.launch.user.is_none() && it.launch.security.capabilities.is_none()) {
            add(&TO_BE_ROOT);
        }
        if services().any(|it| !it.launch.security.read_only_paths.is_empty()) {
            add(&["SYS_ADMIN"]);
        }
        if services().any(|it| it.limits.open_files.is_some() || it.limits.core.is_some()) {
            add(&["SYS_RESOURCE"]);
        }
        if services().any(|it| it.limits.priority == Priority::High) {
            add(&["SYS_NICE"]);
        }
    }
    names.into_iter().collect()
}

/// Every command of a service.
fn commands(service: &ServiceSpec) -> impl Iterator<Item = &Command> {
    commands_of(service).into_iter().map(|it| it.command)
}

/// The file of the program of a command, if it says where that is.
fn program(command: &Command) -> Option<PathBuf> {
    let program = PathBuf::from(command.render(0).into_iter().next()?);
    program.is_absolute().then_some(program)
}

/// Where the OS looks for a program that is named without a folder, unless the spec sets `PATH`. systemd's own default,
/// with the folders that are links elsewhere; launchd's.
fn path_of_services(os: Os) -> Option<&'static str> {
    match os {
        Os::Linux => Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        Os::Macos => Some("/usr/bin:/bin:/usr/sbin:/sbin"),
        // It has the computer's `Path`, which everybody's has in it.
        Os::Windows => None,
    }
}

/// What becomes of the programs that are named without a folder, once a service manager starts the guard.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The files that will be run.
    pub(super) found: Vec<PathBuf>,
    /// Programs that are other files then, in words.
    pub(super) others: Vec<String>,
    /// Programs that are not found then, in words.
    pub(super) missing: Vec<String>,
}

/// Looks them up as the service will. What is not found here either is not its business.
pub(super) fn look_up(loaded: &Loaded, os: Os) -> Lookup {
    let mut lookup = Lookup::default();
    let Some(path) = path_of_services(os) else { return lookup };
    for service in enabled(&loaded.spec) {
        let name = service.name.as_str();
        if loaded.sets_variable(name, "PATH") || loaded.file_has_variable(name, "PATH") {
            continue;
        }
        let own = variable(&service.launch, "PATH");
        let words = commands(service).filter_map(|it| it.render(0).into_iter().next());
        let bare: BTreeSet<String> = words.filter(|word| !word.contains('/')).collect();
        for word in bare {
            let find = |path: Option<&OsStr>| find_program(OsStr::new(&word), path, &service.launch.cwd).ok();
            let Some(here) = find(own.as_deref()) else { continue };
            match find(Some(OsStr::new(path))) {
                Some(there) if is_same(&there, &here) => lookup.found.push(there),
                Some(there) => {
                    let (there_shown, here) = (there.display(), here.display());
                    lookup.others.push(format!("{name}: {word} will be {there_shown}; in this shell it is {here}"));
                    lookup.found.push(there);
                }
                None => {
                    let here = here.display();
                    lookup.missing.push(format!("{name}: {word} is {here} in this shell, and not on the PATH {path}"));
                }
            }
        }
    }
    lookup
}

/// Programs of the spec that are known to make code at run time.
pub(super) fn programs_with_a_jit(spec: &GuardSpec) -> Vec<String> {
    let named = |command: &Command| {
        let word = command.render(0).into_iter().next()?;
        let file = Path::new(&word).file_name()?.to_string_lossy().to_ascii_lowercase();
        let file = file.strip_suffix(".exe").unwrap_or(&file);
        // `php8.2`, `node-20`: a version behind the name.
        let bare = file.trim_end_matches(|it: char| it.is_ascii_digit() || matches!(it, '.' | '-'));
        (WITH_A_JIT.contains(&file) || WITH_A_JIT.contains(&bare)).then(|| file.to_owned())
    };
    let found: BTreeSet<String> = spec.services.values().flat_map(|it| commands(it).filter_map(named)).collect();
    found.into_iter().collect()
}

/// Files and folders that have to be seen: the spec with what it reads, its folder, the programs and their folders.
/// What is not there is left out: whether that matters is found out when it is used.
pub(super) fn readable(loaded: &Loaded, spec: &Path) -> Vec<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut paths: BTreeSet<PathBuf> = loaded.files().map(absolute).collect();
    paths.insert(spec.to_path_buf());
    paths.insert(loaded.folder.clone());
    for service in loaded.spec.services.values() {
        // Where the account is another, what it may reach is no question of ours.
        paths.extend(commands(service).filter_map(program));
        paths.insert(service.launch.cwd.clone());
    }
    paths.into_iter().filter(|path| path.exists()).collect()
}

/// Folders that have to be written to.
pub(super) fn writable(spec: &GuardSpec, home: Option<&Path>) -> Vec<PathBuf> {
    let mut paths: BTreeSet<PathBuf> = spec.install.writable_paths.iter().cloned().collect();
    paths.extend(home.map(Path::to_path_buf));
    paths.extend(spec.services.values().filter_map(|it| it.logs.dir.clone()));
    paths.extend(spec.services.values().flat_map(|it| it.launch.security.writable_paths.iter().cloned()));
    let all: Vec<PathBuf> = paths.into_iter().collect();
    // A folder in one that can be written to is made when it is needed.
    all.iter().filter(|path| !all.iter().any(|above| *path != above && path.starts_with(above))).cloned().collect()
}

/// Whether something at another computer is spoken to, so that a start before the network is up could only fail.
pub(super) fn network(spec: &GuardSpec) -> bool {
    let asked = spec.services.values().flat_map(|it| &it.dependencies).any(|it| match &it.probe.target {
        ProbeTarget::Http { url, .. } => is_remote(&url.render(0)),
        ProbeTarget::Tcp(address) | ProbeTarget::Grpc { address, .. } => is_remote(&address.render(0)),
        ProbeTarget::Exec(_) | ProbeTarget::Log(_) | ProbeTarget::Notify => false,
    });
    let told = spec.alerts.values().any(|it| match &it.way {
        AlertWay::Webhook { url, .. } => is_remote(url),
        AlertWay::Email { smtp, .. } => is_remote(smtp),
        AlertWay::Command(_) => false,
    });
    asked || told || !spec.install.open_ports.is_empty()
}

/// Whether an address, with or without a scheme, is of another computer.
fn is_remote(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
    !loopback && !host.is_empty() && !host.eq_ignore_ascii_case("localhost")
}
