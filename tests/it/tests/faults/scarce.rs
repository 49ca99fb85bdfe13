//! No descriptors, no processes: what runs runs on, what cannot be started says why, and everything mends itself.

use std::process::Command;
use std::time::Duration;
use tutela_it::faults::{
    account_of_its_own, allow_descriptors, allow_processes, as_account, descriptors, descriptors_max, give_to,
    no_line_lost,
};
use tutela_it::processes::{kill, lives};
use tutela_it::{BOUND, Container, Guard, Instance, Stage, wait_until};

/// Tried again so often that a test sees it, and never given up.
const AGAIN: &str = "restart = { delay = \"50ms\", factor = 1.0, jitter = 0.0, burst = 0 }";

fn instances(guard: &Guard, service: &str, count: u32) -> Vec<Instance> {
    let status = guard.status();
    (0..count).map(|index| Instance::find(&status, &format!("{service}:{index}")).unwrap()).collect()
}

fn running(instances: &[Instance]) -> Vec<(u32, u64)> {
    instances.iter().filter(|it| it.state == "running").map(|it| (it.pid.unwrap(), it.restarts)).collect()
}

/// Those that run once no other one is begun: of two that begin at a time either may be refused, and is tried again.
fn settled(guard: &Guard, service: &str, count: u32) -> Vec<(u32, u64)> {
    const QUIET: Duration = Duration::from_millis(500);
    wait_until(BOUND, "no other one is begun", || {
        let before = running(&instances(guard, service, count));
        std::thread::sleep(QUIET);
        (before == running(&instances(guard, service, count))).then_some(before)
    })
}

#[test]
fn services_beyond_the_limit_of_descriptors_are_refused_with_words_and_the_others_run() {
    const LIMIT: u64 = 160;
    const COUNT: u32 = 40;
    let stage = Stage::new();
    let spec = stage.write_spec(&format!(
        "[services.a]\ncommand = [\"understudy\", \"await=talk\", \"drip=20\", \"hang\"]\ninstances = {COUNT}\n{AGAIN}\n"
    ));
    let mut command = Command::new("prlimit");
    stage.dress(&mut command);
    command.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg("--").arg(tutela_it::program::tutela()).arg("run").arg(spec);
    let guard = stage.start_command(command);
    // A refusal is nothing final: it waits for its next try.
    let is_refused = |it: &Instance| it.state == "backoff" && it.cause.contains("files that this guard");
    let refused = wait_until(BOUND, "one is refused", || instances(&guard, "a", COUNT).into_iter().find(is_refused));
    assert!(refused.cause.contains("LimitNOFILE= of its unit, ulimit -n"), "{}", refused.cause);
    let before = settled(&guard, "a", COUNT);
    assert!((3..COUNT as usize).contains(&before.len()), "{} run", before.len());
    // A program's log is opened with its first line, and has its place until then.
    guard.write("talk", "");
    for it in instances(&guard, "a", COUNT).iter().filter(|it| it.state == "running") {
        let log = format!("{}.log", it.raw["id"].as_str().unwrap().replace(':', "-"));
        wait_until(BOUND, "it talks", || (!guard.log(&log).is_empty()).then_some(()));
    }
    // What is left is enough to be asked by many at once, and to look at every tree.
    let asked: Vec<_> = (0..24)
        .map(|_| {
            let socket = guard.socket();
            std::thread::spawn(move || tutela_it::http::ask(&socket, "GET", "/v1/status?usage=true").unwrap().status)
        })
        .collect();
    assert!(asked.into_iter().all(|asked| asked.join().unwrap() == 200));
    assert!(descriptors(guard.pid()) as u64 <= LIMIT);
    let told: Vec<String> = guard.messages().into_iter().filter(|it| it.contains("failed to accept")).collect();
    assert_eq!(told, [""; 0], "the guard kept none for its own work");
    let now = running(&instances(&guard, "a", COUNT));
    assert!(before.iter().all(|one| now.contains(one)), "what runs is not touched: {before:?}, {now:?}");
    // Room that comes free is used by itself.
    for (pid, _) in &now[..2] {
        let of = instances(&guard, "a", COUNT).into_iter().find(|it| it.pid == Some(*pid)).unwrap();
        guard.api("POST", &format!("/v1/services/{}/stop", of.raw["id"].as_str().unwrap()), 200);
    }
    let others = |one: &(u32, u64)| !now.contains(one);
    wait_until(BOUND, "another one runs", || running(&instances(&guard, "a", COUNT)).iter().any(others).then_some(()));
    let kept = instances(&guard, "a", COUNT).into_iter().find(|it| it.pid == Some(now[2].0)).unwrap();
    no_line_lost(&guard, &[kept.raw["id"].as_str().unwrap()]);
}

