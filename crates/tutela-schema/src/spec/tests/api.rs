//! `[api]`: what is read, and each refusal with its place.

use super::*;
use std::path::PathBuf;
use tutela_core::access::{Rate, RatePer, Role};
use tutela_core::spec::{API_RATE, ApiDoor, ApiSpec, ApiTls};

const HASH: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

/// A spec with the table from line 5 on.
fn api(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[api]\n{keys}\n"))
}

/// What the least has in the lines from 5 to 7; a token is in the lines from 8 to 11.
fn with(keys: &str) -> Case {
    let token = format!("[[api.tokens]]\nname = \"t\"\nrole = \"viewer\"\nhash = \"{HASH}\"");
    api(&format!("listen = \"127.0.0.1:7443\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n{token}\n{keys}"))
}

fn door(case: Case) -> ApiDoor {
    case.loaded().spec.api.door.clone().unwrap()
}

#[test]
fn without_the_table_or_an_address_nobody_listens() {
    assert_eq!(service("").loaded().spec.api, ApiSpec::default());
    assert_eq!(api("").loaded().spec.api, ApiSpec::default());
}

#[test]
fn the_least_has_a_certificate_and_a_token() {
    let door = door(with(""));
    assert_eq!(door.listen, "127.0.0.1:7443".parse().unwrap());
    let folder = PathBuf::from("/srv");
    let tls = ApiTls { certificate: folder.join("c.pem"), key: folder.join("k.pem"), client_ca: None };
    assert_eq!((door.tls, door.rate, door.allow.len()), (Some(tls), API_RATE, 0));
    let token = &door.tokens[0];
    assert_eq!((token.name.as_str(), token.role, token.expires), ("t", Role::Viewer, None));
    assert_eq!((token.hash[0], token.hash[1], token.hash[31]), (0x00, 0x11, 0xff));
    assert_eq!(token_hash_text(&token.hash), HASH.to_lowercase());
}

#[test]
fn every_key_is_read_and_shown_but_for_the_hash() {
    let keys = format!(
        r#"listen = "[::]:7443"
certificate = "c.pem"
key = "/etc/k.pem"
client_ca = "clients.pem"
allow = ["10.0.0.0/8", "::1"]
rate = "600/m"
[[api.tokens]]
name = "deploy"
role = "admin"
hash = "{HASH}"
expires = "2027-06-30T02:00:00+02:00"
[[api.certificates]]
name = "ops.example"
role = "operator"
"#
    );
    let loaded = api(&keys).loaded();
    let door = loaded.spec.api.door.clone().unwrap();
    assert_eq!(door.rate, Rate { count: 600, per: RatePer::Minute });
    assert!(door.allow[0].contains("10.9.8.7".parse().unwrap()) && door.allow[1].contains("::1".parse().unwrap()));
    assert_eq!(door.tokens[0].expires, Some(1_814_313_600_000));
    assert_eq!((door.certificates[0].name.as_str(), door.certificates[0].role), ("ops.example", Role::Operator));
    let resolved: BTreeMap<_, _> = loaded.resolved().into_iter().map(|it| (it.key, (it.value, it.from))).collect();
    assert_eq!(resolved["api.rate"], ("\"600/m\"".to_owned(), "shop.toml:10:8".to_owned()));
    assert_eq!(resolved["api.tokens[0].role"].0, "\"admin\"");
    assert_eq!(resolved["api.tokens[0].expires"].0, "\"2027-06-30T00:00:00.000Z\"");
    assert_eq!(resolved["api.certificates[0].name"].0, "\"ops.example\"");
    let all = format!("{resolved:?}").to_lowercase();
    assert!(!all.contains("8899aabb"), "{all}");
}

