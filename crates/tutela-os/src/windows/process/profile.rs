//! What a program of another account needs besides its file: the account's token and its profile, which is the
//! account's part of the registry and its folders.
//!
//! [`super::account`] logs the account on and [`super::launch`] starts the program; from then on the [`Login`] belongs
//! to the run, which lets go of it when nobody of it is left. Invariants: the token stays open until the profile is
//! unloaded, as the OS demands it, and who watches over programs never waits for that. Deliberately absent: profiles
//! that roam. The accounts that need no password have none.

use crate::Unsupported;
use crate::platform::container::job::Job;
use crate::platform::security::Token;
use crate::platform::wide::{done, terminated};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle, RawHandle};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, LookupPrivilegeValueW, SE_BACKUP_NAME, SE_PRIVILEGE_ENABLED, SE_RESTORE_NAME,
    TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY,
};
use windows_sys::Win32::System::Environment::{CreateEnvironmentBlock, DestroyEnvironmentBlock};
use windows_sys::Win32::System::Registry::HKEY_CURRENT_USER;
use windows_sys::Win32::UI::Shell::{LoadUserProfileW, PROFILEINFOW, UnloadUserProfile};
use windows_sys::core::PCWSTR;

/// That nobody is asked anything: the guard has no desktop that somebody sees (`PI_NOUI`).
const WITHOUT_WINDOWS: u32 = 1;

/// The variables that lead a program to its account's own folders and say who it is.
pub(super) const PLACES: [&str; 9] =
    ["USERPROFILE", "APPDATA", "LOCALAPPDATA", "TEMP", "TMP", "USERNAME", "USERDOMAIN", "HOMEDRIVE", "HOMEPATH"];

/// How long the last processes of a run, which were told to end, may take until the profile goes from under them. They
/// take milliseconds; a profile that is in use is unloaded all the same, with a warning in the log of the OS.
const LAST_ONES_END_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long the end of a nursery waits for profiles that are being unloaded. Each takes some ten milliseconds. What is
/// cut off stays loaded until the computer is started anew, and the next login finds it so.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Another account, logged on. Dropping it unloads the profile, which can take a moment: see [`let_go`].
#[derive(Debug)]
pub(crate) struct Login {
    /// `None`: the host did not load it.
    hive: Option<Hive>,
    token: OwnedHandle,
}

/// The root of the account's part of the registry. Unloading the profile closes it.
#[derive(Debug)]
struct Hive(HANDLE);

// SAFETY: it is a handle of this process, which any thread may use.
unsafe impl Send for Hive {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for Hive {}

impl Login {
    /// Loads the profile of the account `user` that `token` was made for; the OS makes one for who has none. A program
    /// can do without: then it is told why there is none.
    pub(super) fn begin(token: OwnedHandle, user: &str) -> (Login, Option<Unsupported>) {
        match load(&token, user) {
            Ok(hive) => (Login { hive: Some(hive), token }, None),
            Err(error) => {
                let reason = format!(
                    "the profile of {user} could not be loaded, so what the program keeps in its folders and in the \
                     registry under HKEY_CURRENT_USER is not its account's: {error}"
                );
                (Login { hive: None, token }, Some(Unsupported::new("profile", reason)))
            }
        }
    }

    /// Good as long as this exists.
    pub(super) fn token(&self) -> RawHandle {
        self.token.as_raw_handle()
    }

