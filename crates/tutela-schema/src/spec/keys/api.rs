//! The keys of the control API over the network.

use super::super::scalar::RateText;
use schemars::JsonSchema;
use serde::Deserialize;

/// The control API over TCP, beside the control socket: encrypted, for those who come with a token or a certificate. A
/// reload takes in every change of it, and the files again, without ending what is open.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeys {
    /// The address and port that it listens at; `0.0.0.0` and `[::]` are every address of this computer. Left out: it
    /// does not.
    #[schemars(extend("examples" = ["127.0.0.1:7443", "0.0.0.0:7443", "[::1]:7443"]))]
    pub listen: Option<String>,
    /// Its certificate in PEM, with those that lead to an authority behind it; relative to the spec's folder. Needed.
    #[schemars(extend("examples" = ["api.pem"]))]
    pub certificate: Option<String>,
    /// The private key of `certificate` in PEM; relative to the spec's folder. Needed.
    #[schemars(extend("examples" = ["api.key"]))]
    pub key: Option<String>,
    /// Certificates of the authorities of clients in PEM; relative to the spec's folder. With it nobody comes in without
    /// a certificate that one of them signed.
    #[schemars(extend("examples" = ["clients.pem"]))]
    pub client_ca: Option<String>,
    /// Speak HTTP as it is, without a certificate, on an address of this computer alone: for a proxy on it that does TLS.
    #[schemars(extend("default" = false))]
    pub without_tls: Option<bool>,
    /// Addresses and ranges of them that may connect; left out: everybody.
    #[schemars(extend("examples" = [["10.0.0.0/8", "::1"]]))]
    pub allow: Option<Vec<String>>,
    /// How many requests one address may make; as many may come at once. Of IPv6, 64 bits are one address.
    #[schemars(extend("default" = "100/s"))]
    pub rate: Option<RateText>,
    /// Who comes with a token; `tutela token` makes one.
    pub tokens: Option<Vec<ApiTokenKeys>>,
    /// Who comes with a certificate of an authority in `client_ca`, and no token.
    pub certificates: Option<Vec<ApiCertificateKeys>>,
}

/// Somebody who comes with a token.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiTokenKeys {
    /// Who it is; the record of who did what has this name. Needed.
    #[schemars(extend("examples" = ["deploy"]))]
    pub name: Option<String>,
    /// What they may do. Needed.
    pub role: Option<RoleKey>,
    /// The hash of the token, `sha256:` and 64 digits. The token itself is in no file of the guard's. Needed.
    pub hash: Option<String>,
    /// From then on it is refused, as RFC 3339 has it; left out: never.
    #[schemars(extend("examples" = ["2027-06-30T00:00:00Z"]))]
    pub expires: Option<String>,
}

/// Somebody who comes with a certificate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiCertificateKeys {
    /// A DNS name or a URI that the certificate is for, or the common name of its subject; as it stands there. Where a
    /// certificate has several of these names, the first entry of this list holds. Needed.
    #[schemars(extend("examples" = ["ops.example", "spiffe://example/deploy"]))]
    pub name: Option<String>,
    /// What they may do. Needed.
    pub role: Option<RoleKey>,
}

/// What somebody may do; each may do what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleKey {
    /// Ask: status, events, logs, figures, health.
    Viewer,
    /// Command services: start, stop, restart, pause, resume.
    Operator,
    /// Change the guard itself: reload, shutdown.
    Admin,
}
