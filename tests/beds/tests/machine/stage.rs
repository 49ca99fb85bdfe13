//! A machine with the static program in it, and what its guards say.

use serde_json::Value;
use tutela_beds::{Machine, tutela};

/// A machine with the program and a guard `shop` that is installed and runs.
pub fn with_shop(spec: &str) -> Machine {
    let mut machine = Machine::boot();
    machine.put_program(&tutela(), "/usr/local/bin/tutela");
    machine.put("/srv/shop/tutela.toml", spec);
    machine.run("tutela install --start /srv/shop/tutela.toml && sync").ok();
    machine
}

/// What `tutela status` says of the first instance of a service; null while the guard does not answer.
pub fn instance(machine: &mut Machine, service: &str) -> Value {
    let said = machine.run("tutela status shop --json").out;
    let status: Value = serde_json::from_str(&said).unwrap_or_default();
    let services = status["guards"][0]["services"].as_array().cloned().unwrap_or_default();
    let found = services.into_iter().find(|found| found["name"] == service);
    found.map(|found| found["instances"][0].clone()).unwrap_or_default()
}

/// How often a service was restarted.
pub fn restarts(machine: &mut Machine, service: &str) -> u64 {
    instance(machine, service)["restarts"].as_u64().unwrap_or_default()
}

/// Every event in the ledger.
///
/// # Panics
/// One of them is no JSON.
pub fn events(machine: &mut Machine) -> Vec<Value> {
    let said = machine.run("tutela events shop --json -n 100000").ok();
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
