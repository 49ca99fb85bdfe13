//! Every route of the control API, once: the server dispatches over this table, lets nobody in whose role does not reach,
//! and the OpenAPI document is made from it.

use super::command::{CommandReply, CommandRequest, ReloadReply, Verb};
use super::health::HealthReply;
use super::query::{CommandQuery, EventQuery, EventsReply, LogLine, LogQuery, StatusQuery};
use super::refusal::ErrorReply;
use super::status::{GuardInfo, ServiceStatus, StatusReply};
use super::upgrade::{UpgradeReply, UpgradeRequest};
use crate::events::EventRecord;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::fmt;
use tutela_core::access::Role;

/// The header of a request that names the guard that it is for. A guard of another name refuses it: whoever mistakes an
/// address stops nobody else's services. Left out: whichever guard it is.
pub const GUARD_HEADER: &str = "tutela-guard";

/// Adds the schema of one type to a document and gives a reference to it.
pub type SchemaSource = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The name of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteId {
    /// `GET /v1/status`.
    Status,
    /// `GET /v1/services/{service}`.
    Service,
    /// `POST /v1/services/{service}/VERB`.
    ServiceCommand(Verb),
    /// `POST /v1/VERB`, for all services.
    GuardCommand(Verb),
    /// `POST /v1/upgrade`.
    Upgrade,
    /// `GET /v1/logs/{service}`.
    Logs,
    /// `GET /v1/events`.
    Events,
    /// `GET /v1/info`.
    Info,
    /// `GET /v1/openapi.json`.
    OpenApi,
    /// `GET /health`.
    Health,
    /// `GET /livez`.
    Live,
    /// `GET /readyz`.
    Ready,
    /// `GET /metrics`.
    Metrics,
}

/// The methods that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Asks, and changes nothing. A HEAD is a GET whose answer is not sent.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One answer that a route can give.
#[derive(Debug, Clone, Copy)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub description: &'static str,
    /// The media type of its body.
    pub content_type: &'static str,
    /// The form of its body; `None`: text.
    pub schema: Option<SchemaSource>,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// Its method.
    pub method: Method,
    /// Its path; `{service}` stands for a service, such as `api`, or an instance, such as `api:0`.
    pub path: &'static str,
    /// What somebody who comes over the network must be allowed to do. Who comes by the control socket may do everything.
    pub role: Role,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The form of its query; `None`: it has none.
    pub query: Option<SchemaSource>,
    /// The form of its body, which may always be left out; `None`: it takes none.
    pub request: Option<SchemaSource>,
    /// What it answers when it is not refused. Every refusal has an [`ErrorReply`].
    pub responses: &'static [Response],
}

const JSON: &str = "application/json";

macro_rules! json {
    ($status:literal, $type:ty, $description:literal) => {
        Response { status: $status, description: $description, content_type: JSON, schema: Some(of::<$type>) }
    };
}

macro_rules! get {
    ($id:expr, $role:ident, $path:literal, $summary:literal, $query:expr, $responses:expr) => {
        Route {
            id: $id,
            method: Method::Get,
            path: $path,
            role: Role::$role,
            summary: $summary,
            query: $query,
            request: None,
            responses: $responses,
        }
    };
}

macro_rules! command {
    ($id:expr, $role:ident, $path:literal, $summary:literal, $responses:expr) => {
        Route {
            id: $id,
            method: Method::Post,
            path: $path,
            role: Role::$role,
            summary: $summary,
            query: Some(of::<CommandQuery>),
            request: Some(of::<CommandRequest>),
            responses: $responses,
        }
    };
}

const COMMANDED: &[Response] = &[
    json!(200, CommandReply, "carried out, or refused for single instances: their outcome says so"),
    json!(202, CommandReply, "begun; nobody waited"),
];

const HEALTH: &[Response] =
    &[json!(200, HealthReply, "healthy, or with a warning"), json!(503, HealthReply, "unhealthy")];

