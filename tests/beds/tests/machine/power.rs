//! What is left, and what comes back by itself, after a reboot and after the plug was pulled.

use crate::stage::{events, restarts, with_shop};
use tutela_beds::Machine;

/// Plugs pulled in a row. Each cut falls on another moment of the guard's writing.
const CUTS: usize = 2;

/// Restarts that have to be seen between two looks, so that there is something to lose.
const BUSY: u64 = 5;

#[test]
fn a_guard_that_is_installed_is_up_by_itself_after_a_reboot() {
    let mut machine = with_shop("name = \"shop\"\n[services.api]\ncommand = [\"sleep\", \"infinity\"]\n");
    let before = machine.run("systemctl show --value -p MainPID shop; cat /proc/sys/kernel/random/boot_id").ok();
    machine.reboot();
    machine.wait_until("it is active", "systemctl is-active shop");
    let after = machine.run("systemctl show --value -p MainPID shop; cat /proc/sys/kernel/random/boot_id").ok();
    assert_ne!(before.lines().last(), after.lines().last(), "the same boot");
    machine.wait_until("its program runs", "pgrep --exact sleep");
    let kinds: Vec<String> = events(&mut machine).iter().map(|event| event["kind"].to_string()).collect();
    let started = kinds.iter().filter(|kind| *kind == "\"started\"").count();
    assert_eq!(started, 2, "started once a boot: {kinds:?}");

    // What is installed and not to start by itself stays down.
    machine.run("tutela install --no-enable /srv/shop/tutela.toml && sync").ok();
    machine.reboot();
    machine.wait_until("the boot is done", "systemctl is-system-running --wait | grep -E 'running|degraded'");
    assert_eq!(machine.run("systemctl is-active shop").out.trim(), "inactive");
}

#[test]
fn after_power_cuts_the_ledger_is_whole_and_what_was_counted_stays_counted() {
    let mut machine = with_shop(
        r#"
name = "shop"
[services.busy]
command = ["sh", "-c", "echo one more; exit 1"]
[services.busy.restart]
delay = "100ms"
factor = 1.0
burst = 1000
within = "60s"
"#,
    );
    for cut in 1..=CUTS {
        let (known, newest) = await_more(&mut machine);
        // While it goes on writing; what was read is older than that, and so has to be there again.
        let again = await_more(&mut machine);
        assert!(again.0 > known);
        machine.cut_power();
        machine.power_on();
        machine.wait_until("it is active", "systemctl is-active shop");

        let events = events(&mut machine);
        let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "cut {cut}: a gap in {numbers:?}");
        assert!(numbers.contains(&newest), "cut {cut}: the event {newest} is gone: {numbers:?}");
        let counted = restarts(&mut machine, "busy");
        assert!(counted >= known, "cut {cut}: {counted} restarts, and {known} were counted before it");
        let damaged = machine
            .run("journalctl --boot --unit=shop --no-pager | grep -i 'could not be read'; ls /var/lib/tutela/shop");
        assert!(!damaged.out.contains("could not be read"), "{}", damaged.story());
        assert_eq!(damaged.out.lines().filter(|name| name.contains("ledger")).count(), 1, "{}", damaged.story());
    }
    // The disk is as whole as the ledger.
    machine.run("dmesg | grep -i 'ext4.*error'").with_code(1);
}

/// Waits for some more restarts; their number, and that of the newest event.
fn await_more(machine: &mut Machine) -> (u64, u64) {
    let began = restarts(machine, "busy");
    machine.wait_for("it restarts some times", |machine| (restarts(machine, "busy") >= began + BUSY).then_some(()));
    let newest = events(machine).iter().filter_map(|event| event["seq"].as_u64()).max().unwrap_or_default();
    (restarts(machine, "busy"), newest)
}
