//! What can be known to fail before anything is started: programs, folders, accounts, ports, rights.
//!
//! Called by `run`, `check`, `doctor` and a reload. It changes nothing. A finding that would make a start
//! fail for certain is an error; one that may mend itself until then is a warning.

use object::{Architecture, FileKind, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use tutela_core::names::{Name, ServiceName};
use tutela_core::spec::{Command, GuardSpec, Launch, ProbeTarget, ServiceSpec, StartMode};
use tutela_os::paths::Paths;
use tutela_os::process::{find_program, same_variable};
use tutela_os::{Os, access, accounts};
use tutela_schema::spec::{Code, Diagnostic, Loaded};

/// The start of a file that says what it is. Longer than any header that is looked at.
const HEADER_BYTES: usize = 4096;

/// How long `check` waits for names of receivers: as long as a person waits.
const LOOKUP_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// Answers of lookups that may wait: one for each sink, of which a spec has at most 32.
const LOOKUPS_MAX: usize = 32;

/// Whether ports that the services are to answer at should be free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Nothing of the spec runs yet.
    Free,
    /// The services may run already, and then they are what uses the ports.
    Ours,
}

impl Ports {
    /// What to expect for the guard `name`: if it runs, its services do.
    pub fn expected(paths: &Paths, name: &Name) -> Ports {
        let runs = crate::client::running(paths).iter().any(|guard| guard.name == name.as_str());
        if runs { Ports::Ours } else { Ports::Free }
    }
}

/// Looks at everything that the spec names. `loaded` knows where each thing is written.
pub fn check(spec: &GuardSpec, loaded: Option<&Loaded>, ports: Ports) -> Vec<Diagnostic> {
    let mut checker = Checker::new(loaded);
    for service in enabled(spec) {
        checker.service = service.name.to_string();
        checker.launch(service);
        checker.account(&service.launch);
        if ports == Ports::Free {
            checker.ports(service);
        }
    }
    for alert in spec.alerts.values() {
        if let tutela_core::spec::AlertWay::Command(command) = &alert.way {
            let path = std::env::var_os("PATH");
            let folder = loaded.map(|loaded| loaded.folder.clone()).unwrap_or_default();
            checker.service = String::new();
            let first = command.words.first().map(|word| word.render(0)).unwrap_or_default();
            checker.program(
                &first,
                path.as_deref(),
                &folder,
                &["alerts", alert.name.as_str(), "command"],
                "its command",
            );
        }
    }
    checker.out.extend(sinks(spec, loaded));
    checker.out.extend(crate::secrets::look(spec, loaded));
    checker.out.extend(door(spec, loaded));
    checker.out
}

/// Looks at the files of the way in from the network, all of which it needs at the start, and at what has run out.
fn door(spec: &GuardSpec, loaded: Option<&Loaded>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let Some(door) = &spec.api.door else { return out };
    let origin = |key: &str| loaded.map(|loaded| loaded.origin_in_root(&["api", key]));
    let now = crate::conductor::wall_now();
    match door.tls.as_ref().map(|tls| crate::api::door::look(tls, now)) {
        None => {}
        Some(Ok(doubts)) => out.extend(
            doubts
                .into_iter()
                .map(|doubt| Diagnostic::warning(doubt.code, origin(doubt.key), doubt.message).help(doubt.help)),
        ),
        Some(Err(refused)) => {
            let error = Diagnostic::error(Code::BadCertificate, origin(refused.key), refused.message);
            out.push(error.help(refused.help));
        }
    }
    let now = now.unix_millis();
    for token in door.tokens.iter().filter(|token| token.expires.is_some_and(|expires| expires <= now)) {
        let message = format!("the token {} has expired: who comes with it is refused", token.name);
        let help = "take it out, or make another one with `tutela token`";
        out.push(Diagnostic::warning(Code::Suspicious, origin("tokens"), message).help(help));
    }
    out
}

/// Looks at the files of sinks. One that is not there may come, as a certificate that is fetched at the boot; one that is
/// there and is no certificate will not become one.
fn sinks(spec: &GuardSpec, loaded: Option<&Loaded>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for sink in spec.sinks.values() {
        let Some(tls) = sink.way.tls() else { continue };
        let origin = || loaded.map(|loaded| loaded.origin_in_root(&["sinks", sink.name.as_str(), "tls"]));
        let (cert, key) = tls.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
        let mut files = tls.ca.iter().chain(cert).chain(key);
        if let Some(missing) = files.find(|path| !path.exists()) {
            let message =
                format!("the sink {} has no {}: until it is there nothing is sent", sink.name, missing.display());
            out.push(Diagnostic::warning(Code::FileNotFound, origin(), message));
        } else if let Err(why) = crate::hands::sinks::tls::look(tls) {
            let message = format!("the sink {} cannot use its certificates: {why}", sink.name);
            out.push(Diagnostic::error(Code::BadCertificate, origin(), message));
        }
    }
    out
}

