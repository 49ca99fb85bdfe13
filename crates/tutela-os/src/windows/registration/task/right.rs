//! The right to log on as a batch job, without which the Task Scheduler cannot run a task of an account of people while
//! nobody is logged in. Administrators have it by default, others do not; the scheduler takes their tasks all the same
//! and never runs them.
//!
//! It is given to the account itself and remembered in the mark, and taken back unless another task needs it. What an
//! account has by a group is not looked at: it is given once more, and taken back once.

use super::super::accounts::{self, Resolved};
use super::super::mark::Mark;
use super::super::rights::{self, Right};
use super::super::scm::{self, value::same_name};
use super::super::steps::{GrantRight, TakeRight};
use super::scheduler::{Logon, Scheduler};
use super::{connect, path};
use crate::platform::security::sid::EVERYONE;
use crate::registration::{RegisterError, Step};
use std::io;

/// How to give it by hand, or to find who takes it away.
pub(super) const BY_HAND: &str = "give it that right in secpol.msc under Local Policies, User Rights Assignment \
                                  (SeBatchLogonRight), or in the group policy that sets it";

/// The step that gives the right, where the account needs and lacks it; `mark` becomes what is to be remembered of it.
pub(super) fn plan(
    account: &Resolved,
    logon: Logon,
    former: Option<&Mark>,
    mark: &mut Mark,
    notes: &mut Vec<String>,
) -> Result<Option<Box<dyn Step>>, RegisterError> {
    if !matches!(logon, Logon::Password | Logon::WithoutPassword) {
        return Ok(None);
    }
    let given = former.and_then(|former| former.granted_batch.as_ref());
    mark.granted_batch = given.filter(|sid| **sid == account.sid).cloned();
    // Who may not ask is told so by the obstacle of the plan, here and below; this is for those who may.
    let denied = rights::accounts_with(rights::DENY_BATCH_LOGON).unwrap_or_default();
    if let Some(by) = denied.iter().find(|sid| **sid == account.sid || *sid == EVERYONE) {
        return Err(RegisterError::Account {
            account: account.name.clone(),
            why: format!(
                "is denied to log on as a batch job (SeDenyBatchLogonRight, by way of {}); change that in secpol.msc \
                 under Local Policies, User Rights Assignment, or in the group policy that sets it",
                accounts::name_of(by)
            ),
        });
    }
    match rights::has(&account.sid, Right::Batch.name()) {
        Ok(true) => {}
        Ok(false) => {
            mark.granted_batch = Some(account.sid.clone());
            let (sid, account) = (account.sid.clone(), account.name.clone());
            return Ok(Some(Box::new(GrantRight { right: Right::Batch, sid, account })));
        }
        Err(error) if scm::denied(&error) => {}
        Err(error) => notes.push(format!(
            "whether {} may log on as a batch job could not be asked, so nothing is done about it: {error}; where it \
             may not, {BY_HAND}",
            account.name
        )),
    }
    Ok(None)
}

/// Takes the right back from an account that a mark remembers and that `name` needs it no more for, unless another task
/// relies on it: a right kept too long is the lesser evil.
pub(super) fn give_back(name: &str, sid: &str, steps: &mut Vec<Box<dyn Step>>, notes: &mut Vec<String>) {
    let account = accounts::name_of(sid);
    let keeps = |why: String| format!("{account} keeps the right to log on as a batch job, {why}");
    match others_with(name, sid) {
        Ok(None) => steps.push(Box::new(TakeRight { right: Right::Batch, sid: sid.to_owned(), account })),
        Ok(Some(other)) => notes.push(keeps(format!("for the task {other} runs as it too"))),
        Err(error) => notes.push(keeps(format!("for whether other tasks run as it could not be asked: {error}"))),
    }
}

/// Another task that relies on the right of the account.
fn others_with(name: &str, sid: &str) -> io::Result<Option<String>> {
    let scheduler: Scheduler = connect().map_err(io::Error::other)?;
    let (own, account) = (path(name), accounts::name_of(sid));
    // One that cannot be read may be of the account.
    scheduler.find(|path, xml| !same_name(path, &own) && xml.is_none_or(|xml| relies(xml, sid, &account)))
}

/// Whether the task of this text runs as the account, with a password or as the account alone.
fn relies(xml: &str, sid: &str, account: &str) -> bool {
    let inner = |tag: &str| {
        let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
        // Triggers have accounts too.
        let principals = xml.split_once("<Principals")?.1.split_once("</Principals>")?.0;
        Some(principals.split_once(&begin)?.1.split_once(&end)?.0.trim())
    };
    let user = |name: &str| name.rsplit('\\').next().unwrap_or(name).to_owned();
    let is_it = |whom: &str| same_name(whom, sid) || same_name(&user(whom), &user(account));
    inner("UserId").is_some_and(is_it) && matches!(inner("LogonType"), Some("Password" | "S4U"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(user: &str, logon: &str) -> String {
        format!(
            "<Task><Triggers><LogonTrigger><UserId>S-1-5-21-9</UserId></LogonTrigger></Triggers>\n<Principals>\n\
             <Principal id=\"Author\">\n<UserId>{user}</UserId>\n<LogonType>{logon}</LogonType></Principal>\
             </Principals></Task>"
        )
    }

    #[test]
    fn a_task_relies_on_the_right_of_the_account_that_it_runs_as_and_of_no_other() {
        let relies = |user: &str, logon: &str| relies(&text(user, logon), "S-1-5-21-1", r"HOST\shop");
        for user in ["S-1-5-21-1", r"HOST\shop", "SHOP", r".\Shop"] {
            assert!(relies(user, "S4U") && relies(user, "Password"), "{user}");
            assert!(!relies(user, "InteractiveToken"), "{user}");
        }
        assert!(!relies("S-1-5-21-9", "S4U") && !relies(r"HOST\other", "Password"));
        assert!(!super::relies("<Task/>", "S-1-5-21-1", r"HOST\shop"));
    }
}
