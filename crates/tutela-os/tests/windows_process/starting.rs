//! What a program gets at its start, and what is said when it cannot be started.

use crate::ward::{block_on, understudy, ward};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use tutela_core::spec::Limits;
use tutela_os::handle::Handle;
use tutela_os::process::{Exit, SpawnError, SpawnRequest, SpawnStep, Stdio};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

fn refusal(request: &SpawnRequest) -> SpawnError {
    ward().nursery.spawn(request).map(|child| child.pid()).unwrap_err()
}

pub fn arguments_come_back_as_they_were_given() {
    let words = [
        "plain",
        "with blank",
        "",
        r#"say "hi""#,
        r"C:\path\",
        r"C:\with blank\",
        r#"back\\"slash"#,
        r#"\""#,
        r"\\\",
        "tab\there",
        "Grüße, 世界 🌍",
        "a&b|c<d>e^f%PATH%!x!",
        "'single'",
        "--flag=value with blank",
        "*",
    ];
    let ward = ward();
    let part = ward.start(&[&["args"][..], &words[..]].concat());
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(0));
    let hex = |word: &str| {
        let units: Vec<String> = std::ffi::OsStr::new(word).encode_wide().map(|unit| format!("{unit:04x}")).collect();
        format!("[{}]", units.join(" "))
    };
    let wanted: Vec<String> = words.iter().map(|word| hex(word)).collect();
    assert_eq!(part.output().lines().collect::<Vec<_>>(), wanted);
}

fn batch(text: &str, args: &[&str]) -> (tempfile::TempDir, SpawnRequest) {
    let dir = tempfile::Builder::new().prefix("with blank ").tempdir().unwrap();
    let file = dir.path().join("run it.cmd");
    std::fs::write(&file, text.replace('\n', "\r\n")).unwrap();
    let mut request = SpawnRequest::new(&file, dir.path(), "batch");
    request.args.extend(args.iter().map(Into::into));
    request.env = std::env::vars_os().collect();
    (dir, request)
}

pub fn a_batch_file_gets_its_arguments_and_its_exit_code_is_told() {
    let ward = ward();
    let output = tempfile::NamedTempFile::new().unwrap();
    let (_dir, mut request) = batch("@echo off\necho [%~1] [%~2]\nexit /b 7\n", &["a b", "c&d"]);
    request.stdout = Stdio::Handle(output.reopen().unwrap().into());
    let child = ward.nursery.spawn(&request).unwrap();
    assert_eq!(ward.end_of(&child).exit, Exit::Code(7));
    let text = std::fs::read_to_string(output.path()).unwrap();
    assert!(text.starts_with("[a b] [c"), "{text}");
}

pub fn a_batch_file_is_not_given_what_cmd_would_run() {
    for word in ["%PATH%", "\"&calc.exe", "a\r\ncalc.exe"] {
        let (_dir, request) = batch("@echo off\n", &[word]);
        let error = refusal(&request);
        assert_eq!(error.step, SpawnStep::Prepare, "{error}");
        assert!(error.to_string().contains("cmd.exe"), "{error}");
    }
}

pub fn the_environment_is_the_requests_own() {
    let ward = ward();
    let part = ward.start_with("env", &["env"], |request| {
        let kept = |name: &str| name.eq_ignore_ascii_case("SystemRoot") || name.eq_ignore_ascii_case("PATH");
        request.env.retain(|(name, _)| kept(&name.to_string_lossy()));
        request.env.push(("zeta".into(), "last".into()));
        request.env.push(("Ärger".into(), "mit Ümlaut 世".into()));
        request.env.push(("alpha".into(), "1".into()));
        request.env.push(("ALPHA".into(), "2".into()));
        request.env.push(("EMPTY".into(), "".into()));
    });
    ward.end_of(&part.child);
    let output = part.output();
    let has = |line: &str| output.lines().any(|told| told == line);
    assert!(has("zeta=last") && has("Ärger=mit Ümlaut 世") && has("ALPHA=2") && has("EMPTY="), "{output}");
    assert!(!output.contains("alpha=1"), "{output}");
    assert!(!output.to_ascii_uppercase().contains("\nUSERNAME="), "nothing of the guard's: {output}");
}

pub fn only_named_handles_are_inherited() {
    let file = tempfile::tempfile().unwrap();
    // A child has handles of its own, under most of the low numbers: this one's is far behind them.
    let copies: Vec<_> = (0..500).map(|_| file.try_clone().unwrap()).collect();
    let raw = copies.last().unwrap().as_raw_handle();
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    let set = unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) };
    assert_ne!(set, 0);
    let ward = ward();
    let part = ward.start(&["handles", &raw.addr().to_string()]);
    ward.end_of(&part.child);
    assert_eq!(part.output().trim(), "closed");
}

pub fn a_listening_socket_is_handed_over() {
    use std::io::Read;
    let ward = ward();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let part = ward.start_with("listen", &["listen"], |request| request.listen = vec![Handle::from(listener)]);
    part.lines(1);
    let mut text = String::new();
    std::net::TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the understudy");
    ward.end_of(&part.child);
}

pub fn exit_codes_keep_their_bits() {
    let ward = ward();
    for (code, shown) in [
        (0_u32, "exit code 0"),
        (7, "exit code 7"),
        (0xc000_0005, "exit code 0xc0000005 (access violation)"),
        (259, "exit code 259"),
    ] {
        let part = ward.start(&["exit", &code.to_string()]);
        let exit = ward.end_of(&part.child).exit;
        assert_eq!((exit, exit.to_string().as_str()), (Exit::Code(code.cast_signed()), shown));
    }
}

