//! What the door is secured with: TLS 1.2 and 1.3 from the files of the spec.
//!
//! Files are read when a spec is checked, at the start, and with each reload; never while somebody waits for a handshake.
//! Deliberately absent: resumed sessions. One of them would not look at the client's certificate again.

use super::Refusal;
use crate::hands::sinks::tls::version_one;
use crate::hands::spawner::chain;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tutela_core::spec::ApiTls;
use tutela_os::{Error, files, secret};
use tutela_schema::spec::Code;
use tutela_schema::wall::WallTime;
use webpki::{EndEntityCert, KeyUsage};

/// The largest file that is read: the certificates of every public authority together have a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What a door is secured with.
pub(super) struct Secured {
    pub(super) config: Arc<ServerConfig>,
    /// Who looks at the certificates of clients; `None`: nobody has to show one.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// Something about the files that the door opens with all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Of what kind it is.
    pub code: Code,
    /// The key of `[api]` that it is about.
    pub key: &'static str,
    /// What and why.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// What is wrong with the files, if something is, and what is doubtful about them at the moment `now`: for `check`.
///
/// # Errors
/// They cannot be read, are not what they should be, or do not belong together.
pub fn look(spec: &ApiTls, now: WallTime) -> Result<Vec<Doubt>, Refusal> {
    drop(secured(spec)?);
    let mut doubts: Vec<Doubt> = exposed(&spec.key).into_iter().collect();
    let says = "clients refuse the connection";
    doubts.extend(expired("certificate", &spec.certificate, now, says, "renew it, and reload the guard")?);
    if let Some(path) = &spec.client_ca {
        // An authority of one's own is believed by its key alone, as the standard has it.
        let says = "certificates that it signed are taken all the same";
        let help = "take it out when its clients have certificates of another one, and reload the guard";
        doubts.extend(expired("client_ca", path, now, says, help)?);
    }
    Ok(doubts)
}

/// A doubt and no refusal: guards with such a key have started for as long as there is this door.
fn exposed(key: &Path) -> Option<Doubt> {
    let error = secret::exposure(key)?;
    let message = format!("the private key of the API is everybody's: {error}");
    let help = format!("let its owner alone read it: chmod 600 {}", key.display());
    Some(Doubt { code: Code::SecretExposed, key: "key", message, help })
}

/// A doubt for each certificate of a file that is over.
fn expired(key: &'static str, path: &Path, now: WallTime, says: &str, help: &str) -> Result<Vec<Doubt>, Refusal> {
    let certificates = certificates(key, path)?;
    let count = certificates.len();
    let doubt = |(number, certificate): (usize, &CertificateDer<'_>)| {
        let end = end_before(certificate, now)?;
        let which = if count > 1 { format!("certificate {number} of {count} in ") } else { String::new() };
        let message = format!("{which}{} has expired at {end}: {says}", path.display());
        Some(Doubt { code: Code::Suspicious, key, message, help: help.to_owned() })
    };
    Ok((1..).zip(&certificates).filter_map(doubt).collect())
}

/// When a certificate ended, if it did before `now`. The library tells it only to who has it verified, and looks at it
/// before it looks for an authority: so it is given none.
fn end_before(certificate: &CertificateDer<'_>, now: WallTime) -> Option<jiff::Timestamp> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.unix_millis()).ok()?));
    let verified = certificate.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None);
    match verified.err()? {
        webpki::Error::CertExpired { not_after, .. } => {
            jiff::Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
        }
        _ => None,
    }
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
        if let Some((message, help)) = version_one(&spec.certificate, &error) {
            return refusal("certificate", message, help);
        }
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
    files::read_regular(path, PEM_BYTES_MAX).map_err(|error| {
        let help = match &error {
            Error::Refused(_) => "name a file in PEM, of 1 MiB at the most: it is read again with each reload",
            Error::Io { .. } | Error::Unsupported(_) => {
                "the path starts at the spec's folder, and the guard's account has to be able to read the file"
            }
        };
        refusal(key, chain(&error), help)
    })
}

