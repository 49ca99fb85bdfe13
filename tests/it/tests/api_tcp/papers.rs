//! Authorities and certificates, made anew for each test by the `openssl` of this computer.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// An authority, and the folder that everything of it is in.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// A new one.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let authority = Authority { folder: folder.to_owned(), name: name.to_owned() };
        let words = ["-x509", "-days", "2", "-subj", &format!("/CN={name}")].map(str::to_owned);
        authority.key_and(name, &words, "pem");
        authority
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path(&self.name, "pem")
    }

    /// A certificate with this subject and these alternative names, as `NAME.pem` and `NAME.key`. `days`: how long it
    /// holds; less than nothing: it does not.
    pub fn sign(&self, name: &str, subject: &str, alternatives: &str, days: i32) -> (PathBuf, PathBuf) {
        self.key_and(name, &["-subj".to_owned(), subject.to_owned()], "csr");
        let about = self.path(name, "ext");
        let wanted = if alternatives.is_empty() { String::new() } else { format!("subjectAltName={alternatives}\n") };
        std::fs::write(&about, format!("basicConstraints=CA:FALSE\n{wanted}")).unwrap();
        let (csr, pem) = (self.path(name, "csr"), self.path(name, "pem"));
        let mut command = Command::new("openssl");
        command.args(["x509", "-req", "-in"]).arg(csr).arg("-CA").arg(self.file());
        command.arg("-CAkey").arg(self.path(&self.name, "key")).args(["-CAcreateserial", "-days", &days.to_string()]);
        command.arg("-extfile").arg(about).arg("-out").arg(&pem);
        run(command);
        (pem, self.path(name, "key"))
    }

    fn key_and(&self, name: &str, more: &[String], end: &str) {
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]);
        command.arg(self.path(name, "key")).args(more).arg("-out").arg(self.path(name, end));
        run(command);
    }

    fn path(&self, name: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{name}.{end}"))
    }

    /// A client that believes this authority, and shows a certificate where one is given.
    pub fn client(&self, own: Option<&(PathBuf, PathBuf)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some((pem, key)) => {
                let chain = vec![CertificateDer::from_pem_file(pem).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        })
    }
}

fn run(mut command: Command) {
    let ended = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}
