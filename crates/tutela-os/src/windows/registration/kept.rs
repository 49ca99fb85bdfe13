//! The marks of registrations that are no services, and so have no key of their own: tasks and programs that start at
//! login. They are kept together, for the computer or for an account.

use super::mark::Mark;
use super::registry::{self, Place, Root};
use super::steps::{MakeKey, RemoveKey};
use crate::registration::{RegisterError, Scope, Step};
use std::io;

/// Where they are.
pub(super) const ALL: &str = r"Software\Tutela\Registrations";

/// What a mark is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Task,
    Login,
}

impl Of {
    pub(super) fn word(self) -> &'static str {
        match self {
            Of::Task => "task",
            Of::Login => "login",
        }
    }
}

/// The part of the registry of a scope.
pub(super) fn root(scope: Scope) -> Root {
    match scope {
        Scope::System => Root::Machine,
        Scope::User => Root::User,
    }
}

/// The key of the mark of `name`.
pub(super) fn key(name: &str, scope: Scope) -> Place {
    Place { root: root(scope), path: format!("{ALL}\\{name}") }
}

/// The mark of `name`, and what it is of; `None`: there is none.
pub(super) fn read(name: &str, scope: Scope) -> io::Result<Option<(Of, Mark)>> {
    let mark = Mark::read_at(&key(name, scope))?;
    Ok(mark.and_then(|mark| {
        let of = [Of::Task, Of::Login].into_iter().find(|of| mark.kind.as_deref() == Some(of.word()))?;
        Some((of, mark))
    }))
}

/// The names of all that have a mark.
pub(super) fn names(scope: Scope) -> io::Result<Vec<String>> {
    registry::keys(&Place { root: root(scope), path: ALL.to_owned() })
}

/// The steps from the mark that is there to the one that is wanted.
pub(super) fn write(name: &str, scope: Scope, mark: &Mark, former: Option<&Mark>) -> Vec<Box<dyn Step>> {
    let place = key(name, scope);
    match former {
        Some(former) => mark.steps(former, &place),
        None => vec![Box::new(MakeKey { place, access_list: None, values: mark.whole() })],
    }
}

/// The step that removes the mark.
pub(super) fn remove(name: &str, scope: Scope) -> Box<dyn Step> {
    Box::new(RemoveKey(key(name, scope)))
}

/// The obstacle of an account that may not write for the computer.
pub(super) fn obstacle(name: &str, scope: Scope) -> Option<RegisterError> {
    (scope == Scope::System && !crate::accounts::is_privileged()).then(|| RegisterError::NotAllowed {
        what: format!("registering or removing {name} for the computer"),
        needs: super::refusals::NEEDS.to_owned(),
    })
}