fn refusal(key: &'static str, message: String, help: &str) -> Refusal {
    Refusal { key, message, help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::sinks::tls::tests::{AUTHORITY, CERTIFICATE, KEY, VERSION_ONE, pem};
    use tutela_os::Os;

    /// A folder with the files of a door, the key for its owner alone.
    fn door() -> (tempfile::TempDir, ApiTls) {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key, authority] = ["api.pem", "api.key", "clients.pem"].map(|name| dir.path().join(name));
        std::fs::write(&certificate, pem("CERTIFICATE", CERTIFICATE)).unwrap();
        files::replace(&key, pem("PRIVATE KEY", KEY).as_bytes()).unwrap();
        std::fs::write(&authority, pem("CERTIFICATE", AUTHORITY)).unwrap();
        (dir, ApiTls { certificate, key, client_ca: Some(authority) })
    }

    fn now() -> WallTime {
        crate::conductor::wall_now()
    }

    #[test]
    fn good_files_leave_no_doubt() {
        let (_dir, spec) = door();
        assert_eq!(look(&spec, now()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_by_its_key_without_waiting_for_it() {
        let (dir, good) = door();
        let folder = dir.path().to_owned();
        for (key, spec) in [
            ("certificate", ApiTls { certificate: folder.clone(), ..good.clone() }),
            ("key", ApiTls { key: folder.clone(), ..good.clone() }),
            ("client_ca", ApiTls { client_ca: Some(folder.clone()), ..good.clone() }),
        ] {
            let refused = look(&spec, now()).unwrap_err();
            assert_eq!(refused.key, key);
            assert!(refused.message.contains("is no regular file: it is a folder"), "{refused:?}");
            assert!(refused.help.contains("name a file"), "{refused:?}");
        }
        std::fs::write(&good.certificate, vec![b'-'; 1024 * 1024 + 1]).unwrap();
        assert!(look(&good, now()).unwrap_err().message.contains("longer than 1048576 bytes"));
    }

    #[test]
    fn a_key_that_everybody_may_read_is_doubtful_and_named_with_the_command_that_mends_it() {
        let (_dir, spec) = door();
        let file = std::fs::File::options().write(true).open(&spec.key).unwrap();
        files::give(&file, Some(0o644), None, None).unwrap();
        let doubts = look(&spec, now()).unwrap();
        if Os::CURRENT == Os::Windows {
            assert!(doubts.is_empty(), "there is no mode: {doubts:?}");
            return;
        }
        let [doubt] = doubts.as_slice() else { panic!("{doubts:?}") };
        assert_eq!((doubt.code, doubt.key), (Code::SecretExposed, "key"));
        assert!(doubt.message.contains("api.key has the mode 644: every account may read it"), "{doubt:?}");
        assert!(doubt.help.ends_with(&format!("chmod 600 {}", spec.key.display())), "{doubt:?}");
        files::give(&file, Some(0o640), None, None).unwrap();
        assert!(look(&spec, now()).unwrap().is_empty(), "a group is somebody's choice");
    }

    #[test]
    fn certificates_that_are_over_are_doubtful_and_told_by_their_number_and_their_end() {
        /// The year 2999.
        const FAR: i64 = 32_500_000_000_000;
        let (_dir, spec) = door();
        std::fs::write(&spec.certificate, pem("CERTIFICATE", CERTIFICATE) + &pem("CERTIFICATE", AUTHORITY)).unwrap();
        let doubts = look(&spec, WallTime::from_unix_millis(FAR)).unwrap();
        let told: Vec<_> = doubts.iter().map(|doubt| (doubt.key, doubt.message.as_str())).collect();
        let [("certificate", first), ("certificate", second), ("client_ca", authority)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(first.contains("certificate 1 of 2 in ") && first.contains("api.pem has expired at 2"), "{first}");
        assert!(second.starts_with("certificate 2 of 2 in "), "{second}");
        assert!(authority.contains("clients.pem has expired at 2") && authority.contains("taken all the same"));
        assert!(doubts.iter().all(|doubt| doubt.code == Code::Suspicious));
    }

    #[test]
    fn a_certificate_of_version_one_is_told_as_that_with_how_to_make_another() {
        let (_dir, spec) = door();
        std::fs::write(&spec.certificate, pem("CERTIFICATE", VERSION_ONE)).unwrap();
        let refused = look(&spec, now()).unwrap_err();
        assert_eq!(refused.key, "certificate");
        assert!(refused.message.contains("api.pem is an X.509 version 1 certificate"), "{refused:?}");
        assert!(refused.help.contains("-extfile"), "{refused:?}");
    }
}
