//! What the status says about one instance.

use serde_json::Value;

/// One instance in the body of `/v1/status`.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its state.
    pub state: String,
    /// Its health.
    pub health: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// Restarts so far.
    pub restarts: u64,
    /// Why it is in its state.
    pub cause: String,
    /// What comes next; empty: nothing.
    pub next: String,
    /// How its program last ended: the code.
    pub last_code: Option<i64>,
    /// How its program last ended: the signal.
    pub last_signal: Option<String>,
    /// Everything.
    pub raw: Value,
}

impl Instance {
    /// The instance in a guard's status; `api` is `api:0`.
    pub fn find(guard: &Value, id: &str) -> Option<Instance> {
        let id = if id.contains(':') { id.to_owned() } else { format!("{id}:0") };
        let services = guard["services"].as_array()?;
        let raw = services
            .iter()
            .filter_map(|service| service["instances"].as_array())
            .flatten()
            .find(|instance| instance["id"] == id)?
            .clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Instance {
            state: text(&raw["state"]),
            health: text(&raw["health"]),
            pid: raw["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
            restarts: raw["restarts"].as_u64()?,
            cause: text(&raw["cause"]),
            next: text(&raw["next"]["what"]),
            last_code: raw["last_exit"]["code"].as_i64(),
            last_signal: raw["last_exit"]["signal"].as_str().map(str::to_owned),
            raw,
        })
    }

    /// What a probe says: `pass`, `fail`, `unknown`; empty: there is none of this name.
    pub fn verdict(&self, probe: &str) -> String {
        self.probe(probe)["verdict"].as_str().unwrap_or_default().to_owned()
    }

    /// Everything about a probe.
    pub fn probe(&self, name: &str) -> Value {
        let probes = self.raw["probes"].as_array().cloned().unwrap_or_default();
        probes.into_iter().find(|probe| probe["name"] == name).unwrap_or_default()
    }
}

/// Process numbers with their command lines, for messages.
pub fn names_of(pids: &[u32]) -> Vec<String> {
    let name = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("{pid} {}", String::from_utf8_lossy(&words).replace('\0', " "))
    };
    pids.iter().map(name).collect()
}