/// Every route.
pub const ROUTES: &[Route] = &[
    get!(
        RouteId::Status,
        Viewer,
        "/v1/status",
        "Everything that is known about the guard and its services",
        Some(of::<StatusQuery>),
        &[json!(200, StatusReply, "the status")]
    ),
    get!(
        RouteId::Service,
        Viewer,
        "/v1/services/{service}",
        "Everything that is known about one service",
        None,
        &[json!(200, ServiceStatus, "the service; of an instance, only that one")]
    ),
    command!(
        RouteId::ServiceCommand(Verb::Start),
        Operator,
        "/v1/services/{service}/start",
        "Start a service, and what it needs",
        COMMANDED
    ),
    command!(
        RouteId::ServiceCommand(Verb::Stop),
        Operator,
        "/v1/services/{service}/stop",
        "Stop a service, after what needs it",
        COMMANDED
    ),
    command!(
        RouteId::ServiceCommand(Verb::Restart),
        Operator,
        "/v1/services/{service}/restart",
        "Stop and start a service",
        COMMANDED
    ),
    command!(
        RouteId::ServiceCommand(Verb::Pause),
        Operator,
        "/v1/services/{service}/pause",
        "Hold every process of a service still",
        COMMANDED
    ),
    command!(
        RouteId::ServiceCommand(Verb::Resume),
        Operator,
        "/v1/services/{service}/resume",
        "Let a paused service go on",
        COMMANDED
    ),
    command!(RouteId::GuardCommand(Verb::Start), Operator, "/v1/start", "Start every service", COMMANDED),
    command!(RouteId::GuardCommand(Verb::Stop), Operator, "/v1/stop", "Stop every service; the guard stays", COMMANDED),
    command!(RouteId::GuardCommand(Verb::Restart), Operator, "/v1/restart", "Stop and start every service", COMMANDED),
    command!(
        RouteId::GuardCommand(Verb::Pause),
        Operator,
        "/v1/pause",
        "Hold every process of every service still",
        COMMANDED
    ),
    command!(RouteId::GuardCommand(Verb::Resume), Operator, "/v1/resume", "Let every paused service go on", COMMANDED),
    command!(
        RouteId::GuardCommand(Verb::Reload),
        Admin,
        "/v1/reload",
        "Read the spec again and change only what differs",
        &[json!(200, ReloadReply, "what changed"), json!(202, ReloadReply, "what is being changed; nobody waited")]
    ),
    command!(
        RouteId::GuardCommand(Verb::Shutdown),
        Admin,
        "/v1/shutdown",
        "Stop every service and end the guard",
        COMMANDED
    ),
    Route {
        id: RouteId::Upgrade,
        method: Method::Post,
        path: "/v1/upgrade",
        role: Role::Admin,
        summary: "Have another program take the guard's place while everything runs on; only at the control socket",
        query: None,
        request: Some(of::<UpgradeRequest>),
        responses: &[json!(202, UpgradeReply, "the new program was tried and takes the guard's place now")],
    },
    get!(
        RouteId::Logs,
        Viewer,
        "/v1/logs/{service}",
        "Output of a service, one JSON record a line",
        Some(of::<LogQuery>),
        &[Response {
            status: 200,
            description: "the lines, oldest first",
            content_type: "application/x-ndjson",
            schema: Some(of::<LogLine>),
        }]
    ),
    get!(
        RouteId::Events,
        Viewer,
        "/v1/events",
        "What happened",
        Some(of::<EventQuery>),
        &[
            json!(200, EventsReply, "the events, oldest first"),
            Response {
                status: 200,
                description: "with follow: server-sent events; id is the seq, event the kind, data the record",
                content_type: "text/event-stream",
                schema: Some(of::<EventRecord>),
            },
        ]
    ),
    get!(RouteId::Info, Viewer, "/v1/info", "What this guard is", None, &[json!(200, GuardInfo, "the guard")]),
    get!(
        RouteId::OpenApi,
        Viewer,
        "/v1/openapi.json",
        "This description of the API",
        None,
        &[Response { status: 200, description: "OpenAPI 3.1", content_type: JSON, schema: None }]
    ),
    get!(RouteId::Health, Viewer, "/health", "The health of the guard and of what it keeps", None, HEALTH),
    get!(RouteId::Live, Viewer, "/livez", "Whether the guard itself works", None, HEALTH),
    get!(RouteId::Ready, Viewer, "/readyz", "Whether every service that should run is ready", None, HEALTH),
    get!(
        RouteId::Metrics,
        Viewer,
        "/metrics",
        "Figures for Prometheus",
        None,
        &[
            Response {
                status: 200,
                description: "the figures",
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                schema: None,
            },
            Response {
                status: 200,
                description: "the figures, for those whose Accept header names this type",
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                schema: None,
            },
        ]
    ),
];

