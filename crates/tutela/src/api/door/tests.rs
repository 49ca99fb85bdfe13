//! The rules of the door, without a socket: who still may stay once something has changed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::gate::{CONNECTIONS_OF_ONE_MAX, Gate, Link, Policy, Turned};
use super::{Door, News, token};
use hyper::header::{self, HeaderMap, HeaderValue};
use std::sync::{Arc, Mutex};
use tutela_core::access::{Rate, RatePer, Role};
use tutela_core::names::Name;
use tutela_core::spec::{ApiDoor, ApiSpec, ApiToken};

const SECRET: &str = "tutela_swordfish";

fn rules(role: Role, expires: Option<i64>) -> ApiDoor {
    let token = ApiToken { name: Name::new("t").unwrap(), role, hash: token::hash_of(SECRET.as_bytes()), expires };
    ApiDoor {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        allow: Vec::new(),
        rate: Rate { count: 1000, per: RatePer::Hour },
        tokens: vec![token],
        certificates: Vec::new(),
    }
}

fn adopt(gate: &Gate, door: &ApiDoor) {
    gate.adopt(Some(Arc::new(Policy::new(door).unwrap())));
}

fn gate(door: &ApiDoor) -> (Arc<Gate>, Arc<Mutex<Vec<News>>>) {
    let told: Arc<Mutex<Vec<News>>> = Arc::default();
    let telling = told.clone();
    let gate = Arc::new(Gate::new(Box::new(move |news| telling.lock().unwrap().push(news))));
    adopt(&gate, door);
    (gate, told)
}

fn link() -> Link {
    Link::new("10.0.0.1:5".parse().unwrap(), Vec::new())
}

fn headers(authorization: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))])
}

#[test]
fn who_came_in_stays_until_the_token_is_gone_less_or_over() {
    let far = crate::conductor::wall_now().unix_millis() + 3_600_000;
    let good = rules(Role::Operator, Some(far));
    let mut elsewhere = good.clone();
    elsewhere.allow = vec!["192.168.0.0/16".parse().unwrap()];
    let mut gone = good.clone();
    gone.tokens.clear();
    for (after, stays) in [
        (Some(good.clone()), true),
        (Some(rules(Role::Admin, None)), true),
        (Some(rules(Role::Viewer, None)), false),
        (Some(rules(Role::Operator, Some(1))), false),
        (Some(gone), false),
        (Some(elsewhere), false),
        (None, false),
    ] {
        let (gate, _) = gate(&good);
        let link = link();
        assert!(gate.still_welcomes(&link), "nobody has asked yet");
        let guest = gate.admit(&link, &headers("bearer tutela_swordfish")).unwrap();
        assert_eq!(guest.role, Role::Operator);
        match &after {
            Some(door) => adopt(&gate, door),
            None => gate.adopt(None),
        }
        assert_eq!(gate.still_welcomes(&link), stays, "{after:?}");
    }
}

#[test]
fn a_token_is_refused_from_its_end_on() {
    let now = crate::conductor::wall_now().unix_millis();
    for (expires, is_in) in [(now + 60_000, true), (now, false), (now - 1, false)] {
        let (gate, _) = gate(&rules(Role::Viewer, Some(expires)));
        assert_eq!(gate.admit(&link(), &headers("Bearer tutela_swordfish")).is_ok(), is_in);
    }
    let (gate, _) = gate(&rules(Role::Viewer, None));
    for wrong in ["Bearer tutela_swordfis", "Bearer", "Basic tutela_swordfish", "tutela_swordfish", "Bearer  "] {
        assert_eq!(gate.admit(&link(), &headers(wrong)).unwrap_err(), Turned::Unknown, "{wrong}");
    }
}

#[test]
fn a_flood_is_one_event_and_one_address_has_its_places() {
    let (gate, told) = gate(&rules(Role::Viewer, None));
    for _ in 0..1000 {
        let _ = gate.admit(&link(), &headers("Bearer wrong"));
    }
    assert_eq!(told.lock().unwrap().len(), 1);
    assert!(matches!(told.lock().unwrap()[0], News::Refused { more: 0, .. }));
    let seats: Vec<_> = (0..100).filter_map(|_| gate.seat("10.0.0.1".parse().unwrap())).collect();
    assert_eq!(seats.len(), CONNECTIONS_OF_ONE_MAX as usize);
    assert!(gate.seat("10.0.0.2".parse().unwrap()).is_some());
    drop(seats);
    assert!(gate.seat("10.0.0.1".parse().unwrap()).is_some(), "places are given back");
}

#[test]
fn an_address_that_is_taken_is_refused_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut door = rules(Role::Viewer, None);
    door.listen = taken.local_addr().unwrap();
    let spec = ApiSpec { door: Some(door) };
    let refused = Door::new(|_| {}).prepare(&spec).err().unwrap();
    assert!(
        refused.key == "listen" && refused.message.contains(&taken.local_addr().unwrap().to_string()),
        "{refused:?}"
    );
}
