//! Whom a program can run as besides the guard's own account: the accounts that need no password of a person.
//!
//! Windows lets only the OS itself (LocalSystem) make tokens of other accounts without their password, and a
//! guard keeps no passwords. So there are the accounts of services, virtual accounts and those whose password
//! the domain keeps; for any other the OS's own service manager is the one who knows the password, and the
//! program belongs into a guard that is installed under that account.

use super::profile::Login;
use crate::Unsupported;
use crate::accounts::Identity;
use crate::platform::accounts::Kind;
use crate::platform::security::Token;
use crate::platform::security::sid::SYSTEM;
use crate::platform::wide::{done, terminated};
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle, RawHandle};
use windows_sys::Win32::Foundation::ERROR_LOGON_TYPE_NOT_GRANTED;
use windows_sys::Win32::Security::{LOGON32_LOGON_SERVICE, LOGON32_PROVIDER, LOGON32_PROVIDER_DEFAULT, LogonUserW};

/// The provider that knows virtual accounts (`LOGON32_PROVIDER_VIRTUAL`).
const VIRTUAL: LOGON32_PROVIDER = 4;

/// What stands for the password that the domain keeps (`SERVICE_ACCOUNT_PASSWORD`).
const KEPT_BY_THE_DOMAIN: &str = "_SA_{262E99C9-6160-4871-ACEC-4E61736B6F21}";

/// A start as somebody that was refused: what the OS said, and how it can be had.
pub(super) type Refusal = (io::Error, String);

/// Logs another account on and loads its profile, with what of that could not be had; `None`: it is the guard's own.
pub(super) fn log_on(identity: &Identity) -> Result<Option<(Login, Option<Unsupported>)>, Refusal> {
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
             account = \"{0}\"), or name one without a password, such as LocalService, or NT SERVICE\\NAME of a \
             Windows service NAME that is installed",
            identity.name
        ));
    }
    if !is_system() {
        return refused(format!(
            "only a guard that runs as the OS itself can start programs as {}; install it with account = \"system\"",
            identity.name
        ));
    }
    let (user, domain, password, provider) = match account.kind {
        Kind::System | Kind::Person => return Ok(None),
        Kind::LocalService => ("LocalService", "NT AUTHORITY", None, LOGON32_PROVIDER_DEFAULT),
        Kind::NetworkService => ("NetworkService", "NT AUTHORITY", None, LOGON32_PROVIDER_DEFAULT),
        Kind::Virtual => (&*account.user, &*account.domain, None, VIRTUAL),
        Kind::Managed => (&*account.user, &*account.domain, Some(KEPT_BY_THE_DOMAIN), LOGON32_PROVIDER_DEFAULT),
    };
    let token = token_of(user, domain, password, provider).map_err(|error| {
        let advice = advice(account.kind, &format!(r"{domain}\{user}"), &error);
        (error, advice)
    })?;
    Ok(Some(Login::begin(token, user)))
}

/// What to do about an account that could not be logged on.
fn advice(kind: Kind, account: &str, error: &io::Error) -> String {
    let code = error.raw_os_error().map_or(0, i32::cast_unsigned);
    match (kind, code) {
        (Kind::Virtual, ERROR_LOGON_TYPE_NOT_GRANTED) => {
            "the accounts of services lack the right to log on as a service (SeServiceLogonRight), which Windows gives \
             the group NT SERVICE\\ALL SERVICES: a group policy has taken it; have it put back there"
                .into()
        }
        (_, ERROR_LOGON_TYPE_NOT_GRANTED) => format!(
            "{account} lacks the right to log on as a service (SeServiceLogonRight), or is denied it: mend that in \
             secpol.msc under Local Policies, User Rights Assignment, or in the group policy that sets it"
        ),
        (Kind::Virtual, _) => format!(
            "{account} could not be logged on; Windows knows it only as long as the Windows service {} is installed",
            account.rsplit('\\').next().unwrap_or(account)
        ),
        (Kind::Managed, _) => format!(
            "{account} could not be logged on; whether this computer may use the account is told by \
             Test-ADServiceAccount, and who may is set by Set-ADServiceAccount \
             -PrincipalsAllowedToRetrieveManagedPassword"
        ),
        _ => format!("{account} could not be logged on"),
    }
}

fn token_of(user: &str, domain: &str, password: Option<&str>, provider: LOGON32_PROVIDER) -> io::Result<OwnedHandle> {
    let user_units = terminated(user)?;
    let domain_units = terminated(domain)?;
    let password_units = password.map(terminated).transpose()?;
    let password = password_units.as_ref().map_or(std::ptr::null(), Vec::as_ptr);
    let mut token: RawHandle = std::ptr::null_mut();
    let (user, domain, kind) = (user_units.as_ptr(), domain_units.as_ptr(), LOGON32_LOGON_SERVICE);
    // SAFETY: the texts end in zeros and live through the call, which writes one handle that is ours. For an
    // account without a password stands null.
    done(unsafe { LogonUserW(user, domain, password, kind, provider, &raw mut token) })?;
    // SAFETY: the call has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// Whether this process runs as the OS itself. What cannot be asked is a no.
pub(crate) fn is_system() -> bool {
    Token::own().and_then(|token| token.user()).is_ok_and(|user| user.is(SYSTEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_logged_on_is_told_what_to_mend() {
        let told = |kind, account, code: u32| advice(kind, account, &io::Error::from_raw_os_error(code.cast_signed()));
        let managed = told(Kind::Managed, r"CORP\shop$", ERROR_LOGON_TYPE_NOT_GRANTED);
        assert!(managed.contains("SeServiceLogonRight") && managed.contains(r"CORP\shop$"), "{managed}");
        let group = told(Kind::Virtual, r"NT SERVICE\shop", ERROR_LOGON_TYPE_NOT_GRANTED);
        assert!(group.contains("ALL SERVICES"), "{group}");
        let password = told(Kind::Managed, r"CORP\shop$", 1326);
        assert!(password.contains("Test-ADServiceAccount"), "{password}");
        let service = told(Kind::Virtual, r"NT SERVICE\shop", 1326);
        assert!(service.contains("the Windows service shop is installed"), "{service}");
    }
}
