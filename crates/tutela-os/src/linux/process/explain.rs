//! What an error number of a step means to the person who wrote the spec, and how to mend it.

use super::plan::Failure;
use crate::process::{SpawnError, SpawnRequest, SpawnStep};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much of a program is read to tell what it is: the kernel reads as much.
const HEAD_BYTES: u64 = 256;

/// Whether a later try can work without anybody mending anything.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETXTBSY | libc::EINTR)
    )
}

/// The error of a step in the guard itself.
pub(super) fn in_guard(step: SpawnStep, request: &SpawnRequest, error: io::Error) -> SpawnError {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE) => "the guard has as many files open as it may; raise its limit of open files",
        Some(libc::ENFILE) => "the whole computer has as many files open as it may; raise fs.file-max",
        Some(libc::EAGAIN) => {
            "there are as many processes as allowed: see the account's limit (ulimit -u), the processes limit of the \
             control group that the guard is in, and kernel.pid_max"
        }
        Some(libc::ENOMEM) => "there is no memory left for another process",
        Some(libc::EBUSY) => "the control group cannot take processes; is somebody else changing it",
        _ => "",
    };
    SpawnError { step, error, subject: shown(&request.program), advice: advice.into() }
}

/// The error of a step in the new process.
pub(super) fn in_child(failure: Failure, request: &SpawnRequest) -> SpawnError {
    let error = io::Error::from_raw_os_error(failure.errno);
    let (subject, advice) = match failure.step {
        SpawnStep::Program => (shown(&request.program), program(request, failure.errno)),
        SpawnStep::Folder => (shown(&request.cwd), folder(request, failure.errno)),
        SpawnStep::ReadOnlyPaths => read_only(request, failure),
        SpawnStep::User => (identity_name(request), not_permitted(failure.errno, "become another user")),
        SpawnStep::Groups => (shown(&request.program), not_permitted(failure.errno, "take other groups")),
        SpawnStep::Capabilities => (shown(&request.program), capabilities(failure)),
        SpawnStep::Priority => {
            (shown(&request.program), not_permitted(failure.errno, "raise a priority (CAP_SYS_NICE)"))
        }
        SpawnStep::OomScore => (shown(&request.program), not_permitted(failure.errno, "lower the score")),
        SpawnStep::Limits => (shown(&request.program), limits(request, failure)),
        SpawnStep::Streams if failure.errno == libc::ENOSYS => {
            (shown(&request.program), "this kernel lacks close_range (Linux 5.9 and later have it)".into())
        }
        _ => (shown(&request.program), String::new()),
    };
    SpawnError { step: failure.step, error, subject, advice }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn identity_name(request: &SpawnRequest) -> String {
    request
        .identity
        .as_ref()
        .map_or_else(String::new, |identity| format!("{} ({})", identity.name, identity.account.uid))
}

fn not_permitted(errno: i32, what: &str) -> String {
    match errno {
        libc::EPERM | libc::EACCES => format!("this account may not {what}; run the guard as root"),
        libc::EAGAIN => "the account has as many processes as it may (ulimit -u)".into(),
        _ => String::new(),
    }
}

fn capabilities(failure: Failure) -> String {
    match (failure.which, failure.errno) {
        (0, libc::EPERM) => "taking capabilities away for good needs CAP_SETPCAP; run the guard as root".into(),
        (_, libc::EPERM) => "the guard can only leave a program capabilities that it has itself".into(),
        _ => String::new(),
    }
}

fn limits(request: &SpawnRequest, failure: Failure) -> String {
    let open_files_first = request.limits.open_files.is_some() || super::super::limits::for_programs().is_some();
    let (key, wanted) = if failure.which == 0 && open_files_first {
        ("open_files", request.limits.open_files)
    } else {
        ("core", request.limits.core)
    };
    let wanted = wanted.map_or("the former limit".into(), |value| value.to_string());
    match failure.errno {
        libc::EPERM => format!("{key} = {wanted} is above what this account may set (its hard limit, or fs.nr_open)"),
        _ => format!("{key} = {wanted} was refused"),
    }
}

fn read_only(request: &SpawnRequest, failure: Failure) -> (String, String) {
    let security = &request.security;
    let mut paths = security.read_only_paths.iter().chain(&security.writable_paths);
    let subject = paths.nth(usize::from(failure.which)).map_or_else(String::new, |path| shown(path));
    let advice = match failure.errno {
        libc::EPERM => {
            "read_only_paths need the right to mount (CAP_SYS_ADMIN); run the guard as root, or leave them out"
        }
        libc::ENOENT => "the path does not exist; make it, or leave it out",
        libc::ENOSYS => "this kernel cannot make a path read-only with all below it (Linux 5.12 and later can)",
        libc::ENOSPC => "there are as many mount namespaces as allowed (user.max_mnt_namespaces)",
        _ => "",
    };
    (subject, advice.into())
}

fn folder(request: &SpawnRequest, errno: i32) -> String {
    match errno {
        libc::ENOENT => "make the folder, or name another with cwd".into(),
        libc::ENOTDIR => "a part of it is a file".into(),
        libc::EACCES => match &request.identity {
            Some(identity) => format!("the user {} may not enter it", identity.name),
            None => "this account may not enter it".into(),
        },
        _ => String::new(),
    }
}

fn program(request: &SpawnRequest, errno: i32) -> String {
    let path = request.cwd.join(&request.program);
    match errno {
        libc::ENOENT | libc::ENOTDIR if path.exists() => missing_interpreter(&path),
        libc::ENOENT | libc::ENOTDIR => "there is no such file; check the command and the folder it is in".into(),
        libc::EACCES => no_access(request, &path),
        libc::ENOEXEC => wrong_format(&path),
        libc::E2BIG => "its arguments and environment together are too long for the kernel; a quarter of the stack \
                        limit is the most, and 128 KiB for a single one"
            .into(),
        libc::ETXTBSY => "somebody is writing to the file; put a finished file in its place by renaming".into(),
        libc::ELOOP => "its symbolic links or interpreters lead in a circle".into(),
        libc::ENOMEM => "there is no memory left for it".into(),
        libc::EAGAIN => "the account has as many processes as it may (ulimit -u)".into(),
        libc::EPERM => "a security module or a no-exec rule of the host forbids it".into(),
        libc::ELIBBAD | libc::EINVAL => "the file is a program that is damaged".into(),
        _ => String::new(),
    }
}

fn missing_interpreter(path: &Path) -> String {
    match head(path) {
        head if head.starts_with(b"#!") => {
            let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).into_owned();
            let interpreter = line.trim_start().split([' ', '\t']).next().unwrap_or_default();
            if interpreter.ends_with('\r') {
                let name = interpreter.trim_end_matches('\r');
                return format!(
                    "its first line names the interpreter {name} and ends in a carriage return; save the file with unix line ends"
                );
            }
            format!("the file is there, but the interpreter in its first line is not: {interpreter}")
        }
        head if head.starts_with(b"\x7fELF") => {
            "the file is there, but the loader that it was linked for is not: it was \
                                                 built for another C library or architecture"
                .into()
        }
        _ => "the file is there, but something that it needs to run is not".into(),
    }
}

fn no_access(request: &SpawnRequest, path: &Path) -> String {
    if path.is_dir() {
        return "it is a folder".into();
    }
    let who = request
        .identity
        .as_ref()
        .map_or_else(|| "this account".into(), |identity| format!("the user {}", identity.name));
    format!(
        "{who} may not execute it: check the file (chmod +x), every folder above it, and that its file system is not \
         mounted noexec"
    )
}

fn wrong_format(path: &Path) -> String {
    match head(path) {
        head if head.is_empty() => "the file is empty".into(),
        head if head.starts_with(b"\x7fELF") => {
            format!("it was built for another architecture than this host's, {}", std::env::consts::ARCH)
        }
        head if head.starts_with(b"MZ") => "it is a Windows program".into(),
        head if head.starts_with(b"#!") => "its first line names no usable interpreter".into(),
        _ => "it is neither a program of this host nor a script whose first line names its interpreter (#!/bin/sh)"
            .into(),
    }
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    // What cannot be read is told like a file of unknown content.
    drop(File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)));
    head
}
