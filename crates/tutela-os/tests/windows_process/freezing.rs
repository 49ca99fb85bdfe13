//! Halting trees, alarms, and figures.

use crate::ward::{block_on, eventually, ward};
use std::time::Duration;
use tutela_core::spec::{Limits, Priority};
use tutela_os::clock::{self, Alarm};
use tutela_os::process::MemberState;
use tutela_os::usage;

pub fn a_tree_is_halted_and_goes_on() {
    let ward = ward();
    let part = ward.start(&["count"]);
    part.lines(2);
    let tree = part.child.tree();
    tree.freeze().unwrap();
    tree.freeze().unwrap();
    eventually("it stands still", || {
        let before = part.output().len();
        std::thread::park_timeout(Duration::from_millis(60));
        before == part.output().len()
    });
    assert!(tree.members().unwrap().iter().all(|member| member.state == MemberState::Halted));
    let before = part.output().len();
    tree.thaw().unwrap();
    eventually("it goes on", || part.output().len() > before);
    tree.set_limits(&Limits { priority: Priority::Low, ..Limits::default() }).unwrap();
    ward.end(&part.child);
}

pub fn a_halted_tree_can_be_ended() {
    let ward = ward();
    let part = ward.start(&["chain", "1"]);
    part.lines(2);
    part.child.tree().freeze().unwrap();
    ward.end(&part.child);
    part.child.tree().thaw().unwrap();
}

pub fn an_alarm_fires_at_its_moment() {
    block_on(async {
        let mut alarm = Alarm::new().unwrap();
        let began = clock::now();
        alarm.arm(Some(began + Duration::from_millis(30))).unwrap();
        alarm.fired().await.unwrap();
        assert!(clock::now().since(began) >= Duration::from_millis(30));
        alarm.arm(Some(began)).unwrap();
        alarm.fired().await.unwrap();
        let disarmed = tokio::time::timeout(Duration::from_millis(30), alarm.fired()).await;
        assert!(disarmed.is_err(), "it is not armed");
    });
    assert!(clock::now().as_nanos() > 0);
    assert!(clock::suspended_total() < Duration::from_secs(3600 * 24 * 365));
}

pub fn figures_of_the_computer_are_told() {
    let own = usage::own().unwrap();
    assert!(own.memory_bytes > 0 && own.threads > 0, "{own:?}");
    let host = usage::host().unwrap();
    assert!(host.cpus > 0 && host.memory_total > host.memory_available && host.memory_available > 0, "{host:?}");
    let disk = usage::disk(&std::env::temp_dir()).unwrap();
    assert!(disk.total >= disk.available && disk.total > 0, "{disk:?}");
    assert!(usage::disk(&std::env::temp_dir().join("none").join("none")).is_err());
    assert!(!usage::host_name().is_empty());
    let report = tutela_os::capabilities::report(Some(&ward().nursery));
    assert!(report.iter().any(|one| one.name == "tree_containment" && one.holds), "{report:?}");
}
