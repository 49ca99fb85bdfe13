//! Users and groups of Windows, by security identifier.
//!
//! A program can be run without a password as an account that has none: the accounts of services, virtual
//! accounts (`NT SERVICE\NAME`) and managed ones (`DOMAIN\name$`). Specs hold no passwords, so for a person's
//! account the guard itself has to run as it.

use super::security::sid::{self, LOCAL_SERVICE, NETWORK_SERVICE, Named, SYSTEM};
use super::security::{Sid, Token, token};
use crate::Error;
use crate::accounts::{AccountId, Identity};
use std::path::PathBuf;
use windows_sys::Win32::Security::{SidTypeComputer, SidTypeUser, SidTypeWellKnownGroup};

/// What it takes to run a program as somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) sid: Sid,
    /// `NT AUTHORITY`, a domain or the computer.
    pub(crate) domain: String,
    /// Without the domain.
    pub(crate) user: String,
    pub(crate) kind: Kind,
}

/// How an account is logged on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The OS itself.
    System,
    /// Without rights, nobody to the network.
    LocalService,
    /// Without rights, the computer to the network.
    NetworkService,
    /// One that belongs to a service of this computer.
    Virtual,
    /// One whose password the domain keeps.
    Managed,
    /// One with a password that somebody knows.
    Person,
}

impl Account {
    pub(crate) fn id(&self) -> AccountId {
        AccountId::Sid(self.sid.to_string())
    }

    /// There are none by number.
    #[expect(clippy::unused_self, reason = "other systems have them")]
    pub(crate) fn groups(&self) -> &[u32] {
        &[]
    }

    fn printable(&self) -> String {
        if self.domain.is_empty() { self.user.clone() } else { format!(r"{}\{}", self.domain, self.user) }
    }
}

pub(crate) fn resolve(user: &str, group: Option<&str>) -> Result<Identity, Error> {
    match group {
        None => find(user).map(|account| identity(account, None)),
        Some(group) => Err(no_first_group(group)),
    }
}

pub(crate) fn resolve_group(group: &str) -> Result<Identity, Error> {
    Err(no_first_group(group))
}

