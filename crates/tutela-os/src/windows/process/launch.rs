//! A start: from the request to a process that runs, or to words about why it does not.
//!
//! A process is made halted and in its job, gets everything else, is known to the registry, and only then
//! runs. So nothing it does can be missed, and what it starts is a member of its tree from the first moment.

use super::account;
use super::attributes::Attributes;
use super::nursery::{Child, Registry};
use super::profile::Login;
use super::{command_line, environment, explain};
use crate::platform::container::{Run, Tree as Held, never_limited, priority_class};
use crate::platform::handle::inheritable_copy;
use crate::platform::wide::{done, terminated};
use crate::process::{ChildToken, SpawnError, SpawnRequest, SpawnStep, Stdio, Tree};
use crate::{Error, Unsupported};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::{Component, Path, PathBuf, Prefix};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED,
    CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW, CreateProcessW, DETACHED_PROCESS, EXTENDED_STARTUPINFO_PRESENT,
    PROCESS_CREATION_FLAGS, PROCESS_INFORMATION, ResumeThread, STARTF_FORCEOFFFEEDBACK, STARTF_USESTDHANDLES,
    STARTUPINFOEXW, STARTUPINFOW, TerminateProcess,
};

/// The longest name of a tree; as everywhere.
const LABEL_BYTES_MAX: usize = 128;

/// What a handed-over socket's number is found by.
const LISTEN_HANDLES: &str = "LISTEN_HANDLES";

/// Starts programs.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Reads nothing, writes nowhere.
    nothing: File,
    tokens: AtomicU64,
    /// Whether the host was seen not to know jobs in attribute lists (before Windows 10).
    refuses_job_list: AtomicBool,
}

/// Everything that is decided before a process is made.
struct Plan {
    program: PathBuf,
    /// Where the program is read from: the program itself, or `cmd.exe` for a batch file.
    image: Vec<u16>,
    line: Vec<u16>,
    environment: Vec<u16>,
    cwd: PathBuf,
    cwd_units: Vec<u16>,
    /// The three streams, and then the sockets.
    handles: Vec<OwnedHandle>,
    /// Whom it runs as, if not as the guard.
    login: Option<Login>,
    /// What the account lacks on this host.
    missing: Option<Unsupported>,
    flags: PROCESS_CREATION_FLAGS,
}

/// A process that was made and does not run yet.
struct Made {
    process: OwnedHandle,
    thread: OwnedHandle,
    pid: u32,
}

impl Launcher {
    pub(super) fn new() -> Result<Launcher, Error> {
        let nothing = OpenOptions::new()
            .read(true)
            .write(true)
            .open("NUL")
            .map_err(|source| Error::io("open the device NUL, which programs read from", source))?;
        Ok(Launcher { nothing, tokens: AtomicU64::new(1), refuses_job_list: AtomicBool::new(false) })
    }

    pub(super) fn launch(&self, request: &SpawnRequest, registry: &Arc<Registry>) -> Result<Child, SpawnError> {
        check_label(&request.tree).map_err(|advice| {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            SpawnError { advice, ..explain::failed(SpawnStep::Prepare, request, error) }
        })?;
        self.start(request, self.plan(request)?, registry)
    }

    /// A number for a run that this guard did not start.
    pub(super) fn next_token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    fn start(&self, request: &SpawnRequest, mut plan: Plan, registry: &Arc<Registry>) -> Result<Child, SpawnError> {
        let token = self.next_token();
        let in_container = |error| explain::failed(SpawnStep::Container, request, error);
        let run = Run::begin(&request.tree, token).map_err(in_container)?;
        let abandoned = Abandoned(&run, true);
        let mut unenforced = run.set_limits(&request.limits).map_err(in_container)?;
        unenforced.extend(not_on_windows(request));
        unenforced.extend(plan.missing.take());
        let made = self.make(&mut plan, &run).map_err(|(step, error)| match step {
            SpawnStep::Program => explain::not_made(request, &plan.program, &plan.cwd, error),
            step => explain::failed(step, request, error),
        })?;
        let process = Arc::new(made.process);
        if let Some(login) = plan.login.take() {
            run.keep(login);
        }
        run.has_begun();
        let watched = registry.take_off(token, made.pid, &process, &run);
        let started = watched.and_then(|()| resume(&made.thread));
        if let Err(error) = started {
            registry.swallow(token);
            end_unrun(&process);
            return Err(explain::failed(SpawnStep::Process, request, error));
        }
        abandoned.no_more();
        Ok(Child { pid: made.pid, token: ChildToken(token), process, tree: Tree(Held(run)), unenforced })
    }

