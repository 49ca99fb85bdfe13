//! Limits of services, kept by the kernel and told by the guard.

use crate::stage::{events, instance, with_shop};
use tutela_beds::Machine;

const SPEC: &str = r#"
name = "shop"

# Wants ever more memory, until it is ended.
[services.hungry]
command = ["bash", "-c", "exec tail -c 1G < <(cat /dev/zero)"]
limits = { memory = "48MiB" }
restart = { when = "never" }

# Counts as fast as it can.
[services.eager]
command = ["sh", "-c", "while :; do :; done"]
limits = { cpu = "20%" }

# Wants fifty children.
[services.fertile]
command = ["bash", "-c", "for n in $(seq 50); do sleep infinity & done; wait"]
limits = { processes = 10 }

# Is nobody's business.
[services.quiet]
command = ["sleep", "infinity"]
"#;

/// Shares of one processor that a limit of 20 % may come to when it is measured. An emulated clock and a busy host move
/// the figure; without the limit it is near 1.
const CPU_SHARE: std::ops::Range<f64> = 0.02..0.45;

#[test]
fn the_kernel_keeps_the_limits_of_services_and_the_guard_tells_which_was_hit() {
    let mut machine = with_shop(SPEC);

    // Memory: it is ended by the kernel, everybody else lives, and the cause is told.
    machine.wait_for("the hungry one is ended", |machine| {
        (instance(machine, "hungry")["last_exit"]["signal"] == "KILL").then_some(())
    });
    let exited = events(&mut machine);
    let exited = exited.iter().find(|event| event["kind"] == "exited" && event["service"] == "hungry");
    let exited = exited.expect("its end is an event");
    assert_eq!(exited["data"]["oom"], true, "{exited:#}");
    let hungry = instance(&mut machine, "hungry");
    assert!(hungry["cause"].as_str().is_some_and(|cause| cause.contains("out of memory")), "{hungry:#}");
    assert_eq!(machine.run("systemctl show --value -p NRestarts shop").ok(), "0", "the guard itself was ended");
    assert_eq!(instance(&mut machine, "quiet")["state"], "running");

    // Processors: what it got over a few seconds is near the limit, and not near all.
    let share = share_of(&mut machine, "eager");
    assert!(CPU_SHARE.contains(&share), "it got {share:.2} of a processor");

    // Processes: no more than the limit, and some attempts were refused.
    let group = group(&mut machine, "fertile");
    let most: u32 = machine
        .run(&format!("cat {group}/pids.peak {group}/pids.max | sort -n | tail -n 1"))
        .ok()
        .parse()
        .expect("a number");
    assert_eq!(most, 10, "more than the limit");
    machine.wait_until("attempts are refused", &format!("grep -E 'max [1-9]' {group}/pids.events"));

    // And this was possible because systemd let the guard's unit have the controllers.
    let unit = machine.run("systemctl show --value -p ControlGroup shop").ok();
    let delegated = machine.run(&format!("cat /sys/fs/cgroup{unit}/cgroup.subtree_control")).ok();
    for controller in ["cpu", "memory", "pids"] {
        assert!(delegated.split(' ').any(|found| found == controller), "{controller} is not in {delegated}");
    }
}

/// The control group of a service's first instance.
fn group(machine: &mut Machine, service: &str) -> String {
    let unit = machine.run("systemctl show --value -p ControlGroup shop").ok();
    machine.wait_until("it has a group", &format!("find /sys/fs/cgroup{unit} -type d -name '{service}.0' | grep ."))
}

/// What share of one processor a service got within five seconds, by the kernel's own counts.
fn share_of(machine: &mut Machine, service: &str) -> f64 {
    let group = group(machine, service);
    let look = format!("awk '/usage_usec/ {{ print $2 / 1000000 }}' {group}/cpu.stat; cut -d' ' -f1 /proc/uptime");
    let numbers = machine.run(&format!("{look}; sleep 5; {look}")).ok();
    let numbers: Vec<f64> = numbers.lines().map(|line| line.parse().expect("a number")).collect();
    let [used_before, before, used_after, after] = numbers[..] else { panic!("four numbers, not {numbers:?}") };
    (used_after - used_before) / (after - before)
}
