//! The control API: its bodies, its routes, and the OpenAPI document made from both.
//!
//! The server dispatches over [`ROUTES`] with [`find_route`] and the client builds its requests from it, so a route
//! cannot exist in one place only. Bodies only grow within `/v1`: a field once there keeps its name and meaning, and
//! readers take fields that they do not know. A field without a value is written as `null`, never left out, unless
//! its documentation says otherwise.
//!
//! [`Route::role`] says what somebody must be allowed to do who comes over the network.
//!
//! Deliberately absent: HTTP itself, who somebody is, and how an answer is found.

mod command;
mod health;
mod openapi;
mod query;
mod refusal;
mod routes;
mod status;
mod upgrade;

pub use command::{
    CommandReply, CommandRequest, InstanceOutcome, Outcome, REASON_CHARS_MAX, ReloadReply, Survivor, Verb,
};
pub use health::{CheckStatus, HealthCheck, HealthReply};
pub use openapi::openapi;
pub use query::{
    CommandQuery, EventQuery, EventsReply, LOG_HOLD_HEADER, LogLine, LogNote, LogQuery, LogStream, StatusQuery,
};
pub use refusal::{DiagnosticBody, ErrorBody, ErrorCode, ErrorReply};
pub use routes::{
    GUARD_HEADER, Method, NoRoute, ROUTES, Response, Route, RouteId, RouteMatch, SchemaSource, find_route,
};
pub use status::{
    CapabilityStatus, GuardInfo, GuardStatus, Health, Host, InstanceStatus, LastExit, NextStep, ProbeRole, ProbeStatus,
    ServiceStatus, SinkDrops, SinkState, SinkStatus, State, StatusReply, Usage, Verdict,
};
pub use upgrade::{UpgradeInfo, UpgradeOutcome, UpgradeReply, UpgradeRequest};