    /// The account's own values of [`PLACES`].
    pub(super) fn places(&self) -> io::Result<Vec<(OsString, OsString)>> {
        let mut block = std::ptr::null_mut();
        // SAFETY: the token is open for the call, which writes one pointer that is ours.
        done(unsafe { CreateEnvironmentBlock(&raw mut block, self.token(), 0) })?;
        let (mut found, mut text) = (Vec::new(), Vec::new());
        let mut at = block.cast::<u16>().cast_const();
        loop {
            // SAFETY: the block is texts with a zero behind each and one more behind all, where the walk stops.
            let unit = unsafe { at.read() };
            // SAFETY: behind every unit but the last zero there is another one, and that zero is not passed.
            at = unsafe { at.add(1) };
            if unit != 0 {
                text.push(unit);
                continue;
            }
            if text.is_empty() {
                break;
            }
            let entry = OsString::from_wide(&std::mem::take(&mut text));
            if let Some((name, value)) = entry.to_str().and_then(|entry| entry.split_once('='))
                && PLACES.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
            {
                found.push((name.into(), value.into()));
            }
        }
        // SAFETY: the call above has made it, and nothing points into it any more. That it fails would leave a few
        // kilobytes behind.
        unsafe { DestroyEnvironmentBlock(block) };
        Ok(found)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let Some(hive) = self.hive.take() else { return };
        let token = self.token();
        // That it fails leaves the profile loaded, which the next login finds so.
        with_everybodys_files(|| {
            // SAFETY: the token is open for the call; the root was opened with it and is closed once, here.
            unsafe { UnloadUserProfile(token, hive.0) }
        });
    }
}

fn load(token: &OwnedHandle, user: &str) -> io::Result<Hive> {
    let mut name = terminated(user)?;
    let mut profile =
        PROFILEINFOW { dwFlags: WITHOUT_WINDOWS, lpUserName: name.as_mut_ptr(), ..PROFILEINFOW::default() };
    profile.dwSize = u32::try_from(size_of_val(&profile)).unwrap_or(0);
    with_everybodys_files(|| {
        // SAFETY: the token is open for the call; the structure is ours, says its own length, and points to a name
        // that ends in a zero and lives through the call.
        done(unsafe { LoadUserProfileW(token.as_raw_handle(), &raw mut profile) })
    })?;
    // A host that only says yes gives back what it had (Wine: the root of this process).
    if profile.hProfile.is_null() || profile.hProfile == HKEY_CURRENT_USER {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this host loads no profiles"));
    }
    Ok(Hive(profile.hProfile))
}

/// Does what the OS demands the rights of a backup for. They are held switched off, and are on for this long only.
fn with_everybodys_files<T>(work: impl FnOnce() -> T) -> T {
    // They belong to the process: a second one must not have them switched off from under it.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Where one cannot be had, the work says what it lacks.
    let _rights = [Privilege::switch_on(SE_BACKUP_NAME), Privilege::switch_on(SE_RESTORE_NAME)];
    work()
}

/// A privilege of this process that was switched on, and is switched off when this is dropped.
struct Privilege {
    token: OwnedHandle,
    before: TOKEN_PRIVILEGES,
}

impl Privilege {
    /// `None`: it is not to be had, or it was on.
    fn switch_on(name: PCWSTR) -> Option<Privilege> {
        let token = Token::own_for(TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY).ok()?;
        let mut wanted = TOKEN_PRIVILEGES { PrivilegeCount: 1, ..TOKEN_PRIVILEGES::default() };
        wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
        // SAFETY: the name is a constant that ends in a zero (null: of this computer); the answer is ours.
        done(unsafe { LookupPrivilegeValueW(std::ptr::null(), name, &raw mut wanted.Privileges[0].Luid) }).ok()?;
        let mut before = TOKEN_PRIVILEGES::default();
        let (room, mut length) = (u32::try_from(size_of_val(&before)).unwrap_or(0), 0);
        // SAFETY: the token is open; both structures are ours, and the one that is written has the length given, which
        // is enough for the one privilege that can change.
        let told = unsafe {
            AdjustTokenPrivileges(token.as_raw_handle(), 0, &raw const wanted, room, &raw mut before, &raw mut length)
        };
        done(told).ok()?;
        // What is not held is not in it. Nor is what was on, or (Wine) it is told as such.
        let was_off = before.Privileges[0].Attributes & SE_PRIVILEGE_ENABLED == 0;
        (before.PrivilegeCount == 1 && was_off).then_some(Privilege { token, before })
    }
}

impl Drop for Privilege {
    fn drop(&mut self) {
        let (before, none) = (&raw const self.before, std::ptr::null_mut());
        // SAFETY: the token is open, and the structure is ours and is only read. That it fails leaves on what this
        // process, which is the OS's own, can switch on at any time.
        unsafe { AdjustTokenPrivileges(self.token.as_raw_handle(), 0, before, 0, none, std::ptr::null_mut()) };
    }
}

static LEAVING: Mutex<Leaving> = Mutex::new(Leaving { waiting: VecDeque::new(), at_work: false });
static SETTLED: Condvar = Condvar::new();

/// Logins whose programs have ended. As many as runs that end at the same time, each of which was let in by a start.
struct Leaving {
    waiting: VecDeque<(Login, Arc<Job>)>,
    at_work: bool,
}

fn leaving() -> MutexGuard<'static, Leaving> {
    LEAVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets go of a login whose run, which was in `job`, is over. Never waits: unloading has a service of the OS write to
/// the disk, and happens on a thread that lives as long as there is something to do.
pub(crate) fn let_go(login: Login, job: Arc<Job>) {
    if login.hive.is_none() {
        return;
    }
    let mut open = leaving();
    open.waiting.push_back((login, job));
    if open.at_work {
        return;
    }
    open.at_work = true;
    drop(open);
    if std::thread::Builder::new().name("profiles".into()).stack_size(128 * 1024).spawn(work).is_err() {
        // Rather late than never.
        work();
    }
}

fn work() {
    loop {
        let mut open = leaving();
        let Some((login, job)) = open.waiting.pop_front() else {
            open.at_work = false;
            SETTLED.notify_all();
            return;
        };
        drop(open);
        let began = Instant::now();
        while job.accounting().is_ok_and(|(active, _)| active > 0) && began.elapsed() < LAST_ONES_END_WITHIN {
            std::thread::sleep(LOOK_EVERY);
        }
        drop(login);
    }
}

/// Waits, with a bound, until the profiles that were let go of are unloaded: with the process that would be cut off.
pub(super) fn settle() {
    let busy = |leaving: &mut Leaving| leaving.at_work;
    drop(SETTLED.wait_timeout_while(leaving(), SETTLED_WITHIN, busy).unwrap_or_else(PoisonError::into_inner));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(super) mod tests {
    use super::*;
    use crate::platform::container::{Run, Tree};
    use windows_sys::Win32::Security::{TOKEN_ASSIGN_PRIMARY, TOKEN_DUPLICATE, TOKEN_IMPERSONATE};

    /// The privileges are those of the whole process, all tests of it included.
    static ALONE: Mutex<()> = Mutex::new(());

    pub(in super::super) fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of this process, as if it were another one.
    pub(in super::super) fn own_login() -> (Login, Option<Unsupported>) {
        let rights = TOKEN_QUERY | TOKEN_DUPLICATE | TOKEN_IMPERSONATE | TOKEN_ASSIGN_PRIMARY;
        let token = Token::own_for(rights).unwrap();
        Login::begin(token, &std::env::var("USERNAME").unwrap())
    }

    #[test]
    fn a_profile_is_loaded_or_it_is_told_why_not_and_the_places_are_known_in_either_case() {
        let _alone = alone();
        let user = std::env::var("USERNAME").unwrap();
        let (login, missing) = own_login();
        assert_eq!(login.hive.is_none(), missing.is_some(), "{missing:?}");
        if let Some(missing) = missing {
            assert!(missing.reason.contains(&user), "{missing}");
        }
        let places = login.places().unwrap();
        let has =
            |wanted: &str| places.iter().any(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.is_empty());
        assert!(has("USERPROFILE") && has("TEMP"), "{places:?}");
        let_go(login, Arc::new(Job::new().unwrap()));
        settle();
        assert!(leaving().waiting.is_empty());
    }

    #[test]
    fn the_rights_of_a_backup_are_on_for_the_work_alone() {
        let _alone = alone();
        let can_be_switched_on = || Privilege::switch_on(SE_BACKUP_NAME).is_some();
        let before = can_be_switched_on();
        assert!(!with_everybodys_files(can_be_switched_on), "it is on, or not held");
        assert_eq!(can_be_switched_on(), before, "it is as it was");
    }

    #[test]
    fn a_login_belongs_to_its_run_until_nobody_of_it_is_left() {
        let _alone = alone();
        let run = Run::begin("login-of-a-run", u64::MAX - 1).unwrap();
        assert!(!run.is_of_another_account());
        let (login, _) = own_login();
        run.keep(login);
        assert!(run.is_of_another_account() && run.has_login());
        run.has_begun();
        assert!(Tree(Arc::clone(&run)).is_empty().unwrap());
        assert!(run.is_of_another_account() && !run.has_login());
        settle();
    }
}
