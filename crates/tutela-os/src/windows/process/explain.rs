//! What an error number of a start, or an end by a crash, means to the person who wrote the spec.

use crate::process::{SpawnError, SpawnRequest, SpawnStep};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_EXE_FORMAT, ERROR_COMMITMENT_LIMIT, ERROR_DIRECTORY, ERROR_ELEVATION_REQUIRED,
    ERROR_EXE_MACHINE_TYPE_MISMATCH, ERROR_FILE_NOT_FOUND, ERROR_FILENAME_EXCED_RANGE, ERROR_INVALID_IMAGE_HASH,
    ERROR_LOCK_VIOLATION, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_ENOUGH_QUOTA,
    ERROR_OUTOFMEMORY, ERROR_PATH_NOT_FOUND, ERROR_PRIVILEGE_NOT_HELD, ERROR_SHARING_VIOLATION, ERROR_VIRUS_INFECTED,
};

/// A policy of the host (AppLocker, software restriction, Smart App Control).
const ERROR_ACCESS_DISABLED_BY_POLICY: u32 = 1260;

/// A later version of Windows than this host's is demanded by the file.
const ERROR_OLD_WIN_VERSION: u32 = 1150;

/// The numbers that Windows gives to architectures.
const MACHINES: &[(u16, &str, &str)] = &[
    (0x014c, "32-bit x86", "x86"),
    (0x8664, "x86_64", "x86_64"),
    (0xaa64, "arm64", "aarch64"),
    (0x01c4, "32-bit arm", "arm"),
];

fn code(error: &io::Error) -> u32 {
    error.raw_os_error().map_or(0, i32::cast_unsigned)
}

/// Whether a later try can work without anybody mending anything.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        code(error),
        ERROR_SHARING_VIOLATION
            | ERROR_LOCK_VIOLATION
            | ERROR_NOT_ENOUGH_MEMORY
            | ERROR_OUTOFMEMORY
            | ERROR_COMMITMENT_LIMIT
            | ERROR_NO_SYSTEM_RESOURCES
            | ERROR_NOT_ENOUGH_QUOTA
    )
}

/// The error of a step, with what there is to say about it.
pub(super) fn failed(step: SpawnStep, request: &SpawnRequest, error: io::Error) -> SpawnError {
    let advice = match code(&error) {
        _ if error.raw_os_error().is_none() => "",
        ERROR_NOT_ENOUGH_MEMORY | ERROR_OUTOFMEMORY | ERROR_COMMITMENT_LIMIT => {
            "there is no memory left for it; see the size of the page file"
        }
        ERROR_NO_SYSTEM_RESOURCES | ERROR_NOT_ENOUGH_QUOTA => {
            "the system has no resources left, or a job that the guard is in has as many processes as it may"
        }
        ERROR_ACCESS_DENIED if step == SpawnStep::Container => {
            "the guard runs in a job that lets no jobs be made within it; start it as a service of its own"
        }
        _ => "",
    };
    SpawnError { step, error, subject: shown(&request.program), advice: advice.into() }
}

/// The error of making the process: told of the folder where it was the folder, and else of the program.
pub(super) fn not_made(request: &SpawnRequest, program: &Path, cwd: &Path, error: io::Error) -> SpawnError {
    let number = code(&error);
    let missing_folder = matches!(number, ERROR_DIRECTORY | ERROR_PATH_NOT_FOUND | ERROR_FILE_NOT_FOUND);
    if number == ERROR_DIRECTORY || (missing_folder && !cwd.is_dir()) {
        let advice = if cwd.exists() { "it is a file" } else { "make the folder, or name another with cwd" };
        return SpawnError { step: SpawnStep::Folder, error, subject: shown(cwd), advice: advice.into() };
    }
    if program.is_dir() {
        let advice = "it is a folder; name the program in it".into();
        return SpawnError { step: SpawnStep::Program, error, subject: shown(program), advice };
    }
    let told = failed(SpawnStep::Program, request, error);
    let advice = if told.advice.is_empty() { program_advice(request, program, number) } else { told.advice };
    SpawnError { advice, subject: shown(program), ..told }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn program_advice(request: &SpawnRequest, program: &Path, number: u32) -> String {
    match number {
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => {
            "there is no such file; check the command and the folder it is in".into()
        }
        ERROR_ACCESS_DENIED => {
            let who = request.identity.as_ref().map_or_else(
                || "the account of the guard".to_owned(),
                |identity| format!("the account {}", identity.name),
            );
            format!(
                "{who} may not run it: look at the rights of the file and its folders (icacls \"{}\"), and whether a \
                 virus scanner or a policy blocks it",
                program.display()
            )
        }
        ERROR_BAD_EXE_FORMAT | ERROR_EXE_MACHINE_TYPE_MISMATCH => wrong_format(program),
        ERROR_ELEVATION_REQUIRED => {
            "its manifest demands an administrator: run the guard with those rights, such as installed with account = \
             \"system\", or give the program a manifest that asks for less (asInvoker)"
                .into()
        }
        ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION => {
            "somebody has the file open for writing; put a finished file in its place by renaming".into()
        }
        ERROR_FILENAME_EXCED_RANGE => "a path is longer than the OS takes; put the program nearer to the root".into(),
        ERROR_PRIVILEGE_NOT_HELD => {
            "the account of the guard lacks a right that this start needs; install it with account = \"system\"".into()
        }
        ERROR_INVALID_IMAGE_HASH => "its signature is missing or broken, and this host demands one".into(),
        ERROR_VIRUS_INFECTED => "the virus scanner of this host calls it malware".into(),
        ERROR_ACCESS_DISABLED_BY_POLICY => "a policy of this host (AppLocker, WDAC) forbids it".into(),
        ERROR_OLD_WIN_VERSION => "it was built for a later version of Windows than this host has".into(),
        _ => String::new(),
    }
}

fn wrong_format(path: &Path) -> String {
    let Ok((head, machine)) = head(path) else { return String::new() };
    match &head {
        head if head.is_empty() => "the file is empty".into(),
        head if head.starts_with(b"MZ") => match machine {
            Some(machine) => {
                let known = MACHINES.iter().find(|(number, _, _)| *number == machine);
                match known {
                    Some((_, _, target)) if *target == std::env::consts::ARCH => {
                        "the file is a program that is damaged, or a library".into()
                    }
                    Some((_, name, _)) => {
                        format!("it was built for {name}, and this host is {}", std::env::consts::ARCH)
                    }
                    None => format!("it was built for an architecture that is unknown here (0x{machine:04x})"),
                }
            }
            None => "it is a 16-bit program, or damaged".into(),
        },
        head if head.starts_with(b"\x7fELF") => "it is a Linux program; its Windows build is needed".into(),
        head if head.starts_with(b"#!") => {
            "it is a script for another OS: name its interpreter first, such as [\"python\", \"script.py\"]".into()
        }
        _ => match path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).as_deref() {
            Some("ps1") => "a script needs its interpreter first: [\"powershell\", \"-File\", …]".into(),
            Some(ending @ ("py" | "js" | "rb" | "pl" | "jar" | "vbs")) => {
                format!("a .{ending} file needs its interpreter before it in the command")
            }
            _ => "it is no program of Windows".into(),
        },
    }
}

