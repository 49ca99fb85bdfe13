//! Secrets of a spec: looked at before anything starts, and read where one is needed.
//!
//! Called by the preflight, by the hand that prepares starts, and by those that deliver something with a secret header.
//! A value lives from the moment it is needed to the end of what it was needed for; what is kept of a program's secrets
//! is what its output is masked with (`hands::keeping`). No message here has a value in it.

use hyper::header::{HeaderMap, HeaderName};
use std::collections::BTreeSet;
use std::sync::Arc;
use tutela_core::spec::{AlertWay, GuardSpec, Launch, SecretSource, SinkWay};
use tutela_os::blocking;
use tutela_os::secret::{self, Secret, SecretError};
use tutela_schema::spec::{Code, Diagnostic, Loaded};

/// Whether there is a secret where each reference of the spec leads, for the services that are started at all. What is
/// read is dropped.
pub fn look(spec: &GuardSpec, loaded: Option<&Loaded>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for service in crate::preflight::enabled(spec) {
        for (name, reference) in &service.launch.secrets {
            let count = if reference.varies() { service.instances } else { 1 };
            let origin = || loaded.and_then(|loaded| loaded.origin_of(service.name.as_str(), &["env", name]));
            let places: BTreeSet<String> = (0..count).map(|index| reference.render(index)).collect();
            let bad = places.iter().find_map(|text| found(text, || format!("the secret of {name}"), origin()));
            out.extend(bad);
        }
    }
    for (keys, text) in of_receivers(spec) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let origin = loaded.map(|loaded| loaded.origin_in_root(&keys));
        out.extend(found(text, || format!("the secret of {}", keys.join(".")), origin));
    }
    out
}

fn found(text: &str, what: impl FnOnce() -> String, origin: Option<tutela_schema::spec::Origin>) -> Option<Diagnostic> {
    let error = read(text)?.err()?;
    let message = format!("{} cannot be read: {error}", what());
    Some(if error.is_elsewhere() {
        // systemd gives them to the guard, and to nobody who looks at its spec.
        Diagnostic::warning(Code::SecretMissing, origin, message).help("it is looked up again where systemd starts it")
    } else if error.is_exposed() {
        Diagnostic::error(Code::SecretExposed, origin, message).help(error.help())
    } else {
        Diagnostic::error(Code::SecretMissing, origin, message).help(error.help())
    })
}

/// The references outside of services, with where they stand.
fn of_receivers(spec: &GuardSpec) -> Vec<(Vec<String>, &str)> {
    let mut all: Vec<(Vec<String>, &str)> = Vec::new();
    let mut add = |keys: &[&str], text| all.push((keys.iter().map(|key| (*key).to_owned()).collect(), text));
    for alert in spec.alerts.values() {
        let of = ["alerts", alert.name.as_str()];
        match &alert.way {
            AlertWay::Webhook { url, headers } => {
                add(&[of[0], of[1], "webhook"], url);
                headers.iter().for_each(|(name, text)| add(&[of[0], of[1], "headers", name], text));
            }
            AlertWay::Email { smtp, .. } => add(&[of[0], of[1], "email", "smtp"], smtp),
            AlertWay::Command(_) => {}
        }
    }
    for sink in spec.sinks.values() {
        let of = ["sinks", sink.name.as_str()];
        match &sink.way {
            SinkWay::Otlp { headers, .. } | SinkWay::Http { headers, .. } => {
                headers.iter().for_each(|(name, text)| add(&[of[0], of[1], "headers", name], text));
            }
            SinkWay::Fluent { shared_key: Some(key), .. } => add(&[of[0], of[1], "shared_key"], key),
            SinkWay::Fluent { .. } | SinkWay::Journald | SinkWay::EventLog | SinkWay::Syslog { .. } => {}
        }
    }
    let figures = spec.metrics.push.iter().flat_map(|push| &push.headers);
    figures.for_each(|(name, text)| add(&["metrics", "headers", name], text));
    let spans = spec.traces.push.iter().flat_map(|push| &push.headers);
    spans.for_each(|(name, text)| add(&["traces", "headers", name], text));
    all
}

/// Reads what a text refers to; `None`: it is no reference.
fn read(text: &str) -> Option<Result<Secret, SecretError>> {
    Some(match SecretSource::parse(text)? {
        Ok(source) => secret::read(&source),
        // The schema has read each of them; a number of an instance makes none of them wrong.
        Err(_) => Err(SecretError::Missing(text.into())),
    })
}

/// The values of a program's secret variables, as they are at this moment. Waits for the disk.
///
/// # Errors
/// One of them cannot be read: what, why, and how to mend it.
pub fn of_program(launch: &Launch, index: u16) -> Result<Vec<(Arc<str>, Secret)>, String> {
    let value = |(name, reference): (&Arc<str>, &tutela_core::template::Template)| {
        let secret = read(&reference.render(index)).unwrap_or_else(|| Err(SecretError::Missing("".into())));
        let told = |error: SecretError| format!("the secret of {name} cannot be read: {error}; {}", error.help());
        secret.map(|secret| (name.clone(), secret)).map_err(told)
    };
    launch.secrets.iter().map(value).collect()
}

/// The text, or the value that it refers to, without keeping the caller's thread from anything else.
///
/// # Errors
/// It refers to something that cannot be read.
pub async fn reveal(text: &str) -> Result<Revealed<'_>, String> {
    let Some(source) = SecretSource::parse(text) else { return Ok(Revealed::Plain(text)) };
    let shown = text.to_owned();
    let read = move || match source {
        Ok(source) => secret::read(&source).map_err(|error| format!("{error}; {}", error.help())),
        Err(bad) => Err(format!("{shown} is no reference to a secret: {bad}")),
    };
    let read = blocking::files().start(read).await;
    read.unwrap_or_else(|_| Err("the thread that read it ended".to_owned())).map(Revealed::Secret)
}

/// A value, wherever it came from.
#[derive(Debug)]
pub enum Revealed<'a> {
    /// It stands in the spec.
    Plain(&'a str),
    /// It was read.
    Secret(Secret),
}

impl Revealed<'_> {
    /// The value.
    pub fn text(&self) -> &str {
        match self {
            Revealed::Plain(text) => text,
            Revealed::Secret(secret) => secret.reveal(),
        }
    }
}

/// Headers whose values are read at each request, so that a new token is taken in without a restart.
#[derive(Debug, Clone, Default)]
pub struct SecretHeaders(Vec<(HeaderName, String)>);

impl SecretHeaders {
    /// Whether a header's value is to be read at each request; then it is taken up.
    pub fn take(&mut self, name: &HeaderName, value: &str) -> bool {
        let is_one = SecretSource::parse(value).is_some();
        if is_one {
            self.0.push((name.clone(), value.to_owned()));
        }
        is_one
    }

    /// Puts the values of this moment among the headers of a request.
    ///
    /// # Errors
    /// One cannot be read, or is no value of a header.
    pub async fn put(&self, headers: &mut HeaderMap) -> Result<(), String> {
        for (name, reference) in &self.0 {
            let told = |why: &str| format!("the secret of the header {name} cannot be used: {why}");
            let value = reveal(reference).await.map_err(|why| told(&why))?;
            let (name, value) = crate::hands::http::secret_header(name.as_str(), value.text())
                .ok_or_else(|| told("it has control characters, such as a newline within it"))?;
            headers.insert(name, value);
        }
        Ok(())
    }
}