pub(crate) fn for_program(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Error> {
    let Some(user) = user else {
        return group.map_or(Ok(None), |group| Err(no_first_group(group)));
    };
    let wanted = resolve(user, group)?;
    if wanted.is_own() {
        return Ok(None);
    }
    if wanted.account.kind == Kind::Person {
        return Err(Error::Refused(format!(
            "a program can be run as {} only with that account's password, which a spec does not hold; give the whole \
             guard this account with [install] account, or name one without a password: LocalService, \
             NetworkService, NT SERVICE\\NAME of a Windows service NAME that is installed, or a managed one such as \
             DOMAIN\\name$",
            wanted.name
        )));
    }
    Ok(Some(wanted))
}

pub(crate) fn current() -> Result<Identity, Error> {
    let failed = |source| Error::io("read the guard's own account", source);
    let sid = Token::own().and_then(|token| token.user()).map_err(failed)?;
    let named = sid.look_up().ok().flatten();
    // An account that nobody names, of a domain that does not answer, is still an account.
    let named =
        named.unwrap_or_else(|| Named { name: sid.to_string(), sid, domain: String::new(), usage: SidTypeUser });
    Ok(identity(account_of(named), std::env::var_os("USERPROFILE").map(PathBuf::from)))
}

/// Users have no numbers that anybody is told here.
pub(crate) fn user_name(uid: u32) -> String {
    uid.to_string()
}

pub(crate) fn login_of(_pid: u32) -> Option<u32> {
    None
}

pub(crate) fn name_of(account: &AccountId) -> String {
    match account {
        AccountId::Sid(text) => text.parse().map_or_else(|_| text.clone(), |sid: Sid| sid.name()),
        other @ (AccountId::Unix { .. } | AccountId::Unknown) => other.to_string(),
    }
}

pub(crate) fn is_privileged() -> bool {
    token::is_administrator()
}

fn identity(account: Account, home: Option<PathBuf>) -> Identity {
    Identity { name: account.printable(), home, account }
}

fn no_first_group(group: &str) -> Error {
    Error::Refused(format!(
        "programs have no first group on Windows, so there is nothing that group = \"{group}\" could mean; move the key \
         to the service's [linux] table"
    ))
}

/// As people write accounts: the words of specs, `.\name` for this computer's, an identifier, or a name.
fn find(user: &str) -> Result<Account, Error> {
    let failed = |source| Error::io(format!("look up the account {user}"), source);
    let plain = user.strip_prefix("managed:").unwrap_or(user);
    let built_in = match plain.to_ascii_lowercase().as_str() {
        "system" | "localsystem" | r".\localsystem" => Some(SYSTEM),
        "local-service" | "localservice" | r"nt authority\localservice" => Some(LOCAL_SERVICE),
        "network-service" | "networkservice" | r"nt authority\networkservice" => Some(NETWORK_SERVICE),
        _ => None,
    };
    let found = match built_in.unwrap_or(plain).parse::<Sid>() {
        Ok(sid) => sid.look_up().map_err(failed)?,
        Err(_) => sid::find(&on_this_computer(plain)).map_err(failed)?,
    };
    let Some(named) = found else {
        return Err(Error::Refused(match of_service(plain) {
            Some(service) => format!(
                "there is no account named {user}, because there is no Windows service {service}: its account comes \
                 and goes with the service; install that one first, or name another account"
            ),
            None => {
                format!("there is no account named {user} on this computer or in its domain; make it, or name another")
            }
        }));
    };
    let is_account = named.usage == SidTypeUser
        || named.usage == SidTypeComputer
        // The accounts of the OS and of services count as groups of one.
        || (named.usage == SidTypeWellKnownGroup && (is_virtual(&named.sid) || built_in_kind(&named.sid).is_some()));
    if !is_account {
        return Err(Error::Refused(format!(
            "{user} is a group, and programs run as an account; name one of its members"
        )));
    }
    Ok(account_of(named))
}

/// The service whose account this is the name of.
fn of_service(account: &str) -> Option<&str> {
    let (domain, service) = account.split_once('\\')?;
    domain.eq_ignore_ascii_case("NT SERVICE").then_some(service)
}

fn on_this_computer(name: &str) -> String {
    match name.strip_prefix(r".\") {
        Some(local) => format!(r"{}\{local}", crate::platform::usage::account_domain()),
        None => name.to_owned(),
    }
}

fn account_of(named: Named) -> Account {
    let kind = match built_in_kind(&named.sid) {
        Some(kind) => kind,
        None if is_virtual(&named.sid) => Kind::Virtual,
        // The computers of a domain are named so too, and are logged on in the same way.
        None if named.name.ends_with('$') => Kind::Managed,
        None => Kind::Person,
    };
    Account { sid: named.sid, domain: named.domain, user: named.name, kind }
}

fn built_in_kind(sid: &Sid) -> Option<Kind> {
    let kinds = [(SYSTEM, Kind::System), (LOCAL_SERVICE, Kind::LocalService), (NETWORK_SERVICE, Kind::NetworkService)];
    kinds.into_iter().find(|(text, _)| sid.is(text)).map(|(_, kind)| kind)
}

/// `NT SERVICE\NAME`.
fn is_virtual(sid: &Sid) -> bool {
    sid.is_under("S-1-5-80")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_of_services_are_found_under_the_words_of_specs() {
        for (word, kind) in
            [("system", Kind::System), ("LocalService", Kind::LocalService), ("S-1-5-20", Kind::NetworkService)]
        {
            assert_eq!(resolve(word, None).unwrap().account.kind, kind, "{word}");
        }
    }

    #[test]
    fn an_account_that_is_not_there_and_a_group_are_refused_by_name() {
        let refusal = resolve("no-such-user-here", None).unwrap_err().to_string();
        assert!(refusal.contains("no-such-user-here"), "{refusal}");
        let refusal = resolve(r"NT SERVICE\no-such-service-here", None).unwrap_err().to_string();
        assert!(refusal.contains("no Windows service no-such-service-here"), "{refusal}");
        let refusal = resolve("S-1-5-32-544", None).unwrap_err().to_string();
        assert!(refusal.contains("is a group"), "{refusal}");
        let refusal = for_program(None, Some("staff")).unwrap_err().to_string();
        assert!(refusal.contains("staff"), "{refusal}");
    }

    #[test]
    fn a_program_of_the_guards_own_account_needs_no_identity() {
        let own = current().unwrap();
        assert!(own.is_own());
        assert_eq!(for_program(Some(&own.account.sid.to_string()), None).unwrap(), None);
    }
}
