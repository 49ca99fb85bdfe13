//! A program's place among the services of its OS: the SCM, systemd, launchd.
//!
//! What an installation is made of is in [`Definition`]; how the OS is told is `tutela_os::registration`. Here is what a
//! service of this crate wants by itself: its own program file, readiness that is told, an account of its own, and
//! times a little longer than ours, so that it is we who say what was late.

use crate::life::Bounds;
use std::ffi::OsString;
use std::time::Duration;
use tutela_os::registration as os;
pub use tutela_os::registration::{
    Account, CarryOutError, Definition, Folders, Kind, Opening, Password, Plan, Protocol, Readiness, RegisterError,
    Registered, RegisteredState, Reload, Sandbox, Scope, Start,
};

/// The host waits that much longer than we do: our failures name what was late, the host's do not.
const MARGIN: Duration = Duration::from_secs(5);

/// The wait before the OS starts it again after it failed.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// A hand on what is registered.
pub(crate) type ChangeDefinition = Box<dyn Fn(&mut Definition) + Send>;

/// What the builder was told about it.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) display_name: Option<String>,
    pub(crate) description: String,
    pub(crate) changes: Vec<ChangeDefinition>,
}

/// A registration that may or may not be there. Made by [`crate::Service::registration`]; dropping it changes nothing.
///
/// ```no_run
/// # use tutela_service::Service;
/// let registration = Service::new("shop").description("Sells things").registration()?;
/// registration.install()?;
/// registration.start()?;
/// println!("{:?}", registration.status()?.map(|registered| registered.state));
/// # Ok::<(), tutela_service::RegistrationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registration {
    definition: Definition,
}

impl Registration {
    pub(crate) fn of(
        name: &str,
        bounds: &Bounds,
        wish: &Wish,
        args: Vec<OsString>,
        reloads: bool,
    ) -> Result<Registration, RegistrationError> {
        let program = std::env::current_exe().map_err(RegistrationError::Program)?;
        let folder = program.parent().map(ToOwned::to_owned).unwrap_or_default();
        let mut definition = Definition {
            name: name.to_owned(),
            display_name: wish.display_name.clone().unwrap_or_else(|| name.to_owned()),
            description: wish.description.clone(),
            scope: Scope::System,
            kind: Kind::Service,
            program,
            args,
            folder,
            env: Vec::new(),
            start: Start::Auto,
            account: Account::Own,
            after: Vec::new(),
            readiness: Readiness::Told,
            reload: if reloads { Reload::Signal } else { Reload::None },
            start_timeout: bounds.start + MARGIN,
            stop_timeout: bounds.drain_delay + bounds.stop + MARGIN,
            watchdog: None,
            keeps_programs: false,
            programs_outlive: None,
            restart_delay: RESTART_DELAY,
            sandbox: Sandbox { no_new_privileges: true, ..Sandbox::default() },
            folders: Folders::default(),
            openings: Vec::new(),
        };
        for change in &wish.changes {
            change(&mut definition);
        }
        // A program that starts no others needs none; whoever wants to be the OS itself wants its rights too.
        if definition.sandbox.capabilities.is_none() && definition.account != Account::System {
            definition.sandbox.capabilities = Some(Vec::new());
        }
        Ok(Registration { definition })
    }

    /// For the account that asks instead of the computer: systemd user units, launchd agents. No administrator is
    /// needed; the SCM knows no such thing and refuses.
    pub fn for_user(mut self) -> Registration {
        self.definition.scope = Scope::User;
        self
    }

    /// Everything that is registered, to be looked at or changed.
    pub fn definition(&mut self) -> &mut Definition {
        &mut self.definition
    }

    /// What an installation would do: every step with the text that it writes, and notes about what will not be as
    /// asked. Changes nothing.
    ///
    /// # Errors
    /// Why it would not work, as far as that can be known.
    pub fn plan(&self) -> Result<Plan, RegistrationError> {
        Ok(os::plan(&self.definition)?)
    }

    /// Installs it, or brings what is installed up to date. A step that fails has those before it undone. Answers what
    /// is not as asked, because this host cannot; show it to whoever asked.
    ///
    /// # Errors
    /// It is not installed, and the message says why and how to mend it.
    pub fn install(&self) -> Result<Vec<String>, RegistrationError> {
        carry_out(self.plan()?)
    }

    /// What [`Registration::uninstall`] would do. Changes nothing.
    ///
    /// # Errors
    /// As [`Registration::uninstall`].
    pub fn removal_plan(&self, purge: bool) -> Result<Plan, RegistrationError> {
        Ok(os::plan_removal(&self.definition.name, self.definition.scope, purge)?)
    }

    /// Stops it, waits until it has ended, and removes what the installation made; with `purge` the folders of state
    /// and logs too.
    ///
    /// # Errors
    /// [`RegisterError::Missing`] when it is not installed.
    pub fn uninstall(&self, purge: bool) -> Result<Vec<String>, RegistrationError> {
        carry_out(self.removal_plan(purge)?)
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It did not become ready in time, or the host refuses.
    pub fn start(&self) -> Result<(), RegistrationError> {
        let bound = self.definition.start_timeout + MARGIN;
        Ok(os::start(&self.definition.name, self.definition.scope, bound)?)
    }

    /// Stops it and waits until it has ended.
    ///
    /// # Errors
    /// It did not end in time, or the host refuses.
    pub fn stop(&self) -> Result<(), RegistrationError> {
        let bound = self.definition.stop_timeout + MARGIN;
        Ok(os::stop(&self.definition.name, self.definition.scope, bound)?)
    }

    /// What the host says of it; `None`: it is not installed.
    ///
    /// # Errors
    /// The host cannot be asked.
    pub fn status(&self) -> Result<Option<Registered>, RegistrationError> {
        Ok(os::query(&self.definition.name, self.definition.scope)?)
    }
}

fn carry_out(plan: Plan) -> Result<Vec<String>, RegistrationError> {
    let notes = plan.notes().to_vec();
    plan.carry_out()?;
    Ok(notes)
}

/// Why a registration did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The OS does not say where the running program lies.
    #[error("failed to find the file of the running program")]
    Program(#[source] std::io::Error),
    /// It was refused or failed before anything was changed.
    #[error(transparent)]
    Refused(#[from] RegisterError),
    /// A step failed; those before it were undone.
    #[error(transparent)]
    Step(#[from] CarryOutError),
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_host_waits_longer_than_the_service_does() {
        let second = Duration::from_secs(1);
        let bounds = Bounds { start: 30 * second, stop: 10 * second, drain_delay: 5 * second };
        let wish = Wish { changes: vec![Box::new(|definition| definition.start = Start::Manual)], ..Wish::default() };
        let registration = Registration::of("shop", &bounds, &wish, vec!["run".into()], true).unwrap();
        let definition = registration.definition;
        assert!(definition.start_timeout > bounds.start);
        assert!(definition.stop_timeout > bounds.stop + bounds.drain_delay);
        assert_eq!((definition.start, definition.display_name.as_str()), (Start::Manual, "shop"));
        assert!(definition.program.is_absolute());
        assert_eq!((definition.reload, definition.sandbox.capabilities), (Reload::Signal, Some(Vec::new())));
    }
}
