//! The program's side of a life: the thread that its code runs on, whatever form it has.
//!
//! A [`Body`] is what every form of a program comes down to. It runs on a thread of its own, so that nothing it does
//! keeps the runner from answering the host. Its two phases are told to the runner one by one: the program has returned,
//! and everything that it tracks has ended.

use crate::context::Context;
#[cfg(feature = "tokio")]
use crate::context::caught;
use crate::event::StopReason;
#[cfg(feature = "tokio")]
use crate::exit::catch;
use crate::exit::{Ending, FAILED, Outcome, catch_outcome};
use crate::life::Request;
#[cfg(feature = "tokio")]
use crate::program::AsyncProgram;
use crate::program::Program;
use crate::watched::{Reread, reread_all};
use tokio::sync::mpsc;

/// What the runner asks of the program's side.
#[derive(Debug)]
pub(crate) enum Order {
    Request(Request),
    Stop(StopReason),
}

/// One request at a time, and a stop: more cannot wait.
pub(crate) const ORDERS_MAX: usize = 4;

pub(crate) type Orders = mpsc::Receiver<Order>;

/// What runs on the program's thread.
pub(crate) type Body = Box<dyn FnOnce(Context, Orders, Answers) + Send>;

/// Answers a request, if it is one of those that it hears.
pub(crate) type Hook = Box<dyn FnMut(&Context, &Request) -> Outcome + Send>;

/// What answers requests besides the methods of a program: watched values, and hooks.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) watched: Vec<Box<dyn Reread>>,
    pub(crate) hooks: Vec<Hook>,
}

impl Answers {
    /// Answers `request` with all of them, in the order in which they were given; the first failure ends it.
    fn answer(&mut self, context: &Context, request: &Request) -> Result<(), Ending> {
        #[cfg(feature = "tokio")]
        let _within = context.0.runtime.get().map(tokio::runtime::Handle::enter);
        catch_outcome("a hook", || {
            if *request == Request::Reload {
                reread_all(&self.watched)?;
            }
            self.hooks.iter_mut().try_for_each(|hook| hook(context, request))
        })
    }
}

/// A closure answers nothing itself, so that is done on a thread of its own. It ends with the runner.
fn answer_beside(context: &Context, mut orders: Orders, mut answers: Answers) -> std::io::Result<()> {
    let context = context.clone();
    let work = move || {
        while let Some(Order::Request(request)) = orders.blocking_recv() {
            let answer = answers.answer(&context, &request);
            context.say(|words| words.answer = Some(answer));
        }
    };
    std::thread::Builder::new().name("hooks".to_owned()).spawn(work).map(drop)
}

fn no_thread(error: &std::io::Error) -> Ending {
    Ending::with(FAILED, format!("failed to start the thread of the hooks: {error}"))
}

/// A closure.
pub(crate) fn of_closure(program: impl FnOnce(Context) -> Outcome + Send + 'static) -> Body {
    Box::new(move |context, orders, answers| {
        let outcome = match answer_beside(&context, orders, answers) {
            Ok(()) => catch_outcome("the program", || program(context.clone())),
            Err(error) => Err(no_thread(&error)),
        };
        finish(&context, outcome);
    })
}

/// A program as a value.
pub(crate) fn of_program(mut program: impl Program) -> Body {
    Box::new(move |context, orders, answers| {
        let outcome = live(&context, orders, answers, &mut program);
        finish(&context, outcome);
    })
}

fn live(context: &Context, mut orders: Orders, mut answers: Answers, program: &mut impl Program) -> Result<(), Ending> {
    catch_outcome("the start of the program", || program.start(context))?;
    context.ready();
    loop {
        match orders.blocking_recv() {
            Some(Order::Request(request)) => {
                let own = || match &request {
                    Request::Pause => program.pause(context),
                    Request::Resume => program.resume(context),
                    Request::Reload => program.reload(context),
                    Request::Event(event) => {
                        program.event(context, event);
                        Ok(())
                    }
                };
                let answer = answers.answer(context, &request).and_then(|()| catch_outcome(what(&request), own));
                context.say(|words| words.answer = Some(answer));
            }
            Some(Order::Stop(StopReason::Shutdown)) => {
                return catch_outcome("the stop of the program", || program.shutdown(context));
            }
            Some(Order::Stop(reason)) => {
                return catch_outcome("the stop of the program", || program.stop(context, &reason));
            }
            // Only a runner that is gone asks nothing any more.
            None => return Ok(()),
        }
    }
}

