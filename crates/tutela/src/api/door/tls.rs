//! What the door is secured with: TLS 1.2 and 1.3 from the files of the spec.
//!
//! Files are read when a spec is checked, at the start, and with each reload; never while somebody waits for a handshake.
//! Deliberately absent: resumed sessions. One of them would not look at the client's certificate again.

use super::Refusal;
use crate::hands::spawner::chain;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tutela_core::spec::ApiTls;
use tutela_os::files;

/// The largest file that is read: the certificates of every public authority together have a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What a door is secured with.
pub(super) struct Secured {
    pub(super) config: Arc<ServerConfig>,
    /// Who looks at the certificates of clients; `None`: nobody has to show one.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// What is wrong with the files, if something is: for `check`.
///
/// # Errors
/// They cannot be read, are not what they should be, or do not belong together.
pub fn look(spec: &ApiTls) -> Result<(), Refusal> {
    secured(spec).map(drop)
}

/// Reads the files.
pub(super) fn secured(spec: &ApiTls) -> Result<Secured, Refusal> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refusal("listen", error.to_string(), "this is a mistake of ours: please report it"))?;
    let verifier = spec.client_ca.as_deref().map(|path| verifier(path, provider)).transpose()?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let certificates = certificates("certificate", &spec.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read("key", &spec.key)?).map_err(|error| {
        let message = format!("{} has no private key in PEM: {error}", spec.key.display());
        refusal("key", message, "it begins with -----BEGIN PRIVATE KEY----- and has no password")
    })?;
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        let (certificate, key) = (spec.certificate.display(), spec.key.display());
        let message = format!("{certificate} and {key} do not go together: {error}");
        refusal("certificate", message, "the first certificate of the file is the one that the key was made for")
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Secured { config: Arc::new(config), verifier })
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Refusal> {
    let mut roots = RootCertStore::empty();
    let help = "it has the certificates of those who sign the certificates of clients";
    let refused = |error: String| refusal("client_ca", format!("{} has no authority: {error}", path.display()), help);
    for certificate in certificates("client_ca", path)? {
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(error.to_string()))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let pem = read(key, path)?;
    let help = "it begins with -----BEGIN CERTIFICATE-----";
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(refusal(key, format!("{} has no certificate in PEM", path.display()), help)),
        Err(error) => Err(refusal(key, format!("{} has no certificates in PEM: {error}", path.display()), help)),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Refusal> {
    let help = "the path starts at the spec's folder, and the guard's account has to be able to read the file";
    files::read_bounded(path, PEM_BYTES_MAX).map_err(|error| refusal(key, chain(&error), help))
}

fn refusal(key: &'static str, message: String, help: &str) -> Refusal {
    Refusal { key, message, help: help.to_owned() }
}
