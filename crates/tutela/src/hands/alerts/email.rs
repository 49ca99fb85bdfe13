//! One mail.
//!
//! `smtp://` uses TLS where the relay offers it; with a password it insists on it, unless the relay is on
//! this computer, so that no password crosses a network in the clear. `smtps://` begins with TLS.

use super::{Alert, DeliveryError};
use crate::secrets;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::time::Duration;

/// How long each step of the talk with a relay may take. Relays that look up the sender are slow.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long one attempt may take altogether.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn send(smtp: &str, from: &str, to: &[String], alert: &Alert) -> Result<(), DeliveryError> {
    let message = message(from, to, alert)?;
    // A secret that cannot be read may be there at the next attempt.
    let smtp = secrets::reveal(smtp).await;
    let smtp =
        smtp.map_err(|why| DeliveryError::later(format!("the secret of the relay's address cannot be read: {why}")))?;
    let relay = Relay::parse(smtp.text())?;
    drop(smtp);
    let whom = format!("{}:{}", relay.host, relay.port);
    let transport = relay.transport()?;
    match tokio::time::timeout(TIMEOUT, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            let reason = format!("failed to send mail by {whom}: {}", chain(&error));
            // A 5xx answer is the relay's last word; anything else may be different next time.
            Err(DeliveryError::Failed { retry: !error.is_permanent(), reason })
        }
        Err(_) => Err(DeliveryError::later(format!("failed to send mail by {whom}: not done within {TIMEOUT:?}"))),
    }
}

fn message(from: &str, to: &[String], alert: &Alert) -> Result<Message, DeliveryError> {
    let mailbox = |text: &str| {
        let refusal = |error| DeliveryError::never(format!("refused: {text:?} is no mail address: {error}"));
        text.parse::<Mailbox>().map_err(refusal)
    };
    let from = mailbox(from)?;
    let domain = from.email.domain().to_owned();
    let mut builder: MessageBuilder = Message::builder()
        .from(from)
        // The same over all attempts: mail programs show a repetition once.
        .message_id(Some(format!("<{}@{domain}>", alert.id)))
        .subject(alert.subject.replace(['\r', '\n'], " "))
        .header(ContentType::TEXT_PLAIN);
    for receiver in to {
        builder = builder.to(mailbox(receiver)?);
    }
    let refusal = |error| DeliveryError::never(format!("refused: the mail cannot be written: {error}"));
    builder.body(alert.text.clone()).map_err(refusal)
}

/// A relay, taken apart from `smtp://[user:password@]host[:port]` or `smtps://…`.
struct Relay {
    is_tls_from_start: bool,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

impl Relay {
    fn parse(text: &str) -> Result<Self, DeliveryError> {
        // The text may have a password in it, so it is not told.
        let refuse = |what: &str| {
            let form = "write smtp://[user:password@]host[:port] or smtps://…";
            DeliveryError::never(format!("refused: the relay's address has {what}; {form}"))
        };
        let (is_tls_from_start, rest) = match (text.strip_prefix("smtp://"), text.strip_prefix("smtps://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(refuse("another beginning")),
        };
        let (user, place) = match rest.trim_end_matches('/').rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest.trim_end_matches('/')),
        };
        let is_bare_v6 = place.ends_with(']');
        let (host, port) = match place.rsplit_once(':').filter(|_| !is_bare_v6) {
            Some((host, port)) => (host, port.parse().map_err(|_| refuse("a port that is none"))?),
            None => (place, if is_tls_from_start { 465 } else { 25 }),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(refuse("no host"));
        }
        let credentials = match user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':').ok_or_else(|| refuse("a user without password"))?;
                Some(Credentials::new(unescape(name), unescape(password)))
            }
        };
        Ok(Relay { is_tls_from_start, host: host.to_owned(), port, credentials })
    }

    fn transport(self) -> Result<AsyncSmtpTransport<Tokio1Executor>, DeliveryError> {
        let failed = |error| DeliveryError::later(format!("failed to set up TLS: {error}"));
        let is_here = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let parameters = TlsParameters::new(self.host.clone()).map_err(failed)?;
        let tls = if self.is_tls_from_start {
            Tls::Wrapper(parameters)
        } else if self.credentials.is_some() && !is_here {
            Tls::Required(parameters)
        } else {
            Tls::Opportunistic(parameters)
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host)
            .port(self.port)
            .timeout(Some(STEP_TIMEOUT))
            .tls(tls);
        if let Some(credentials) = self.credentials {
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }
}

/// `%40` and the like in a user or password.
fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
