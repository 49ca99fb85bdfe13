//! A guard relies on its state, its ledger and its control folder: where somebody else could change one of them, it does
//! not start, and says which, whose it is and how to mend it. Needs root, which alone can give files away.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::chown;
use std::path::Path;
use tutela_it::processes::set_mode;
use tutela_it::{Container, Stage};

/// An account that nobody has to trust.
const STRANGER: u32 = 65_534;

/// A stage on which a guard has been, so that everything of it is there.
fn used() -> Stage {
    let stage = Stage::new();
    stage.write_spec("[services.a]\ncommand = [\"understudy\", \"stamp=started\", \"hang\"]\n");
    let guard = stage.start(Container::ControlGroup);
    guard.written("started");
    let stage = guard.close();
    std::fs::remove_file(stage.path("started")).unwrap();
    stage
}

/// The next guard does not start, says all of this, and starts nothing.
#[track_caller]
fn is_refused(stage: &Stage, words: &[&str]) {
    let ended = stage.cli(["run", &stage.spec_path().display().to_string()]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "it does not say {word:?}: {}", ended.stderr);
    }
    assert_eq!(stage.read("started"), "");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_state_folder_or_ledger_of_another_account_is_refused_until_it_is_mended() {
    let stage = used();
    let state = stage.home().join("state").join(stage.name());
    let ledger = state.join("ledger.redb");
    assert!(ledger.is_file());
    chown(&ledger, Some(STRANGER), None).unwrap();
    let mend = format!("chown -R 0:0 '{}'", shown(&state));
    is_refused(&stage, &[&shown(&ledger), "belongs to the account 65534", "owner 65534", &mend]);
    chown(&ledger, Some(0), None).unwrap();
    chown(&state, Some(STRANGER), None).unwrap();
    is_refused(&stage, &[&shown(&state), "belongs to the account 65534", &mend]);
    chown(&state, Some(0), None).unwrap();
    stage.start(Container::ControlGroup).wait_state("a", "running");
}

#[test]
fn what_everybody_could_change_is_refused_until_it_is_mended() {
    let stage = used();
    let state = stage.home().join("state").join(stage.name());
    let control = stage.home().join("run");
    // In a folder that nobody else may enter, what is in it is nobody else's to change.
    set_mode(&state.join("ledger.redb"), 0o666);
    let guard = stage.start(Container::ControlGroup);
    guard.written("started");
    let stage = guard.close();
    std::fs::remove_file(stage.path("started")).unwrap();
    set_mode(&state.join("ledger.redb"), 0o600);
    set_mode(&state, 0o755);
    for (path, open, closed) in
        [(state.join("ledger.redb"), 0o602, 0o600), (state.join("audit"), 0o707, 0o700), (control, 0o757, 0o755)]
    {
        set_mode(&path, open);
        let mend = format!("chmod o-w '{}'", shown(&path));
        is_refused(&stage, &["can be changed by every account", &format!("mode {open:o}"), &mend]);
        set_mode(&path, closed);
    }
    stage.start(Container::ControlGroup).wait_state("a", "running");
}
