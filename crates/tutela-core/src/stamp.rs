//! What a running program was started with, as a few numbers: so that a guard that takes it back from an earlier one
//! knows whether its spec asks for something else by now, without keeping the former spec or any secret of it.
//!
//! The counterpart of [`crate::reload`], which has both specs at hand, and names the same keys. Each part is hashed over
//! bytes that are written here and in no other way, so that another version of this program comes to the same number; a
//! part that only one of the two knows counts as unchanged.
//!
//! Deliberately absent: what changes while a program runs. That is simply in force from the next guard on.

use crate::reload::watchdog_interval;
use crate::spec::{Launch, ServiceSpec};
use std::collections::BTreeMap;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps {
    /// By key of the spec, without `env`.
    pub keys: BTreeMap<String, u64>,
    /// By variable: its value, and whether it came from the guard's own environment, which differs from guard to guard
    /// and is nobody's wish.
    pub env: BTreeMap<String, (u64, bool)>,
}

impl Stamps {
    /// What instance `index` of this service is started with. `inherited` tells whether the guard's own environment has
    /// this value under this name.
    pub fn of(spec: &ServiceSpec, index: u16, inherited: impl Fn(&str, &str) -> bool) -> Stamps {
        let Launch { command, cwd, env, secrets, user, group, umask, security } = &spec.launch;
        let paths =
            |paths: &[std::path::PathBuf]| Hash::default().texts(paths.iter().map(|path| path.to_string_lossy()));
        let capabilities =
            security.capabilities.as_ref().map(|all| Hash::default().texts(all.iter().map(|one| one.name())));
        let (read_only, writable) = (paths(&security.read_only_paths), paths(&security.writable_paths));
        let security = Hash::default()
            .bytes(&[u8::from(security.no_new_privileges)])
            .number(capabilities.map(|hash| hash.0))
            .number(Some(read_only.0))
            .number(Some(writable.0));
        let text = |text: &Option<String>| Hash::default().texts(text);
        let watchdog = watchdog_interval(spec).map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let keys = [
            ("command", Hash::default().texts(command.render(index))),
            ("cwd", Hash::default().texts([cwd.to_string_lossy()])),
            ("user", text(user)),
            ("group", text(group)),
            ("umask", Hash::default().number(umask.map(u64::from))),
            ("security", security),
            ("live", Hash::default().number(watchdog)),
        ];
        let variable = |(name, value): (&std::sync::Arc<str>, &crate::template::Template)| {
            let value = value.text(index);
            (name.to_string(), (Hash::default().texts([&value]).0, inherited(name, &value)))
        };
        Stamps {
            keys: keys.into_iter().map(|(key, hash)| (key.to_owned(), hash.0)).collect(),
            // Of a secret only where it is: that it was changed there is no reason to start anything anew.
            env: env.iter().map(variable).chain(secrets.iter().map(variable)).collect(),
        }
    }

    /// The keys of the spec in which a program that was started with `self` differs from one that would be started with
    /// `now`.
    pub fn differing(&self, now: &Stamps) -> Vec<&'static str> {
        const KEYS: [&str; 8] = ["command", "cwd", "env", "user", "group", "umask", "security", "live"];
        let differs = |key: &&'static str| match *key {
            "env" => self.env_differs(now),
            key => matches!((self.keys.get(key), now.keys.get(key)), (Some(was), Some(is)) if was != is),
        };
        KEYS.into_iter().filter(differs).collect()
    }

    fn env_differs(&self, now: &Stamps) -> bool {
        let changed = |name: &String| match (self.env.get(name), now.env.get(name)) {
            (Some((was, before)), Some((is, after))) => was != is && !(*before && *after),
            (Some((_, inherited)), None) | (None, Some((_, inherited))) => !inherited,
            (None, None) => false,
        };
        // A former guard that noted down no variable at all knew nothing of them.
        !self.env.is_empty() && self.env.keys().chain(now.env.keys()).any(changed)
    }
}

