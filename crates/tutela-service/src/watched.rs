//! Values that change while the program runs: configuration that a reload reads again.
//!
//! A [`Watched`] has a value from its first moment to its last. What is wrong with a changed file is told, and the
//! value stays what it was. Given to [`crate::Service::reloads`], it is read again by every reload; several of them
//! change together or not at all. Deliberately absent: watching the disk. A file is half written for a moment;
//! whoever changed it knows when it is whole.

use crate::exit::{Failure, Outcome, chain};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The longest file that is read, in bytes. A longer one is not the configuration of one program.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A value that may change. Clones watch the same value.
///
/// ```
/// use tutela_service::Watched;
///
/// let limit = Watched::new(10);
/// assert_eq!(*limit.get(), 10);
/// limit.set(20);
/// assert_eq!((*limit.get(), limit.version()), (20, 2));
/// ```
pub struct Watched<T>(Arc<Inner<T>>);

struct Inner<T> {
    current: Mutex<Current<T>>,
    threads: Condvar,
    tasks: Notify,
    source: Option<Source<T>>,
}

struct Current<T> {
    value: Arc<T>,
    version: u64,
    /// What the value was read from, to see whether it is something else.
    text: String,
}

type ReadText<T> = Box<dyn Fn(&str) -> Result<T, Failure> + Send + Sync>;

struct Source<T> {
    path: PathBuf,
    read: ReadText<T>,
}

/// What a reload of a value came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The file says what it said before.
    Same,
    /// The value is another one, with this version.
    Changed(u64),
}

