//! Programs of an earlier guard, by what is kept of them.

use crate::ward::{block_on, runs, ward};
use tutela_os::Error;
use tutela_os::process::{Exit, Signal};

pub fn a_program_is_taken_back_with_its_tree_and_its_end_is_told() {
    let ward = ward();
    let part = ward.start(&["chain", "3"]);
    let mut pids = part.pids(4);
    pids.sort_unstable();
    let (remains, process) = part.child.remains().unwrap();
    let back = ward.nursery.take_back(&remains, &process).unwrap();
    assert_eq!((back.pid(), back.tree().label()), (part.child.pid(), "part"));
    assert_ne!(back.token(), part.child.token());
    let members = back.tree().members().unwrap();
    assert_eq!(members.iter().map(|member| member.pid).collect::<Vec<_>>(), pids);
    let end = back.end_elsewhere().unwrap();
    back.tree().kill().unwrap();
    let killed = Exit::Signal { signal: Signal::KILL, core_dumped: false };
    assert_eq!(block_on(end).unwrap(), Some(killed));
    block_on(back.tree().emptied()).unwrap();
    assert!(pids.iter().all(|pid| !runs(*pid)));
    back.tree().remove().unwrap();
    ward.nursery.forget(back.token());
    ward.end_of(&part.child);
}

pub fn how_a_program_ended_is_told_to_who_takes_it_back_later() {
    let ward = ward();
    let part = ward.start(&["exit", "7"]);
    let (remains, process) = part.child.remains().unwrap();
    ward.end_of(&part.child);
    let back = ward.nursery.take_back(&remains, &process).unwrap();
    assert_eq!(block_on(back.end_elsewhere().unwrap()).unwrap(), Some(Exit::Code(7)));
    assert!(back.tree().is_empty().unwrap());
    for nonsense in ["", "pid 5\nlabel part\n"] {
        assert!(matches!(ward.nursery.take_back(nonsense, &process), Err(Error::Refused(_))), "{nonsense:?}");
    }
}

pub fn what_is_given_up_is_a_leftover_until_it_is_ended() {
    let ward = ward();
    let part = ward.start(&["leave"]);
    ward.end_of(&part.child);
    let left = part.pids(1)[0];
    let (remains, process) = part.child.remains().unwrap();
    ward.nursery.give_up(&remains, &process);
    ward.nursery.give_up("nonsense", &process);
    let leftovers = ward.nursery.leftovers().unwrap();
    let [leftover] = leftovers.as_slice() else { panic!("{leftovers:?}") };
    assert_eq!((leftover.label.as_str(), leftover.guard_pid), ("part", std::process::id()));
    assert_eq!(leftover.pids, [left]);
    ward.nursery.end_leftover(leftover).unwrap();
    assert!(!runs(left));
    assert_eq!(ward.nursery.leftovers().unwrap(), []);
    assert!(matches!(ward.nursery.end_leftover(leftover), Err(Error::Refused(_))));
    block_on(part.child.tree().emptied()).unwrap();
}
