//! Checks that the program registers: made when somebody asks, each at most once at a time.

use crate::exit::{Failure, catch, chain};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// An answer this old is as good as a new one: ten load balancers must not make ten queries.
const FRESH: Duration = Duration::from_secs(1);

/// The most checks of one program. A body with more of them is read by nobody.
const CHECKS_MAX: usize = 64;

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Healthy,
    /// It works, and somebody should look.
    Warning(String),
    /// It does not work.
    Unhealthy(String),
}

type Answer = Result<Verdict, Failure>;

/// How a check is made.
#[derive(Clone)]
pub(super) enum Probe {
    Thread(Arc<dyn Fn() -> Answer + Send + Sync>),
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "only async programs have checks that are tasks"))]
    Task(Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>),
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Probe::Thread(_) => "Thread",
            Probe::Task(_) => "Task",
        })
    }
}

/// What a check found.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) name: Arc<str>,
    pub(super) verdict: Verdict,
    pub(super) latency: Duration,
}

#[derive(Debug)]
struct Check {
    name: Arc<str>,
    timeout: Duration,
    probe: Probe,
    /// Held while it is made, so that it is made once for all who ask.
    last: tokio::sync::Mutex<Option<(Instant, Finding)>>,
    /// A thread that was late is still at it.
    running: Arc<Mutex<bool>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Vec<Arc<Check>>>);

impl Checks {
    /// Adds one, in place of an earlier one of this name. More than [`CHECKS_MAX`] are left out, which its own finding
    /// says.
    pub(super) fn add(&self, name: String, timeout: Duration, probe: Probe) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks.retain(|check| *check.name != *name);
        let (name, probe) = match checks.len() {
            0..CHECKS_MAX => (name, probe),
            CHECKS_MAX => {
                let text = format!("{name} and others are not checked: there are more than {CHECKS_MAX} checks");
                ("checks".to_owned(), Probe::Thread(Arc::new(move || Ok(Verdict::Warning(text.clone())))))
            }
            _ => return,
        };
        let last = tokio::sync::Mutex::new(None);
        checks.push(Arc::new(Check { name: name.into(), timeout, probe, last, running: Arc::default() }));
    }

    /// Makes all of them at once, or takes what they found within the last second. `runtime` is the program's.
    pub(super) async fn all(&self, runtime: Option<&Handle>) -> Vec<Finding> {
        let checks: Vec<Arc<Check>> = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let made: Vec<_> = checks
            .into_iter()
            .map(|check| {
                let runtime = runtime.cloned();
                tokio::spawn(async move { check.look(runtime).await })
            })
            .collect();
        let mut findings = Vec::with_capacity(made.len());
        for finding in made {
            // A task of ours that panicked or was dropped has found nothing.
            findings.extend(finding.await);
        }
        findings
    }
}

impl Check {
    async fn look(&self, runtime: Option<Handle>) -> Finding {
        let mut last = self.last.lock().await;
        if let Some((at, finding)) = &*last
            && at.elapsed() < FRESH
        {
            return finding.clone();
        }
        let began = Instant::now();
        let late = || Verdict::Unhealthy(format!("no answer within {:?}", self.timeout));
        let verdict = match tokio::time::timeout(self.timeout, self.make(runtime)).await {
            Ok(verdict) => verdict,
            Err(_) => late(),
        };
        let finding = Finding { name: self.name.clone(), verdict, latency: began.elapsed() };
        *last = Some((Instant::now(), finding.clone()));
        finding
    }

    async fn make(&self, runtime: Option<Handle>) -> Verdict {
        let made = match &self.probe {
            Probe::Thread(probe) => {
                if std::mem::replace(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner), true) {
                    return Verdict::Unhealthy("an earlier check has not ended".to_owned());
                }
                let (probe, running) = (probe.clone(), self.running.clone());
                tokio::task::spawn_blocking(move || {
                    let made = catch("the check", || probe());
                    *running.lock().unwrap_or_else(PoisonError::into_inner) = false;
                    made
                })
                .await
            }
            Probe::Task(probe) => {
                // On the program's runtime, because that is where its sockets and timers are; and dropped when it is
                // late, because then nobody waits for it.
                let runtime = runtime.unwrap_or_else(Handle::current);
                let probe = probe.clone();
                let task = Dropped(runtime.spawn(async move { probe().await }));
                return match task.join().await {
                    Ok(answer) => verdict_of(answer),
                    Err(error) if error.is_panic() => Verdict::Unhealthy("the check panicked".to_owned()),
                    Err(_) => Verdict::Unhealthy("the program's runtime has ended".to_owned()),
                };
            }
        };
        match made {
            Ok(Ok(answer)) => verdict_of(answer),
            Ok(Err(ending)) => Verdict::Unhealthy(ending.message.unwrap_or_default()),
            Err(_) => Verdict::Unhealthy("the server is ending".to_owned()),
        }
    }
}

/// A task that ends with who waits for it.
struct Dropped<T>(tokio::task::JoinHandle<T>);

impl<T> Dropped<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Dropped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn verdict_of(answer: Answer) -> Verdict {
    answer.unwrap_or_else(|failure| Verdict::Unhealthy(chain(failure.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn one_answer_serves_all_who_ask_within_a_second() {
        let (checks, calls) = (Arc::new(Checks::default()), Arc::new(AtomicU32::new(0)));
        let counted = calls.clone();
        let probe = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Verdict::Healthy)
        };
        checks.add("db".into(), 60 * SECOND, Probe::Thread(Arc::new(probe)));
        let began = Instant::now();
        let ask = || {
            let checks = checks.clone();
            tokio::spawn(async move { checks.all(None).await })
        };
        for answer in [ask(), ask(), ask()] {
            assert!(answer.await.is_ok_and(|findings| findings.len() == 1));
        }
        // A machine that stood still for a second in between may have asked again.
        assert!(calls.load(Ordering::Relaxed) == 1 || began.elapsed() >= FRESH);
    }

    #[tokio::test]
    async fn what_fails_panics_or_hangs_is_unhealthy_with_its_reason() {
        let checks = Checks::default();
        checks.add("fails".into(), 60 * SECOND, Probe::Thread(Arc::new(|| Err("no route".into()))));
        checks.add("panics".into(), 60 * SECOND, Probe::Thread(Arc::new(|| panic!("oh"))));
        checks.add(
            "hangs".into(),
            Duration::from_millis(20),
            Probe::Task(Arc::new(|| Box::pin(std::future::pending()))),
        );
        let findings = checks.all(None).await;
        let texts: Vec<String> = findings.iter().map(|finding| format!("{:?}", finding.verdict)).collect();
        assert_eq!(texts[0], "Unhealthy(\"no route\")");
        assert!(texts[1].contains("the check panicked"), "{}", texts[1]);
        assert_eq!(texts[2], "Unhealthy(\"no answer within 20ms\")");
    }

    #[tokio::test]
    async fn checks_beyond_the_bound_are_told_and_not_made() {
        let checks = Checks::default();
        for number in 0..200 {
            checks.add(number.to_string(), SECOND, Probe::Task(Arc::new(|| Box::pin(async { Ok(Verdict::Healthy) }))));
        }
        let findings = checks.all(None).await;
        assert_eq!(findings.len(), CHECKS_MAX + 1);
        assert!(findings.iter().any(|finding| matches!(&finding.verdict, Verdict::Warning(_))));
    }
}