/// A value was not taken. The former one stays.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file cannot be read.
    #[error("failed to read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the OS said.
        why: std::io::Error,
    },
    /// The file says something that makes no sense.
    #[error("refused: {}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Failure,
    },
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// A value that [`Watched::set`] alone changes.
    pub fn new(value: T) -> Watched<T> {
        Watched::with(value, String::new(), None)
    }

    /// A value that is read from the file at `path`. `read` makes it from the file's text and says what is wrong with
    /// it: a parser, and every check that the value has to pass.
    ///
    /// ```
    /// use tutela_service::Watched;
    ///
    /// # let folder = std::env::temp_dir().join(format!("watched-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("limit");
    /// std::fs::write(&path, "10")?;
    /// let limit = Watched::from_file(&path, |text| match text.trim().parse::<u32>()? {
    ///     0 => Err("the limit must be at least 1".into()),
    ///     limit => Ok(limit),
    /// })?;
    ///
    /// std::fs::write(&path, "0")?;
    /// assert!(limit.reload().is_err());
    /// assert_eq!(*limit.get(), 10);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), tutela_service::Failure>(())
    /// ```
    ///
    /// # Errors
    /// There is no first value: the file is unreadable or wrong.
    pub fn from_file(
        path: impl Into<PathBuf>,
        read: impl Fn(&str) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<Watched<T>, Refused> {
        let source = Source { path: path.into(), read: Box::new(read) };
        let text = read_text(&source.path)?;
        let value = source.value_of(&text)?;
        Ok(Watched::with(value, text, Some(source)))
    }

    /// A value that is read from the TOML file at `path`, and that `check` accepts.
    ///
    /// # Errors
    /// As [`Watched::from_file`]. What is wrong in the TOML comes with its line and column.
    #[cfg(feature = "config")]
    pub fn from_toml(
        path: impl Into<PathBuf>,
        check: impl Fn(&T) -> Outcome + Send + Sync + 'static,
    ) -> Result<Watched<T>, Refused>
    where
        T: serde::de::DeserializeOwned,
    {
        Watched::from_file(path, move |text| {
            let value: T = toml::from_str(text).map_err(|error| place_of(text, &error))?;
            check(&value)?;
            Ok(value)
        })
    }

    fn with(value: T, text: String, source: Option<Source<T>>) -> Watched<T> {
        let current = Mutex::new(Current { value: Arc::new(value), version: 1, text });
        Watched(Arc::new(Inner { current, threads: Condvar::new(), tasks: Notify::new(), source }))
    }

    /// The value as it is. Keep what this answers for as long as one piece of work wants a single view.
    pub fn get(&self) -> Arc<T> {
        self.0.lock().value.clone()
    }

    /// How often the value was another one, from 1 on.
    pub fn version(&self) -> u64 {
        self.0.lock().version
    }

    /// Puts another value in place, and answers its version.
    pub fn set(&self, value: T) -> u64 {
        self.0.put(Arc::new(value), None)
    }

    /// Reads the file again. A value without a file is always the same.
    ///
    /// # Errors
    /// The file is unreadable or wrong; the value stays what it was.
    pub fn reload(&self) -> Result<Change, Refused> {
        let Some((value, text)) = self.0.prepare()? else { return Ok(Change::Same) };
        Ok(Change::Changed(self.0.put(value, Some(text))))
    }

    /// A look-out for changes after this call.
    pub fn follow(&self) -> Follower<T> {
        Follower { seen: self.version(), watched: self.clone() }
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Watched(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.0.lock();
        f.debug_struct("Watched").field("value", &current.value).field("version", &current.version).finish()
    }
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, Current<T>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value that the file has, where it is another one.
    fn prepare(&self) -> Result<Option<(Arc<T>, String)>, Refused> {
        let Some(source) = &self.source else { return Ok(None) };
        let text = read_text(&source.path)?;
        if text == self.lock().text {
            return Ok(None);
        }
        Ok(Some((Arc::new(source.value_of(&text)?), text)))
    }

    fn put(&self, value: Arc<T>, text: Option<String>) -> u64 {
        let mut current = self.lock();
        current.value = value;
        current.version += 1;
        if let Some(text) = text {
            current.text = text;
        }
        let version = current.version;
        drop(current);
        self.threads.notify_all();
        self.tasks.notify_waiters();
        version
    }
}

impl<T> Source<T> {
    fn value_of(&self, text: &str) -> Result<T, Refused> {
        (self.read)(text).map_err(|why| Refused::Wrong { path: self.path.clone(), why })
    }
}

fn read_text(path: &Path) -> Result<String, Refused> {
    let read = || {
        let mut text = String::new();
        let length = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if length as u64 > FILE_BYTES_MAX {
            let message = format!("it has more than {FILE_BYTES_MAX} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
        }
        Ok(text)
    };
    read().map_err(|why| Refused::Unreadable { path: path.to_owned(), why })
}

/// The message of an error in TOML, in one line, with its place.
#[cfg(feature = "config")]
fn place_of(text: &str, error: &toml::de::Error) -> Failure {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return error.message().into() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message()).into()
}

/// Hears of each change of a [`Watched`] once. Changes that come while nobody looks are one.
#[derive(Debug)]
pub struct Follower<T> {
    watched: Watched<T>,
    seen: u64,
}

impl<T: Send + Sync + 'static> Follower<T> {
    /// The next value, once there is one. Works in every async runtime; may be dropped and called again.
    pub async fn changed(&mut self) -> Arc<T> {
        loop {
            let inner = self.watched.0.clone();
            let heard = inner.tasks.notified();
            if let Some(value) = self.look() {
                return value;
            }
            heard.await;
        }
    }

    /// Blocks the thread until there is another value, for `span` at most.
    pub fn changed_within(&mut self, span: Duration) -> Option<Arc<T>> {
        let began = Instant::now();
        let inner = self.watched.0.clone();
        let mut current = inner.lock();
        while current.version == self.seen {
            let left = span.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
            current = inner.threads.wait_timeout(current, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.seen = current.version;
        Some(current.value.clone())
    }

    fn look(&mut self) -> Option<Arc<T>> {
        let current = self.watched.0.lock();
        let news = current.version != self.seen;
        let value = news.then(|| current.value.clone());
        let version = current.version;
        drop(current);
        self.seen = version;
        value
    }
}

/// A value that a reload of the service reads again, in two steps: everything is read before anything changes.
pub(crate) trait Reread: Send + Sync {
    /// Reads. What it answers puts the value in place; `None`: it is the same.
    fn reread(&self) -> Result<Option<Box<dyn FnOnce()>>, Refused>;
}

impl<T: Send + Sync + 'static> Reread for Watched<T> {
    fn reread(&self) -> Result<Option<Box<dyn FnOnce()>>, Refused> {
        let watched = self.clone();
        let prepared = self.0.prepare()?;
        Ok(prepared.map(|(value, text)| {
            Box::new(move || {
                watched.0.put(value, Some(text));
            }) as Box<dyn FnOnce()>
        }))
    }
}

/// Reads all of them; none changes when one is refused. The failure names every one that is wrong.
pub(crate) fn reread_all(watched: &[Box<dyn Reread>]) -> Outcome {
    let mut puts = Vec::new();
    let mut wrong = Vec::new();
    for value in watched {
        match value.reread() {
            Ok(put) => puts.extend(put),
            Err(refused) => wrong.push(chain(&refused)),
        }
    }
    if !wrong.is_empty() {
        return Err(format!("{}; nothing was changed", wrong.join("; ")).into());
    }
    puts.into_iter().for_each(|put| put());
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn number(path: &Path, text: &str) -> Watched<u32> {
        std::fs::write(path, text).unwrap();
        Watched::from_file(path, |text| Ok(text.trim().parse()?)).unwrap()
    }

    #[test]
    fn a_wrong_file_leaves_every_value_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let (first, second) = (number(&a, "1"), number(&b, "2"));
        std::fs::write(&a, "10").unwrap();
        std::fs::write(&b, "many").unwrap();
        let all: [Box<dyn Reread>; 2] = [Box::new(first.clone()), Box::new(second.clone())];
        let refused = reread_all(&all).unwrap_err().to_string();
        assert!(refused.contains("invalid digit") && refused.ends_with("nothing was changed"), "{refused}");
        assert_eq!((*first.get(), *second.get()), (1, 2));
        std::fs::write(&b, "20").unwrap();
        reread_all(&all).unwrap();
        assert_eq!((*first.get(), *second.get()), (10, 20));
    }

    #[test]
    fn a_file_that_says_the_same_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        let value = number(&path, "1");
        assert_eq!(value.reload().unwrap(), Change::Same);
        std::fs::write(&path, "2").unwrap();
        assert_eq!(value.reload().unwrap(), Change::Changed(2));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(value.reload(), Err(Refused::Unreadable { .. })));
        assert_eq!(*value.get(), 2);
    }

    #[test]
    fn a_follower_hears_a_change_from_another_thread_once() {
        let value = Watched::new(1);
        let mut follower = value.follow();
        let setter = std::thread::spawn({
            let value = value.clone();
            move || value.set(2)
        });
        assert_eq!(follower.changed_within(Duration::from_secs(60)).as_deref(), Some(&2));
        assert_eq!(follower.changed_within(Duration::ZERO), None);
        setter.join().unwrap();
    }

    #[tokio::test]
    async fn a_follower_in_a_task_hears_what_came_before_it_looked() {
        let value = Watched::new(1);
        let mut follower = value.follow();
        value.set(2);
        assert_eq!(*follower.changed().await, 2);
    }

    #[cfg(feature = "config")]
    #[test]
    fn a_mistake_in_toml_is_told_with_its_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Limits {
            requests: u32,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.toml");
        std::fs::write(&path, "# limits\nrequests = \"many\"\n").unwrap();
        let refused = Watched::<Limits>::from_toml(&path, |_| Ok(())).unwrap_err();
        assert!(chain(&refused).contains("line 2, column 12: "), "{}", chain(&refused));
        std::fs::write(&path, "requests = 0\n").unwrap();
        let check = |limits: &Limits| if limits.requests == 0 { Err("no requests at all".into()) } else { Ok(()) };
        let refused = Watched::<Limits>::from_toml(&path, check).unwrap_err();
        assert!(chain(&refused).ends_with("no requests at all"), "{}", chain(&refused));
    }
}
