//! Tokens: who a process or a connection acts as, with the groups that count for it.

use super::sid::{ADMINISTRATORS, Sid};
use crate::platform::wide::done;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    CheckTokenMembership, GetTokenInformation, RevertToSelf, SID_AND_ATTRIBUTES, TOKEN_ACCESS_MASK, TOKEN_QUERY,
    TokenUser,
};
use windows_sys::Win32::System::Pipes::ImpersonateNamedPipeClient;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThread, OpenProcessToken, OpenThreadToken};

/// An open token; closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Token(OwnedHandle);

impl Token {
    /// This process's own, to be asked who it is.
    pub(crate) fn own() -> io::Result<Token> {
        Token::own_for(TOKEN_QUERY).map(Token)
    }

    /// This process's own, for what `rights` say.
    pub(crate) fn own_for(rights: TOKEN_ACCESS_MASK) -> io::Result<OwnedHandle> {
        let mut handle: HANDLE = std::ptr::null_mut();
        // SAFETY: takes nothing and answers with a constant that stands for this process.
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: the process is ourselves, and the answer's place is live and ours.
        done(unsafe { OpenProcessToken(process, rights, &raw mut handle) })?;
        // SAFETY: the call has just opened it for us.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle.cast()) })
    }

    /// Another process's, to be asked who it is.
    pub(crate) fn of_process(process: &OwnedHandle) -> io::Result<Token> {
        let mut handle: HANDLE = std::ptr::null_mut();
        // SAFETY: the process is open for the call, and the answer's place is live and ours.
        done(unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut handle) })?;
        // SAFETY: the call has just opened it for us.
        Ok(Token(unsafe { OwnedHandle::from_raw_handle(handle.cast()) }))
    }

    /// That of the client at the other end of `pipe`, as the client let us see it: one that lets nobody see
    /// who it is gives an error. For a client that is looked at anew with each message, something has to
    /// have been read before.
    pub(crate) fn of_client(pipe: &impl AsRawHandle) -> io::Result<Token> {
        // SAFETY: the pipe is open for as long as the borrow. The thread gets the client's identity, which
        // `Acting` takes from it again before anybody else runs on it.
        done(unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle().cast()) })?;
        let acting = Acting;
        let mut handle: HANDLE = std::ptr::null_mut();
        // SAFETY: takes nothing and answers with a constant that stands for this thread.
        let thread = unsafe { GetCurrentThread() };
        // SAFETY: the thread is this one, and the answer's place is live and ours. It is opened by our own right
        // (the third argument), because the client may have none.
        let opened = done(unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &raw mut handle) });
        drop(acting);
        opened?;
        // SAFETY: the call has just opened it for us.
        Ok(Token(unsafe { OwnedHandle::from_raw_handle(handle.cast()) }))
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> io::Result<Sid> {
        // The longest identifier has 68 bytes; in words of eight because a pointer comes first.
        let mut buffer = [0_u64; 16];
        let mut length = 0_u32;
        let room = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
        // SAFETY: the token is open, and the buffer (with its length) and the answer's place are live and ours.
        done(unsafe {
            GetTokenInformation(
                self.0.as_raw_handle().cast(),
                TokenUser,
                buffer.as_mut_ptr().cast(),
                room,
                &raw mut length,
            )
        })?;
        // SAFETY: the answer begins with this structure, the buffer is large enough and aligned for it.
        let user = unsafe { buffer.as_ptr().cast::<SID_AND_ATTRIBUTES>().read() };
        // SAFETY: the structure points to the identifier behind it in the buffer, which is still there.
        unsafe { Sid::at(user.Sid) }
    }

    /// Whether `sid` is among those that count for it. Only for tokens of a client.
    pub(crate) fn is_member_of(&self, sid: &Sid) -> io::Result<bool> {
        is_member(self.0.as_raw_handle().cast(), sid)
    }
}

/// Whether this process is an administrator's, with the rights of one: elevated, as Windows calls it.
pub(crate) fn is_administrator() -> bool {
    ADMINISTRATORS.parse().is_ok_and(|sid| is_member(std::ptr::null_mut(), &sid).unwrap_or(false))
}

/// No token means that of this thread.
fn is_member(token: HANDLE, sid: &Sid) -> io::Result<bool> {
    let words = sid.words();
    let mut member = 0;
    // SAFETY: the token is null or open; the identifier is whole and aligned; the answer's place is live and ours.
    done(unsafe { CheckTokenMembership(token, words.as_ptr().cast_mut().cast(), &raw mut member) })?;
    Ok(member != 0)
}

/// This thread acts as somebody else, until this is dropped.
struct Acting;

impl Drop for Acting {
    fn drop(&mut self) {
        // SAFETY: takes nothing; it concerns this thread alone.
        if unsafe { RevertToSelf() } == 0 {
            // Going on would do everything that follows in a stranger's name.
            std::process::abort();
        }
    }
}