#[test]
fn plain_http_needs_its_word_and_stays_on_this_computer() {
    let token = format!("[[api.tokens]]\nname = \"t\"\nrole = \"viewer\"\nhash = \"{HASH}\"");
    let plain = |listen: &str, more: &str| api(&format!("listen = \"{listen}\"\nwithout_tls = true\n{more}\n{token}"));
    for listen in ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80"] {
        assert_eq!(door(plain(listen, "")).tls, None);
    }
    for listen in ["0.0.0.0:80", "[::]:80", "192.168.0.1:80"] {
        assert_eq!(places(&plain(listen, "").refused()), [(Code::BadValue, 6, 15)], "{listen}");
    }
    let found = plain("127.0.0.1:80", "key = \"k.pem\"").refused();
    assert_eq!(places(&found), [(Code::MisplacedKey, 7, 7)]);
    // Without the word it is refused on this computer too.
    let found = api(&format!("listen = \"127.0.0.1:80\"\n{token}")).refused();
    assert_eq!(places(&found), [(Code::MissingKey, 4, 2), (Code::MissingKey, 4, 2)]);
    assert!(found[0].help.as_deref().unwrap_or_default().contains("without_tls"), "{found:#?}");
}

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    let token = |keys: &str| format!("[[api.tokens]]\n{keys}");
    let good = "role = \"viewer\"\nhash = \"sha256:1100000000000000000000000000000000000000000000000000000000000000\"";
    let certificate = |keys: &str| format!("[[api.certificates]]\n{keys}");
    for (keys, wanted) in [
        (token(&format!("{good}\nname = \"a b\"")), (Code::BadName, 15, 8)),
        (token(&format!("{good}\nname = \"t\"")), (Code::DuplicateName, 15, 8)),
        (token(good), (Code::MissingKey, 12, 1)),
        (token(&format!("name = \"u\"\nrole = \"viewer\"\nhash = \"{HASH}\"")), (Code::DuplicateName, 15, 8)),
        (token("name = \"u\"\nhash = \"sha256:11\"\nrole = \"admin\""), (Code::BadValue, 14, 8)),
        (token("name = \"u\"\nhash = \"swordfish\"\nrole = \"admin\""), (Code::BadValue, 14, 8)),
        (token("name = \"u\"\nrole = \"admin\""), (Code::MissingKey, 12, 1)),
        (token(&format!("{good}\nname = \"u\"\nexpires = \"tomorrow\"")), (Code::BadValue, 16, 11)),
        (token(&format!("{good}\nname = \"u\"\nexpires = \"2027-01-01\"")), (Code::BadValue, 16, 11)),
        (token(&format!("{}\nname = \"u\"", good.replace("viewer", "root"))), (Code::BadValue, 13, 8)),
        (certificate("name = \"a\"\nrole = \"viewer\""), (Code::MissingKey, 12, 1)),
    ] {
        let found = with(&keys).refused();
        let place = places(&found);
        assert_eq!(place[0].0, wanted.0, "{keys}: {found:#?}");
        assert_eq!((place[0].1, place.len()), (wanted.1, 1), "{keys}: {found:#?}");
        assert!(!format!("{found:?}").contains("swordfish"), "a token by mistake is shown to nobody");
    }
    for (keys, wanted) in [
        ("listen = \"localhost:7443\"", (Code::BadAddress, 5, 10)),
        ("listen = \"127.0.0.1\"", (Code::BadAddress, 5, 10)),
        ("listen = 7443", (Code::WrongType, 5, 10)),
        ("lisen = \"127.0.0.1:1\"", (Code::UnknownKey, 5, 1)),
        ("allow = [\"10.0.0.0/8\"]", (Code::MisplacedKey, 5, 9)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true", (Code::MissingKey, 5, 10)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true\nrate = \"fast\"", (Code::BadValue, 7, 8)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true\nrate = \"0/s\"", (Code::NumberRange, 7, 8)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true\nrate = 100", (Code::WrongType, 7, 8)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true\nallow = []", (Code::BadValue, 7, 9)),
        ("listen = \"127.0.0.1:1\"\nwithout_tls = true\nallow = [\"10.0.0.1/8\"]", (Code::BadAddress, 7, 10)),
    ] {
        let found = api(keys).refused();
        assert!(places(&found).contains(&wanted), "{keys}: {found:#?}");
    }
}
