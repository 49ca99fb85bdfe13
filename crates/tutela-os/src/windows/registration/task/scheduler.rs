//! The Task Scheduler, by its objects.

use super::super::com::{Apartment, NOT_IMPLEMENTED, Object, Text, Variant, checked, of_os, result};
use core::ffi::c_void;
use std::io;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND};
use windows_sys::core::{GUID, HRESULT};

const SCHEDULER: GUID = GUID::from_u128(0x0f87369f_a4e5_4cfc_bd3e_73e6154572dd);
const SERVICE: GUID = GUID::from_u128(0x2faba4c7_4da9_4013_9697_20cc3fd40f85);

/// Make a task, or put this one in the place of the one that is there.
const CREATE_OR_UPDATE: i32 = 6;

/// Show the hidden ones too.
const HIDDEN_TOO: i32 = 1;

/// Results of a registration that was taken and is good for nothing.
const NO_BATCH_LOGON: HRESULT = 0x0004_131c;
const NO_TRIGGER: HRESULT = 0x0004_131b;

/// Results of tasks that have none yet.
const NOT_RUN: u32 = 0x0004_1303;
const RUNS: u32 = 0x0004_1301;

type GetObject = unsafe extern "system" fn(*mut c_void, *const u16, *mut *mut c_void) -> HRESULT;
type GetObjectAt = unsafe extern "system" fn(*mut c_void, Variant, *mut *mut c_void) -> HRESULT;
type GetList = unsafe extern "system" fn(*mut c_void, i32, *mut *mut c_void) -> HRESULT;
type GetText = unsafe extern "system" fn(*mut c_void, *mut *const u16) -> HRESULT;
type Remove = unsafe extern "system" fn(*mut c_void, *const u16, i32) -> HRESULT;
type GetNumber = unsafe extern "system" fn(*mut c_void, *mut i32) -> HRESULT;

/// How a task comes by the rights of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logon {
    /// By its password, which the scheduler keeps; or as a managed account.
    Password,
    /// Without one: for this computer alone.
    WithoutPassword,
    /// In the session of the one who is logged in.
    Session,
    /// As an account of the OS.
    OfOs,
}

impl Logon {
    /// Its number.
    fn number(self) -> i32 {
        match self {
            Logon::Password => 1,
            Logon::WithoutPassword => 2,
            Logon::Session => 3,
            Logon::OfOs => 5,
        }
    }
}

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Disabled,
    Queued,
    Ready,
    Running,
    Unknown,
}

/// What the scheduler says of a task that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It will run.
    Well,
    /// It will not, because its account may not log on as a batch job.
    WithoutRight,
    /// Nothing will start it, because its account may not have such a trigger.
    WithoutTrigger,
}

impl Taken {
    /// A result that is no failure.
    fn of(result: HRESULT) -> Taken {
        match result {
            NO_BATCH_LOGON => Taken::WithoutRight,
            NO_TRIGGER => Taken::WithoutTrigger,
            _ => Taken::Well,
        }
    }
}

/// A connection to the scheduler of this computer.
pub(super) struct Scheduler {
    root: Object,
    // Declared last, so that it is left last.
    _apartment: Apartment,
}

/// Absent things are answered in two ways.
fn absent(error: &io::Error) -> bool {
    [of_os(ERROR_FILE_NOT_FOUND), of_os(ERROR_PATH_NOT_FOUND)].contains(&result(error))
}

impl Scheduler {
    pub(super) fn connect() -> io::Result<Scheduler> {
        type Connect = unsafe extern "system" fn(*mut c_void, Variant, Variant, Variant, Variant) -> HRESULT;
        let apartment = Apartment::enter()?;
        let service = Object::create(&SCHEDULER, &SERVICE)?;
        // SAFETY: `Connect` is the 11th method of ITaskService.
        let connect = unsafe { service.method::<Connect>(10) };
        let nothing = Variant::NOTHING;
        // SAFETY: the object lives through the call; nothing means this computer and this account.
        checked(unsafe { connect(service.as_ptr(), nothing, nothing, nothing, nothing) })?;
        // SAFETY: `GetFolder` is the 8th method of ITaskService.
        let folder = unsafe { service.method::<GetObject>(7) };
        let path = Text::new("\\");
        // SAFETY: the object and the text live through the call; the answer is written to a local.
        let root = Object::given(|place| unsafe { folder(service.as_ptr(), path.as_ptr(), place) })?;
        Ok(Scheduler { root, _apartment: apartment })
    }