    /// Looks everything up that can be refused without a process.
    fn plan(&self, request: &SpawnRequest) -> Result<Plan, SpawnError> {
        let prepare = |error| explain::failed(SpawnStep::Prepare, request, error);
        let cwd = plain(&std::path::absolute(&request.cwd).map_err(prepare)?);
        let program = plain(&std::path::absolute(cwd.join(&request.program)).map_err(prepare)?);
        let (image, line) = if command_line::is_batch(&program) {
            // The interpreter would only say that it does not know such a command.
            if !program.is_file() {
                let missing = io::Error::from_raw_os_error(2);
                return Err(explain::not_made(request, &program, &cwd, missing));
            }
            let interpreter = command_line::interpreter().map_err(prepare)?;
            let line = command_line::for_batch(&interpreter, &program, &request.args).map_err(|error| {
                let advice = "put the value into the batch file, hand it over in a variable, or start the program \
                              itself that the batch file starts";
                SpawnError { advice: advice.into(), ..prepare(error) }
            })?;
            (interpreter, line)
        } else {
            (program.clone(), command_line::for_program(&request.args).map_err(prepare)?)
        };
        let (login, missing) = self.login(request)?.unzip();
        let handles = self.handles(request).map_err(|error| explain::failed(SpawnStep::Streams, request, error))?;
        let environment = environment_of(request, &handles, login.as_ref()).map_err(prepare)?;
        Ok(Plan {
            image: terminated(&image).map_err(prepare)?,
            line,
            environment,
            cwd_units: terminated(&cwd).map_err(prepare)?,
            cwd,
            program,
            handles,
            login,
            missing: missing.flatten(),
            flags: priority_class(request.limits.priority),
        })
    }

    fn login(&self, request: &SpawnRequest) -> Result<Option<(Login, Option<Unsupported>)>, SpawnError> {
        let Some(identity) = &request.identity else { return Ok(None) };
        account::log_on(identity).map_err(|(error, advice)| SpawnError {
            step: SpawnStep::User,
            error,
            subject: identity.name.clone(),
            advice,
        })
    }

    /// Copies of the streams and sockets that only the new process inherits.
    fn handles(&self, request: &SpawnRequest) -> io::Result<Vec<OwnedHandle>> {
        let streams = [
            (&request.stdin, STD_INPUT_HANDLE),
            (&request.stdout, STD_OUTPUT_HANDLE),
            (&request.stderr, STD_ERROR_HANDLE),
        ];
        let streams = streams.into_iter().map(|(stdio, own)| match stdio {
            Stdio::Null => inheritable_copy(self.nothing.as_raw_handle()),
            Stdio::Handle(handle) => handle.0.inheritable_copy(),
            // A stream of the guard's that is not there is nothing.
            Stdio::Inherit => inheritable_copy(own_stream(own).unwrap_or(self.nothing.as_raw_handle())),
        });
        streams.chain(request.listen.iter().map(|handle| handle.0.inheritable_copy())).collect()
    }

    /// Makes the process in the job of the run.
    fn make(&self, plan: &mut Plan, run: &Run) -> Result<Made, (SpawnStep, io::Error)> {
        if !self.refuses_job_list.load(Ordering::Relaxed) {
            match self.make_with(plan, Some(run.job().raw())) {
                Err(error) if refuses(&error) => {}
                Err(error) => return Err((SpawnStep::Program, error)),
                Ok(made) => return self.put_in(made, run),
            }
        }
        // Without the job in the list: if that works, it was the list.
        let made = self.make_with(plan, None).map_err(|error| (SpawnStep::Program, error))?;
        self.refuses_job_list.store(true, Ordering::Relaxed);
        self.put_in(made, run)
    }

