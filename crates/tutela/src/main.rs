//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(name) = std::env::args_os().next() {
        tutela_os::succession::take_name(&name);
    }
    // Started by a guard only to carry a console event to a program, it does nothing else.
    if let Some(code) = tutela_os::process::console_event_main(std::env::args_os()) {
        return code;
    }
    // Started by a guard only to keep descriptors open, neither.
    if let Some(code) = tutela_os::safe::safe_main(std::env::args_os()) {
        return code;
    }
    // What a guard's process is while another program shows whether it can take its place.
    if let Some(code) = tutela::upgrade::caretaker::caretaker_main(std::env::args_os()) {
        return code;
    }
    tutela::cli::main()
}