/// How the file begins, and the architecture in the header of a program.
fn head(path: &Path) -> io::Result<(Vec<u8>, Option<u16>)> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head)?;
    let place = head.get(60..64).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes);
    let mut header = [0_u8; 6];
    let machine = match place {
        Some(place) => {
            file.seek(SeekFrom::Start(place.into()))?;
            let read = file.read_exact(&mut header).is_ok() && header.starts_with(b"PE\0\0");
            read.then(|| u16::from_le_bytes([header[4], header[5]]))
        }
        None => None,
    };
    Ok((head, machine))
}

/// What the OS ends a program with that crashed, in words. These codes are statuses of the kernel, which are
/// negative as exit codes.
pub(crate) fn crash_words(code: i32) -> Option<&'static str> {
    Some(match code.cast_unsigned() {
        0xc000_0005 => "access violation",
        0xc000_001d => "illegal instruction",
        0xc000_0094 => "integer division by zero",
        0xc000_00fd => "stack overflow",
        0xc000_0135 => "a DLL that it needs was not found",
        0xc000_0139 => "a DLL that it needs lacks a function",
        0xc000_013a => "ended by Ctrl-C, Ctrl-Break or the close of its console",
        0xc000_0142 => {
            "a DLL that it needs failed to initialise, or session 0 has no desktop heap left (SharedSection, third \
             value)"
        }
        0xc000_007b => "a DLL that it needs was built for another architecture",
        0xc000_0374 => "heap corruption",
        0xc000_0409 => "abort, or a stack buffer overrun",
        0xc000_0417 => "invalid argument to a function of the C runtime",
        0x8000_0003 => "breakpoint",
        0xe06d_7363 => "unhandled C++ exception",
        0xe043_4352 => "unhandled .NET exception",
        _ => return None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_program_is_told_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut arm = vec![0_u8; 70];
        arm[..2].copy_from_slice(b"MZ");
        arm[60] = 64;
        arm[64..68].copy_from_slice(b"PE\0\0");
        arm[68..70].copy_from_slice(&0xaa64_u16.to_le_bytes());
        for (name, text, told) in [
            ("empty.exe", &b""[..], "is empty"),
            ("elf.exe", b"\x7fELF", "Linux"),
            ("sh.exe", b"#!/bin/sh\n", "interpreter"),
            ("a.ps1", b"Get-Date", "powershell"),
            ("a.py", b"print()", ".py file needs its interpreter"),
            ("arm.exe", &arm, "built for arm64"),
        ] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert!(wrong_format(&file).contains(told), "{name}: {}", wrong_format(&file));
        }
    }

    #[test]
    fn a_start_that_lacks_desktop_heap_is_told_so() {
        let words = crash_words(0xc000_0142_u32.cast_signed()).unwrap();
        assert!(words.contains("failed to initialise") && words.contains("desktop heap"), "{words}");
    }

    #[test]
    fn want_passes_and_a_missing_file_does_not() {
        let of = |code: u32| io::Error::from_raw_os_error(code.cast_signed());
        assert!(is_passing(&of(ERROR_COMMITMENT_LIMIT)) && is_passing(&of(ERROR_SHARING_VIOLATION)));
        assert!(!is_passing(&of(ERROR_FILE_NOT_FOUND)) && !is_passing(&of(ERROR_ELEVATION_REQUIRED)));
    }
}
