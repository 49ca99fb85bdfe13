//! The smallest service: `minimal install --start`, `minimal status`, or just `minimal` and Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;
use tutela_service::Service;

fn main() -> ExitCode {
    Service::new("minimal").description("Counts its turns").verbs().run(|context| {
        context.ready();
        let mut turns = 0;
        while !context.stopping().wait_for(Duration::from_secs(1)) {
            turns += 1;
            context.status(format!("{turns} turns"));
        }
        Ok(())
    })
}
