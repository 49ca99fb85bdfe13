//! Who has what a guard left when it ended: the next guard, or nobody.
//!
//! A guard that crashes leaves its programs to the next one. A service manager that has stopped it, or has given up, starts
//! no next one; then nothing is to be left. systemd runs `tutela end-left` after each end of a guard, which asks here.
//! Deliberately absent: the watch over the time between two guards, which is the command's, and the end itself, which is
//! [`tutela_os::registration::end_left`].

use tutela_os::registration::Outlook;

/// The exit code of a guard whose spec was refused. systemd does not start it again.
const SPEC_REFUSED: &str = "2";

/// What systemd tells of the end in variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    result: String,
    code: String,
    status: String,
}

impl Said {
    /// Reads it.
    pub fn by(lookup: impl Fn(&str) -> Option<String>) -> Said {
        let get = |key| lookup(key).unwrap_or_default();
        Said { result: get("SERVICE_RESULT"), code: get("EXIT_CODE"), status: get("EXIT_STATUS") }
    }

    fn exited(&self, status: &str) -> bool {
        self.code == "exited" && self.status == status
    }
}

/// Who has what a guard left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A guard that runs.
    Runs,
    /// A guard that is to come, as far as can be known now.
    Follows,
    /// Nobody.
    None,
}

/// Decides it, by what the service manager answers, if it does, and by how the guard ended.
pub fn next(outlook: Option<Outlook>, said: &Said) -> Next {
    match outlook {
        Some(Outlook::Runs) => Next::Runs,
        Some(Outlook::Over) => Next::None,
        // One that ended in order has stopped everything: what is there all the same is nobody's. After a refused spec
        // none is started.
        _ if said.exited("0") || said.exited(SPEC_REFUSED) => Next::None,
        Some(Outlook::Follows) => Next::Follows,
        // It was killed because a stop took too long, or a start: which of them cannot be told. A start anew is better
        // than programs that nobody guards.
        None if said.result == "timeout" => Next::None,
        None => Next::Follows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(result: &str, code: &str, status: &str) -> Said {
        let of = |key: &str| match key {
            "SERVICE_RESULT" => Some(result.to_owned()),
            "EXIT_CODE" => Some(code.to_owned()),
            "EXIT_STATUS" => Some(status.to_owned()),
            _ => None,
        };
        Said::by(of)
    }

    #[test]
    fn a_crash_leaves_everything_to_the_next_guard_and_all_else_leaves_nothing() {
        let crashes = [("signal", "killed", "KILL"), ("core-dump", "dumped", "ABRT"), ("exit-code", "exited", "1")];
        for (result, code, status) in
            crashes.into_iter().chain([("watchdog", "killed", "KILL"), ("oom-kill", "killed", "KILL")])
        {
            let said = said(result, code, status);
            assert_eq!(next(Some(Outlook::Follows), &said), Next::Follows, "{said:?}");
            assert_eq!(next(None, &said), Next::Follows, "{said:?}");
            assert_eq!(next(Some(Outlook::Over), &said), Next::None, "{said:?}");
            assert_eq!(next(Some(Outlook::Runs), &said), Next::Runs, "{said:?}");
        }
        for said in [said("success", "exited", "0"), said("exit-code", "exited", "2")] {
            assert_eq!(next(Some(Outlook::Follows), &said), Next::None, "{said:?}");
            assert_eq!(next(None, &said), Next::None, "{said:?}");
        }
    }

    #[test]
    fn a_guard_that_took_too_long_leaves_something_only_where_another_is_known_to_follow() {
        let late = said("timeout", "killed", "KILL");
        assert_eq!(next(Some(Outlook::Follows), &late), Next::Follows);
        assert_eq!(next(Some(Outlook::Over), &late), Next::None);
        assert_eq!(next(None, &late), Next::None);
        assert_eq!(next(None, &Said::default()), Next::Follows);
    }
}
