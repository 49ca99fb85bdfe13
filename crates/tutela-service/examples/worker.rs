//! A worker of threads, as a [`Program`]: it can be paused, reloaded and stopped, and finishes the job at hand.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tutela_service::{Context, Controls, Outcome, Program, Service, StopReason};

#[derive(Default)]
struct Worker {
    paused: Arc<AtomicBool>,
    millis: Arc<AtomicU64>,
}

impl Program for Worker {
    fn start(&mut self, context: &Context) -> Outcome {
        self.reload(context)?;
        let (paused, millis) = (self.paused.clone(), self.millis.clone());
        context.thread("worker", move |context| {
            while !context.stopping().wait_for(Duration::from_millis(millis.load(Ordering::Relaxed))) {
                if !paused.load(Ordering::Relaxed) {
                    let _job = context.track("job");
                    println!("a job is done");
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    fn stop(&mut self, context: &Context, reason: &StopReason) -> Outcome {
        context.status(format!("finishing the last job: {reason}"));
        Ok(())
    }

    fn controls(&self) -> Controls {
        Controls::NONE.pause().reload()
    }

    fn pause(&mut self, _: &Context) -> Outcome {
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn resume(&mut self, _: &Context) -> Outcome {
        self.paused.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn reload(&mut self, _: &Context) -> Outcome {
        let millis = std::env::var("WORKER_MILLIS").unwrap_or_else(|_| "1000".into()).parse()?;
        self.millis.store(millis, Ordering::Relaxed);
        Ok(())
    }
}

fn main() -> ExitCode {
    Service::new("worker").description("Does a job a second").verbs().run_program(Worker::default())
}
