//! Alerts: exactly one way each, and addresses that can be used.

use super::diagnostic::Code;
use super::keys::{AlertKeys, EmailKeys, OccasionKey};
use super::probe::{check_header, check_url};
use super::secret_refs::is_reference;
use super::section::{Section, steps};
use tutela_core::names::Name;
use tutela_core::spec::{AlertSpec, AlertWay, Occasion};

/// The occasions where the spec is silent: those that a person has to know of.
pub(super) const OCCASIONS: [Occasion; 4] =
    [Occasion::Cooldown, Occasion::HalfOpenFailed, Occasion::Failed, Occasion::Recovered];

/// The alert of this name; `section` is its own table.
pub(super) fn alert(section: &mut Section<'_>, name: Name, keys: AlertKeys) -> Option<AlertSpec> {
    let on = match &keys.on {
        None => OCCASIONS.to_vec(),
        Some(given) if given.is_empty() => {
            section.error(Code::BadValue, steps!["on"], "an alert about nothing is never sent");
            return None;
        }
        Some(given) => {
            let mut on: Vec<_> = given.iter().map(|key| occasion(*key)).collect();
            on.sort_unstable();
            on.dedup();
            on
        }
    };
    if keys.headers.is_some() && keys.webhook.is_none() {
        section.error(Code::MisplacedKey, steps!["headers"], "'headers' is for a webhook");
    }
    let way = match (keys.webhook, keys.command, keys.email) {
        (Some(url), None, None) => {
            if !is_reference(&url)
                && let Err(why) = check_url(&url, &["http", "https"], false)
            {
                let help = "write it like https://ops.example/hook; a user and password are sent with headers = { Authorization = \"Basic …\" }, the base64 of user:password";
                let message = format!("this is no address: {why}");
                section.error_with(Code::BadAddress, steps!["webhook"], message, help);
                return None;
            }
            let headers = keys.headers.unwrap_or_default();
            for (name, value) in &headers {
                if !check_header(name, value) {
                    let message = format!("{name:?} is no header");
                    section.error(Code::BadValue, steps!["headers", name.as_str()], message);
                }
            }
            AlertWay::Webhook { url, headers }
        }
        (None, Some(text), None) => AlertWay::Command(section.command(&text, steps!["command"])?),
        (None, None, Some(email)) => mail(section, email)?,
        (None, None, None) => {
            let help = "give it one of webhook, command, email";
            section.error_with(Code::AlertWay, steps![], "the alert has no way to go", help);
            return None;
        }
        _ => {
            let help = "write one alert for each way";
            section.error_with(Code::AlertWay, steps![], "the alert has several ways to go", help);
            return None;
        }
    };
    Some(AlertSpec { name, way, on })
}

fn mail(section: &mut Section<'_>, email: EmailKeys) -> Option<AlertWay> {
    let before = section.out.len();
    if !is_reference(&email.smtp)
        && let Err(why) = check_url(&email.smtp, &["smtp", "smtps"], true)
    {
        section.error(Code::BadAddress, steps!["email", "smtp"], format!("this is no mail relay: {why}"));
    }
    let no_mailbox = |text: &str| {
        let inside = text.rsplit_once('<').and_then(|(_, inside)| inside.strip_suffix('>')).unwrap_or(text);
        let parts = inside.rsplit_once('@');
        text.chars().any(char::is_control) || !parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
    };
    if no_mailbox(&email.from) {
        section.error(Code::BadAddress, steps!["email", "from"], format!("{:?} is no mail address", email.from));
    }
    if email.to.is_empty() {
        section.error(Code::BadValue, steps!["email", "to"], "a mail needs a receiver");
    }
    for (at, to) in email.to.iter().enumerate() {
        if no_mailbox(to) {
            section.error(Code::BadAddress, steps!["email", "to", at], format!("{to:?} is no mail address"));
        }
    }
    let EmailKeys { smtp, from, to } = email;
    (section.out.len() == before).then_some(AlertWay::Email { smtp, from, to })
}

fn occasion(key: OccasionKey) -> Occasion {
    match key {
        OccasionKey::Cooldown => Occasion::Cooldown,
        OccasionKey::HalfOpenFailed => Occasion::HalfOpenFailed,
        OccasionKey::Recovered => Occasion::Recovered,
        OccasionKey::Crashed => Occasion::Crashed,
        OccasionKey::Failed => Occasion::Failed,
        OccasionKey::Degraded => Occasion::Degraded,
        OccasionKey::Unhealthy => Occasion::Unhealthy,
        OccasionKey::Resisted => Occasion::Resisted,
        OccasionKey::SinkFailing => Occasion::SinkFailing,
        OccasionKey::LogsFailing => Occasion::LogsFailing,
    }
}
