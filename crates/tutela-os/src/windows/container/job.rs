//! A job object: the calls on it, with the structure of each question beside it.

use crate::Unsupported;
use crate::platform::wide::done;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tutela_core::spec::Limits;
use windows_sys::Win32::Foundation::ERROR_MORE_DATA;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_CPU_RATE_CONTROL_ENABLE,
    JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP, JOB_OBJECT_LIMIT_ACTIVE_PROCESS, JOB_OBJECT_LIMIT_JOB_MEMORY,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_ASSOCIATE_COMPLETION_PORT, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION, JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECTINFOCLASS, JobObjectAssociateCompletionPortInformation,
    JobObjectBasicAccountingInformation, JobObjectBasicProcessIdList, JobObjectCpuRateControlInformation,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{ALL_PROCESSOR_GROUPS, GetActiveProcessorCount, GetProcessId};

/// The most members that are listed. A job with more is a fork bomb, and ending it needs no list.
const MEMBERS_MAX: usize = 65_536;

/// How much the kernel may round a limit of memory: to a page, of which the largest normal ones have 64 KiB.
const PAGE_BYTES_MAX: usize = 65_536;

/// A job object. With its last handle the kernel ends everybody in it: that is ours, unless a safe has one too.
#[derive(Debug)]
pub(crate) struct Job {
    handle: Arc<OwnedHandle>,
    /// Whether its share of the processors was limited, so that there is something to take back.
    cpu_limited: AtomicBool,
}

