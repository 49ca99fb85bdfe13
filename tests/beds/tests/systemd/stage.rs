//! A booted system with the static program in it, and its state as something that can be compared.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use tutela_beds::place::checkout;
use tutela_beds::{Booted, tutela};

/// Where the program lies.
pub const PROGRAM: &str = "/usr/local/bin/tutela";

/// The spec of the hello example there.
pub const HELLO: &str = "/srv/hello/tutela.toml";

/// A system with the program.
pub fn with_tutela() -> Booted {
    let booted = Booted::boot();
    booted.put_program(&tutela(), PROGRAM);
    booted
}

/// A system with the program and the hello example.
pub fn with_hello() -> Booted {
    let booted = with_tutela();
    put_hello(&booted, "/srv/hello");
    booted
}

/// Puts the hello example into a folder.
pub fn put_hello(booted: &Booted, folder: &str) {
    let example = checkout().join("examples/hello");
    let read = |path: &Path| std::fs::read_to_string(path).expect("the example is readable");
    booted.put(&format!("{folder}/tutela.toml"), &read(&example.join("tutela.toml")));
    for entry in std::fs::read_dir(example.join("bin")).expect("the example has programs").flatten() {
        let path = format!("{folder}/bin/{}", entry.file_name().display());
        booted.put(&path, &read(&entry.path()));
        booted.run(&format!("chmod 755 {path}")).ok();
    }
}

/// What there is on a system, line by line: every file with its kind, rights, owner and content, every account and
/// group, every unit file and whether it is enabled, and every unit of ours or of a test that is loaded.
///
/// Left out is what systemd itself writes while it runs, and what is no file: other file systems than the root's, but
/// for `/run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    lines: BTreeSet<String>,
}

const LOOK: &str = r#"
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /run \
    -o -path /var/log/journal -o -path /var/lib/systemd -o -path /etc/.pwd.lock \
    -o -path /var/lib/private -o -path /var/log/private -o -path /var/cache/private \) -prune \
    -o -type f -size -200k \( -path '/etc/*' -o -path '/srv/*' -o -path '/home/*' -o -path "$HOME/*" \) \
       -printf 'file %p %m %u %g ' -exec md5sum '{}' \; \
    -o -printf 'file %p %y %m %u %g %l\n'
find /run \( -path /run/systemd -o -path /run/log -o -path /run/agetty.reload -o -path '/run/user/*' \) -prune -o -printf 'file %p %y %m %u %g\n'
getent passwd | sed 's/^/account /'; getent group | sed 's/^/group /'
systemctl list-unit-files --no-legend --no-pager | awk '{ print "unit file", $1, $2 }'
systemctl list-units --all --no-legend --plain --no-pager 'hello*' 'tutela*' 'shop*' | awk '{ print "unit", $1, $2, $3, $4 }'
"#;

impl System {
    /// How it is at this moment.
    pub fn of(booted: &Booted) -> Self {
        let lines = booted.run(LOOK).ok().lines().map(str::to_owned).collect();
        System { lines }
    }

    /// What is different in `later`: `+` for what came, `-` for what went.
    pub fn difference(&self, later: &System) -> Vec<String> {
        let came = later.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        let went = self.lines.difference(&later.lines).map(|line| format!("- {line}"));
        came.chain(went).collect()
    }
}

/// One property of a unit.
pub fn property(booted: &Booted, unit: &str, name: &str) -> String {
    booted.run(&format!("systemctl show --value --property={name} {unit}")).ok()
}

/// Waits until each of these services has its first instance in the state.
#[track_caller]
pub fn await_states(booted: &Booted, guard: &str, services: &[(&str, &str)]) {
    for (service, state) in services {
        booted.wait_for(&format!("{guard}/{service} is {state}"), |booted| {
            (instance(booted, guard, service)?["state"] == *state).then_some(())
        });
    }
}

/// What `tutela status` says of the first instance of a service.
pub fn instance(booted: &Booted, guard: &str, service: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&booted.run(&format!("{PROGRAM} status {guard} --json")).out).ok()?;
    let services = status["guards"][0]["services"].as_array()?;
    let found = services.iter().find(|found| found["name"] == service)?;
    Some(found["instances"][0].clone())
}
