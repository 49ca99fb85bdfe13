//! Who needs whom, once every source was read: a source may name what another one defines.

use super::draft::Draft;
use super::report::{Entry, Report};
use std::collections::{BTreeMap, BTreeSet};

/// The needs that were read, by the names of the source.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Names of the sources, lower case, to services.
    known: BTreeMap<String, String>,
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    service: String,
    need: String,
    entry: Entry,
    /// How the need is more or less than what the source said; `None`: it is the same.
    how: Option<String>,
    /// What to say when nobody has that name.
    otherwise: Otherwise,
}

/// What a need is that no source defines.
#[derive(Debug)]
pub(super) enum Otherwise {
    /// It is lost, for this reason.
    Lost(String),
    /// It is a service of the OS: the guard is started after it.
    After(String),
}

/// How being started after a service of the OS is not the same as needing it.
const AFTER: &str = "the guard as a whole needs it and is started after it: where that is stopped, the service manager stops \
                     the guard too; to watch it without that, a check of it can stand in dependencies";

impl Needs {
    /// `name` of the source is this service.
    pub(super) fn know(&mut self, name: &str, service: &str) {
        self.known.entry(name.to_ascii_lowercase()).or_insert_with(|| service.to_owned());
    }

    /// `service` needs `need`, if a source has it; else it is what `otherwise` says.
    pub(super) fn want(&mut self, entry: &Entry, service: &str, need: &str, how: Option<&str>, otherwise: Otherwise) {
        self.wanted.push(Wanted {
            service: service.to_owned(),
            need: need.to_owned(),
            entry: entry.clone(),
            how: how.map(str::to_owned),
            otherwise,
        });
    }

    /// Gives each service its needs and tells of each.
    pub(super) fn settle(&mut self, draft: &mut Draft, report: &mut Report) {
        for wanted in std::mem::take(&mut self.wanted) {
            let Some(need) = self.known.get(&wanted.need.to_ascii_lowercase()) else {
                match wanted.otherwise {
                    Otherwise::Lost(why) => report.lost(&wanted.entry, why),
                    Otherwise::After(name) => {
                        let entry = Entry { service: String::new(), ..wanted.entry };
                        report.changed(&entry, "install.after", format!("{name}: {AFTER}"));
                        if !draft.after.contains(&name) {
                            draft.after.push(name);
                        }
                    }
                }
                continue;
            };
            if *need == wanted.service || leads_to(draft, need, &wanted.service) {
                let why = format!("{need} needs {} already, and needs have no circles", wanted.service);
                report.lost(&wanted.entry, why);
                continue;
            }
            match wanted.how {
                None => report.kept(&wanted.entry, "needs"),
                Some(how) => report.changed(&wanted.entry, "needs", how),
            }
            if let Some(service) = draft.services.iter_mut().find(|service| service.name == wanted.service)
                && !service.needs.contains(need)
            {
                service.needs.push(need.clone());
            }
        }
    }
}

/// Whether `from` needs `to`, directly or through others.
fn leads_to(draft: &Draft, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name)
            && let Some(service) = draft.services.iter().find(|service| service.name == name)
        {
            open.extend(service.needs.iter().map(String::as_str));
        }
    }
    false
}
