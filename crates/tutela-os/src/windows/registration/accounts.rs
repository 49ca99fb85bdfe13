//! Whom a service runs as: the name that the SCM wants, its security identifier, and whether it can be used at all.
//!
//! Called while planning, so that a wrong name or password is found before anything is changed. Passwords go to
//! `LogonUser` and to the SCM and nowhere else.

use super::rights;
use super::scm;
use super::service_sid::service_sid;
use super::text::Wide;
use crate::Error;
use crate::platform::security::Sid;
use crate::platform::security::sid::{EVERYONE, LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, find};
use crate::registration::{Account, Password, RegisterError};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{
    ERROR_ACCOUNT_DISABLED, ERROR_ACCOUNT_EXPIRED, ERROR_ACCOUNT_LOCKED_OUT, ERROR_ACCOUNT_RESTRICTION,
    ERROR_INVALID_LOGON_HOURS, ERROR_LOGON_FAILURE, ERROR_LOGON_TYPE_NOT_GRANTED, ERROR_PASSWORD_EXPIRED,
    ERROR_PASSWORD_MUST_CHANGE, HANDLE,
};
use windows_sys::Win32::Security::{
    CheckTokenMembership, DuplicateToken, LOGON32_LOGON, LOGON32_LOGON_NETWORK, LOGON32_LOGON_SERVICE,
    LOGON32_PROVIDER_DEFAULT, LogonUserW, SecurityIdentification, SidTypeAlias, SidTypeDomain, SidTypeGroup,
};

/// An account that there is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolved {
    /// As the SCM writes it.
    pub(super) name: String,
    /// What the SCM is to be given besides: nothing for accounts that have no password, an empty text for those of the
    /// OS, as the SCM wants it.
    pub(super) password: Option<Password>,
    /// Its identifier.
    pub(super) sid: String,
    /// Whether it is an account of people, which needs a password and the right to log on as a service.
    pub(super) of_people: bool,
    /// Whether it needs the right to log on as a service to be granted.
    pub(super) needs_right: bool,
}

/// Finds the account; nothing but its name is looked at.
pub(super) fn resolve(account: &Account, service: &str) -> Result<Resolved, RegisterError> {
    let of_os = |name: &str, sid: &str| Resolved {
        name: name.to_owned(),
        password: Some(Password(String::new())),
        sid: sid.to_owned(),
        of_people: false,
        needs_right: false,
    };
    match account {
        Account::System => Ok(of_os("LocalSystem", SYSTEM)),
        Account::LocalService => Ok(of_os(r"NT AUTHORITY\LocalService", LOCAL_SERVICE)),
        Account::NetworkService => Ok(of_os(r"NT AUTHORITY\NetworkService", NETWORK_SERVICE)),
        Account::Own => Ok(Resolved {
            name: format!(r"NT SERVICE\{service}"),
            password: None,
            sid: service_sid(service)
                .map(|sid| sid.to_string())
                .map_err(|source| Error::io("work out the identifier of the service", source))?,
            of_people: false,
            needs_right: false,
        }),
        Account::Managed(name) => {
            if !name.ends_with('$') || !name.contains('\\') {
                let why = r"is no managed account: those are written DOMAIN\name$".to_owned();
                return Err(RegisterError::Account { account: name.clone(), why });
            }
            let found = look_up(name)?;
            Ok(Resolved { password: None, of_people: false, ..found })
        }
        Account::Named { name, password, .. } => {
            let found = look_up(name)?;
            let password = if found.of_people { password.clone() } else { None };
            Ok(Resolved { password, ..found })
        }
    }
}

