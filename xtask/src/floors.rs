//! Stairs only go down: who may depend on whom, checked over `cargo metadata`.
//!
//! The rule is the table in `docs/design/house.md`, read from there, so that the page and the check cannot
//! disagree. What counts are the dependencies that end up in a program or run while it is built; tests may look
//! at anything.
//!
//! A crate of the workspace that the table does not know is one that proves or tends (tests, bench, xtask): it
//! may depend on everything, and no crate of the house may depend on it.

use crate::cargo::cargo;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The page with the table.
const PAGE: &str = "docs/design/house.md";

/// Where what ships lies. A crate here must have a floor.
const HOUSE_FOLDER: &str = "/crates/";

/// A floor, counted from the ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Ground,
    Middle,
    /// Half a floor above the middle: what stands on rooms of the middle floor and is no part of the guard.
    Mezzanine,
    Top,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    floor: Floor,
    allowed: Allowed,
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    /// Every crate of the house on a lower floor.
    EverythingBelow,
    /// These. On the ground floor they are all it may depend on; above, all it may of the house.
    Only(BTreeSet<String>),
}

/// A member of the workspace.
#[derive(Debug)]
struct Member {
    name: String,
    manifest: String,
    /// Names of its dependencies, those of tests left out.
    needs: BTreeSet<String>,
}

/// The dependencies of the workspace keep to the table.
pub fn step(root: &Path) -> Result<String> {
    let page = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("failed to read {PAGE}"))?;
    let house = read_table(&page)?;
    let output = cargo(root)
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("failed to start cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata = serde_json::from_slice(&output.stdout).context("failed to read what `cargo metadata` printed")?;
    let members = read_members(&metadata)?;
    let wrong = judge(&house, &members);
    if !wrong.is_empty() {
        bail!("{} edges break {PAGE}\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(format!("{} crates", members.len()))
}

/// Reads the rows that start with a floor.
fn read_table(page: &str) -> Result<BTreeMap<String, Room>> {
    let mut house = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [floor, name, _, allowed] = cells.as_slice() else { continue };
        let floor = match *floor {
            "top" => Floor::Top,
            "mezzanine" => Floor::Mezzanine,
            "middle" => Floor::Middle,
            "ground" => Floor::Ground,
            _ => continue,
        };
        let allowed = match *allowed {
            "everything below" => Allowed::EverythingBelow,
            names => Allowed::Only(quoted(names)),
        };
        let Some(name) = quoted(name).pop_first() else { bail!("{PAGE}: a row names no crate: {line}") };
        house.insert(name, Room { floor, allowed });
    }
    if house.is_empty() {
        bail!("{PAGE} has no table of floors");
    }
    Ok(house)
}

/// What stands between backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn read_members(metadata: &Value) -> Result<Vec<Member>> {
    let packages = metadata["packages"].as_array().context("the metadata has no packages")?;
    packages.iter().map(|package| read_member(package).context("a package lacks what every package has")).collect()
}

fn read_member(package: &Value) -> Option<Member> {
    let needs = package["dependencies"].as_array()?.iter().filter(|need| need["kind"] != "dev");
    Some(Member {
        name: package["name"].as_str()?.to_owned(),
        manifest: package["manifest_path"].as_str()?.replace('\\', "/"),
        needs: needs.filter_map(|need| need["name"].as_str().map(str::to_owned)).collect(),
    })
}

/// Everything that breaks the table, as sentences.
fn judge(house: &BTreeMap<String, Room>, members: &[Member]) -> Vec<String> {
    let mut wrong = Vec::new();
    let known: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for name in house.keys().filter(|name| !known.contains(name.as_str())) {
        wrong.push(format!("the table has `{name}`, the workspace has not"));
    }
    for member in members {
        match house.get(&member.name) {
            Some(room) => judge_room(house, &known, member, room, &mut wrong),
            None if member.manifest.contains(HOUSE_FOLDER) => {
                wrong.push(format!("`{}` lies in crates/ and has no floor in the table", member.name));
            }
            None => {}
        }
    }
    wrong
}

