//! Steps that are done all, or undone.

use super::RegisterError;
use crate::Error;
use std::fmt;

/// Takes a step back.
pub(crate) type Undo = Box<dyn FnOnce() -> Result<(), Error>>;

/// One step; its text says what it does, as the end of "would …": `write /etc/systemd/system/shop.service`.
pub(crate) trait Step: fmt::Display {
    /// Does it. What it answers takes it back; `None`: there is nothing to take back.
    fn carry_out(&self) -> Result<Option<Undo>, Error>;

    /// What it writes, for people who want to see it before: the text of a unit, the values of a key.
    fn text(&self) -> Option<String> {
        None
    }
}

/// Every step of a registration or a removal, in order.
pub struct Plan {
    pub(crate) steps: Vec<Box<dyn Step>>,
    /// What will be different from what the spec says, and why; for people.
    pub(crate) notes: Vec<String>,
    obstacle: Option<RegisterError>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(ToString::to_string)).finish()
    }
}

impl Plan {
    pub(crate) fn new(steps: Vec<Box<dyn Step>>, notes: Vec<String>) -> Plan {
        Plan { steps, notes, obstacle: None }
    }

    /// Says why this plan, though it can be shown, cannot be carried out here or by this account. The first one stays.
    pub(crate) fn hindered(mut self, obstacle: Option<RegisterError>) -> Plan {
        self.obstacle = self.obstacle.or(obstacle);
        self
    }

    /// Why it cannot be carried out: no rights, no service manager. Known before anything is changed.
    pub fn obstacle(&self) -> Option<&RegisterError> {
        self.obstacle.as_ref()
    }

    /// What each step does, with what it writes where there is such a thing.
    pub fn steps(&self) -> impl Iterator<Item = (String, Option<String>)> + '_ {
        self.steps.iter().map(|step| (step.to_string(), step.text()))
    }

    /// What will not be as asked, because this computer cannot; to be shown to whoever asked.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether everything is as wanted already.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does every step. When one fails, those before it are undone, the last one first. With an
    /// [`Plan::obstacle`] nothing is tried.
    ///
    /// # Errors
    /// [`CarryOutError`], with what could not be undone.
    pub fn carry_out(self) -> Result<(), CarryOutError> {
        if let Some(obstacle) = self.obstacle {
            let error = Error::Refused(obstacle.to_string().trim_start_matches("refused: ").to_owned());
            let step = self.steps.first().map(ToString::to_string).unwrap_or_default();
            return Err(CarryOutError { step, error, stuck: Vec::new() });
        }
        let mut undo: Vec<(String, Undo)> = Vec::new();
        for step in &self.steps {
            match step.carry_out() {
                Ok(back) => undo.extend(back.map(|back| (step.to_string(), back))),
                Err(error) => {
                    let mut stuck = Vec::new();
                    for (what, back) in undo.into_iter().rev() {
                        if let Err(error) = back() {
                            stuck.push(format!("{what}: {error}"));
                        }
                    }
                    return Err(CarryOutError { step: step.to_string(), error, stuck });
                }
            }
        }
        Ok(())
    }
}

/// A step that failed; the system is as it was before, but for what is named.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step}: {error}; {}", if stuck.is_empty() { "nothing was changed".to_owned() } else { format!("this could not be undone: {}", stuck.join("; ")) })]
pub struct CarryOutError {
    /// The step.
    pub step: String,
    /// Why.
    #[source]
    pub error: Error,
    /// What could not be undone, and why.
    pub stuck: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    struct Say(&'static str, bool, Rc<RefCell<Vec<String>>>);

    impl fmt::Display for Say {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Step for Say {
        fn carry_out(&self) -> Result<Option<Undo>, Error> {
            if !self.1 {
                return Err(Error::Refused("no".into()));
            }
            self.2.borrow_mut().push(format!("do {}", self.0));
            let (name, said) = (self.0, self.2.clone());
            Ok(Some(Box::new(move || {
                said.borrow_mut().push(format!("undo {name}"));
                Ok(())
            })))
        }
    }

    #[test]
    fn what_was_done_before_a_failure_is_undone_the_last_first() {
        let said = Rc::new(RefCell::new(Vec::new()));
        let say = |name, works| Box::new(Say(name, works, said.clone())) as Box<dyn Step>;
        let steps = vec![say("a", true), say("b", true), say("c", false), say("d", true)];
        let plan = Plan::new(steps, Vec::new());
        let error = plan.carry_out().expect_err("c fails");
        assert_eq!(error.step, "c");
        assert_eq!(*said.borrow(), ["do a", "do b", "undo b", "undo a"]);
    }
}
