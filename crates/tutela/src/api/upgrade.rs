//! `POST /v1/upgrade`: another program takes the guard's place. See [`crate::upgrade`].

use super::answer::{Answer, json};
use super::caller::Caller;
use super::serve::{Context, add_reason, ended, read_body};
use crate::audit::{Asker, UPGRADE};
use crate::conductor::{Input, wall_now};
use hyper::StatusCode;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tutela_os::blocking::FILES;
use tutela_schema::api::{ErrorCode, ErrorReply, UpgradeRequest};
use tutela_schema::audit::AuditResult;

/// How long the guard stays after its answer, so that it arrives. Whoever asked and gets none looks at `/v1/info`.
const ANSWER_REST: Duration = Duration::from_millis(20);

pub(super) async fn upgrade(
    context: &Arc<Context>,
    caller: Caller<'_>,
    body: Incoming,
    mut by: Asker,
) -> Result<Answer, ErrorReply> {
    let outcome = begin(context, caller, body, &mut by).await;
    let (result, saying) = match &outcome {
        Ok((_, words)) => (AuditResult::Accepted, words.as_str()),
        Err(refused) => (AuditResult::Refused, refused.error.message.as_str()),
    };
    context.audit.note(by.entry(wall_now(), UPGRADE, &context.identity.name, result).saying(saying));
    // Who is answered may rely on what was asked being written down.
    context.audit.settled().await;
    outcome.map(|(answer, _)| answer)
}

async fn begin(
    context: &Arc<Context>,
    caller: Caller<'_>,
    body: Incoming,
    by: &mut Asker,
) -> Result<(Answer, String), ErrorReply> {
    if let Caller::Guest(_) = caller {
        let message = "refused: which program is a guard is not decided over the network; nothing was changed";
        let help = "run `tutela upgrade` on that computer".to_owned();
        return Err(ErrorReply::new(ErrorCode::Conflict, message, Some(help)));
    }
    let request: UpgradeRequest = read_body(body).await?;
    add_reason(by, request.reason.clone());
    let (desk, by) = (context.clone(), by.by.clone());
    let tried = FILES.start(move || desk.upgrades.attempt(&request, &by));
    let tried = tried.await.map_err(|_| ended())??;
    let reply = tried.reply.clone();
    let inbox = context.inbox.clone();
    // Ends with the guard.
    tokio::spawn(async move {
        tokio::time::sleep(ANSWER_REST).await;
        let _ = inbox.send(Input::Leave(tried.into_leave())).await;
    });
    let words = format!("from {} to {} ({})", reply.from, reply.to, reply.program);
    Ok((json(StatusCode::ACCEPTED, &reply), words))
}