    /// The task at `path`; `None`: there is none.
    pub(super) fn task(&self, path: &str) -> io::Result<Option<Task>> {
        let path = Text::new(path);
        // SAFETY: `GetTask` is the 14th method of ITaskFolder.
        let get = unsafe { self.root.method::<GetObject>(13) };
        // SAFETY: the object and the text live through the call; the answer is written to a local.
        match Object::given(|place| unsafe { get(self.root.as_ptr(), path.as_ptr(), place) }) {
            Ok(task) => Ok(Some(Task(task))),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the task at `path`, with the folders above it, or changes it.
    pub(super) fn register(
        &self,
        path: &str,
        xml: &str,
        account: Option<(&str, Option<&str>)>,
        logon: Logon,
    ) -> io::Result<Taken> {
        type Register = unsafe extern "system" fn(
            *mut c_void,
            *const u16,
            *const u16,
            i32,
            Variant,
            Variant,
            i32,
            Variant,
            *mut *mut c_void,
        ) -> HRESULT;
        let (path, xml) = (Text::new(path), Text::new(xml));
        let user = account.map(|(user, _)| Text::new(user));
        let password = account.and_then(|(_, password)| password).map(Text::new);
        let value = |text: &Option<Text>| text.as_ref().map_or(Variant::NOTHING, Variant::text);
        // SAFETY: `RegisterTask` is the 17th method of ITaskFolder.
        let register = unsafe { self.root.method::<Register>(16) };
        let mut result = 0;
        let task = Object::given(|place| {
            // SAFETY: the object and every text live through the call; the answer is written to a local.
            result = unsafe {
                register(
                    self.root.as_ptr(),
                    path.as_ptr(),
                    xml.as_ptr(),
                    CREATE_OR_UPDATE,
                    value(&user),
                    value(&password),
                    logon.number(),
                    Variant::NOTHING,
                    place,
                )
            };
            result
        })?;
        drop(task);
        Ok(Taken::of(result))
    }

    /// The path of the first task in any folder that `wanted` says yes to, by its path and its definition; `None` for a
    /// definition that cannot be read.
    pub(super) fn find(&self, mut wanted: impl FnMut(&str, Option<&str>) -> bool) -> io::Result<Option<String>> {
        let mut folders = each(&self.root, FOLDERS)?;
        let mut tasks = each(&self.root, TASKS)?;
        loop {
            for task in tasks {
                let task = Task(task);
                let path = task.path()?;
                if wanted(&path, task.xml().ok().as_deref()) {
                    return Ok(Some(path));
                }
            }
            let Some(folder) = folders.pop() else { return Ok(None) };
            folders.extend(each(&folder, FOLDERS)?);
            tasks = each(&folder, TASKS)?;
        }
    }

    /// Deletes the task at `path`, if it is there.
    pub(super) fn delete(&self, path: &str) -> io::Result<()> {
        // SAFETY: `DeleteTask` is the 16th method of ITaskFolder.
        let delete = unsafe { self.root.method::<Remove>(15) };
        self.remove(delete, path)
    }

    /// Deletes the folder at `path`, if it is there and empty.
    pub(super) fn delete_folder(&self, path: &str) -> io::Result<()> {
        // SAFETY: `DeleteFolder` is the 13th method of ITaskFolder.
        let delete = unsafe { self.root.method::<Remove>(12) };
        self.remove(delete, path)
    }

    fn remove(&self, remove: Remove, path: &str) -> io::Result<()> {
        let path = Text::new(path);
        // SAFETY: the object and the text live through the call; no flags are known to it.
        match checked(unsafe { remove(self.root.as_ptr(), path.as_ptr(), 0) }) {
            Err(error) if absent(&error) => Ok(()),
            done => done,
        }
    }
}

/// `GetFolders` is the 11th method of ITaskFolder, and takes no flags.
const FOLDERS: (usize, i32) = (10, 0);
/// `GetTasks` is the 15th.
const TASKS: (usize, i32) = (14, HIDDEN_TOO);

/// What is in a folder, of one kind.
fn each(folder: &Object, (index, flags): (usize, i32)) -> io::Result<Vec<Object>> {
    // SAFETY: both methods of ITaskFolder are of this type.
    let get = unsafe { folder.method::<GetList>(index) };
    // SAFETY: the object lives through the call; the answer is written to a local.
    let list = Object::given(|place| unsafe { get(folder.as_ptr(), flags, place) })?;
    // SAFETY: `get_Count` is the 8th method of both lists.
    let count_of = unsafe { list.method::<GetNumber>(7) };
    // SAFETY: `get_Item` is the 9th method of both lists.
    let item = unsafe { list.method::<GetObjectAt>(8) };
    let mut count = 0;
    // SAFETY: the object lives through the call; the answer is written to a local.
    checked(unsafe { count_of(list.as_ptr(), &raw mut count) })?;
    (1..=count)
        .map(|number| {
            let number = Variant::number(number);
            // SAFETY: the object lives through the call; the answer is written to a local.
            Object::given(|place| unsafe { item(list.as_ptr(), number, place) })
        })
        .collect()
}

/// A task that there is.
pub(super) struct Task(Object);

impl Task {
    pub(super) fn state(&self) -> io::Result<State> {
        // `get_State` is the 10th method of IRegisteredTask.
        Ok(match self.number(9)? {
            1 => State::Disabled,
            2 => State::Queued,
            3 => State::Ready,
            4 => State::Running,
            _ => State::Unknown,
        })
    }

    /// How its last run ended: its exit code. `None`: it has not run, runs, or the scheduler (Wine's) does not say.
    pub(super) fn last_result(&self) -> io::Result<Option<u32>> {
        // `get_LastTaskResult` is the 17th method of IRegisteredTask.
        match self.number(16).map(i32::cast_unsigned) {
            Ok(NOT_RUN | RUNS) => Ok(None),
            Ok(code) => Ok(Some(code)),
            Err(error) if result(&error) == NOT_IMPLEMENTED => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn number(&self, index: usize) -> io::Result<i32> {
        let mut number = 0;
        // SAFETY: `index` is that of a method of IRegisteredTask which gives a number.
        let get = unsafe { self.0.method::<GetNumber>(index) };
        // SAFETY: the object lives through the call; the answer is written to a local.
        checked(unsafe { get(self.0.as_ptr(), &raw mut number) })?;
        Ok(number)
    }

    /// Its whole definition.
    pub(super) fn xml(&self) -> io::Result<String> {
        // `get_Xml` is the 21st method of IRegisteredTask.
        self.text(20)
    }

    /// Its folder and its name.
    fn path(&self) -> io::Result<String> {
        // `get_Path` is the 9th method of IRegisteredTask.
        self.text(8)
    }

    fn text(&self, index: usize) -> io::Result<String> {
        // SAFETY: `index` is that of a method of IRegisteredTask which gives a text.
        let get = unsafe { self.0.method::<GetText>(index) };
        // SAFETY: the object lives through the call; the answer is written to a local.
        Text::given(|place| unsafe { get(self.0.as_ptr(), place) })
    }

    /// Starts it.
    pub(super) fn run(&self) -> io::Result<()> {
        type Run = unsafe extern "system" fn(*mut c_void, Variant, *mut *mut c_void) -> HRESULT;
        // SAFETY: `Run` is the 13th method of IRegisteredTask.
        let run = unsafe { self.0.method::<Run>(12) };
        // SAFETY: the object lives through the call; the answer is written to a local.
        Object::given(|place| unsafe { run(self.0.as_ptr(), Variant::NOTHING, place) }).map(drop)
    }

    /// Ends it by force; the scheduler has no other way.
    pub(super) fn stop(&self) -> io::Result<()> {
        type Stop = unsafe extern "system" fn(*mut c_void, i32) -> HRESULT;
        // SAFETY: `Stop` is the 24th method of IRegisteredTask.
        let stop = unsafe { self.0.method::<Stop>(23) };
        // SAFETY: the object lives through the call.
        checked(unsafe { stop(self.0.as_ptr(), 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_was_taken_and_will_not_run_is_not_taken_well() {
        assert_eq!([0, 0x4_131c, 0x4_131b].map(Taken::of), [Taken::Well, Taken::WithoutRight, Taken::WithoutTrigger]);
    }
}