impl Route {
    /// The path with `service` in its place.
    pub fn path_for(&self, service: &str) -> String {
        self.path.replace("{service}", service)
    }

    /// The route of this name.
    pub fn of(id: RouteId) -> Option<&'static Route> {
        ROUTES.iter().find(|route| route.id == id)
    }
}

/// A route, and what stood for `{service}`.
#[derive(Debug, Clone)]
pub struct RouteMatch {
    /// The route.
    pub route: &'static Route,
    /// What stood for `{service}`, percent-decoded; not yet checked to be the name of anything.
    pub service: Option<String>,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// There is no such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed(Vec<Method>),
}

impl NoRoute {
    /// The body to answer with.
    pub fn reply(&self, method: &str, path: &str) -> ErrorReply {
        use super::refusal::ErrorCode;
        match self {
            NoRoute::NotFound => ErrorReply::new(
                ErrorCode::NotFound,
                format!("refused: there is no {path}"),
                Some("GET /v1/openapi.json lists every path".to_owned()),
            ),
            NoRoute::MethodNotAllowed(others) => {
                let others: Vec<_> = others.iter().map(|other| other.as_str()).collect();
                ErrorReply::new(
                    ErrorCode::MethodNotAllowed,
                    format!("refused: {path} does not take {method}"),
                    Some(format!("it takes {}", others.join(" and "))),
                )
            }
        }
    }
}

/// The route of a request. `path` is without its query; a HEAD is looked up as a GET.
///
/// # Errors
/// There is none.
pub fn find_route(method: &str, path: &str) -> Result<RouteMatch, NoRoute> {
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(service) = match_path(route.path, path) else { continue };
        let method = if method == "HEAD" { "GET" } else { method };
        if route.method.as_str() == method {
            return Ok(RouteMatch { route, service });
        }
        others.push(route.method);
    }
    if others.is_empty() { Err(NoRoute::NotFound) } else { Err(NoRoute::MethodNotAllowed(others)) }
}

/// What stands for `{service}` if `path` has the form of `pattern`; `Some(None)` when the pattern has no such place.
fn match_path(pattern: &str, path: &str) -> Option<Option<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut service = None;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(service),
            (Some("{service}"), Some(text)) if !text.is_empty() => service = Some(percent_decode(text)?),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn every_route_finds_itself_and_only_itself() {
        for route in ROUTES {
            let found = find_route(route.method.as_str(), &route.path_for("api%3A0")).unwrap();
            assert_eq!(found.route.id, route.id);
            assert_eq!(found.service.as_deref(), route.path.contains("{service}").then_some("api:0"));
            assert_eq!(Route::of(route.id).unwrap().path, route.path);
        }
    }

    #[test]
    fn who_only_asks_changes_nothing_and_the_guard_itself_is_for_admins() {
        for route in ROUTES {
            let role = match route.id {
                RouteId::GuardCommand(Verb::Reload | Verb::Shutdown) | RouteId::Upgrade => Role::Admin,
                _ if route.method == Method::Post => Role::Operator,
                _ => Role::Viewer,
            };
            assert_eq!(route.role, role, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn a_wrong_method_and_a_wrong_path_are_told_apart() {
        assert_eq!(find_route("GET", "/v1/nothing").unwrap_err(), NoRoute::NotFound);
        assert_eq!(find_route("GET", "/v1/services//start").unwrap_err(), NoRoute::NotFound);
        assert_eq!(find_route("GET", "/v1/services/a%zz").unwrap_err(), NoRoute::NotFound);
        assert_eq!(find_route("GET", "/v1/stop").unwrap_err(), NoRoute::MethodNotAllowed(vec![Method::Post]));
        assert_eq!(find_route("HEAD", "/health").unwrap().route.id, RouteId::Health);
    }
}