/// Looks up the names of receivers, which may take as long as [`LOOKUP_WITHIN`]: for `check` alone. A name that is not
/// known now may be later, so a guard starts without asking.
pub fn receivers(spec: &GuardSpec, loaded: &Loaded) -> Vec<Diagnostic> {
    let (tell, told) = std::sync::mpsc::sync_channel(LOOKUPS_MAX);
    let mut asked = 0;
    for sink in spec.sinks.values() {
        let Some(address) = sink.way.address() else { continue };
        let (tell, name) = (tell.clone(), sink.name.clone());
        // A resolver may hang; its thread ends with the process.
        let asking = std::thread::Builder::new().name("lookup".into()).spawn(move || {
            let found = address.to_socket_addrs().map(|mut found| found.next().is_some());
            let error = match found {
                Ok(true) => None,
                Ok(false) => Some("it has no address".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let _ = tell.try_send((name, address, error));
        });
        asked += usize::from(asking.is_ok());
    }
    let by = std::time::Instant::now() + LOOKUP_WITHIN;
    let mut out = Vec::new();
    for _ in 0..asked {
        let left = by.saturating_duration_since(std::time::Instant::now());
        // Who has not answered by then has said nothing either way.
        let Ok((name, address, error)) = told.recv_timeout(left) else { break };
        if let Some(error) = error {
            let origin = Some(loaded.origin_in_root(&["sinks", name.as_str()]));
            let message = format!("the receiver of the sink {name} is not known here: {address}: {error}");
            out.push(Diagnostic::warning(Code::BadAddress, origin, message).help("until it is, nothing is sent"));
        }
    }
    out
}

/// Looks at the ports alone, which [`check`] leaves out for [`Ports::Ours`]; those of services that run already are in
/// use by themselves.
pub fn ports(spec: &GuardSpec, loaded: Option<&Loaded>, running: &BTreeSet<ServiceName>) -> Vec<Diagnostic> {
    let mut checker = Checker::new(loaded);
    for service in enabled(spec).filter(|service| !running.contains(&service.name)) {
        checker.service = service.name.to_string();
        checker.ports(service);
    }
    checker.out
}

/// A command of a service: its program, or that of a hook, a stop step, a probe.
pub(crate) struct ServiceCommand<'a> {
    /// The command.
    pub command: &'a Command,
    /// Where it is written.
    pub keys: Vec<&'static str>,
    /// What it is, as the subject of a sentence: `its before_start hook`.
    pub what: String,
}

/// Every command that a service runs.
pub(crate) fn commands_of(service: &ServiceSpec) -> Vec<ServiceCommand<'_>> {
    let mut out = vec![ServiceCommand {
        command: &service.launch.command,
        keys: vec!["command"],
        what: "its program".to_owned(),
    }];
    let hooks = &service.hooks;
    for (key, list) in [
        ("before_start", &hooks.before_start),
        ("after_ready", &hooks.after_ready),
        ("before_stop", &hooks.before_stop),
        ("after_exit", &hooks.after_exit),
    ] {
        for hook in list {
            out.push(ServiceCommand {
                command: &hook.command,
                keys: vec!["hooks", key],
                what: format!("its {key} hook"),
            });
        }
    }
    for rung in &service.stop {
        if let tutela_core::spec::StopStep::Command(command) = &rung.step {
            out.push(ServiceCommand { command, keys: vec!["stop", "ladder"], what: "its stop command".to_owned() });
        }
    }
    let probes = [("startup", &service.startup), ("ready", &service.ready), ("live", &service.live)];
    for (key, probe) in probes {
        if let Some(ProbeTarget::Exec(command)) = probe.as_ref().map(|probe| &probe.target) {
            out.push(ServiceCommand { command, keys: vec![key, "exec"], what: format!("its {key} probe") });
        }
    }
    for check in &service.dependencies {
        if let ProbeTarget::Exec(command) = &check.probe.target {
            let what = format!("its dependency check {}", check.name);
            out.push(ServiceCommand { command, keys: vec!["dependencies"], what });
        }
    }
    out
}

