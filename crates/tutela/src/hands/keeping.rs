//! How output is kept: from what the spec says of a service to the policy of its instances' files.
//!
//! Called where a program is prepared and where a reload is spread; from both threads, so what is known for all services
//! (the masks, this computer's name and address) is behind a lock that is held for moments. What does not differ is
//! shared: services with the same patterns have one mask.
//!
//! Deliberately absent: the files themselves, which are the pump's.

use super::spawner::chain;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tutela_core::names::ServiceName;
use tutela_core::spec::{GuardSpec, LogForm, LogPolicy, MultilineRule, MultilineSpec, Redaction, ServiceSpec};
use tutela_logs::record::join::{Multiline, Rule};
use tutela_logs::record::redact::Redactor;
use tutela_logs::record::{Author, Host};
use tutela_logs::{Access, Form, Policy};
use tutela_os::accounts;
use tutela_os::secret::Secret;
use zeroize::Zeroizing;

/// How often this computer's name and address are looked up. They change when a laptop travels or a container moves;
/// a record that names the old address for minutes harms nobody.
const HOST_EVERY: Duration = Duration::from_secs(600);

/// The same while sinks make records: whoever reads those looks for the computer by its address. It costs four calls to
/// the system, and a guard whose programs are silent is not woken for it.
const HOST_FRESH: Duration = Duration::from_secs(60);

/// How the output of a guard's services is kept.
#[derive(Debug)]
pub struct Keeping {
    guard: Arc<str>,
    log_dir: PathBuf,
    host: Arc<Host>,
    known: Mutex<Known>,
}

/// Of an owner and of a group, where they were said.
type Pair<T> = (Option<T>, Option<T>);

#[derive(Debug, Default)]
struct Known {
    redaction: Redaction,
    /// The secrets before the last reload: programs that have them may still be ending.
    earlier: BTreeSet<String>,
    /// The secrets of programs, by their service, instance and variable: read at their starts.
    learnt: BTreeMap<(ServiceName, u16, Arc<str>), Learnt>,
    /// By the patterns of a service.
    masks: HashMap<Vec<String>, Arc<Redactor>>,
    /// The numbers of the owner and the group of files, by their names in the spec, as they were at the last reload.
    accounts: HashMap<Pair<String>, Pair<u32>>,
    /// When this computer's name and address were looked up last.
    looked: Option<Instant>,
}

/// What a secret was at the starts that may still be of consequence.
#[derive(Debug, Default)]
struct Learnt {
    /// At the last start of the instance's program.
    main: Hidden,
    /// At the one before: what that program left in the pipe may still be written.
    before: Hidden,
    /// At the last start of something on its behalf, which may have found a newer one.
    errand: Hidden,
    /// Whether the last reload found no more use for it.
    is_stale: bool,
}