    /// Sees to it that the process, which has not run yet, is in the job: a host may ignore what it does not know.
    fn put_in(&self, made: Made, run: &Run) -> Result<Made, (SpawnStep, io::Error)> {
        if !run.job().holds(&made.process)
            && let Err(error) = run.job().take_in(&made.process)
        {
            end_unrun(&made.process);
            return Err((SpawnStep::Container, error));
        }
        Ok(made)
    }

    fn make_with(&self, plan: &mut Plan, job: Option<RawHandle>) -> io::Result<Made> {
        let mut attributes = Attributes::new(&plan.handles, job)?;
        let mut start = STARTUPINFOEXW { lpAttributeList: attributes.raw(), ..STARTUPINFOEXW::default() };
        start.StartupInfo.cb = u32::try_from(size_of_val(&start)).unwrap_or(0);
        start.StartupInfo.dwFlags = STARTF_USESTDHANDLES | STARTF_FORCEOFFFEEDBACK;
        let stream = |at: usize| plan.handles.get(at).map_or(std::ptr::null_mut(), AsRawHandle::as_raw_handle);
        start.StartupInfo.hStdInput = stream(0);
        start.StartupInfo.hStdOutput = stream(1);
        start.StartupInfo.hStdError = stream(2);
        // An empty name: a desktop that the other account may use is found or made.
        let mut own_desktop = [0_u16];
        if plan.login.is_some() {
            start.StartupInfo.lpDesktop = own_desktop.as_mut_ptr();
        }
        let mut told = PROCESS_INFORMATION::default();
        let flags = plan.flags
            | CREATE_SUSPENDED
            | CREATE_UNICODE_ENVIRONMENT
            | CREATE_NO_WINDOW
            | EXTENDED_STARTUPINFO_PRESENT;
        let (image, line, cwd) = (plan.image.as_ptr(), plan.line.as_mut_ptr(), plan.cwd_units.as_ptr());
        let environment = plan.environment.as_ptr().cast();
        let (start, none) = (&raw const start.StartupInfo, std::ptr::null());
        let made = match &plan.login {
            // SAFETY: the texts end in zeros, the environment in two; they, the start information with its list
            // and the handles in it live through the call, which writes only to the line and to `told`.
            None => unsafe {
                CreateProcessW(image, line, none, none, 1, flags, environment, cwd, start, &raw mut told)
            },
            Some(login) => {
                let token = login.token();
                // SAFETY: as above, and the token is open for the call.
                unsafe {
                    CreateProcessAsUserW(
                        token,
                        image,
                        line,
                        none,
                        none,
                        1,
                        flags,
                        environment,
                        cwd,
                        start,
                        &raw mut told,
                    )
                }
            }
        };
        done(made)?;
        drop(attributes);
        Ok(owned(&told))
    }
}

fn owned(told: &PROCESS_INFORMATION) -> Made {
    // SAFETY: the call has just made it, and nobody else knows of it.
    let process = unsafe { OwnedHandle::from_raw_handle(told.hProcess) };
    // SAFETY: as above.
    let thread = unsafe { OwnedHandle::from_raw_handle(told.hThread) };
    Made { process, thread, pid: told.dwProcessId }
}

/// What a host answers that does not know a job in an attribute list.
fn refuses(error: &io::Error) -> bool {
    let code = error.raw_os_error().map_or(0, i32::cast_unsigned);
    matches!(code, ERROR_INVALID_PARAMETER | ERROR_NOT_SUPPORTED)
}