/// A variable that the service's programs will have, by the rule of their OS: on Windows `Path` is `PATH`.
pub(crate) fn variable(launch: &Launch, name: &str) -> Option<OsString> {
    let found = launch.env.iter().find(|(given, _)| same_variable(OsStr::new(&***given), name));
    found.map(|(_, value)| OsString::from(value.render(0)))
}

pub(crate) fn enabled(spec: &GuardSpec) -> impl Iterator<Item = &ServiceSpec> {
    spec.services.values().map(AsRef::as_ref).filter(|service| service.start != StartMode::Disabled)
}

struct Checker<'a> {
    loaded: Option<&'a Loaded>,
    service: String,
    out: Vec<Diagnostic>,
    /// What was found out about a program already: a thousand services may run the same one.
    programs: BTreeMap<PathBuf, Option<(Code, String, String)>>,
}

impl<'a> Checker<'a> {
    fn new(loaded: Option<&'a Loaded>) -> Self {
        Checker { loaded, service: String::new(), out: Vec::new(), programs: BTreeMap::new() }
    }

    fn error(&mut self, code: Code, keys: &[&str], message: String, help: impl Into<String>) {
        let origin = self.loaded.and_then(|loaded| loaded.origin_of(&self.service, keys));
        self.out.push(Diagnostic::error(code, origin, message).help(help));
    }

    fn warning(&mut self, code: Code, keys: &[&str], message: String, help: impl Into<String>) {
        let origin = self.loaded.and_then(|loaded| loaded.origin_of(&self.service, keys));
        self.out.push(Diagnostic::warning(code, origin, message).help(help));
    }

    fn launch(&mut self, service: &ServiceSpec) {
        let launch = &service.launch;
        match std::fs::metadata(&launch.cwd) {
            Ok(folder) if folder.is_dir() => {}
            Ok(_) => {
                let message = format!("the working folder {} is a file", launch.cwd.display());
                return self.error(Code::FolderMissing, &["cwd"], message, "name a folder");
            }
            Err(error) => {
                let message = format!("the working folder {} cannot be entered: {error}", launch.cwd.display());
                return self.error(Code::FolderMissing, &["cwd"], message, "make it, or name another one");
            }
        }
        for ServiceCommand { command, keys, what } in commands_of(service) {
            self.command(launch, command, &keys, &what);
        }
    }

    fn command(&mut self, launch: &Launch, command: &Command, keys: &[&str], what: &str) {
        let path = variable(launch, "PATH");
        let words = command.render(0);
        let first = words.first().map(String::as_str).unwrap_or_default();
        let is_file = |path: &str| launch.cwd.join(path).is_file();
        if !is_file(first)
            && let Some(meant) = meant(&words, is_file)
        {
            let message = format!("{what} {first} does not exist, but {meant} does: its spaces split it");
            let word = meant.replace('\\', "\\\\");
            let help = format!("write the command as a list, with the path as one word: [\"{word}\", …]");
            return self.error(Code::PathUnquoted, keys, message, help);
        }
        self.program(first, path.as_deref(), &launch.cwd, keys, what);
    }

    fn program(&mut self, name: &str, path: Option<&OsStr>, cwd: &Path, keys: &[&str], what: &str) {
        let found = match find_program(OsStr::new(name), path, cwd) {
            Ok(found) => found,
            Err(error) => {
                let plain = Path::new(name);
                let there = plain.components().count() > 1 && cwd.join(plain).exists();
                let code = if there { Code::ProgramNotExecutable } else { Code::ProgramMissing };
                let help = if there {
                    format!("make it executable: chmod +x {name}")
                } else if plain.components().count() > 1 {
                    "relative paths start at the spec's folder; is it built and installed?".to_owned()
                } else {
                    "install it, add its folder to PATH, or write its path".to_owned()
                };
                return self.error(code, keys, format!("{what} cannot be run: {error}"), help);
            }
        };
        let absolute = if found.is_absolute() { found } else { cwd.join(found) };
        let verdict = self.programs.entry(absolute.clone()).or_insert_with(|| inspect(&absolute)).clone();
        if let Some((code, message, help)) = verdict {
            self.error(code, keys, format!("{what} cannot be run: {message}"), help);
        }
    }

    fn account(&mut self, launch: &Launch) {
        let resolved = accounts::for_program(launch.user.as_deref(), launch.group.as_deref());
        let key = if launch.user.is_some() { "user" } else { "group" };
        match resolved {
            Err(error) => {
                let message = crate::hands::spawner::chain(&error);
                self.error(Code::AccountUnknown, &[key], message, "create it, or name another one");
            }
            Ok(None) => {}
            Ok(Some(identity)) => {
                if !identity.is_own() && !accounts::is_privileged() {
                    let message = format!("only an administrator can run a program as {}", identity.name);
                    self.error(Code::NoRight, &[key], message, "run the guard as root, or leave this key out");
                }
            }
        }
    }

