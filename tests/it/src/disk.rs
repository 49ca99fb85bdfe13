//! A disk that is really full: a file system in memory, mounted for a test.
//!
//! Mounting takes root; without it a test fails and says so, as a test that is left out is no proof.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much is written at once to fill it, less and less: down to the last byte that it takes.
const PORTIONS: [usize; 3] = [1 << 20, 1 << 12, 1];

/// A mounted file system, unmounted when dropped: behind everything that has a file on it.
#[derive(Debug)]
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// One of so many bytes.
    pub fn mount(bytes: u64) -> SmallDisk {
        let dir = tempfile::Builder::new().prefix("tutela-it-disk-").tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "mounting needs root: run the tests as root");
        SmallDisk(dir)
    }

    /// A folder on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills it, so that it takes no further byte.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for portion in PORTIONS {
            let block = vec![0; portion];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path("ballast")
    }

    fn root(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // As soon as nobody has a file on it. A mount that stays is seen by whoever looks at the machine; a panic here would
        // hide the test's own.
        let _ = Command::new("umount").arg("--lazy").arg(self.root()).status();
    }
}
