//! Needs lead to services that exist, and never in a circle.

use std::collections::BTreeMap;
use std::sync::Arc;
use tutela_core::names::ServiceName;
use tutela_core::spec::ServiceSpec;

/// A service, the position of the need in its list, and the service it names, which does not exist.
pub(super) fn missing(services: &BTreeMap<ServiceName, Arc<ServiceSpec>>) -> Vec<(&ServiceName, &ServiceName)> {
    let all = services.values().flat_map(|service| service.needs.iter().map(move |need| (&service.name, need)));
    all.filter(|(_, need)| !services.contains_key(*need)).collect()
}

/// One circle, if there is one: each service needs the next one, the last one the first.
pub(super) fn circle(services: &BTreeMap<ServiceName, Arc<ServiceSpec>>) -> Option<Vec<&ServiceName>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        OnTheWay,
        Done,
    }
    let mut marks: BTreeMap<&ServiceName, Mark> = BTreeMap::new();
    for start in services.values() {
        if marks.contains_key(&start.name) {
            continue;
        }
        // A stack of our own: a chain of needs may be as long as the spec.
        let mut way: Vec<(&ServiceSpec, usize)> = vec![(start, 0)];
        marks.insert(&start.name, Mark::OnTheWay);
        while let Some((service, next)) = way.last_mut() {
            let Some(need) = service.needs.get(*next) else {
                marks.insert(&service.name, Mark::Done);
                way.pop();
                continue;
            };
            *next += 1;
            let Some(needed) = services.get(need) else { continue };
            match marks.get(&needed.name) {
                Some(Mark::Done) => {}
                Some(Mark::OnTheWay) => {
                    let from = way.iter().position(|(service, _)| service.name == needed.name).unwrap_or(0);
                    return Some(way[from..].iter().map(|(service, _)| &service.name).collect());
                }
                None => {
                    marks.insert(&needed.name, Mark::OnTheWay);
                    way.push((needed, 0));
                }
            }
        }
    }
    None
}