/// FNV-1a with 64 bits: the same in every version of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn bytes(self, bytes: &[u8]) -> Hash {
        Hash(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)))
    }

    fn number(self, number: Option<u64>) -> Hash {
        match number {
            None => self.bytes(&[0]),
            Some(number) => self.bytes(&[1]).bytes(&number.to_le_bytes()),
        }
    }

    /// Each text with its end, so that two do not look like one.
    fn texts(self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Hash {
        let add = |hash: Hash, text: &str| hash.number(Some(text.len() as u64)).bytes(text.as_bytes());
        texts.into_iter().fold(self, |hash, text| add(hash, text.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::spec;
    use crate::spec::{ProbeSpec, ProbeTarget};
    use std::time::Duration;

    fn stamps(edit: impl FnOnce(&mut ServiceSpec)) -> Stamps {
        let mut spec = spec();
        spec.launch.env.insert("OWN".into(), "1".into());
        spec.launch.env.insert("HOME".into(), "/root".into());
        edit(&mut spec);
        Stamps::of(&spec, 0, |name, _| name == "HOME")
    }

    fn changed(edit: impl FnOnce(&mut ServiceSpec)) -> Vec<&'static str> {
        stamps(|_| {}).differing(&stamps(edit))
    }

    #[test]
    fn what_a_program_gets_at_its_start_shows() {
        assert_eq!(changed(|_| {}), [""; 0]);
        assert_eq!(changed(|s| s.launch.command.words.push("-v".into())), ["command"]);
        assert_eq!(changed(|s| s.launch.cwd = "/tmp".into()), ["cwd"]);
        assert_eq!(changed(|s| s.launch.user = Some("shop".into())), ["user"]);
        assert_eq!(changed(|s| s.launch.group = Some("shop".into())), ["group"]);
        assert_eq!(changed(|s| s.launch.umask = Some(0)), ["umask"]);
        assert_eq!(changed(|s| s.launch.security.no_new_privileges = true), ["security"]);
        assert_eq!(changed(|s| s.launch.security.capabilities = Some(Vec::new())), ["security"]);
        assert_eq!(changed(|s| s.launch.security.writable_paths.push("/a".into())), ["security"]);
        let second = Duration::from_secs(1);
        let live = ProbeSpec {
            target: ProbeTarget::Notify,
            delay: Duration::ZERO,
            every: second,
            timeout: second,
            failures: 3,
            successes: 1,
        };
        assert_eq!(changed(|s| s.live = Some(live)), ["live"]);
        assert_eq!(changed(|s| s.instances = 9), [""; 0]);
    }

    #[test]
    fn of_the_environment_only_what_the_spec_wishes_counts() {
        assert_eq!(changed(|s| drop(s.launch.env.insert("OWN".into(), "2".into()))), ["env"]);
        assert_eq!(changed(|s| drop(s.launch.env.insert("NEW".into(), "2".into()))), ["env"]);
        assert_eq!(changed(|s| drop(s.launch.env.remove("OWN"))), ["env"]);
        assert_eq!(changed(|s| drop(s.launch.env.insert("HOME".into(), "/home/a".into()))), [""; 0]);
        assert_eq!(changed(|s| drop(s.launch.env.remove("HOME"))), [""; 0]);
        // One guard had it from its environment, the other has it from the spec: it is the same to the program.
        let inherited = stamps(|_| {});
        let own = Stamps::of(
            &{
                let mut s = spec();
                s.launch.env.insert("OWN".into(), "1".into());
                s.launch.env.insert("HOME".into(), "/root".into());
                s
            },
            0,
            |_, _| false,
        );
        assert_eq!(inherited.differing(&own), [""; 0]);
    }

    #[test]
    fn what_only_one_of_two_versions_knows_is_no_difference() {
        let now = stamps(|_| {});
        let mut old = stamps(|_| {});
        old.keys.remove("security");
        old.keys.insert("colour".into(), 1);
        assert_eq!(old.differing(&now), [""; 0]);
        assert_eq!(Stamps::default().differing(&now), [""; 0]);
    }

    #[test]
    fn the_numbers_are_those_of_every_version() {
        // FNV-1a of: a one, the length as eight bytes, "./api"; worked out apart from this code.
        assert_eq!(stamps(|_| {}).keys["command"], 0x6d5d_a0c4_ca4a_e1ca);
    }
}
