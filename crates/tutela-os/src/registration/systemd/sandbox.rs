//! What a unit takes from its programs: the lines, and for people what they mean.
//!
//! The whole profile is meant for a program that needs nothing of the system but its network, its own folders and to
//! read. Every line that would take away what the definition asks for is left out, and no other: a capability opens
//! the lines that stand in its way.

use super::quote;
use super::text::UnitText;
use super::{Facts, Runs, outliving};
use crate::registration::{Definition, Scope};
use std::path::{Path, PathBuf};
use tutela_core::spec::Capability;

/// Writes the sandbox into the section `Service`.
pub(super) fn write(text: &mut UnitText, definition: &Definition, facts: &Facts) -> Result<(), String> {
    let sandbox = &definition.sandbox;
    if sandbox.off {
        return Ok(());
    }
    let has = |name: &str| sandbox.capabilities.iter().flatten().any(|it| it.name() == name);
    let system = definition.scope == Scope::System;
    let root = system && facts.runs == Runs::Root;
    text.line("UMask", "0077");
    if sandbox.no_new_privileges || !root {
        text.line("NoNewPrivileges", "yes");
    }
    if system {
        capabilities(text, sandbox.capabilities.as_deref(), root);
        files(text, definition, facts)?;
        let closed = [
            ("ProtectHostname", "SYS_ADMIN"),
            ("ProtectClock", "SYS_TIME"),
            ("ProtectKernelTunables", "SYS_ADMIN"),
            ("ProtectKernelModules", "SYS_MODULE"),
            ("ProtectKernelLogs", "SYSLOG"),
        ];
        for (key, unless) in closed {
            if !has(unless) {
                text.line(key, "yes");
            }
        }
        if !["SYS_RAWIO", "MKNOD", "SYS_TTY_CONFIG"].iter().any(|name| has(name)) {
            text.line("PrivateDevices", "yes");
        }
        // A guard of root's keeps programs of other accounts and has to see them; the right to look into others would
        // be a larger one.
        if !root && !has("SYS_PTRACE") {
            text.line("ProtectProc", "invisible");
        }
        // Those of a dynamic user go in any case; others may belong to programs that run on.
        if outliving(definition, facts).is_none() {
            text.line("RemoveIPC", "yes");
        }
        text.line("KeyringMode", "private");
    }
    if !has("SYS_ADMIN") {
        text.line("RestrictNamespaces", "yes");
    }
    if !has("SYS_NICE") {
        text.line("RestrictRealtime", "yes");
    }
    text.yes(&["RestrictSUIDSGID", "LockPersonality"]);
    if !sandbox.executable_memory {
        text.line("MemoryDenyWriteExecute", "yes");
    }
    let raw = if has("NET_RAW") || has("NET_ADMIN") { " AF_PACKET" } else { "" };
    text.line("RestrictAddressFamilies", format!("AF_UNIX AF_INET AF_INET6 AF_NETLINK{raw}"));
    text.line("SystemCallArchitectures", "native");
    text.line("SystemCallFilter", system_calls(&has));
    if !root && system {
        // A program without capabilities is refused these by the kernel anyway, but for some bugs in it.
        let privileged: Vec<&str> = ["@privileged"].into_iter().filter(|_| no_capabilities(definition)).collect();
        if !privileged.is_empty() {
            text.line("SystemCallFilter", format!("~{}", privileged.join(" ")));
            // Programs give files to their own group, and tools that copy try to keep owners.
            text.line("SystemCallFilter", "@chown");
        }
    }
    text.line("SystemCallErrorNumber", "EPERM");
    Ok(())
}

fn no_capabilities(definition: &Definition) -> bool {
    definition.sandbox.capabilities.as_ref().is_none_or(Vec::is_empty)
}

fn capabilities(text: &mut UnitText, wanted: Option<&[Capability]>, root: bool) {
    let names =
        |wanted: &[Capability]| wanted.iter().map(|it| format!("CAP_{}", it.name())).collect::<Vec<_>>().join(" ");
    match wanted {
        // The caller left it open: root's are all of them, another account has none.
        None if root => {}
        None => text.line("CapabilityBoundingSet", ""),
        Some(wanted) => {
            text.line("CapabilityBoundingSet", names(wanted));
            if !root && !wanted.is_empty() {
                text.line("AmbientCapabilities", names(wanted));
            }
        }
    }
}

