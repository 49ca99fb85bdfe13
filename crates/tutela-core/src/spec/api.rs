//! The control API over the network.

use crate::access::{AddressRange, Rate, RatePer, Role};
use crate::names::Name;
use core::net::SocketAddr;
use std::path::PathBuf;

/// How many requests one address may make where a spec does not say: a person, a scraper and a script together.
pub const API_RATE: Rate = Rate { count: 100, per: RatePer::Second };

/// Where the control API listens beside the control socket. Can change while the guard runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiSpec {
    /// The door on TCP; `None`: there is none.
    pub door: Option<ApiDoor>,
}

/// A listener on TCP, and who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiDoor {
    /// Where it listens; the port 0 is any that is free.
    pub listen: SocketAddr,
    /// Its certificate; `None` only for an address of this computer alone, where the spec says so.
    pub tls: Option<ApiTls>,
    /// Who may connect at all; empty: everybody.
    pub allow: Vec<AddressRange>,
    /// How many requests one address may make.
    pub rate: Rate,
    /// Who comes with a token. Names and hashes are there once.
    pub tokens: Vec<ApiToken>,
    /// Who comes with a certificate; none without a client authority.
    pub certificates: Vec<ApiCertificate>,
}

/// The files of a certificate, in PEM; absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTls {
    /// Its own certificate, and those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients; `Some`: who has no certificate of theirs does not come in.
    pub client_ca: Option<PathBuf>,
}

/// Somebody who comes with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// For people and for the record of who did what.
    pub name: Name,
    /// What they may do.
    pub role: Role,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// From then on it is refused, in milliseconds since 1970; `None`: never.
    pub expires: Option<i64>,
}

/// Somebody who comes with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiCertificate {
    /// A DNS name or a URI of the certificate, or the common name of its subject, as it stands there.
    pub name: String,
    /// What they may do.
    pub role: Role,
}
