//! `tutela token`: a token for the control API over TCP, told once, and what the spec is to have of it.

use super::words::{RoleWord, TokenWords};
use super::{Code, DONE, FAILED, WRONG, report};
use crate::api::door::token::{hash_of, make};
use crate::conductor::wall_now;
use serde_json::json;
use std::fmt::Write as _;
use tutela_core::access::Role;
use tutela_core::names::Name;
use tutela_schema::spec::token_hash_text;
use tutela_schema::wall::WallTime;

pub fn token(words: &TokenWords) -> Code {
    if let Err(refusal) = Name::new(&words.name) {
        let message = format!("refused: {:?} is no name: {refusal}", words.name);
        report::error(&message, Some("write who it is for, such as deploy"));
        return WRONG;
    }
    let expires = match words.expires.as_deref().map(moment).transpose() {
        Ok(expires) => expires,
        Err(refusal) => {
            report::error(&refusal, Some("write 90d, or a moment such as 2027-06-30T00:00:00Z"));
            return WRONG;
        }
    };
    let token = match make() {
        Ok(token) => token,
        Err(error) => {
            report::error(&error, None);
            return FAILED;
        }
    };
    let role = match words.role {
        RoleWord::Viewer => Role::Viewer,
        RoleWord::Operator => Role::Operator,
        RoleWord::Admin => Role::Admin,
    };
    let hash = token_hash_text(&hash_of(token.as_bytes()));
    if words.json {
        let told = json!({
            "name": words.name, "role": role.word(), "token": token, "hash": hash, "expires": expires.map(|at| at.to_string()),
        });
        return if report::print(&format!("{told}\n")) { DONE } else { FAILED };
    }
    let mut block = format!("[[api.tokens]]\nname = \"{}\"\nrole = \"{role}\"\nhash = \"{hash}\"", words.name);
    if let Some(at) = expires {
        // A text of ours takes it.
        let _ = write!(block, "\nexpires = \"{at}\"");
    }
    if !report::print(&format!("{token}\n")) {
        return FAILED;
    }
    report::tell("this is the only time that the token is shown; the spec gets its hash:\n");
    report::tell(&block);
    DONE
}

/// A moment, or how long from now.
fn moment(text: &str) -> Result<WallTime, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(WallTime::from_unix_millis(at.as_millisecond()));
    }
    let span =
        humantime::parse_duration(text).map_err(|_| format!("refused: {text:?} is no moment and no duration"))?;
    Ok(wall_now().plus(span))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn an_end_is_a_moment_or_a_time_from_now() {
        assert_eq!(moment("2027-06-30T02:00:00+02:00").unwrap().to_string(), "2027-06-30T00:00:00.000Z");
        let day = moment("1d").unwrap().unix_millis() - wall_now().unix_millis();
        assert!((86_300_000..=86_400_000).contains(&day), "{day}");
        assert!(moment("soon").is_err() && moment("2027-06-30").is_err());
    }
}