fn what(request: &Request) -> &'static str {
    match request {
        Request::Pause => "the pause of the program",
        Request::Resume => "the resumption of the program",
        Request::Reload => "the reload of the program",
        Request::Event(_) => "the program's look at an event",
    }
}

fn finish(context: &Context, outcome: Result<(), Ending>) {
    context.say(|words| words.ended = Some(outcome));
    context.0.work.wait();
    context.say(|words| words.drained = true);
}

/// What makes the runtime of an async program.
#[cfg(feature = "tokio")]
pub(crate) type MakeRuntime = Box<dyn FnOnce() -> std::io::Result<tokio::runtime::Runtime> + Send>;

/// A runtime of as many threads as there are processors.
#[cfg(feature = "tokio")]
pub(crate) fn usual_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// What is still running on the runtime and tracked by nobody has that long to get out of the way of the end.
#[cfg(feature = "tokio")]
const UNTRACKED: std::time::Duration = std::time::Duration::from_secs(1);

/// An async closure.
#[cfg(feature = "tokio")]
pub(crate) fn of_async<F, Fut>(make: MakeRuntime, program: F) -> Body
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output = Outcome>,
{
    on_runtime(make, async move |context, orders, answers| {
        answer_beside(&context, orders, answers).map_err(|error| no_thread(&error))?;
        let main = catch("the program", || program(context.clone()))?;
        caught("the program", main).await
    })
}

/// An async program as a value.
#[cfg(feature = "tokio")]
pub(crate) fn of_async_program(make: MakeRuntime, mut program: impl AsyncProgram) -> Body {
    on_runtime(make, async move |context, orders, answers| live_async(&context, orders, answers, &mut program).await)
}

#[cfg(feature = "tokio")]
fn on_runtime<F>(make: MakeRuntime, main: F) -> Body
where
    F: AsyncFnOnce(Context, Orders, Answers) -> Result<(), Ending> + Send + 'static,
{
    Box::new(move |context, orders, answers| {
        let made = catch("the making of the runtime", make)
            .map(|made| made.map_err(|error| Ending::with(FAILED, format!("failed to make a tokio runtime: {error}"))));
        let runtime = match made {
            Ok(Ok(runtime)) => runtime,
            Ok(Err(ending)) | Err(ending) => return finish(&context, Err(ending)),
        };
        // It is set nowhere else, and a life has one program.
        let _ = context.0.runtime.set(runtime.handle().clone());
        let outcome = runtime.block_on(main(context.clone(), orders, answers));
        context.say(|words| words.ended = Some(outcome));
        runtime.block_on(context.0.work.finished());
        runtime.shutdown_timeout(UNTRACKED);
        context.say(|words| words.drained = true);
    })
}

