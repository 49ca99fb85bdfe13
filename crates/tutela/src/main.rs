//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    tutela::cli::main()
}
