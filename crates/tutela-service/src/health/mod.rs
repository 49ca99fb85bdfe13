//! `/health`, `/livez`, `/readyz` and `/metrics` over HTTP, for load balancers, orchestrators and Prometheus.
//!
//! | path | answers 200 while |
//! |---|---|
//! | `/livez` | the program lives, by its [heartbeat](crate::Heartbeat). Restart it when not |
//! | `/readyz` | it is [ready](crate::Context::ready), does not stop and is not paused, and every check passes. Send it work |
//! | `/health` | the same as `/readyz`, except that a check that warns is no failure; with every check in the body |
//! | `/metrics` | always; figures in the text format of Prometheus |
//!
//! ```json
//! {"status":"unhealthy","checks":[{"name":"service","status":"healthy"},
//!  {"name":"database","status":"unhealthy","latency_ms":2000.1,"message":"no answer within 2s"}],
//!  "timestamp":"2026-11-20T21:38:54.123Z"}
//! ```
//!
//! Readiness follows the service by itself: not ready before `ready()`, and not ready from the first moment of a stop,
//! [a delay](crate::Service::drain_delay) before the program hears of it. The server has a thread and a runtime of its
//! own, so that a program that hangs is told apart from one that is gone, and goes on answering until the end.
//!
//! Deliberately absent: TLS and who may ask. Bind it to loopback, or to a network where everybody may know.

mod checks;
mod figures;
mod server;

pub use checks::Verdict;
pub use prometheus_client;

use crate::context::{Context, Shared};
use crate::exit::{Ending, FAILED, Failure};
use checks::Checks;
use prometheus_client::registry::Registry;
use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Where the server listens. Bind to port 0 and ask [`Health::address`] in tests.
#[derive(Debug, Clone)]
pub struct Config {
    addresses: Result<Vec<SocketAddr>, String>,
    asked: String,
}

impl Config {
    /// Listens at `address`: `"127.0.0.1:8080"`. What is wrong with it is told when the service starts, as its failure.
    pub fn at(address: impl ToSocketAddrs + fmt::Debug) -> Config {
        let asked = format!("{address:?}");
        let addresses = address.to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string());
        Config { addresses, asked }
    }

    fn bind(&self) -> Result<TcpListener, Ending> {
        let failed = |error: &dyn fmt::Display| {
            let asked = &self.asked;
            Ending::with(FAILED, format!("failed to listen for health requests at {asked}: {error}"))
        };
        let addresses = self.addresses.as_ref().map_err(|error| failed(error))?;
        let listener = TcpListener::bind(addresses.as_slice()).map_err(|error| failed(&error))?;
        listener.set_nonblocking(true).map_err(|error| failed(&error))?;
        Ok(listener)
    }
}

/// The health of this service: checks and figures that the program adds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

struct State {
    address: SocketAddr,
    serving: AtomicBool,
    checks: Checks,
    registry: Mutex<Registry>,
    /// How long silence is taken for life.
    patience: Option<Duration>,
    service: Weak<Shared>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("address", &self.address).field("serving", &self.serving).finish_non_exhaustive()
    }
}

impl Health {
    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Adds a check that a thread makes. It may wait; what it has not answered within `timeout` counts as a failure,
    /// and it is not called again while it still runs. An error is a failure, and its text is shown.
    ///
    /// Checks are made when somebody asks, and one answer serves everybody who asks within a second.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tutela_service::{Context, health::Verdict};
    /// # fn queue_length() -> usize { 0 }
    /// # fn f(context: &Context) {
    /// context.health().check("queue", Duration::from_secs(1), || match queue_length() {
    ///     0..1_000 => Ok(Verdict::Healthy),
    ///     length => Ok(Verdict::Warning(format!("{length} orders wait"))),
    /// });
    /// # }
    /// ```
    pub fn check<F>(&self, name: impl Into<String>, timeout: Duration, check: F)
    where
        F: Fn() -> Result<Verdict, Failure> + Send + Sync + 'static,
    {
        self.0.checks.add(name.into(), timeout, checks::Probe::Thread(Arc::new(check)));
    }

    /// Adds a check that a task makes, on the runtime of the service. As [`Health::check`]; what is late is dropped.
    #[cfg(feature = "tokio")]
    pub fn check_async<F, Fut>(&self, name: impl Into<String>, timeout: Duration, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Verdict, Failure>> + Send + 'static,
    {
        let probe = checks::Probe::Task(Arc::new(move || Box::pin(check())));
        self.0.checks.add(name.into(), timeout, probe);
    }

    /// Adds figures of the program to `/metrics`, with the metric types of [`prometheus_client`].
    ///
    /// ```no_run
    /// # use tutela_service::{Context, health::prometheus_client::metrics::counter::Counter};
    /// # fn f(context: &Context) {
    /// let orders: Counter = Counter::default();
    /// context.health().figures(|registry| registry.register("orders", "Orders taken", orders.clone()));
    /// orders.inc();
    /// # }
    /// ```
    pub fn figures<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn serve(&self, serving: bool) {
        self.0.serving.store(serving, Ordering::Release);
    }
}

/// Begins to serve, where that is wanted. Ends when what it answers is dropped.
pub(crate) fn begin(
    config: Option<Config>,
    context: &Context,
    patience: Option<Duration>,
) -> Result<Option<server::Serving>, Ending> {
    let Some(config) = config else { return Ok(None) };
    let listener = config.bind()?;
    let failed = |error: std::io::Error| Ending::with(FAILED, format!("failed to serve health requests: {error}"));
    let health = Health(Arc::new(State {
        address: listener.local_addr().map_err(failed)?,
        serving: AtomicBool::new(false),
        checks: Checks::default(),
        registry: Mutex::new(Registry::default()),
        patience,
        service: Arc::downgrade(&context.0),
    }));
    health.figures(|registry| registry.register_collector(Box::new(figures::Own(Arc::downgrade(&context.0)))));
    let serving = server::Serving::begin(listener, health.clone()).map_err(failed)?;
    // A life begins once.
    let _ = context.0.health.set(health);
    Ok(Some(serving))
}