#[cfg(feature = "tokio")]
async fn live_async(
    context: &Context,
    mut orders: Orders,
    mut answers: Answers,
    program: &mut impl AsyncProgram,
) -> Result<(), Ending> {
    caught("the start of the program", program.start(context)).await?;
    context.ready();
    loop {
        match orders.recv().await {
            Some(Order::Request(request)) => {
                let who = what(&request);
                let hooks = answers.answer(context, &request);
                let answer = match &request {
                    _ if hooks.is_err() => hooks,
                    Request::Pause => caught(who, program.pause(context)).await,
                    Request::Resume => caught(who, program.resume(context)).await,
                    Request::Reload => caught(who, program.reload(context)).await,
                    Request::Event(event) => {
                        caught(who, async {
                            program.event(context, event).await;
                            Ok(())
                        })
                        .await
                    }
                };
                context.say(|words| words.answer = Some(answer));
            }
            Some(Order::Stop(StopReason::Shutdown)) => {
                return caught("the stop of the program", program.shutdown(context)).await;
            }
            Some(Order::Stop(reason)) => {
                return caught("the stop of the program", program.stop(context, &reason)).await;
            }
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::context::Shared;
    use std::sync::{Arc, Mutex};
    use tutela_os::host::StartedBy;

    type Called = Arc<Mutex<Vec<String>>>;

    /// Says `shutdown` apart from `stop`, and notes what is called.
    struct Apart(Called);

    /// Only has `stop`.
    struct Alike(Called);

    impl Program for Apart {
        fn start(&mut self, _: &Context) -> Outcome {
            Ok(())
        }
        fn stop(&mut self, _: &Context, reason: &StopReason) -> Outcome {
            self.0.lock().unwrap().push(format!("stop: {reason}"));
            Ok(())
        }
        fn shutdown(&mut self, _: &Context) -> Outcome {
            self.0.lock().unwrap().push("shutdown".to_owned());
            Err("no time".into())
        }
    }

    impl Program for Alike {
        fn start(&mut self, _: &Context) -> Outcome {
            Ok(())
        }
        fn stop(&mut self, _: &Context, reason: &StopReason) -> Outcome {
            self.0.lock().unwrap().push(format!("stop: {reason}"));
            Ok(())
        }
    }

    #[cfg(feature = "tokio")]
    impl AsyncProgram for Apart {
        async fn start(&mut self, _: &Context) -> Outcome {
            Ok(())
        }
        async fn stop(&mut self, _: &Context, reason: &StopReason) -> Outcome {
            self.0.lock().unwrap().push(format!("stop: {reason}"));
            Ok(())
        }
        async fn shutdown(&mut self, _: &Context) -> Outcome {
            self.0.lock().unwrap().push("shutdown".to_owned());
            Err("no time".into())
        }
    }

    #[cfg(feature = "tokio")]
    impl AsyncProgram for Alike {
        async fn start(&mut self, _: &Context) -> Outcome {
            Ok(())
        }
        async fn stop(&mut self, _: &Context, reason: &StopReason) -> Outcome {
            self.0.lock().unwrap().push(format!("stop: {reason}"));
            Ok(())
        }
    }

    /// Starts a program, stops it for `reason`; how it ended.
    fn stopped(body: Body, reason: StopReason) -> Result<(), Ending> {
        let context = Context(Arc::new(Shared::new("test".to_owned(), StartedBy::Unknown, Vec::new())));
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        orders.try_send(Order::Stop(reason)).unwrap();
        let of_program = context.clone();
        std::thread::spawn(move || body(of_program, taken, Answers::default())).join().unwrap();
        let mut words = context.0.words();
        assert!(words.ready && words.drained);
        words.ended.take().unwrap()
    }

    #[test]
    fn a_shutdown_of_the_computer_is_told_apart_by_programs_that_want_it() {
        let (apart, alike) = (Called::default(), Called::default());
        for reason in [StopReason::Shutdown, StopReason::Ended] {
            let fails = reason == StopReason::Shutdown;
            let ended = stopped(of_program(Apart(apart.clone())), reason.clone());
            assert_eq!(ended.is_err(), fails, "{ended:?}");
            stopped(of_program(Alike(alike.clone())), reason.clone()).unwrap();
            #[cfg(feature = "tokio")]
            {
                let ended = stopped(of_async_program(Box::new(usual_runtime), Apart(apart.clone())), reason.clone());
                assert_eq!(ended.is_err(), fails, "{ended:?}");
                stopped(of_async_program(Box::new(usual_runtime), Alike(alike.clone())), reason).unwrap();
            }
        }
        let forms = if cfg!(feature = "tokio") { 2 } else { 1 };
        let twice = |texts: [String; 2]| texts.into_iter().flat_map(|text| vec![text; forms]).collect::<Vec<_>>();
        let words = |reason: StopReason| format!("stop: {reason}");
        let ended = words(StopReason::Ended);
        assert_eq!(*apart.lock().unwrap(), twice(["shutdown".to_owned(), ended.clone()]));
        assert_eq!(*alike.lock().unwrap(), twice([words(StopReason::Shutdown), ended]));
    }
}
