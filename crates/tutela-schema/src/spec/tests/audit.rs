//! `[audit]`: how long entries are kept.

use super::*;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn audit(keys: &str) -> Case {
    Case::new(format!("name = \"shop\"\n[services.a]\ncommand = \"a\"\n[audit]\n{keys}\n"))
}

#[test]
fn entries_are_kept_for_half_a_year_or_as_long_as_the_spec_says() {
    assert_eq!(service("").loaded().spec.audit.keep_for, 180 * DAY);
    let loaded = audit("keep_for = \"400d\"").loaded();
    assert_eq!(loaded.spec.audit.keep_for, 400 * DAY);
    let resolved = loaded.resolved();
    let value = resolved.iter().find(|it| it.key == "audit.keep_for").unwrap();
    assert_eq!(value.from, "shop.toml:5:12");
}

#[test]
fn a_record_that_is_kept_for_nothing_is_refused_where_it_is_written() {
    for (keys, code) in [
        ("keep_for = \"0s\"", Code::NumberRange),
        ("keep_for = 180", Code::WrongType),
        ("keep_for = \"long\"", Code::BadDuration),
    ] {
        assert_eq!(places(&audit(keys).refused()), [(code, 5, 12)], "{keys}");
    }
    let found = audit("keep_four = \"1d\"").refused();
    assert_eq!(places(&found), [(Code::UnknownKey, 5, 1)]);
    assert!(found[0].help.as_deref().unwrap_or_default().contains("keep_for"), "{:?}", found[0].help);
}