    /// The ports that the service's own probes ask at have to be free: otherwise they would ask somebody else.
    fn ports(&mut self, service: &ServiceSpec) {
        let probes = [("startup", &service.startup), ("ready", &service.ready), ("live", &service.live)];
        let mut seen = Vec::new();
        for (key, probe) in probes {
            let Some(probe) = probe else { continue };
            for index in 0..service.instances {
                let Some((text, kind)) = local_address(&probe.target, index) else { continue };
                let Some(address) = loopback(&text) else { continue };
                if seen.contains(&address) {
                    continue;
                }
                seen.push(address);
                if let Err(error) = TcpListener::bind(address) {
                    if error.kind() == std::io::ErrorKind::AddrInUse {
                        let holder = access::port_holder(access::Protocol::Tcp, address);
                        let holder = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
                        let port = address.port();
                        let message = format!("the port {port} that its {key} probe asks at is in use already{holder}");
                        if is_told(service, index, address.port()) {
                            let help = "stop what uses it, or take another port";
                            self.error(Code::PortInUse, &[key, kind], message, help);
                        } else {
                            let help = "nothing, if the probe is to ask somebody else than this service";
                            self.warning(Code::PortInUse, &[key, kind], message, help);
                        }
                    } else {
                        let message = format!("whether port {} is free cannot be found out: {error}", address.port());
                        self.warning(Code::Suspicious, &[key, kind], message, "nothing, if the program may use it");
                    }
                }
            }
        }
    }
}

/// The shortest run of first words that together are the path of a file: what somebody meant who did not quote it.
fn meant(words: &[String], is_file: impl Fn(&str) -> bool) -> Option<String> {
    /// A path has few spaces.
    const WORDS_MAX: usize = 8;
    let runs = (2..=words.len().min(WORDS_MAX)).map(|count| words.get(..count).unwrap_or_default().join(" "));
    runs.filter(|run| run.contains(['/', '\\'])).find(|run| is_file(run))
}

/// Whether a service is told the port, in its command or its environment: then it is its own, and a start on a
/// port that somebody else has must fail. A probe may also ask a port that the service says nothing of.
fn is_told(service: &ServiceSpec, index: u16, port: u16) -> bool {
    let port = port.to_string();
    let names = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|number| number == port);
    let launch = &service.launch;
    launch.command.render(index).iter().any(|word| names(word))
        || launch
            .env
            .iter()
            .any(|(name, value)| name.to_ascii_uppercase().contains("PORT") && names(&value.render(index)))
}

fn local_address(target: &ProbeTarget, index: u16) -> Option<(String, &'static str)> {
    match target {
        ProbeTarget::Http { url, .. } => Some((authority(&url.render(index))?, "http")),
        ProbeTarget::Tcp(address) => Some((address.render(index), "tcp")),
        ProbeTarget::Grpc { address, .. } => {
            let text = address.render(index);
            Some((authority(&text).unwrap_or(text), "grpc"))
        }
        ProbeTarget::Exec(_) | ProbeTarget::Log(_) | ProbeTarget::Notify => None,
    }
}

/// `host:port` of a URL, with the port of its scheme where it names none.
fn authority(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(match (has_port, scheme) {
        (true, _) => authority.to_owned(),
        (false, "https") => format!("{authority}:443"),
        (false, _) => format!("{authority}:80"),
    })
}

/// The address, if it is of this computer alone. Names other than `localhost` are not looked up: a preflight
/// must not wait for a name server.
fn loopback(text: &str) -> Option<SocketAddr> {
    let text = text.replacen("localhost", "127.0.0.1", 1);
    let literal = text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']'));
    let mut found = literal.then(|| text.to_socket_addrs().ok()).flatten()?;
    found.find(|address| address.ip().is_loopback() && address.port() != 0)
}

