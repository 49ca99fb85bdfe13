//! The plan that turns needs into waves: what starts together, and in which order what stops.
//!
//! Called by the schema (to refuse a cycle by name), by `tutela check` (to show the waves) and by
//! [`crate::guard`]. Its input is any map of names to needed names; a need that is no key is ignored
//! here, refusing it is the schema's business.

use crate::names::ServiceName;
use std::collections::{BTreeMap, BTreeSet};

/// Services by name, each with the names it needs.
pub type Needs = BTreeMap<ServiceName, Vec<ServiceName>>;

/// A circle of needs: each needs the next, the last needs the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<ServiceName>);

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in &self.0 {
            write!(f, "{name} -> ")?;
        }
        match self.0.first() {
            Some(first) => write!(f, "{first}"),
            None => Ok(()),
        }
    }
}

/// The waves in which services start: each needs only services of earlier waves. Stop them in the reverse
/// order.
///
/// # Errors
/// One circle, when there is any.
pub fn start_waves(needs: &Needs) -> Result<Vec<Vec<ServiceName>>, Cycle> {
    let mut waiting: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    for (name, wanted) in needs {
        let known: BTreeSet<&ServiceName> = wanted.iter().filter(|need| needs.contains_key(*need)).collect();
        waiting.insert(name, known.len());
        for need in known {
            needed_by.entry(need).or_default().push(name);
        }
    }
    let mut waves = Vec::new();
    let mut wave: Vec<&ServiceName> = waiting.iter().filter(|(_, open)| **open == 0).map(|(name, _)| *name).collect();
    let mut placed = 0;
    while !wave.is_empty() {
        placed += wave.len();
        let mut next = Vec::new();
        for name in &wave {
            for dependent in needed_by.get(name).map(Vec::as_slice).unwrap_or_default() {
                if let Some(open) = waiting.get_mut(dependent) {
                    *open -= 1;
                    if *open == 0 {
                        next.push(*dependent);
                    }
                }
            }
        }
        next.sort();
        waves.push(wave.into_iter().cloned().collect());
        wave = next;
    }
    if placed < needs.len() {
        let stuck = waiting.iter().filter(|(_, open)| **open > 0).map(|(name, _)| *name).collect();
        return Err(find_cycle(needs, &stuck));
    }
    Ok(waves)
}

/// What is needed by `roots`, directly or not, they themselves included.
pub fn needed_by_all(needs: &Needs, roots: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    closure(roots, |name| needs.get(name).cloned().unwrap_or_default())
}

/// What needs one of `roots`, directly or not, they themselves included.
pub fn dependents_of(needs: &Needs, roots: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    closure(roots, |name| {
        needs.iter().filter(|(_, wanted)| wanted.contains(name)).map(|(dependent, _)| dependent.clone()).collect()
    })
}

fn closure(roots: &BTreeSet<ServiceName>, step: impl Fn(&ServiceName) -> Vec<ServiceName>) -> BTreeSet<ServiceName> {
    let mut found = roots.clone();
    let mut open: Vec<ServiceName> = roots.iter().cloned().collect();
    while let Some(name) = open.pop() {
        for next in step(&name) {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

/// Every stuck service needs a stuck one, so walking needs among them must come round.
fn find_cycle(needs: &Needs, stuck: &BTreeSet<&ServiceName>) -> Cycle {
    let mut path: Vec<&ServiceName> = Vec::new();
    let mut at = stuck.first().copied();
    while let Some(name) = at {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            return Cycle(path[start..].iter().map(|name| (*name).clone()).collect());
        }
        path.push(name);
        at = needs.get(name).and_then(|wanted| wanted.iter().find_map(|need| stuck.get(need).copied()));
    }
    Cycle(path.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;

    fn needs(text: &str) -> Needs {
        let name = |word: &str| Name::new(word).expect("a name");
        text.split(';')
            .map(|entry| {
                let (service, wanted) = entry.split_once(':').expect("service: needs");
                (name(service.trim()), wanted.split_whitespace().map(name).collect())
            })
            .collect()
    }

    fn waves(text: &str) -> Result<String, String> {
        match start_waves(&needs(text)) {
            Ok(waves) => Ok(waves
                .iter()
                .map(|wave| wave.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
                .join(" | ")),
            Err(cycle) => Err(cycle.to_string()),
        }
    }

    #[test]
    fn needs_become_waves() {
        assert_eq!(waves("api: db cache; db:; cache: db; web: api; cron:"), Ok("cron db | cache | api | web".into()));
    }

    #[test]
    fn a_circle_is_named() {
        assert_eq!(waves("a: b; b: c; c: a; d: a"), Err("a -> b -> c -> a".into()));
        assert_eq!(waves("a: a"), Err("a -> a".into()));
        assert_eq!(waves("x: a; a: b; b: a"), Err("a -> b -> a".into()));
    }

    #[test]
    fn a_need_named_twice_counts_once() {
        assert_eq!(waves("a: b b; b:"), Ok("b | a".into()));
    }

    #[test]
    fn closures_go_both_ways() {
        let map = needs("api: db; db: disk; disk:; web: api; other:");
        let roots = |word: &str| BTreeSet::from([Name::new(word).expect("a name")]);
        let text = |set: BTreeSet<ServiceName>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(needed_by_all(&map, &roots("api"))), "api db disk");
        assert_eq!(text(dependents_of(&map, &roots("db"))), "api db web");
    }
}
