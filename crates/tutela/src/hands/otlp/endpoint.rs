//! Where OTLP goes: an address taken apart once, with everything that is the same for each request.

use crate::hands::http::secret_header;
use crate::hands::link::Version;
use crate::hands::probes::{QuestionRefusal, Target, Url};
use crate::secrets::SecretHeaders;
use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use std::time::Duration;

/// The port of OTLP over gRPC, for a `grpc://` address that has none.
const GRPC_PORT: u16 = 4317;

/// What the receiver's log shows.
const USER_AGENT: &str = concat!("tutela/", env!("CARGO_PKG_VERSION"));

/// How it is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// A POST of a protobuf message.
    #[default]
    Http,
    /// A gRPC call.
    Grpc,
}

impl Protocol {
    /// The HTTP that it is spoken over.
    pub(super) const fn version(self) -> Version {
        match self {
            Protocol::Http => Version::Http1,
            Protocol::Grpc => Version::Http2,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Figures.
    Metrics,
    /// Spans.
    Traces,
    /// Records.
    Logs,
}

impl Signal {
    /// The last part of the path over HTTP.
    const fn path(self) -> &'static str {
        match self {
            Signal::Metrics => "/v1/metrics",
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
        }
    }

    /// The path of the gRPC method.
    const fn method(self) -> &'static str {
        match self {
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// What it consists of, for people.
    pub(super) const fn things(self) -> &'static str {
        match self {
            Signal::Metrics => "data points",
            Signal::Traces => "spans",
            Signal::Logs => "records",
        }
    }
}

/// Where OTLP goes.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) protocol: Protocol,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Those that are read at each request.
    pub(super) secret: SecretHeaders,
    /// How long one request may take, connecting included.
    pub(super) timeout: Duration,
    /// Whether requests are compressed.
    pub(super) gzip: bool,
}

impl Endpoint {
    /// The receiver at `address`: `http://host:4318` or `https://…`, to which the path of each signal is added
    /// unless it ends in that; or `grpc://host:4317` without TLS and `grpcs://…` with it. `protocol` decides for
    /// `http` and `https`, where it is given.
    ///
    /// # Errors
    /// An address or a header that cannot be one.
    pub fn new(
        address: &str,
        protocol: Option<Protocol>,
        headers: impl IntoIterator<Item = (String, String)>,
        timeout: Duration,
        gzip: bool,
    ) -> Result<Self, QuestionRefusal> {
        let refuse = |reason: &str| QuestionRefusal::Url { url: address.to_owned(), reason: reason.to_owned() };
        let grpc = [("grpc://", "http://"), ("grpcs://", "https://")];
        let as_grpc = grpc.iter().find_map(|(from, to)| Some(format!("{to}{}", address.strip_prefix(from)?)));
        let protocol = match (&as_grpc, protocol) {
            (Some(_), Some(Protocol::Http)) => return Err(refuse("a grpc address is not spoken to over plain HTTP")),
            (Some(_), _) => Protocol::Grpc,
            (None, protocol) => protocol.unwrap_or_default(),
        };
        let with_port = as_grpc.as_deref().map(grpc_port);
        let url = Url::parse(with_port.as_deref().unwrap_or(address)).map_err(|refusal| match refusal {
            QuestionRefusal::Url { reason, .. } if reason.contains("http://") => {
                refuse("it has to begin with http://, https://, grpc:// or grpcs://")
            }
            QuestionRefusal::Url { reason, .. } => refuse(&reason),
            other => other,
        })?;
        if url.path.query().is_some() {
            return Err(refuse("it has a query; the path of the signal is added behind it"));
        }
        if protocol == Protocol::Grpc && url.path.path() != "/" {
            return Err(refuse("gRPC has no path of ours: leave it out"));
        }
        let mut own = HeaderMap::new();
        own.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let mut secret = SecretHeaders::default();
        for (name, value) in headers {
            if HeaderName::try_from(&name).is_ok_and(|name| secret.take(&name, &value)) {
                continue;
            }
            let (key, value) =
                secret_header(&name, &value).ok_or_else(|| QuestionRefusal::Header { name: name.clone() })?;
            own.insert(key, value);
        }
        let (kind, encoding) = match protocol {
            Protocol::Http => ("application/x-protobuf", header::CONTENT_ENCODING),
            Protocol::Grpc => ("application/grpc", HeaderName::from_static("grpc-encoding")),
        };
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if gzip {
            own.insert(encoding, HeaderValue::from_static("gzip"));
        } else {
            own.remove(encoding);
        }
        match protocol {
            Protocol::Http => {
                let host = HeaderValue::from_str(&url.authority).map_err(|_| refuse("its host is no host name"))?;
                own.insert(header::HOST, host);
            }
            Protocol::Grpc => drop(own.insert(header::TE, HeaderValue::from_static("trailers"))),
        }
        // Ours alone: a wrong one would break the request.
        own.remove(header::CONTENT_LENGTH);
        own.remove(header::TRANSFER_ENCODING);
        let endpoint = Endpoint { protocol, url, headers: own, secret, timeout, gzip };
        endpoint.uri(Signal::Metrics).map_err(|reason| refuse(&reason))?;
        Ok(endpoint)
    }

    /// Who is spoken to, for people.
    pub fn target(&self) -> &Target {
        &self.url.target
    }

    /// Where a signal goes.
    pub(super) fn uri(&self, signal: Signal) -> Result<Uri, String> {
        match self.protocol {
            Protocol::Http => {
                let base = self.url.path.path().trim_end_matches('/');
                let path =
                    if base.ends_with(signal.path()) { base.to_owned() } else { format!("{base}{}", signal.path()) };
                PathAndQuery::try_from(path).map(Uri::from).map_err(|error| error.to_string())
            }
            Protocol::Grpc => {
                let authority: Authority = self.url.authority.parse().map_err(|_| "its host is no host".to_owned())?;
                let scheme = if self.url.secure.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
                let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(signal.method());
                uri.build().map_err(|error| error.to_string())
            }
        }
    }
}

/// An address without a port, with the one that gRPC has.
fn grpc_port(url: &str) -> String {
    match url.parse::<Uri>() {
        Ok(uri) if uri.port_u16().is_none() => match uri.authority() {
            Some(authority) => url.replacen(authority.as_str(), &format!("{authority}:{GRPC_PORT}"), 1),
            None => url.to_owned(),
        },
        Ok(_) | Err(_) => url.to_owned(),
    }
}
