//! How TLS is spoken: which certificates are believed, which protocols are offered.

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The ways to speak TLS, each made when it is first needed: to load the system's certificates takes time
/// and memory that a guard without `https` does not spend.
#[derive(Default)]
pub struct TlsContexts {
    http: Context,
    http_unverified: Context,
    grpc: Context,
    extra_roots: Vec<CertificateDer<'static>>,
}

type Context = OnceLock<Result<Arc<ClientConfig>, String>>;

impl TlsContexts {
    /// Believes what the system believes.
    pub fn new() -> Self {
        TlsContexts::default()
    }

    /// Believes these certificates too.
    pub fn with_extra_roots(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        TlsContexts { extra_roots, ..TlsContexts::default() }
    }

    /// For HTTP/1.1. Without `verify` every certificate is believed.
    pub(in crate::hands) fn http(&self, verify: bool) -> Result<Arc<ClientConfig>, String> {
        let context = if verify { &self.http } else { &self.http_unverified };
        context.get_or_init(|| self.make(verify, b"http/1.1")).clone()
    }

    /// For HTTP/2.
    pub(in crate::hands) fn grpc(&self) -> Result<Arc<ClientConfig>, String> {
        self.grpc.get_or_init(|| self.make(true, b"h2")).clone()
    }

    fn make(&self, verify: bool, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if verify {
            let roots = self.extra_roots.iter().cloned();
            let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone());
            Arc::new(verifier.map_err(|error| error.to_string())?)
        } else {
            Arc::new(BelieveAll { algorithms: provider.signature_verification_algorithms })
        };
        let builder = ClientConfig::builder_with_provider(provider as Arc<CryptoProvider>)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        // A resumed session does not look at the certificate again: one that expired would go unnoticed.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsContexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContexts").field("extra_roots", &self.extra_roots.len()).finish_non_exhaustive()
    }
}

/// Believes every certificate, for `tls_verify = false`: a program's own certificate, on its own computer.
/// That the other side has the key of what it showed is still checked.
#[derive(Debug)]
struct BelieveAll {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