#[test]
fn descriptors_that_run_out_under_way_end_nobody_and_no_tree_that_cannot_be_seen_is_taken_for_empty() {
    for container in Container::ALL {
        let guard = Guard::start_in(
            container,
            &format!(
                "[services.a]\ncommand = [\"understudy\", \"drip=5\", \"hang\"]\ninstances = 3\n{AGAIN}\n\
                 [services.b]\ncommand = [\"understudy\", \"stray=stray\", \"pid=strayed\", \"await=end\", \"exit=1\"]\n{AGAIN}\n"
            ),
        );
        for id in ["a:0", "a:1", "a:2", "b"] {
            guard.wait_state(id, "running");
        }
        // From here on their files are open.
        for log in ["a-0.log", "a-1.log", "a-2.log"] {
            wait_until(BOUND, "it talks", || (!guard.log(log).is_empty()).then_some(()));
        }
        let (stray, before) = (guard.written_pid("stray"), running(&instances(&guard, "a", 3)));
        let first = guard.instance("b").pid.unwrap();
        // Until it has seen that file it waits for it.
        guard.written("strayed");
        std::fs::remove_file(guard.path("stray")).unwrap();
        // Not one more: whatever the guard wants to open is refused from here on.
        allow_descriptors(guard.pid(), 3);
        guard.write("end", "");
        wait_until(BOUND, "the program ends", || (!lives(first)).then_some(()));
        // Long enough for a restart that takes its tree for empty, twenty times over.
        std::thread::sleep(Duration::from_secs(1));
        assert!(guard.read("stray").is_empty(), "{container:?}: a second tree was begun beside the first");
        assert!(before.iter().all(|(pid, _)| lives(*pid)));
        std::fs::remove_file(guard.path("end")).unwrap();
        allow_descriptors(guard.pid(), descriptors_max());
        let again = guard.wait_for("b", "runs again", |it| it.state == "running" && it.pid != Some(first));
        assert!(!lives(stray), "{container:?}: what was left of the first tree lives beside the second");
        assert_eq!(again.restarts, 1, "{container:?}");
        assert_eq!(running(&instances(&guard, "a", 3)), before, "{container:?}");
        let accepts = guard.messages().iter().filter(|it| it.contains("failed to accept")).count();
        assert!(accepts <= 1, "{container:?}: told {accepts} times");
        no_line_lost(&guard, &["a:0", "a:1", "a:2"]);
    }
}

#[test]
fn where_no_process_can_be_made_the_policy_goes_on_the_others_live_and_the_guard_with_them() {
    let (stage, account) = (Stage::new(), account_of_its_own());
    let understudy = stage.path("understudy").display().to_string();
    let spec = stage.write_spec(&format!(
        "[services.a]\ncommand = [\"{understudy}\", \"drip=5\", \"hang\"]\ninstances = 3\n{AGAIN}\n\
         [services.b]\ncommand = [\"{understudy}\", \"hang\"]\n{AGAIN}\n\
         [services.c]\ncommand = [\"{understudy}\", \"hang\"]\n\
         restart = {{ delay = \"10ms\", factor = 1.0, burst = 3, within = \"1m\", cooldown = \"1s\" }}\n\
         [services.c.live]\nexec = [\"{understudy}\"]\nevery = \"100ms\"\nfailures = 1000\n"
    ));
    let program = give_to(&stage, account);
    let mut command = as_account(account);
    stage.dress(&mut command);
    command.arg(program).arg("run").arg(spec);
    let guard = stage.start_command(command);
    for id in ["a:0", "a:1", "a:2", "b", "c"] {
        guard.wait_state(id, "running");
    }
    let before = running(&instances(&guard, "a", 3));
    let ended = guard.instance("b").pid.unwrap();
    // Neither a process nor a thread: the account has more than that already.
    allow_processes(account, guard.pid(), Some(1));
    for id in ["b", "c"] {
        kill(guard.instance(id).pid.unwrap(), "KILL");
    }
    let refused = guard.wait_for("b", "is refused", |it| it.cause.contains("as many processes as allowed"));
    assert!(["backoff", "starting"].contains(&refused.state.as_str()), "{refused:?}");
    guard.wait_state("c", "cooldown");
    // Every question is answered, also those that take a look at trees and files.
    for path in ["/v1/status?usage=true", "/metrics", "/health", "/v1/logs/a?n=5"] {
        let answer = tutela_it::http::ask(&guard.socket(), "GET", path).unwrap();
        assert!([200, 503].contains(&answer.status), "{path}: {}", answer.text());
    }
    guard.wait_for("b", "is tried on", |it| it.restarts > refused.restarts + 3);
    assert_eq!(running(&instances(&guard, "a", 3)), before, "what runs is not touched");
    // A stop needs no process.
    guard.api("POST", "/v1/services/a:2/stop", 200);
    assert!(!lives(before[2].0));
    allow_processes(account, guard.pid(), None);
    guard.wait_for("b", "runs again", |it| it.state == "running" && it.pid != Some(ended));
    guard.wait_state("c", "running");
    assert_eq!(running(&instances(&guard, "a", 2)), before[..2]);
    assert!(!guard.console().contains("panicked"), "{}", guard.console());
    no_line_lost(&guard, &["a:0", "a:1"]);
}