fn resume(thread: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    if unsafe { ResumeThread(thread.as_raw_handle()) } == u32::MAX {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Ends a process that never ran. That it is gone already is as good.
fn end_unrun(process: &OwnedHandle) {
    // SAFETY: the handle is open for the call; no memory of ours is read or written.
    unsafe { TerminateProcess(process.as_raw_handle(), crate::platform::container::KILLED) };
}

/// Lets go of the job of a start that failed.
struct Abandoned<'a>(&'a Run, bool);

impl Abandoned<'_> {
    fn no_more(mut self) {
        self.1 = false;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.abandon();
        }
    }
}

fn own_stream(which: STD_HANDLE) -> Option<RawHandle> {
    // SAFETY: takes a number, touches no memory of ours.
    let handle = unsafe { GetStdHandle(which) };
    (!handle.is_null() && handle != INVALID_HANDLE_VALUE).then_some(handle)
}

/// The environment of the request, with what tells of sockets and, for another account, with its own places instead
/// of the guard's.
fn environment_of(request: &SpawnRequest, handles: &[OwnedHandle], login: Option<&Login>) -> io::Result<Vec<u16>> {
    let mut variables = request.env.clone();
    if let Some(login) = login {
        variables = environment::with_places(variables, login.places()?, |name| std::env::var_os(name));
    }
    let sockets = handles.get(3..).unwrap_or_default();
    if !sockets.is_empty() {
        // The numbers of handles are known only here; a process number is not known before there is a process.
        let numbers: Vec<String> = sockets.iter().map(|socket| socket.as_raw_handle().addr().to_string()).collect();
        variables.push(("LISTEN_FDS".into(), sockets.len().to_string().into()));
        variables.push((LISTEN_HANDLES.into(), numbers.join(":").into()));
    }
    environment::block(&variables)
}

/// A path without the prefix that turns the rules of paths off, where it means the same without: `cmd.exe` and
/// many programs cannot work in a folder that is named with it.
fn plain(path: &Path) -> PathBuf {
    /// Up to here every function of Windows takes a path without the prefix.
    const PLAIN_UNITS_MAX: usize = 247;
    let mut parts = path.components();
    match parts.next() {
        Some(Component::Prefix(prefix)) if path.as_os_str().len() <= PLAIN_UNITS_MAX => match prefix.kind() {
            Prefix::VerbatimDisk(drive) => {
                let mut plain = PathBuf::from(format!("{}:\\", char::from(drive)));
                plain.extend(parts.filter(|part| !matches!(part, Component::RootDir)));
                plain
            }
            _ => path.to_owned(),
        },
        _ => path.to_owned(),
    }
}

/// The wishes that Windows has no means for.
fn not_on_windows(request: &SpawnRequest) -> Vec<Unsupported> {
    let mut missing = never_limited(&request.limits);
    let mut add = |wished: bool, capability, reason: &'static str| {
        if wished {
            missing.push(Unsupported::new(capability, reason));
        }
    };
    add(request.umask.is_some(), "umask", "access lists take its place: new files get the rights of their folder");
    add(request.oom_score_adjust.is_some(), "out-of-memory score", "Windows ends no program when memory runs out");
    add(request.security.capabilities.is_some(), "capabilities", "accounts have privileges instead");
    let paths = !request.security.read_only_paths.is_empty();
    add(paths, "read-only paths", "the access lists of folders say what an account may write");
    missing
}

fn check_label(label: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('.');
    if fits && label.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "{label:?} cannot be the name of a tree: it takes 1 to {LABEL_BYTES_MAX} letters, digits, '.', '_' and '-'"
    ))
}

/// Starts this very program anew, without console, streams or inherited handles, to carry a request over.
pub(super) fn start_messenger(program: &Path, words: &[OsString]) -> io::Result<OwnedHandle> {
    start_own(program, words, None, DETACHED_PROCESS)
}

