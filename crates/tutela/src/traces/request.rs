//! The span of a command through the API, from its head to its answer.

use super::context::Context;
use super::hub::Hub;
use super::span::Open;
use crate::audit::Asker;
use hyper::header::HeaderMap;
use std::sync::Arc;
use tutela_os::clock;
use tutela_schema::api::{CommandReply, Outcome};

/// Ends when it is dropped; without an answer by then whoever asked has gone.
#[derive(Debug)]
pub struct Request {
    hub: Arc<Hub>,
    open: Option<Open>,
    outcome: Option<&'static str>,
}

impl Request {
    /// A request to a route; it goes on with the trace that its headers name. `None`: there are no traces.
    pub fn of_api(hub: &Arc<Hub>, route: &str, path: &str, headers: &HeaderMap) -> Option<Request> {
        let mut request = Request::begin(hub, trace_of(hub, headers).as_ref(), format!("POST {route}"))?;
        if let Some(open) = &mut request.open {
            open.serve();
            open.say("http.request.method", "POST");
            open.say("http.route", route);
            open.say_text("url.path", path);
            open.say("url.scheme", "http");
            open.say(
                "network.transport",
                if tutela_os::Os::CURRENT == tutela_os::Os::Windows { "pipe" } else { "unix" },
            );
            if let Some(agent) = headers.get(hyper::header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
                open.say_text("user_agent.original", agent);
            }
        }
        Some(request)
    }

    /// A command that came in another way. `None`: there are no traces.
    pub fn of_guard(hub: &Arc<Hub>, name: &str) -> Option<Request> {
        Request::begin(hub, None, name.to_owned())
    }

    fn begin(hub: &Arc<Hub>, parent: Option<&Context>, name: String) -> Option<Request> {
        if !hub.is_on() {
            return None;
        }
        let open = hub.begin_request(parent, clock::now(), name);
        Some(Request { hub: hub.clone(), open: Some(open), outcome: None })
    }

    /// Where it stands, for what it causes.
    pub fn context(&self) -> Option<Context> {
        self.open.as_ref().map(|open| open.context().clone())
    }

    /// Who asks for what.
    pub fn describe(&mut self, asker: &Asker, command: &'static str, target: &str) {
        let Some(open) = &mut self.open else { return };
        open.say("tutela.command", command);
        open.say_text("tutela.target", target);
        if let Some(peer) = &asker.peer {
            peer.user
                .iter()
                .chain(&peer.token)
                .chain(&peer.certificate)
                .for_each(|user| open.say_text("user.name", user));
            peer.pid.iter().for_each(|pid| open.say("tutela.peer.pid", i64::from(*pid)));
        }
        asker.reason.iter().for_each(|reason| open.say_text("tutela.reason", reason));
    }

    /// What came of it: `done`, `accepted`, `failed` or `refused`; `why` it is not well.
    pub fn came_to(&mut self, outcome: &'static str, why: Option<&str>) {
        self.outcome = Some(outcome);
        if let (Some(open), Some(why)) = (&mut self.open, why) {
            open.fail(outcome, why);
        }
    }

    /// The same, of what was carried out or begun.
    pub fn replied(&mut self, reply: &CommandReply) {
        match reply.instances.iter().find(|it| it.outcome == Outcome::Failed) {
            Some(it) => {
                let why = it.message.as_deref().unwrap_or("it is not as was asked");
                self.came_to("failed", Some(&format!("{} {}: {why}", it.id, it.state)));
            }
            None if reply.instances.iter().any(|it| it.outcome == Outcome::Accepted) => self.came_to("accepted", None),
            None => self.came_to("done", None),
        }
    }

    /// It is answered with this status of HTTP.
    pub fn answered(mut self, status: u16) {
        if let Some(open) = &mut self.open {
            open.say("http.response.status_code", i64::from(status));
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        open.say("tutela.outcome", self.outcome.unwrap_or("abandoned"));
        self.hub.settle_request(open.end(clock::now()));
    }
}

/// The trace that a request says it belongs to. Several headers of that name are none, as the standard has it.
fn trace_of(hub: &Hub, headers: &HeaderMap) -> Option<Context> {
    let mut parents = headers.get_all("traceparent").iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let states: Vec<&str> = headers.get_all("tracestate").iter().filter_map(|state| state.to_str().ok()).collect();
    hub.context_of(parent.to_str().ok()?, Some(&states.join(",")))
}
