//! How a sink trusts its receiver and shows who we are.
//!
//! Called by the ways that speak TLS, once for each new connection. The files of a [`TlsSpec`] are read again when they
//! have changed, so that a certificate that was renewed is used from the next connection on, without a reload; what
//! cannot be read or understood is told, and tried again with the next connection.
//!
//! Own authorities (`ca`) replace those of the OS: who names one does not want to believe a hundred others. Deliberately
//! absent: a way to believe everybody.

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tutela_core::spec::TlsSpec;
use tutela_os::files;

/// The largest file that is read: the certificates of every public authority together have a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// How TLS is spoken to one receiver.
#[derive(Debug)]
pub struct Trust {
    spec: TlsSpec,
    protocols: Vec<Vec<u8>>,
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    /// As the files were when it was made.
    seen: Vec<Option<(SystemTime, u64)>>,
    config: Arc<ClientConfig>,
}

impl Trust {
    /// As the spec wants it, with these protocols offered (ALPN), such as `http/1.1`; none for those that have none.
    pub fn new(spec: &TlsSpec, protocols: &[&[u8]]) -> Self {
        Trust { spec: spec.clone(), protocols: protocols.iter().map(|it| it.to_vec()).collect(), made: None }
    }

    /// What to shake hands with. Reads files, so it may wait for a disk.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be; or the OS has no authorities.
    pub fn config(&mut self) -> Result<Arc<ClientConfig>, String> {
        let seen: Vec<_> = files_of(&self.spec).into_iter().map(|path| stamp(path)).collect();
        if let Some(made) = self.made.as_ref().filter(|made| made.seen == seen) {
            return Ok(made.config.clone());
        }
        let mut config = client(&self.spec)?;
        config.alpn_protocols = self.protocols.clone();
        let config = Arc::new(config);
        self.made = Some(Made { seen, config: config.clone() });
        Ok(config)
    }

    /// The name that the receiver's certificate must have: the spec's, or else `host`, without brackets.
    ///
    /// # Errors
    /// No certificate can be for it.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.spec.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("{name:?} is no name that a certificate can be for"))
    }
}

/// What is wrong with the files of a spec, if something is: for `check` and for the start.
pub fn look(spec: &TlsSpec) -> Result<(), String> {
    if files_of(spec).is_empty() { Ok(()) } else { client(spec).map(drop) }
}

fn files_of(spec: &TlsSpec) -> Vec<&PathBuf> {
    spec.ca.iter().chain(spec.identity.iter().flat_map(|(cert, key)| [cert, key])).collect()
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn client(spec: &TlsSpec) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone() as Arc<CryptoProvider>)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &spec.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("{} has no authority: {error}", path.display()))?;
            }
            builder.with_root_certificates(roots)
        }
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| error.to_string())?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match &spec.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert)?;
            let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|error| format!("{} has no private key in PEM: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| match version_one(cert, &error) {
                Some((message, help)) => format!("{message}; {help}"),
                None => format!("{} and {} do not go together: {error}", cert.display(), key.display()),
            })?
        }
    };
    // A resumed session does not look at the certificate again: one that expired would go unnoticed.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} has no certificate in PEM", path.display())),
        Err(error) => Err(format!("{} has no certificates in PEM: {error}", path.display())),
    }
}

/// What to say where a certificate is refused because it is of version 1, and how to mend it: openssl makes such a one
/// unless it is given an extension. `None`: it is refused for something else.
pub fn version_one(certificate: &Path, error: &rustls::Error) -> Option<(String, &'static str)> {
    // The library has no case of its own for it, only the name of another library's in its text.
    error.to_string().contains("UnsupportedCertVersion").then(|| {
        let message =
            format!("{} is an X.509 version 1 certificate, which TLS here does not take", certificate.display());
        (
            message,
            "make one of version 3: with openssl, -extfile FILE with an extension such as subjectAltName=DNS:NAME",
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    files::read_regular(path, PEM_BYTES_MAX).map_err(|error| crate::hands::spawner::chain(&error))
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    pub const AUTHORITY: &[u8] = include_bytes!("../probes/testdata/authority.der");
    pub const CERTIFICATE: &[u8] = include_bytes!("../probes/testdata/localhost.der");
    /// For [`KEY`] as well.
    pub const VERSION_ONE: &[u8] = include_bytes!("../probes/testdata/version-one.der");
    pub const KEY: &[u8] = include_bytes!("../probes/testdata/localhost.key.der");

    /// A file in PEM.
    pub fn pem(label: &str, der: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in der.chunks(3) {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for at in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char;
                text.push(if at > three.len() { '=' } else { letter });
            }
        }
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    #[test]
    fn files_are_read_when_they_change_and_what_is_wrong_with_them_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
        let spec = TlsSpec { ca: Some(ca.clone()), identity: Some((cert.clone(), key.clone())), server_name: None };
        let mut trust = Trust::new(&spec, &[b"http/1.1"]);
        assert!(trust.config().unwrap_err().contains("ca.pem"));
        std::fs::write(&ca, "no certificate").unwrap();
        assert!(trust.config().unwrap_err().contains("ca.pem has no certificate"));
        std::fs::write(&ca, pem("CERTIFICATE", AUTHORITY)).unwrap();
        std::fs::write(&cert, pem("CERTIFICATE", CERTIFICATE)).unwrap();
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert!(trust.config().unwrap_err().contains("key.pem"));
        std::fs::write(&key, pem("PRIVATE KEY", KEY)).unwrap();
        assert_eq!(look(&spec), Ok(()));
        let config = trust.config().unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        assert!(Arc::ptr_eq(&config, &trust.config().unwrap()), "the same files, the same config");
        std::fs::write(&ca, pem("CERTIFICATE", AUTHORITY).repeat(2)).unwrap();
        assert!(!Arc::ptr_eq(&config, &trust.config().unwrap()), "another file, another config");
    }

    #[test]
    fn a_certificate_of_version_one_is_told_as_that_with_how_to_make_another() {
        let dir = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        std::fs::write(&cert, pem("CERTIFICATE", VERSION_ONE)).unwrap();
        std::fs::write(&key, pem("PRIVATE KEY", KEY)).unwrap();
        let spec = TlsSpec { identity: Some((cert, key)), ..TlsSpec::default() };
        let why = look(&spec).unwrap_err();
        assert!(why.contains("cert.pem is an X.509 version 1 certificate") && why.contains("-extfile"), "{why}");
        assert!(!why.contains("go together"), "{why}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let spec = TlsSpec { ca: Some(dir.path().to_owned()), ..TlsSpec::default() };
        let why = look(&spec).unwrap_err();
        assert!(why.contains("is no regular file"), "{why}");
    }

    #[test]
    fn the_name_of_a_certificate_is_the_specs_or_the_hosts() {
        let trust = Trust::new(&TlsSpec::default(), &[]);
        assert_eq!(trust.server_name("[::1]").unwrap(), ServerName::try_from("::1").unwrap());
        assert!(trust.server_name("a b").is_err());
        let named = TlsSpec { server_name: Some("logs.example".into()), ..TlsSpec::default() };
        let trust = Trust::new(&named, &[]);
        assert_eq!(trust.server_name("127.0.0.1").unwrap(), ServerName::try_from("logs.example").unwrap());
    }
}
