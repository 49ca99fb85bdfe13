//! A web service with axum that drains: `http`, then `curl localhost:8080/`, and Ctrl-C while `/slow` is on its way.
//! `HTTP_LISTEN` and `HTTP_HEALTH` say other addresses for it and for its health, `HTTP_SLOW` other seconds.
//!
//! From Ctrl-C on `/readyz` says no; two seconds later the listener closes; requests on their way are finished.

use axum::{Router, routing::get};
use std::process::ExitCode;
use std::time::Duration;
use tutela_service::health::{Config, Verdict};
use tutela_service::{Context, Outcome, Service};

fn setting(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn main() -> ExitCode {
    Service::new("http")
        .description("Answers slowly and finishes what it began")
        .verbs()
        .drain_delay(Duration::from_secs(2))
        .health(Config::at(setting("HTTP_HEALTH", "127.0.0.1:9090")))
        .tracing(tracing::Level::INFO)
        .run_async(serve)
}

async fn serve(context: Context) -> Outcome {
    let listener = tokio::net::TcpListener::bind(setting("HTTP_LISTEN", "127.0.0.1:8080")).await?;
    let of_slow = context.clone();
    let seconds: u64 = setting("HTTP_SLOW", "5").parse()?;
    let app = Router::new().route("/", get(|| async { "hello\n" })).route(
        "/slow",
        get(async move || {
            let _request = of_slow.track("slow request");
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            tracing::info!(seconds, "a slow request is done");
            "done\n"
        }),
    );
    context.health().check_async("disk", Duration::from_secs(1), async || {
        tokio::fs::metadata(".").await?;
        Ok(Verdict::Healthy)
    });
    context.ready();
    axum::serve(listener, app).with_graceful_shutdown(context.stopping().raised()).await?;
    Ok(())
}
