//! HELO, PING, PONG: both sides show that they have the shared key, and neither says it.

use super::unpack::Value;
use super::{Line, hexadecimal, random};
use crate::hands::probes::excerpt;
use ring::digest::{SHA512, digest};
use rmp::encode;

/// The name given for a computer that has none.
const NAMELESS: &str = "tutela";

/// Whether this is a receiver's greeting, which only those send that want a key.
pub(super) fn is_greeting(value: &Value) -> bool {
    matches!(value, Value::Array(parts) if parts.first().and_then(Value::text) == Some(b"HELO"))
}

/// Waits for the greeting, and shakes hands. `host`: the name of this computer.
pub(super) async fn shake(line: &mut Line, key: &str, host: &str) -> Result<(), String> {
    let host = if host.is_empty() { NAMELESS } else { host };
    let greeting = line.hear().await?;
    let Value::Array(parts) = &greeting else { return Err(no_greeting()) };
    let [word, options] = &parts[..] else { return Err(no_greeting()) };
    if word.text() != Some(b"HELO") {
        return Err(no_greeting());
    }
    if options.get("auth").and_then(Value::text).is_some_and(|salt| !salt.is_empty()) {
        return Err("the receiver wants a user and a password, which this sink has not".to_owned());
    }
    let nonce = options.get("nonce").and_then(Value::text).ok_or_else(no_greeting)?;
    let salt = hexadecimal(&random()?);
    line.say(&ping(host, &salt, &proof(&salt, host.as_bytes(), nonce, key))).await?;
    let answer = line.hear().await?;
    let Value::Array(parts) = &answer else { return Err(no_answer()) };
    let [word, Value::Bool(is_welcome), reason, name, shown] = &parts[..] else { return Err(no_answer()) };
    let (Some(b"PONG"), Some(name), Some(shown)) = (word.text(), name.text(), shown.text()) else {
        return Err(no_answer());
    };
    if !is_welcome {
        let reason = reason.text().map(excerpt).unwrap_or_default();
        return Err(format!("the receiver refuses the shared key: {reason}"));
    }
    if shown != proof(&salt, name, nonce, key).as_bytes() {
        return Err("the receiver does not have the shared key itself".to_owned());
    }
    Ok(())
}

fn no_greeting() -> String {
    "the receiver does not ask for a shared key, and the spec has one".to_owned()
}

fn no_answer() -> String {
    "the receiver does not answer as the handshake of the forward protocol has it".to_owned()
}

/// What only somebody with the key can say, for a side's name.
fn proof(salt: &str, name: &[u8], nonce: &[u8], key: &str) -> String {
    hexadecimal(digest(&SHA512, &[salt.as_bytes(), name, nonce, key.as_bytes()].concat()).as_ref())
}

fn ping(host: &str, salt: &str, proof: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing to memory cannot fail.
    let _ = encode::write_array_len(&mut bytes, 6);
    for word in ["PING", host, salt, proof, "", ""] {
        let _ = encode::write_str(&mut bytes, word);
    }
    bytes
}