/// The same to be a safe: it outlives this process, in no job of this one's where those let it go, with nothing of its
/// environment, and in no folder that somebody may want to remove.
pub(crate) fn start_safe(program: &Path, words: &[OsString]) -> io::Result<OwnedHandle> {
    const ROOT: &str = "SystemRoot";
    let root = std::env::var_os(ROOT).unwrap_or_else(|| r"C:\Windows".into());
    let environment = environment::block(&[(ROOT.into(), root.clone())])?;
    let words: Vec<OsString> = std::iter::once(program.as_os_str().to_owned()).chain(words.iter().cloned()).collect();
    let place = (environment, terminated(root)?);
    let flags = DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP | CREATE_UNICODE_ENVIRONMENT;
    match start_own(program, &words, Some(&place), flags | CREATE_BREAKAWAY_FROM_JOB) {
        // The job that this process is in, of whoever started it, lets nobody go.
        Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {
            start_own(program, &words, Some(&place), flags)
        }
        started => started,
    }
}

/// `place`: an environment and a folder other than those of this process.
fn start_own(
    program: &Path,
    words: &[OsString],
    place: Option<&(Vec<u16>, Vec<u16>)>,
    flags: PROCESS_CREATION_FLAGS,
) -> io::Result<OwnedHandle> {
    let (image, mut line) = (terminated(program)?, command_line::for_program(words)?);
    let (environment, folder) =
        place.map_or((std::ptr::null(), std::ptr::null()), |(variables, folder)| (variables.as_ptr(), folder.as_ptr()));
    let start = STARTUPINFOW { cb: u32::try_from(size_of::<STARTUPINFOW>()).unwrap_or(0), ..STARTUPINFOW::default() };
    let mut told = PROCESS_INFORMATION::default();
    let none = std::ptr::null();
    // SAFETY: the texts end in zeros, the environment in two, and live through the call, which writes only to the line and
    // to `told`. Where there is no environment and no folder (null) they are those of this process.
    let made = unsafe {
        CreateProcessW(
            image.as_ptr(),
            line.as_mut_ptr(),
            none,
            none,
            0,
            flags,
            environment.cast(),
            folder,
            &raw const start,
            &raw mut told,
        )
    };
    done(made)?;
    Ok(owned(&told).process)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::profile::tests::{alone, own_login};
    use super::*;
    use crate::handle::Handle;
    use crate::process::StopRequest;
    use windows_sys::Win32::Foundation::ERROR_PRIVILEGE_NOT_HELD;

    /// With a token of the guard's own account in place of another's, which only the OS itself can have made.
    #[test]
    fn a_program_of_another_account_has_its_login_until_it_ends_and_no_windows_that_the_guard_reaches() {
        let _alone = alone();
        let (reader, writer) = io::pipe().unwrap();
        let mut request =
            SpawnRequest::new(command_line::interpreter().unwrap(), std::env::temp_dir(), "another-account");
        request.env = std::env::vars_os().collect();
        // It reads commands until there are none.
        request.stdin = Stdio::Handle(Handle::from(File::from(OwnedHandle::from(reader))));
        let (launcher, registry) = (Launcher::new().unwrap(), Arc::default());
        let mut plan = launcher.plan(&request).unwrap();
        let (login, missing) = own_login();
        (plan.login, plan.missing) = (Some(login), missing.clone());
        let child = match launcher.start(&request, plan, &registry) {
            Err(error) if error.error.raw_os_error() == Some(ERROR_PRIVILEGE_NOT_HELD.cast_signed()) => {
                return println!("left out: {error}");
            }
            started => started.unwrap(),
        };
        // Its own handle would keep the program from seeing the end of its input.
        drop(request);
        assert_eq!(child.unenforced(), missing.as_slice());
        let run = &child.tree().0.0;
        assert!(run.has_login());
        let asked = child.request(StopRequest::CloseWindow).now().unwrap().unwrap_err().to_string();
        assert!(asked.contains("window station"), "{asked}");
        drop(writer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bound = std::time::Duration::from_secs(60);
        runtime.block_on(async { tokio::time::timeout(bound, child.tree().0.emptied()).await }).unwrap().unwrap();
        assert!(!run.has_login());
        super::super::profile::settle();
    }
}
