//! Guards of single accounts: user units.

use crate::stage::{put_hello, with_tutela};

#[test]
fn an_account_without_rights_installs_runs_and_removes_a_guard_of_its_own() {
    let booted = with_tutela();
    booted.run("useradd --create-home alice && loginctl enable-linger alice").ok();
    booted.wait_until("her service manager runs", "test -S /run/user/$(id -u alice)/systemd/private");
    put_hello(&booted, "/home/alice/hello");
    booted.run("chown -R alice: /home/alice/hello").ok();

    let list = "find /home/alice -not -path '*/hello/run*' -not -path '/home/alice/.local*' | sort";
    let before = booted.run(list).ok();
    booted.run_as("alice", "tutela install --user --start hello/tutela.toml").ok();
    assert_eq!(booted.run_as("alice", "systemctl --user is-active hello").ok(), "active");
    let unit = booted.run_as("alice", "systemd-analyze verify --user --man=no hello.service");
    assert_eq!((unit.code, unit.err.as_str()), (0, ""), "{}", unit.story());
    let status = booted.run_as("alice", "tutela status hello").ok();
    assert!(status.contains("worker"), "{status}");
    // What systemd delegates to a user is taken, though it marks nothing.
    let json = booted.run_as("alice", "tutela status hello --json").ok();
    assert!(json.contains("a control group per program"), "{json}");
    // It is hers alone.
    booted.run("tutela status hello --json").with_code(4);

    // A crash of it is none of its programs, and a stop leaves none of them.
    let worker = booted.run("pgrep --uid alice --oldest --full '[b]in/worker'").ok();
    let guard = booted.run_as("alice", "systemctl --user show --value -p MainPID hello").ok();
    booted.run(&format!("kill -KILL {guard}")).ok();
    let again = format!(
        "for i in $(seq 200); do p=$(systemctl --user show --value -p MainPID hello); \
         [ $p != 0 ] && [ $p != {guard} ] && systemctl --user is-active hello && exit; sleep 0.1; done; exit 1"
    );
    booted.run_as("alice", &again).ok();
    assert_eq!(booted.run("pgrep --uid alice --oldest --full '[b]in/worker'").ok(), worker);
    booted.run_as("alice", "systemctl --user stop hello").ok();
    booted.run("pgrep --uid alice --list-full --full '[t]utela|[h]ello/bin'").with_code(1);

    booted.run_as("alice", "tutela uninstall --user hello").ok();
    booted.run("pgrep --uid alice --full '[t]utela run'").with_code(1);
    let folders = ["/home/alice/.config", "/home/alice/.config/systemd", "/home/alice/.config/systemd/user"];
    let after = booted.run(list).ok();
    let left: Vec<&str> =
        after.lines().filter(|line| !before.lines().any(|known| known == *line) && !folders.contains(line)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    booted.run("test -d /home/alice/.local/state/tutela/hello").ok();
    booted.run_as("alice", "tutela uninstall --user --purge hello").ok();
    booted.run("test -e /home/alice/.local/state/tutela/hello").with_code(1);
}
