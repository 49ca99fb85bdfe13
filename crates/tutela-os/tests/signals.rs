//! The guard's own signals, and the alarm. In a binary of its own: the reactions are the whole process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;
use support::block_on;
use tutela_os::clock::{self, Alarm};
use tutela_os::process::Signal;
use tutela_os::signals::Signals;

#[test]
fn signals_to_the_guard_come_one_by_one_and_none_is_lost() {
    block_on(async {
        let mut signals = Signals::open().unwrap();
        assert!(Signals::open().is_err(), "one stream has them all");
        for name in ["USR1", "HUP", "TERM"] {
            let status =
                std::process::Command::new("kill").args(["-s", name, &std::process::id().to_string()]).status();
            assert!(status.unwrap().success());
        }
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(signals.next().await.unwrap());
        }
        seen.sort();
        assert_eq!(seen, [Signal::HUP, Signal::USR1, Signal::TERM]);
        let sender = signals.sender(Signal::HUP).unwrap();
        assert_eq!(Some(sender.uid), tutela_os::accounts::current().unwrap().id().uid());
        // `kill` sends its signal from its own process.
        assert!(sender.pid != 0 && sender.pid != std::process::id(), "{sender:?}");
        assert_eq!(signals.sender(Signal::INT), None, "it never came");
    });
}

#[test]
fn an_alarm_fires_at_its_moment_and_only_when_it_is_armed() {
    block_on(async {
        let mut alarm = Alarm::new().unwrap();
        let began = clock::now();
        alarm.arm(Some(began + Duration::from_millis(30))).unwrap();
        alarm.fired().await.unwrap();
        assert!(clock::now().since(began) >= Duration::from_millis(30));
        alarm.arm(Some(began)).unwrap();
        alarm.fired().await.unwrap();
        alarm.arm(Some(clock::now() + Duration::from_secs(3600))).unwrap();
        alarm.arm(None).unwrap();
        let disarmed = tokio::time::timeout(Duration::from_millis(30), alarm.fired()).await;
        assert!(disarmed.is_err(), "it is not armed");
    });
}

#[test]
fn suspensions_never_shrink() {
    let began = std::time::Instant::now();
    let before = clock::suspended_total();
    let after = clock::suspended_total();
    // Two readings without a suspension between them differ by what lies between the two clocks' readings, in which
    // the machine may have stood still.
    assert!(after + began.elapsed() + Duration::from_millis(20) >= before);
    assert!(clock::boot_id().is_some_and(|id| id.len() == 36));
}