/// A limit that was asked for and is not kept here: which, and why.
type Missing = (&'static str, String);

impl Job {
    /// A job without members, which ends them with its handle and lets none of them leave.
    pub(crate) fn new() -> io::Result<Job> {
        // SAFETY: without attributes and name (both null) no memory of ours is read.
        let handle = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it, and nobody else knows of it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        let job = Job { handle: Arc::new(handle), cpu_limited: AtomicBool::new(false) };
        job.set_extended(&Limits::default())?;
        Ok(job)
    }

    /// The job of an earlier guard, with the limits that it has.
    pub(crate) fn taken_back(handle: Arc<OwnedHandle>) -> Job {
        let job = Job { handle, cpu_limited: AtomicBool::new(false) };
        let cpu = job.query::<JOBOBJECT_CPU_RATE_CONTROL_INFORMATION>(JobObjectCpuRateControlInformation);
        let limited = cpu.is_ok_and(|cpu| cpu.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE != 0);
        job.cpu_limited.store(limited, Ordering::Release);
        job
    }

    /// What keeps it, for a safe.
    pub(crate) fn handle(&self) -> Arc<OwnedHandle> {
        Arc::clone(&self.handle)
    }

    /// Whether the memory of its members is limited.
    pub(crate) fn limits_memory(&self) -> bool {
        let told = self.query::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(JobObjectExtendedLimitInformation);
        told.is_ok_and(|told| told.BasicLimitInformation.LimitFlags & JOB_OBJECT_LIMIT_JOB_MEMORY != 0)
    }

    pub(crate) fn raw(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }

    /// No port is told anything any more. Windows 8 is the first that can do it.
    pub(crate) fn report_to_nobody(&self) -> io::Result<()> {
        self.set(JobObjectAssociateCompletionPortInformation, &JOBOBJECT_ASSOCIATE_COMPLETION_PORT::default())
    }

    /// From here on what happens in the job is told to the completion port under `key`.
    pub(crate) fn report_to(&self, port: &OwnedHandle, key: usize) -> io::Result<()> {
        let place = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
            CompletionKey: std::ptr::without_provenance_mut(key),
            CompletionPort: port.as_raw_handle(),
        };
        self.set(JobObjectAssociateCompletionPortInformation, &place)
    }

    /// Puts a process in, which must not have run yet.
    pub(crate) fn take_in(&self, process: &OwnedHandle) -> io::Result<()> {
        // SAFETY: both handles are open for the call; no memory of ours is read or written.
        done(unsafe { AssignProcessToJobObject(self.raw(), process.as_raw_handle()) })
    }

    /// Whether the process is a member.
    pub(crate) fn holds(&self, process: &OwnedHandle) -> bool {
        let mut answer = 0;
        // SAFETY: both handles are open for the call, which writes one truth value that is ours.
        let told = unsafe { IsProcessInJob(process.as_raw_handle(), self.raw(), &raw mut answer) };
        if told != 0 {
            return answer != 0;
        }
        // Some hosts want more rights for that question than the process was opened with. As long as it is open, its
        // number is its own.
        // SAFETY: the handle is open for the call; zero is its word for a failure.
        let pid = unsafe { GetProcessId(process.as_raw_handle()) };
        pid != 0 && self.pids().is_ok_and(|pids| pids.contains(&pid))
    }

    /// Ends every member with `code`. Returns before they are gone.
    pub(crate) fn terminate(&self, code: u32) -> io::Result<()> {
        // SAFETY: the handle is open for the call; no memory of ours is read or written.
        done(unsafe { TerminateJobObject(self.raw(), code) })
    }

    /// How many members run, and the processor time of all there ever were.
    pub(crate) fn accounting(&self) -> io::Result<(u32, Duration)> {
        let told: JOBOBJECT_BASIC_ACCOUNTING_INFORMATION = self.query(JobObjectBasicAccountingInformation)?;
        let span = |hundred_nanoseconds: i64| {
            Duration::from_nanos(u64::try_from(hundred_nanoseconds).unwrap_or(0).saturating_mul(100))
        };
        Ok((told.ActiveProcesses, span(told.TotalUserTime) + span(told.TotalKernelTime)))
    }

    /// The most memory that a single member ever had committed, in bytes.
    pub(crate) fn process_memory_peak(&self) -> u64 {
        let told = self.query::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(JobObjectExtendedLimitInformation);
        told.map_or(0, |told| u64::try_from(told.PeakProcessMemoryUsed).unwrap_or(u64::MAX))
    }

    /// The numbers of the members that run.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        // Two counters of 32 bits, then a number of pointer size each: on 64 bits the head is one number.
        const HEAD: usize = 8 / size_of::<usize>();
        let mut room = 64;
        loop {
            let mut list = vec![0_usize; HEAD + room];
            let bytes = u32::try_from(size_of_val(list.as_slice())).unwrap_or(u32::MAX);
            let into = list.as_mut_ptr().cast();
            // SAFETY: the list is ours, aligned for its numbers, and as long as the length says.
            let told = done(unsafe {
                QueryInformationJobObject(self.raw(), JobObjectBasicProcessIdList, into, bytes, std::ptr::null_mut())
            });
            match told {
                Err(error) if is(&error, ERROR_MORE_DATA) && room < MEMBERS_MAX => room *= 4,
                Err(error) if !is(&error, ERROR_MORE_DATA) => return Err(error),
                // With the most room there is, the list is as full as it gets.
                Ok(()) | Err(_) => {
                    // The second counter says how many are listed.
                    let head = list.first().copied().unwrap_or(0);
                    let listed = if HEAD == 1 { head >> 32 } else { list.get(1).copied().unwrap_or(0) };
                    let numbers = list.iter().skip(HEAD).take(listed);
                    return Ok(numbers.filter_map(|number| u32::try_from(*number).ok()).collect());
                }
            }
        }
    }

    /// Sets what all members together may use. Answers what cannot be limited here.
    pub(crate) fn set_limits(&self, wanted: &Limits) -> io::Result<Vec<Unsupported>> {
        let mut missing = Vec::new();
        if let Err(error) = self.set_extended(wanted) {
            // Which of the wishes it was is told by setting each alone.
            let only = [
                ("memory limit", Limits { memory: wanted.memory, ..Limits::default() }),
                ("processes limit", Limits { processes: wanted.processes, ..Limits::default() }),
            ];
            let refused: Vec<Missing> = only
                .into_iter()
                .filter_map(|(name, alone)| self.set_extended(&alone).err().map(|error| (name, error.to_string())))
                .collect();
            if refused.is_empty() {
                return Err(error);
            }
            missing.extend(refused);
        }
        missing.extend(self.not_kept(wanted));
        missing.extend(self.set_cpu(wanted.cpu_percent));
        missing.dedup_by_key(|(name, _)| *name);
        Ok(missing.into_iter().map(|(name, reason)| Unsupported::new(name, reason)).collect())
    }

    fn set_extended(&self, wanted: &Limits) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        if let Some(bytes) = wanted.memory {
            limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
            limits.JobMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(count) = wanted.processes {
            limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
            limits.BasicLimitInformation.ActiveProcessLimit = with_console_host(count);
        }
        self.set(JobObjectExtendedLimitInformation, &limits)
    }

    /// A host may take a limit and forget it. What it cannot give back, it does not keep.
    fn not_kept(&self, wanted: &Limits) -> Vec<Missing> {
        let kept: JOBOBJECT_EXTENDED_LIMIT_INFORMATION =
            self.query(JobObjectExtendedLimitInformation).unwrap_or_default();
        let reason = || "this host takes the limit and does not keep it".to_owned();
        let mut missing = Vec::new();
        if let Some(bytes) = wanted.memory {
            let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
            if kept.JobMemoryLimit == 0 || kept.JobMemoryLimit.abs_diff(wanted) > PAGE_BYTES_MAX {
                missing.push(("memory limit", reason()));
            }
        }
        if let Some(count) = wanted.processes
            && kept.BasicLimitInformation.ActiveProcessLimit != with_console_host(count)
        {
            missing.push(("processes limit", reason()));
        }
        missing
    }

    fn set_cpu(&self, percent: Option<u32>) -> Option<Missing> {
        let Some(percent) = percent else {
            if self.cpu_limited.swap(false, Ordering::AcqRel) {
                let none = JOBOBJECT_CPU_RATE_CONTROL_INFORMATION::default();
                let off = self.set(JobObjectCpuRateControlInformation, &none);
                return off.err().map(|error| ("cpu limit", format!("it cannot be taken back: {error}")));
            }
            return None;
        };
        let rate = rate_of(percent);
        let wanted = JOBOBJECT_CPU_RATE_CONTROL_INFORMATION {
            ControlFlags: JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP,
            Anonymous: JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0 { CpuRate: rate },
        };
        if let Err(error) = self.set(JobObjectCpuRateControlInformation, &wanted) {
            return Some((
                "cpu limit",
                format!("this host does not let a job have a share of the processors: {error}"),
            ));
        }
        self.cpu_limited.store(true, Ordering::Release);
        let kept = self.query::<JOBOBJECT_CPU_RATE_CONTROL_INFORMATION>(JobObjectCpuRateControlInformation);
        let is_kept = kept.is_ok_and(|kept| kept.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE != 0);
        (!is_kept).then(|| ("cpu limit", "this host takes the limit and does not keep it".to_owned()))
    }

    /// Asks a question that is answered with one structure.
    fn query<T: Default>(&self, class: JOBOBJECTINFOCLASS) -> io::Result<T> {
        let mut answer = T::default();
        let bytes = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        let into = (&raw mut answer).cast();
        // SAFETY: `T` is the structure of `class` at every call in this module: plain numbers, ours, and as
        // long as the length says. The last pointer may be null.
        let told = unsafe { QueryInformationJobObject(self.raw(), class, into, bytes, std::ptr::null_mut()) };
        done(told)?;
        Ok(answer)
    }

    fn set<T>(&self, class: JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        let bytes = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        // SAFETY: `T` is the structure of `class` at every call in this module, and is only read.
        done(unsafe { SetInformationJobObject(self.raw(), class, std::ptr::from_ref(value).cast(), bytes) })
    }
}

