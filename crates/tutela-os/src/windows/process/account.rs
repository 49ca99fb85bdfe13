//! Whom a program can run as besides the guard's own account: the accounts that need no password of a person.
//!
//! Windows lets only the OS itself (LocalSystem) make tokens of other accounts without their password, and a
//! guard keeps no passwords. So there are the accounts of services, virtual accounts and those whose password
//! the domain keeps; for any other the OS's own service manager is the one who knows the password, and the
//! program belongs into a guard that is installed under that account.

use crate::accounts::Identity;
use crate::platform::accounts::Kind;
use crate::platform::security::Token;
use crate::platform::security::sid::SYSTEM;
use crate::platform::wide::{done, terminated};
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle, RawHandle};
use windows_sys::Win32::Security::{LOGON32_LOGON_SERVICE, LOGON32_PROVIDER, LOGON32_PROVIDER_DEFAULT, LogonUserW};

/// The provider that knows virtual accounts (`LOGON32_PROVIDER_VIRTUAL`).
const VIRTUAL: LOGON32_PROVIDER = 4;

/// What stands for the password that the domain keeps (`SERVICE_ACCOUNT_PASSWORD`).
const KEPT_BY_THE_DOMAIN: &str = "_SA_{262E99C9-6160-4871-ACEC-4E61736B6F21}";

/// A start as somebody that was refused: what the OS said, and how it can be had.
pub(super) type Refusal = (io::Error, String);

/// The token of another account; `None`: it is the guard's own.
pub(super) fn token_of(identity: &Identity) -> Result<Option<OwnedHandle>, Refusal> {
    if identity.is_own() {
        return Ok(None);
    }
    let account = &identity.account;
    let refused = |advice: String| {
        Err((io::Error::new(io::ErrorKind::PermissionDenied, "this guard cannot become another account"), advice))
    };
    if account.kind == Kind::Person {
        return refused(format!(
            "it has no password of {0}: put the program into a guard of its own and give that one the account ([install] \
             account = \"{0}\"), or name one without a password, such as LocalService or NT SERVICE\\NAME",
            identity.name
        ));
    }
    if !is_system() {
        return refused(format!(
            "only a guard that runs as the OS itself can start programs as {}; install it with account = \"system\"",
            identity.name
        ));
    }
    match account.kind {
        Kind::System | Kind::Person => Ok(None),
        Kind::LocalService => log_on("LocalService", "NT AUTHORITY", None, LOGON32_PROVIDER_DEFAULT),
        Kind::NetworkService => log_on("NetworkService", "NT AUTHORITY", None, LOGON32_PROVIDER_DEFAULT),
        Kind::Virtual => log_on(&account.user, &account.domain, None, VIRTUAL),
        Kind::Managed => log_on(&account.user, &account.domain, Some(KEPT_BY_THE_DOMAIN), LOGON32_PROVIDER_DEFAULT),
    }
}

fn log_on(
    account: &str,
    domain: &str,
    password: Option<&str>,
    provider: LOGON32_PROVIDER,
) -> Result<Option<OwnedHandle>, Refusal> {
    let failed = |error: io::Error| (error, format!("the account {domain}\\{account} could not be logged on"));
    let user_units = terminated(account).map_err(failed)?;
    let domain_units = terminated(domain).map_err(failed)?;
    let password_units = password.map(terminated).transpose().map_err(failed)?;
    let password = password_units.as_ref().map_or(std::ptr::null(), Vec::as_ptr);
    let mut token: RawHandle = std::ptr::null_mut();
    let (user, domain, kind) = (user_units.as_ptr(), domain_units.as_ptr(), LOGON32_LOGON_SERVICE);
    // SAFETY: the texts end in zeros and live through the call, which writes one handle that is ours. For an
    // account without a password stands null.
    done(unsafe { LogonUserW(user, domain, password, kind, provider, &raw mut token) }).map_err(failed)?;
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok(Some(unsafe { OwnedHandle::from_raw_handle(token) }))
}

/// Whether this process runs as the OS itself. What cannot be asked is a no.
pub(crate) fn is_system() -> bool {
    Token::own().and_then(|token| token.user()).is_ok_and(|user| user.is(SYSTEM))
}