/// What is wrong with a program's file; `None`: nothing that can be seen.
fn inspect(path: &Path) -> Option<(Code, String, String)> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = std::fs::File::open(path).ok()?;
    // A program that may be run and not read is a program.
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).ok()?;
    let shown = path.display();
    if let Some(line) = header.strip_prefix(b"#!") {
        return script(path, line);
    }
    let kind = match FileKind::parse(header.as_slice()) {
        Ok(kind) => kind,
        Err(_) if header.is_empty() => {
            let message = format!("{shown} is empty");
            return Some((Code::ProgramNotExecutable, message, "build or install it again".into()));
        }
        Err(_) => {
            let message = format!("{shown} is neither a program nor a script with a first line #!");
            return Some((
                Code::ProgramNotExecutable,
                message,
                "write the interpreter before it, such as sh FILE".into(),
            ));
        }
    };
    let native = match Os::CURRENT {
        Os::Linux => matches!(kind, FileKind::Elf32 | FileKind::Elf64),
        Os::Windows => matches!(kind, FileKind::Pe32 | FileKind::Pe64),
        Os::MacOs => matches!(kind, FileKind::MachO64 | FileKind::MachOFat32 | FileKind::MachOFat64),
    };
    if !native {
        let message = format!("{shown} is a program for another operating system ({kind:?})");
        return Some((Code::ProgramArchitecture, message, format!("build it for {}", Os::CURRENT.name())));
    }
    let machine = elf_machine(&header)?;
    let fits = match tutela_os::usage::host_machine() {
        "x86_64" => matches!(machine, Architecture::X86_64 | Architecture::I386),
        "aarch64" => matches!(machine, Architecture::Aarch64 | Architecture::Arm),
        _ => true,
    };
    if fits {
        return None;
    }
    let host = tutela_os::usage::host_machine();
    let message = format!("{shown} is built for {machine:?}, this computer is {host}");
    Some((Code::ProgramArchitecture, message, format!("build or install it for {host}")))
}

/// The machine of an ELF file by its header, which is all that was read of it.
fn elf_machine(header: &[u8]) -> Option<Architecture> {
    let big_endian = header.get(5) == Some(&2);
    let bytes: [u8; 2] = header.get(18..20)?.try_into().ok()?;
    let number = if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    if header.get(..4) != Some(b"\x7fELF") {
        return object::File::parse(header).ok().map(|file| file.architecture());
    }
    Some(match object::elf::Machine(number) {
        object::elf::EM_X86_64 => Architecture::X86_64,
        object::elf::EM_386 => Architecture::I386,
        object::elf::EM_AARCH64 => Architecture::Aarch64,
        object::elf::EM_ARM => Architecture::Arm,
        object::elf::EM_RISCV => Architecture::Riscv64,
        object::elf::EM_S390 => Architecture::S390x,
        object::elf::EM_PPC64 => Architecture::PowerPc64,
        object::elf::EM_LOONGARCH => Architecture::LoongArch64,
        object::elf::EM_MIPS => Architecture::Mips,
        _ => Architecture::Unknown,
    })
}

/// A script is as good as its interpreter.
fn script(path: &Path, line: &[u8]) -> Option<(Code, String, String)> {
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    let shown = path.display();
    if line.ends_with('\r') {
        let message =
            format!("the first line of {shown} ends with a carriage return, so its interpreter has a wrong name");
        return Some((Code::ProgramNotExecutable, message, "save it with unix line ends".into()));
    }
    let interpreter = line.split_whitespace().next().unwrap_or_default().to_owned();
    if interpreter.is_empty() || Path::new(&interpreter).exists() {
        return None;
    }
    let message = format!("the interpreter {interpreter} that {shown} names does not exist");
    Some((Code::ProgramMissing, message, "install it, or name another one in the first line".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_address_behind_a_probe_is_found_only_where_it_is_of_this_computer() {
        assert_eq!(authority("http://127.0.0.1:81/x").as_deref(), Some("127.0.0.1:81"));
        assert_eq!(authority("https://user@localhost/x").as_deref(), Some("localhost:443"));
        assert_eq!(loopback("localhost:81"), Some("127.0.0.1:81".parse().unwrap()));
        assert_eq!(loopback("[::1]:81"), Some("[::1]:81".parse().unwrap()));
        assert_eq!(loopback("10.0.0.1:81"), None);
        assert_eq!(loopback("db:5432"), None);
    }

    #[test]
    fn the_words_of_a_split_path_are_found_together() {
        let words = ["/opt/my", "shop/api", "--port", "1"].map(String::from);
        assert_eq!(meant(&words, |path| path == "/opt/my shop/api").as_deref(), Some("/opt/my shop/api"));
        assert_eq!(meant(&words, |_| false), None);
        assert_eq!(meant(&words[..1], |_| true), None);
    }

    #[test]
    fn a_file_says_for_what_it_was_built() {
        let mut elf = vec![0u8; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[5] = 1;
        elf[18] = 183;
        assert_eq!(elf_machine(&elf), Some(Architecture::Aarch64));
    }
}