/// Percent of one processor as hundredths of a percent of all of them, which is how the kernel counts.
fn rate_of(percent: u32) -> u32 {
    // SAFETY: takes a number and touches no memory of ours; zero is its word for a failure.
    let processors = unsafe { GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) }.max(1);
    (percent.saturating_mul(100) / processors).clamp(1, 10_000)
}

/// The host of the hidden console is a process in the job too, though none of the program's.
fn with_console_host(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1)
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().is_some_and(|raw| raw.cast_unsigned() == code)
}

/// The limits that this host keeps, in the words of [`crate::process::ContainerKind`]. Tried on a job
/// without members, once per nursery.
pub(crate) fn limits_kept() -> Vec<String> {
    /// Any values do: nobody is in the job.
    const TRIED: [(&str, &str, Limits); 3] = {
        const NONE: Limits = Limits {
            memory: None,
            cpu_percent: None,
            processes: None,
            open_files: None,
            core: None,
            priority: tutela_core::spec::Priority::Normal,
        };
        [
            ("memory", "memory limit", Limits { memory: Some(1 << 30), ..NONE }),
            ("cpu", "cpu limit", Limits { cpu_percent: Some(50), ..NONE }),
            ("processes", "processes limit", Limits { processes: Some(100), ..NONE }),
        ]
    };
    let keeps = |limits: &Limits| {
        Job::new().and_then(|job| job.set_limits(limits)).is_ok_and(|missing: Vec<Unsupported>| missing.is_empty())
    };
    TRIED.iter().filter(|(_, _, limits)| keeps(limits)).map(|(word, _, _)| (*word).to_owned()).collect()
}
