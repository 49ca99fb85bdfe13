//! Where beds lie: `beds` in the checkout's folder of built things, one folder a bed.
//!
//! A bed is complete or it is not there: it is made under another name, gets its recipe written into it last, and is
//! then renamed. A recipe that changed makes the bed anew. Nothing here is ever mounted where others can see it (see
//! [`crate::room`]), so whoever removes this folder, by whatever means, removes these files and nothing else.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file of a bed that holds its recipe, written when everything else is there.
const RECIPE: &str = "recipe";

/// The folder of all beds.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// That of the checkout which this was built from.
    ///
    /// # Errors
    /// It can not be made.
    pub fn of_checkout() -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from);
        let folder = target.join("beds");
        for folder in [&folder, &folder.join("mnt"), &folder.join("run")] {
            std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let folder = folder.canonicalize().with_context(|| format!("failed to look at {}", folder.display()))?;
        Ok(Place { folder })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A bed, whether or not it is there.
    pub fn bed(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What it is called while it is made.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.new"))
    }

    /// The folder that is empty for everybody, and on which each room mounts what is its own.
    pub fn mount_point(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    /// Files of single runs.
    pub fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Where the making of a bed writes what its tools print.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Whether the bed is there, made by this recipe.
    pub fn is_complete(&self, name: &str, recipe: &str) -> bool {
        std::fs::read_to_string(self.bed(name).join(RECIPE)).is_ok_and(|found| found == recipe)
    }

    /// Makes what lies under the unfinished name the bed.
    ///
    /// # Errors
    /// A disk that is full, or somebody else at work here.
    pub fn complete(&self, name: &str, recipe: &str) -> Result<()> {
        let unfinished = self.unfinished(name);
        std::fs::write(unfinished.join(RECIPE), recipe).context("failed to write the recipe into the bed")?;
        remove(&self.bed(name))?;
        std::fs::rename(&unfinished, self.bed(name)).with_context(|| format!("failed to complete the bed {name}"))
    }

    /// Keeps every other run from making beds until the file is dropped. Says so when it has to wait.
    ///
    /// # Errors
    /// The file can not be made.
    pub fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("another run is making beds: waiting for it");
            file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
        }
        Ok(file)
    }
}

/// The root of the checkout.
///
/// Cargo says at run time which checkout it runs; what was known at compile time would be wrong where two checkouts
/// share one folder of built things.
pub fn checkout() -> PathBuf {
    let given = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let upwards = given.as_deref().into_iter().flat_map(Path::ancestors);
    let found = upwards.map(Path::to_owned).find(|folder| folder.join("tests/beds/Cargo.toml").is_file());
    found.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

/// Removes a folder, and never anything that is mounted in it.
///
/// # Errors
/// Something of it could not be removed.
pub fn remove(folder: &Path) -> Result<()> {
    if std::fs::symlink_metadata(folder).is_err() {
        return Ok(());
    }
    let status = Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(folder).status();
    let status = status.context("failed to start rm")?;
    anyhow::ensure!(status.success(), "failed to remove {}: {status}", folder.display());
    Ok(())
}