/// The system calls that are let through.
fn system_calls(has: &impl Fn(&str) -> bool) -> String {
    let mut groups = vec!["@system-service"];
    let opened = [
        ("SYS_ADMIN", "@mount"),
        ("SYS_CHROOT", "@mount"),
        ("SYS_TIME", "@clock"),
        ("SYS_MODULE", "@module"),
        ("SYS_RAWIO", "@raw-io"),
        ("SYS_PTRACE", "@debug"),
        ("PERFMON", "@debug"),
        ("BPF", "bpf"),
        ("SYS_BOOT", "@reboot"),
        ("SYS_PACCT", "acct"),
        ("SYSLOG", "syslog"),
    ];
    for (capability, group) in opened {
        if has(capability) && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.join(" ")
}

/// What of the file system is there, and what can be written to.
fn files(text: &mut UnitText, definition: &Definition, facts: &Facts) -> Result<(), String> {
    let sandbox = &definition.sandbox;
    text.line("ProtectSystem", "strict");
    let hidden = |path: &Path| in_home(path) || in_tmp(path);
    let cannot = |path: &Path| format!("systemd cannot be told the path {}; give it a plainer name", path.display());
    for path in &sandbox.writable {
        if !hidden(path) && !is_tmp(path) {
            let word = quote::listed_path(path).ok_or_else(|| cannot(path))?;
            text.line("ReadWritePaths", word);
        }
    }
    let all = || sandbox.readable.iter().chain(&sandbox.writable).chain([&definition.folder, &definition.program]);
    // With nothing of a home to be seen, homes are not there; else they are empty but for what is named.
    text.line("ProtectHome", if all().any(|path| in_home(path)) { "tmpfs" } else { "yes" });
    text.line("PrivateTmp", private_tmp(definition, facts));
    for path in outermost(sandbox.writable.iter().filter(|path| hidden(path))) {
        text.line("BindPaths", quote::bound_path(path).ok_or_else(|| cannot(path))?);
    }
    let readable: Vec<&PathBuf> = all().filter(|path| hidden(path)).collect();
    for path in outermost(readable.into_iter()) {
        if !sandbox.writable.iter().any(|writable| path.starts_with(writable)) {
            text.line("BindReadOnlyPaths", quote::bound_path(path).ok_or_else(|| cannot(path))?);
        }
    }
    Ok(())
}

/// Programs that outlive their guard keep their `/tmp` in memory, which goes with the last of them.
pub(super) fn private_tmp(definition: &Definition, facts: &Facts) -> &'static str {
    if outliving(definition, facts).is_some() { "disconnected" } else { "yes" }
}

/// The paths that are in none of the others, each once.
fn outermost<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<&'a PathBuf> {
    let mut paths: Vec<&PathBuf> = paths.collect();
    // A folder comes before what is in it.
    paths.sort();
    let mut out: Vec<&PathBuf> = Vec::new();
    for path in paths {
        if !out.iter().any(|above| path.starts_with(above)) {
            out.push(path);
        }
    }
    out
}

/// Whether `ProtectHome=` hides it.
fn in_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home))
}

/// Whether `PrivateTmp=` hides it. These folders themselves it gives back, empty: more of them is not asked for by
/// naming them, or there would be nothing private about it.
fn in_tmp(path: &Path) -> bool {
    TMP.iter().any(|tmp| path.starts_with(tmp)) && !is_tmp(path)
}

const TMP: [&str; 2] = ["/tmp", "/var/tmp"];

fn is_tmp(path: &Path) -> bool {
    TMP.iter().any(|tmp| path == Path::new(tmp))
}

/// How the one who registers says it: a guard by its spec, a program that is its own service by its definition.
struct Spelling {
    off: &'static str,
    writable: &'static str,
    executable_memory: &'static str,
}

fn spelling(definition: &Definition) -> Spelling {
    match definition.keeps_programs {
        true => Spelling {
            off: "`sandbox = false`",
            writable: "`writable_paths`",
            executable_memory: "`executable_memory = true`",
        },
        false => Spelling {
            off: "`sandbox.off`",
            writable: "`sandbox.writable`",
            executable_memory: "`sandbox.executable_memory`",
        },
    }
}

/// What is different in the sandbox from a run in the foreground, for people.
pub(super) fn told(definition: &Definition, facts: &Facts) -> Vec<String> {
    let (sandbox, spelling) = (&definition.sandbox, spelling(definition));
    if sandbox.off {
        return vec![format!("nothing is taken from its programs: {}", spelling.off)];
    }
    let mut told = Vec::new();
    let root = facts.runs == Runs::Root;
    if definition.scope == Scope::System {
        let has_own = definition.folders.state.is_some() || definition.folders.logs.is_some();
        let own = has_own.then(|| "its own state and log folders".to_owned());
        let named = sandbox.writable.iter().map(|path| path.display().to_string());
        let writable: Vec<String> = own.into_iter().chain(named).collect();
        let more = spelling.writable;
        told.push(match writable.as_slice() {
            [] => format!("nothing on the disks can be written to; {more} names what can"),
            [only] => format!("only {only} can be written to; {more} names more"),
            [first @ .., last] => format!("only {} and {last} can be written to; {more} names more", first.join(", ")),
        });
        let seen = |inside: fn(&Path) -> bool| {
            let all = sandbox.readable.iter().chain(&sandbox.writable).chain([&definition.folder, &definition.program]);
            let paths = outermost(all.filter(|path| inside(path)));
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        told.push(match seen(in_home).as_slice() {
            [] => "/home, /root and /run/user are not there".into(),
            some => format!("of /home, /root and /run/user only {} is there", some.join(", ")),
        });
        told.push(match seen(in_tmp).as_slice() {
            [] if private_tmp(definition, facts) == "disconnected" => {
                "/tmp and /var/tmp are its own, in memory, and empty at each start".into()
            }
            [] => "/tmp and /var/tmp are its own, empty at each start".into(),
            some => format!("/tmp and /var/tmp are its own, with {} in them", some.join(", ")),
        });
        let names: Vec<&str> = sandbox.capabilities.iter().flatten().map(|it| it.name()).collect();
        match (root, names.as_slice()) {
            (false, []) => told.push("its programs gain no rights: sudo and other setuid programs do not work".into()),
            (false, some) => told.push(format!("its programs gain no rights but {}", some.join(", "))),
            (true, some) if !some.is_empty() => {
                told.push(format!("of root's rights it and its programs have only {}", some.join(", ")));
            }
            (true, _) => {}
        }
    }
    if !sandbox.executable_memory {
        told.push(format!(
            "programs that make code at run time (a JIT) fail; {} lets them",
            spelling.executable_memory
        ));
    }
    told
}
