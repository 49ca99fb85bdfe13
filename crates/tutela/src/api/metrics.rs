//! `/metrics`: figures for Prometheus, in OpenMetrics text for those who ask for it, and in the older text
//! format for everybody else.
//!
//! Made anew for each request from one snapshot of [`crate::figures`], where the names are; nothing is kept between two.

use super::answer::Answer;
use super::serve::{Context, ended, text};
use crate::figures::{open_metrics, plain};
use hyper::{HeaderMap, header};
use tutela_os::blocking;
use tutela_schema::api::ErrorReply;

/// What a scraper that reads OpenMetrics has in its `Accept` header.
const OPEN_METRICS: &str = "application/openmetrics-text";

pub(super) async fn metrics(context: &Context, headers: &HeaderMap) -> Result<Answer, ErrorReply> {
    let snapshot = context.figures.gather().await?;
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepts.into_iter().any(|accept| accept.contains(OPEN_METRICS));
    // Thousands of instances make megabytes of text; who else is served here does not wait for that.
    let written = blocking::files().start(move || {
        let families = snapshot.families();
        if open { open_metrics(&families) } else { plain(&families) }
    });
    let body = written.await.map_err(|_| ended())?;
    Ok(if open {
        text("application/openmetrics-text; version=1.0.0; charset=utf-8", body)
    } else {
        text("text/plain; version=0.0.4; charset=utf-8", body)
    })
}