fn judge_room(
    house: &BTreeMap<String, Room>,
    known: &BTreeSet<&str>,
    member: &Member,
    room: &Room,
    wrong: &mut Vec<String>,
) {
    for need in &member.needs {
        let edge = format!("`{}` -> `{need}`", member.name);
        match house.get(need) {
            Some(other) if other.floor >= room.floor => {
                wrong.push(format!("{edge}: not a floor below ({:?} -> {:?})", room.floor, other.floor));
                continue;
            }
            Some(_) => {}
            None if known.contains(need.as_str()) => {
                wrong.push(format!("{edge}: what ships may not depend on what proves or tends"));
                continue;
            }
            None => {}
        }
        if let Allowed::Only(names) = &room.allowed {
            let judged = room.floor == Floor::Ground || house.contains_key(need);
            if judged && !names.contains(need) {
                wrong.push(format!("{edge}: not among what the table allows it"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    const TABLE: &str = "\
| floor | crate | one word | may depend on |
|---|---|---|---|
| top | `app` | runs | everything below |
| mezzanine | `kit` | hosts | `hands`, `brain` |
| middle | `hands` | touches | `brain` |
| middle | `mouth` | speaks | `brain` |
| ground | `brain` | decides | std, `thiserror` |
";

    fn member(name: &str, needs: &[&str]) -> Member {
        let folder = if matches!(name, "tests" | "tool") { "" } else { HOUSE_FOLDER };
        Member {
            name: name.to_owned(),
            manifest: format!("/repo{folder}{name}/Cargo.toml"),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        }
    }

    /// The house as it should be, with one crate's dependencies replaced.
    fn judged_with(name: &str, needs: &[&str]) -> Vec<String> {
        let mut members = vec![
            member("app", &["hands", "mouth", "brain", "tokio"]),
            member("kit", &["hands", "brain", "tokio"]),
            member("hands", &["brain", "libc"]),
            member("mouth", &["brain", "serde"]),
            member("brain", &["thiserror"]),
            member("tests", &["app", "brain"]),
        ];
        members.retain(|member| member.name != name);
        members.push(member(name, needs));
        judge(&read_table(TABLE).unwrap(), &members)
    }

    #[test]
    fn a_house_that_keeps_to_its_table_passes() {
        assert_eq!(judged_with("tests", &["app"]), Vec::<String>::new());
    }

    #[test]
    fn stairs_that_go_up_are_found() {
        assert_eq!(judged_with("hands", &["app"]), ["`hands` -> `app`: not a floor below (Middle -> Top)"]);
    }

    #[test]
    fn a_door_between_two_rooms_of_one_floor_is_found() {
        assert_eq!(judged_with("hands", &["mouth"]), ["`hands` -> `mouth`: not a floor below (Middle -> Middle)"]);
    }

    #[test]
    fn the_mezzanine_stands_on_the_rooms_that_the_table_names_and_no_others() {
        assert_eq!(judged_with("kit", &["hands"]), Vec::<String>::new());
        assert_eq!(judged_with("kit", &["mouth"]), ["`kit` -> `mouth`: not among what the table allows it"]);
        assert_eq!(judged_with("mouth", &["kit"]), ["`mouth` -> `kit`: not a floor below (Middle -> Mezzanine)"]);
    }

    #[test]
    fn the_ground_floor_gets_no_dependency_that_the_table_lacks() {
        assert_eq!(judged_with("brain", &["tokio"]), ["`brain` -> `tokio`: not among what the table allows it"]);
    }

    #[test]
    fn what_ships_may_not_depend_on_its_tests() {
        assert_eq!(
            judged_with("mouth", &["tests"]),
            ["`mouth` -> `tests`: what ships may not depend on what proves or tends"]
        );
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(judged_with("attic", &[]), ["`attic` lies in crates/ and has no floor in the table"]);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let metadata = json!({"packages": [{
            "name": "brain",
            "manifest_path": "/repo/crates/brain/Cargo.toml",
            "dependencies": [
                {"name": "thiserror", "kind": null},
                {"name": "proptest", "kind": "dev"},
                {"name": "cc", "kind": "build"},
            ],
        }]});
        let members = read_members(&metadata).unwrap();
        assert_eq!(members[0].needs, BTreeSet::from(["cc".to_owned(), "thiserror".to_owned()]));
    }
}
