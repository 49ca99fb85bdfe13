//! An authority, and certificates of it, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of a test in PEM.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// An authority, a certificate for `logs.example`, and one for a client.
    pub fn make(dir: &Path) -> Certificates {
        let made = Certificates { dir: dir.to_owned() };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        made.openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
        for (name, subject) in [("server", "logs.example"), ("client", "box.example")] {
            made.openssl(&format!(
                "req {key} -keyout {name}.key -out {name}.csr -subj /CN={subject} -addext subjectAltName=DNS:{subject}"
            ));
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copyall -days 2 -out {name}.pem"
            ));
        }
        made
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    fn openssl(&self, words: &str) {
        let ended = Command::new("openssl").args(words.split(' ')).current_dir(&self.dir).output().unwrap();
        assert!(ended.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