fn look_up(name: &str) -> Result<Resolved, RegisterError> {
    let refused = |why: String| RegisterError::Account { account: name.to_owned(), why };
    let computer = crate::platform::usage::account_domain();
    // The SCM writes accounts of this computer with a dot, which the look-up does not know.
    let asked = name.strip_prefix(r".\").map_or_else(|| name.to_owned(), |user| format!(r"{computer}\{user}"));
    let found = find(&asked).map_err(|source| Error::io(format!("look up the account {name}"), source))?;
    let Some(found) = found else {
        return Err(refused(
            "is not known to this computer or its domain; make it, or write it as .\\name or DOMAIN\\name, and write \
             the accounts of the OS as \"system\", \"local-service\" or \"network-service\""
                .to_owned(),
        ));
    };
    if [SidTypeGroup, SidTypeAlias, SidTypeDomain].contains(&found.usage) {
        return Err(refused("is a group; a service needs a single account".to_owned()));
    }
    let (sid, domain) = (found.sid.to_string(), found.domain);
    let user = asked.rsplit('\\').next().unwrap_or(&asked);
    // `user@domain` stays as it is; the SCM takes it.
    let name = if user.contains('@') {
        asked.clone()
    } else if scm::value::same_name(&domain, &computer) {
        format!(r".\{user}")
    } else {
        format!(r"{domain}\{user}")
    };
    // Accounts of people are those of a computer or a domain.
    let of_people = sid.starts_with("S-1-5-21-") || sid.starts_with("S-1-12-");
    Ok(Resolved { name, password: None, sid, of_people, needs_right: of_people })
}

/// What can be known of the account before it is used: that its password is right and that nothing keeps it from
/// logging on as a service. What cannot be known becomes a note.
pub(super) fn check(account: &Resolved, notes: &mut Vec<String>) -> Result<(), RegisterError> {
    let token = match &account.password {
        Some(password) if account.of_people => check_password(account, password, notes)?,
        _ => None,
    };
    if !account.needs_right {
        return Ok(());
    }
    // Whoever may not ask is told so by the obstacle of the plan; this is for those who may.
    let Ok(denied) = rights::accounts_with(rights::DENY_SERVICE_LOGON) else { return Ok(()) };
    let hit = denied.iter().find(|sid| {
        **sid == account.sid || **sid == EVERYONE || token.as_ref().is_some_and(|token| is_member(token, sid))
    });
    match hit {
        None => Ok(()),
        Some(sid) => Err(RegisterError::Account {
            account: account.name.clone(),
            why: format!(
                "is denied to log on as a service (SeDenyServiceLogonRight, by way of {}); change that in secpol.msc \
                 under Local Policies, User Rights Assignment, or in the group policy that sets it",
                name_of(sid)
            ),
        }),
    }
}

fn check_password(
    account: &Resolved,
    password: &Password,
    notes: &mut Vec<String>,
) -> Result<Option<OwnedHandle>, RegisterError> {
    let error = match log_on(&account.name, password, LOGON32_LOGON_SERVICE) {
        Ok(token) => return Ok(Some(token)),
        // The right is granted by a step of the plan; the password can be checked another way.
        Err(error) if scm::code(&error) == ERROR_LOGON_TYPE_NOT_GRANTED => {
            match log_on(&account.name, password, LOGON32_LOGON_NETWORK) {
                Ok(token) => return Ok(Some(token)),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    let why = match scm::code(&error) {
        ERROR_LOGON_FAILURE => "cannot log on with this password; give the right one",
        ERROR_ACCOUNT_DISABLED => "is disabled; enable it",
        ERROR_ACCOUNT_LOCKED_OUT => "is locked; unlock it, or wait until Windows does",
        ERROR_ACCOUNT_EXPIRED => "has expired; extend it",
        ERROR_PASSWORD_EXPIRED => "has a password that has expired; set another one",
        ERROR_PASSWORD_MUST_CHANGE => "has to change its password at the next login; set one that it may keep",
        ERROR_ACCOUNT_RESTRICTION => "is not let in, for an empty password or by a restriction of the account",
        ERROR_INVALID_LOGON_HOURS => "may not log on at this hour; lift its logon hours",
        _ => {
            notes.push(format!("the password of {} could not be checked: {error}", account.name));
            return Ok(None);
        }
    };
    Err(RegisterError::Account { account: account.name.clone(), why: why.to_owned() })
}

fn log_on(name: &str, password: &Password, how: LOGON32_LOGON) -> io::Result<OwnedHandle> {
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    let user = Wide::new(user);
    let domain = domain.map(Wide::new);
    let password = Wide::new(&password.0);
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: every text ends with a NUL and lives through the call; the token is written to a local.
    let worked = unsafe {
        LogonUserW(
            user.as_ptr(),
            domain.as_ref().map_or(std::ptr::null(), Wide::as_ptr),
            password.as_ptr(),
            how,
            LOGON32_PROVIDER_DEFAULT,
            &raw mut token,
        )
    };
    if worked == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the OS handed this token to us.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// Whether the account of `token` is one of the group `sid`. What cannot be asked is not so.
fn is_member(token: &OwnedHandle, sid: &str) -> bool {
    let Ok(sid) = sid.parse::<Sid>() else { return false };
    let words = sid.words();
    let mut copy: HANDLE = std::ptr::null_mut();
    // SAFETY: the token is open; the copy is written to a local.
    if unsafe { DuplicateToken(token.as_raw_handle(), SecurityIdentification, &raw mut copy) } == 0 {
        return false;
    }
    // SAFETY: the OS handed this token to us.
    let copy = unsafe { OwnedHandle::from_raw_handle(copy) };
    let mut member = 0;
    // SAFETY: the token is one for impersonation; the identifier is whole and aligned; the answer is written to a local.
    let worked =
        unsafe { CheckTokenMembership(copy.as_raw_handle(), words.as_ptr().cast_mut().cast(), &raw mut member) };
    worked != 0 && member != 0
}

/// The name of an identifier, or the identifier where it has none.
pub(super) fn name_of(sid: &str) -> String {
    sid.parse::<Sid>().map_or_else(|_| sid.to_owned(), |sid| sid.name())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_its_own_needs_neither_a_password_nor_a_right() {
        let own = resolve(&Account::Own, "tutela test").unwrap();
        assert_eq!(own.name, r"NT SERVICE\tutela test");
        assert_eq!(own.password, None);
        assert!(!own.needs_right && own.sid.starts_with("S-1-5-80-"));
    }

    #[test]
    fn a_managed_account_is_written_with_its_domain_and_a_dollar() {
        for name in ["shop$", r"DOMAIN\shop"] {
            let refused = resolve(&Account::Managed(name.to_owned()), "t").unwrap_err();
            assert!(matches!(refused, RegisterError::Account { .. }), "{refused}");
        }
    }
}
