//! Asking programs to stop, from a process that may have no console.

use crate::ward::{block_on, eventually, on_wine, ward};
use tutela_os::Error;
use tutela_os::process::{Exit, Signal, StopRequest};

const CTRL_C: i32 = 0;
const CTRL_BREAK: i32 = 1;

pub fn a_ctrl_c_reaches_a_program_on_its_hidden_console() {
    let ward = ward();
    let part = ward.start(&["console"]);
    part.lines(1);
    block_on(part.child.request(StopRequest::CtrlC)).unwrap();
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(40 + CTRL_C), "{}", part.output());
    let part = ward.start(&["console"]);
    part.lines(1);
    part.child.signal(Signal::TERM).unwrap();
    assert_eq!(ward.end_of(&part.child).exit, Exit::Code(40 + CTRL_C), "{}", part.output());
}

pub fn a_ctrl_break_reaches_everybody_on_the_console() {
    let ward = ward();
    let part = ward.start(&["console", "two"]);
    part.lines(2);
    block_on(part.child.request(StopRequest::CtrlBreak)).unwrap();
    let exit = ward.end_of(&part.child).exit;
    block_on(part.child.tree().emptied()).unwrap();
    if on_wine() {
        // There a Ctrl-Break ends whoever is on the console, mostly with 1 and now and then with 0, and no handler is
        // asked. That it was no force of ours is what can be seen.
        return assert!(matches!(exit, Exit::Code(0 | 1)), "{exit}: {}", part.output());
    }
    assert_eq!(exit, Exit::Code(40 + CTRL_BREAK), "{}", part.output());
    assert_eq!(part.output().matches("event 1").count(), 2, "{}", part.output());
}

pub fn a_program_without_a_handler_ends_by_ctrl_c() {
    let ward = ward();
    let part = ward.start(&["sleep"]);
    part.lines(1);
    block_on(part.child.request(StopRequest::CtrlC)).unwrap();
    let exit = ward.end_of(&part.child).exit;
    assert_eq!(exit, Exit::Code(0xc000_013a_u32.cast_signed()), "{exit}");
}

pub fn a_request_to_a_program_that_has_ended_is_none() {
    let ward = ward();
    let part = ward.start(&["exit", "0"]);
    ward.end_of(&part.child);
    block_on(part.child.request(StopRequest::CtrlC)).unwrap();
    block_on(part.child.request(StopRequest::CloseWindow)).unwrap();
}

pub fn a_program_without_windows_says_so() {
    let ward = ward();
    let part = ward.start(&["sleep"]);
    part.lines(1);
    let told = block_on(part.child.request(StopRequest::CloseWindow));
    assert!(matches!(&told, Err(Error::Unsupported(_))), "{told:?}");
    ward.end(&part.child);
}

pub fn signals_without_a_counterpart_are_refused() {
    let ward = ward();
    let part = ward.start(&["sleep"]);
    assert!(matches!(part.child.signal(Signal::USR1), Err(Error::Unsupported(_))));
    assert!(matches!(part.child.tree().signal_all(Signal::HUP), Err(Error::Unsupported(_))));
    ward.end(&part.child);
}

pub fn the_rest_of_a_tree_can_be_asked() {
    let ward = ward();
    let part = ward.start(&["console", "two"]);
    part.lines(2);
    part.child.signal(Signal::KILL).unwrap();
    ward.end_of(&part.child);
    part.child.tree().signal_all(Signal::TERM).unwrap();
    eventually("the rest hears it", || part.output().contains("event 0"));
    block_on(part.child.tree().emptied()).unwrap();
}