pub fn the_step_that_failed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = refusal(&SpawnRequest::new(dir.path().join("nothing.exe"), dir.path(), "a"));
    assert_eq!((missing.step, missing.error.raw_os_error()), (SpawnStep::Program, Some(2)), "{missing}");
    assert!(missing.to_string().contains("there is no such file"), "{missing}");
    let batch = refusal(&SpawnRequest::new(dir.path().join("nothing.bat"), dir.path(), "a"));
    assert_eq!((batch.step, batch.error.raw_os_error()), (SpawnStep::Program, Some(2)), "{batch}");

    let mut folder = understudy("a", &["exit", "0"]);
    folder.cwd = dir.path().join("none");
    let error = refusal(&folder);
    assert_eq!(error.step, SpawnStep::Folder, "{error}");
    assert!(error.subject.ends_with("none") && error.to_string().contains("make the folder"), "{error}");

    let mut zero = understudy("a", &[]);
    zero.args.push("a\0b".into());
    assert_eq!(refusal(&zero).step, SpawnStep::Prepare);
    let mut long = understudy("a", &[]);
    long.args.push("x".repeat(40_000).into());
    assert!(refusal(&long).to_string().contains("32766 are the most"), "{}", refusal(&long));
    let mut name = understudy("a", &[]);
    name.env.push(("a=b".into(), "c".into()));
    assert!(refusal(&name).to_string().contains("cannot be the name of a variable"));
    assert!(refusal(&understudy("../evil", &[])).to_string().contains("cannot be the name of a tree"));
    assert!(refusal(&SpawnRequest::new(dir.path(), dir.path(), "a")).to_string().contains("it is a folder"));
}

pub fn a_file_that_is_no_program_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text, told) in [("elf.exe", &b"\x7fELF\x02\x01\x01"[..], "Linux"), ("a.py", b"print()", "interpreter")] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        // A host may be able to run what Windows cannot, as Wine does with programs of its own host.
        match ward().nursery.spawn(&SpawnRequest::new(&file, dir.path(), "a")) {
            Err(error) => {
                assert_eq!(error.step, SpawnStep::Program, "{error}");
                assert!(error.to_string().contains(told), "{error}");
            }
            Ok(child) => ward().end(&child),
        }
    }
}

pub fn another_account_is_refused_with_advice() {
    let own = tutela_os::accounts::current().unwrap();
    let other = tutela_os::accounts::resolve("LocalService", None).unwrap();
    if own.id() == tutela_os::accounts::resolve("system", None).unwrap().id() {
        return println!("left out: as the OS itself, other accounts can be had");
    }
    let mut request = understudy("a", &["exit", "0"]);
    request.identity = Some(other);
    let error = refusal(&request);
    assert_eq!(error.step, SpawnStep::User, "{error}");
    assert!(
        error.subject.to_uppercase().contains("SERVICE") && error.to_string().contains("account = \"system\""),
        "{error}"
    );
    request.identity = Some(own);
    let child = ward().nursery.spawn(&request).unwrap();
    ward().end_of(&child);
}

pub fn paths_with_blanks_and_other_alphabets_work() {
    let ward = ward();
    // A file system below Wine may know no other alphabets (its locale must be one of UTF-8); those of Windows do.
    let alien = tempfile::Builder::new().prefix("Grüße aus 世界 ").tempdir();
    let (dir, told) = match alien {
        Ok(dir) => (dir, "世界"),
        Err(error) => {
            println!("other alphabets are left out: {error}");
            (tempfile::Builder::new().prefix("blank only ").tempdir().unwrap(), "blank only")
        }
    };
    let copy = dir.path().join("my program.exe");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let part = ward.start_with("paths", &["cwd"], |request| {
        request.program = "./my program.exe".into();
        request.cwd = dir.path().into();
    });
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(0));
    assert!(part.output().contains(told), "{}", part.output());
    // A verbatim path is for the file system alone.
    let verbatim = dir.path().canonicalize().unwrap();
    let part = ward.start_with("paths", &["cwd"], |request| request.cwd = verbatim);
    ward.end_of(&part.child);
    assert!(!part.output().starts_with(r"\\?\"), "{}", part.output());
}

pub fn what_cannot_be_enforced_is_told() {
    let ward = ward();
    let part = ward.start_with("limits", &["sleep"], |request| {
        request.umask = Some(0o027);
        request.limits = Limits {
            memory: Some(1 << 30),
            cpu_percent: Some(50),
            processes: Some(20),
            open_files: Some(100),
            ..Limits::default()
        };
    });
    let told: Vec<&str> = part.child.unenforced().iter().map(|missing| missing.capability).collect();
    let tutela_os::process::ContainerKind::JobObject { limits } = ward.nursery.container() else { panic!() };
    println!("this host keeps {limits:?}; told: {:?}", part.child.unenforced());
    for (word, capability) in [("memory", "memory limit"), ("cpu", "cpu limit"), ("processes", "processes limit")] {
        assert_eq!(limits.iter().any(|kept| kept == word), !told.contains(&capability), "{capability}");
    }
    assert!(told.contains(&"open files limit") && told.contains(&"umask"), "{told:?}");
    assert!(part.child.unenforced().iter().all(|missing| !missing.reason.is_empty()));
    part.child.tree().set_limits(&Limits::default()).unwrap();
    block_on(async { part.child.tree().kill() }).unwrap();
    ward.end_of(&part.child);
}
