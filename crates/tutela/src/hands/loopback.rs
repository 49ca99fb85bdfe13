//! What tests share that speak over the loopback of this computer.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Long for a test, so that a busy computer does not fail it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on an event loop of its own.
pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Somebody who listens, and the port.
pub async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
