//! Services, by Wine's own `sc` and by the understudy.

use crate::{Ended, Stage, understudy, wait_until};

/// What `sc query` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In the words of `sc`.
    pub state: String,
    /// The error of Windows that it ended with; 1066: [`Status::own`] says more. 1077: it never ran.
    pub error: u32,
    /// The service's own error.
    pub own: u32,
    /// Grows while it starts or stops.
    pub checkpoint: u32,
    /// By when the checkpoint grows, in milliseconds.
    pub hint: u32,
}

/// A service that is deleted when this is dropped.
#[derive(Debug)]
pub struct Service<'a> {
    stage: &'a Stage,
    name: String,
}

impl<'a> Service<'a> {
    /// Creates a service whose command line is `command`.
    pub fn create(stage: &'a Stage, name: &str, command: &str) -> Service<'a> {
        let created = stage.run(["sc", "create", name, "binpath=", command]);
        assert_eq!(created.code, 0, "sc create {name}: {}", created.output);
        Service { stage, name: name.to_owned() }
    }

    /// Starts it; gives what `sc` ended with.
    pub fn start(&self, words: &[&str]) -> Ended {
        let mut all = vec!["sc", "start", &self.name];
        all.extend(words);
        self.stage.run(all)
    }

    /// Asks it through the service control manager; gives the state that it told, or `error` and a number.
    pub fn ask(&self, control: &str) -> String {
        self.stage.run([&understudy(), "ask", &self.name, control]).output.trim().to_owned()
    }

    /// What `sc query` shows.
    pub fn query(&self) -> Status {
        let told = self.stage.run(["sc", "query", &self.name]);
        let value = |key: &str| {
            let line = told.output.lines().find(|line| line.trim_start().starts_with(key));
            let line = line.unwrap_or_else(|| panic!("no {key} in {}", told.output));
            line.split_once(':').unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
            None => text.parse().unwrap(),
        };
        Status {
            state: value("STATE")[1].clone(),
            error: number(&value("WIN32_EXIT_CODE")[0]),
            own: number(&value("SERVICE_EXIT_CODE")[0]),
            checkpoint: number(&value("CHECKPOINT")[0]),
            hint: number(&value("WAIT_HINT")[0]),
        }
    }

    /// Waits until it is in this state.
    pub fn wait(&self, state: &str) -> Status {
        wait_until(&format!("{} is {state}", self.name), || Some(self.query()).filter(|status| status.state == state))
    }

    /// Stops it and waits for that.
    pub fn stop(&self) -> Status {
        self.stage.run(["sc", "stop", &self.name]);
        self.wait("STOPPED")
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.stage.run(["sc", "query", &self.name]).output);
        }
        self.stage.run(["sc", "stop", &self.name]);
        let deleted = self.stage.run(["sc", "delete", &self.name]);
        assert!(deleted.code == 0 || std::thread::panicking(), "sc delete {}: {}", self.name, deleted.output);
    }
}