/// Overwritten when it is dropped, and not shown.
#[derive(Default, PartialEq, Eq)]
struct Hidden(Zeroizing<String>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Keeping {
    /// For the services of this guard, with files in `log_dir` unless the spec names another folder.
    pub fn new(guard: &str, log_dir: &Path, redaction: &Redaction) -> Self {
        let known = Known { redaction: redaction.clone(), ..Known::default() };
        let (name, ip) = host();
        Keeping {
            guard: Arc::from(guard),
            log_dir: log_dir.to_owned(),
            host: Arc::new(Host::new(&name, ip)),
            known: Mutex::new(known),
        }
    }

    /// A reload may have changed what is masked. The secrets before it stay masked until the next one.
    pub fn adopt(&self, redaction: &Redaction) {
        let mut known = self.lock();
        known.accounts.clear();
        if known.redaction != *redaction {
            let before = std::mem::replace(&mut known.redaction, redaction.clone());
            known.earlier = before.secrets.filter(|_| redaction.secrets.is_some()).unwrap_or_default();
            known.masks.clear();
        }
    }

    /// An instance's program, or something on its behalf, is about to be started with these secrets: they are masked in
    /// all output from here on.
    pub fn learn(&self, service: &ServiceName, instance: u16, is_main: bool, secrets: &[(Arc<str>, Secret)]) {
        let mut known = self.lock();
        if known.redaction.secrets.is_none() {
            return;
        }
        let mut is_new = false;
        for (name, secret) in secrets {
            let hidden = Hidden(Zeroizing::new(secret.reveal().to_owned()));
            let learnt = known.learnt.entry((service.clone(), instance, name.clone())).or_default();
            learnt.is_stale = false;
            let place = if is_main { &mut learnt.main } else { &mut learnt.errand };
            if *place != hidden {
                let old = std::mem::replace(place, hidden);
                if is_main {
                    learnt.before = old;
                }
                is_new = true;
            }
        }
        if is_new {
            known.masks.clear();
        }
    }

    /// Forgets the secrets of services and variables that were no more at the reload before this one: until then their
    /// programs may have been ending.
    pub fn forget_others(&self, spec: &GuardSpec) {
        let mut known = self.lock();
        let is_there = |(service, instance, name): &(ServiceName, u16, Arc<str>)| {
            spec.services
                .get(service)
                .is_some_and(|it| *instance < it.instances && it.launch.secrets.contains_key(name))
        };
        let count = known.learnt.len();
        known.learnt.retain(|key, learnt| is_there(key) || !std::mem::replace(&mut learnt.is_stale, true));
        if known.learnt.len() != count {
            known.masks.clear();
        }
    }

    /// The guard's own folder of log files.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The folder of a service's files.
    pub fn dir(&self, spec: &ServiceSpec) -> PathBuf {
        spec.logs.dir.clone().unwrap_or_else(|| self.log_dir.clone())
    }

    /// How the output of an instance is kept.
    pub fn policy(&self, spec: &ServiceSpec, instance: u16) -> Policy {
        let logs = &spec.logs;
        Policy {
            dir: self.dir(spec),
            form: match logs.form {
                LogForm::Raw => Form::Raw,
                LogForm::Stamped => Form::Stamped,
                LogForm::Json => Form::Json,
            },
            rotate_size: logs.rotate_size,
            rotate_every: logs.rotate_every,
            keep: logs.keep,
            keep_for: logs.keep_for,
            compress: logs.compress,
            access: self.access(spec).unwrap_or_default(),
            mask: self.mask(&logs.redact),
            author: self.author(spec.name.as_str(), instance),
            multiline: logs.multiline.as_ref().and_then(multiline).map(Arc::new),
        }
    }

    /// Who may read a service's files. What cannot be found out is told where the spec is taken up; meanwhile the files are
    /// the guard's, which lets nobody in whom the spec would keep out.
    ///
    /// # Errors
    /// What is wrong with the account or the group, for people.
    pub fn access(&self, spec: &ServiceSpec) -> Result<Access, String> {
        let LogPolicy { mode, owner, group, .. } = &spec.logs;
        if owner.is_none() && group.is_none() {
            return Ok(Access { mode: *mode, ..Access::default() });
        }
        let key = (owner.clone(), group.clone());
        if let Some((owner, group)) = self.lock().accounts.get(&key) {
            return Ok(Access { mode: *mode, owner: *owner, group: *group });
        }
        // A directory of accounts may take its time: not while the lock is held.
        let told = |error: tutela_os::Error| format!("log files of {}: {}", spec.name, chain(&error));
        let owner = owner.as_deref().map(|owner| accounts::resolve(owner, None)).transpose().map_err(told)?;
        let group = group.as_deref().map(accounts::resolve_group).transpose().map_err(told)?;
        let owner = owner.and_then(|owner| owner.id().uid());
        let group = group.and_then(|group| group.id().gid());
        self.lock().accounts.insert(key, (owner, group));
        Ok(Access { mode: *mode, owner, group })
    }

    /// Looks up this computer's name and address, unless that was done within the last minute. Does not wait.
    pub fn look_at_host(&self) {
        let now = Instant::now();
        {
            let mut known = self.lock();
            if known.looked.is_some_and(|before| now.duration_since(before) < HOST_FRESH) {
                return;
            }
            known.looked = Some(now);
        }
        let (name, ip) = host();
        self.host.set(&name, ip);
    }

    /// Who writes the records of an instance.
    pub fn author(&self, service: &str, instance: u16) -> Author {
        Author { guard: self.guard.clone(), service: Arc::from(service), instance, host: self.host.clone() }
    }

    /// What is masked for a service with these patterns of its own.
    pub fn mask(&self, patterns: &[String]) -> Arc<Redactor> {
        let mut known = self.lock();
        if let Some(mask) = known.masks.get(patterns) {
            return mask.clone();
        }
        let Redaction { secrets, patterns: everywhere } = &known.redaction;
        let learnt = known.learnt.values().flat_map(|it| [&it.main, &it.before, &it.errand]);
        let learnt: BTreeSet<&str> = learnt.map(|it| it.0.as_str()).collect();
        let secrets = secrets.iter().flatten().chain(&known.earlier).map(String::as_str);
        let secrets: Vec<&str> = secrets.chain(learnt).collect();
        let all: Vec<String> = everywhere.iter().chain(patterns).cloned().collect();
        // The schema has compiled each of them; where they are too many together, the secrets are masked all the same.
        let masking = |patterns: &[String]| Redactor::new(secrets.iter().copied(), patterns);
        let built = masking(&all).or_else(|_| masking(&[]));
        let mask = Arc::new(built.unwrap_or_default());
        known.masks.insert(patterns.to_vec(), mask.clone());
        mask
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How lines are joined. The schema has compiled the pattern; one that cannot be used joins nothing.
pub fn multiline(spec: &MultilineSpec) -> Option<Multiline> {
    let compiled = |text: &str| regex::bytes::Regex::new(text).ok();
    let rule = match &spec.rule {
        MultilineRule::Start(text) => Rule::Start(compiled(text)?),
        MultilineRule::Continue(text) => Rule::Continue(compiled(text)?),
    };
    Some(Multiline::new(rule, spec.wait, spec.lines))
}

/// Looks up this computer's name and address again and again, until `keeping` is gone.
pub async fn follow_host(keeping: Weak<Keeping>) {
    loop {
        tokio::time::sleep(HOST_EVERY).await;
        let Some(keeping) = keeping.upgrade() else { return };
        keeping.look_at_host();
    }
}

/// This computer's name, and the address by which it reaches others: that of a socket towards an address that belongs to
/// nobody. Nothing is sent.
fn host() -> (String, Option<IpAddr>) {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        // The port of discarding.
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
    };
    // Addresses for documents, RFC 5737 and RFC 3849.
    let v4 = || towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    (tutela_os::usage::host_name(), v4().or_else(v6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(secrets: &[&str], patterns: &[&str]) -> Redaction {
        Redaction {
            secrets: Some(secrets.iter().map(|it| (*it).to_owned()).collect()),
            patterns: patterns.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn services_with_the_same_patterns_share_a_mask_and_a_reload_makes_another() {
        let keeping = Keeping::new("shop", Path::new("/logs"), &redaction(&["secret-1"], &["id=[0-9]+"]));
        let first = keeping.mask(&[]);
        assert!(Arc::ptr_eq(&first, &keeping.mask(&[])));
        assert_eq!(&*first.text(b"secret-1 id=5 x=6"), b"*** *** x=6");
        assert_eq!(&*keeping.mask(&["x=.".to_owned()]).text(b"secret-1 id=5 x=6"), b"*** *** ***");
        keeping.adopt(&redaction(&["secret-2"], &[]));
        assert_eq!(
            &*keeping.mask(&[]).text(b"secret-1 secret-2 id=5"),
            b"*** *** id=5",
            "the program before may still end"
        );
        keeping.adopt(&redaction(&["secret-3"], &[]));
        assert_eq!(&*keeping.mask(&[]).text(b"secret-1 secret-2 secret-3"), b"secret-1 *** ***");
        keeping.adopt(&Redaction::default());
        assert!(keeping.mask(&[]).is_idle());
    }

    #[test]
    fn this_computer_is_looked_up_anew_and_not_for_every_record() {
        let keeping = Keeping::new("shop", Path::new("/logs"), &Redaction::default());
        let author = keeping.author("api", 0);
        for is_new in [true, false] {
            author.host.set("elsewhere, before", None);
            keeping.look_at_host();
            assert_eq!(&*author.owner().host != "elsewhere, before", is_new);
        }
    }

    #[test]
    fn this_computer_is_never_told_by_an_address_that_others_cannot_reach() {
        let (_, ip) = host();
        assert!(ip.is_none_or(|ip| !ip.is_loopback() && !ip.is_unspecified()));
    }
}
