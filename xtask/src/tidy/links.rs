//! Links in Markdown lead somewhere: to a file or a folder of the repository, and to a heading that exists.
//!
//! Addresses on the net are not asked: a check that needs the net fails for reasons that are not ours.

use super::Violation;
use crate::tree::{File, Tree};
use std::collections::BTreeMap;

/// Judges every Markdown file.
pub fn judge(tree: &Tree, violations: &mut Vec<Violation>) {
    let pages: BTreeMap<&str, &File> =
        tree.files.iter().filter(|file| file.path.ends_with(".md")).map(|file| (file.path.as_str(), file)).collect();
    for page in pages.values() {
        for (line, target) in links(&page.text) {
            if let Some(what) = broken(tree, &pages, page, &target) {
                violations.push(Violation::new(&page.path, line, format!("the link to `{target}` {what}")));
            }
        }
    }
}

/// What is wrong with a link, if anything.
fn broken(tree: &Tree, pages: &BTreeMap<&str, &File>, page: &File, target: &str) -> Option<String> {
    let is_address =
        target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
    if is_address {
        return None;
    }
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let resolved = match path {
        "" => page.path.clone(),
        path if path.starts_with('/') => return Some("is absolute; start from this page".to_owned()),
        path => match resolve(&page.path, path) {
            Some(resolved) => resolved,
            None => return Some("leaves the repository".to_owned()),
        },
    };
    if !resolved.is_empty() && !tree.places.contains(&resolved) {
        return Some("leads nowhere".to_owned());
    }
    let heading = heading?;
    let known = headings(&pages.get(resolved.as_str())?.text);
    (!known.iter().any(|known| known == heading)).then(|| format!("leads to no heading of {resolved}"))
}

/// `path` as seen from the folder of `page`, relative to the root; `None` where it climbs out.
fn resolve(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Every `[text](target)` and `[name]: target` with its line, code left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (line, content) in prose(text) {
        let mut rest = content.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            // A title may follow the target.
            links.push((line, target.split_whitespace().next().unwrap_or_default().to_owned()));
            rest = after;
        }
        let definition = content.strip_prefix('[').and_then(|content| content.split_once("]: "));
        if let Some((_, target)) = definition {
            links.push((line, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
    }
    links
}

/// The lines that are no code, with inline code taken out.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        let plain = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        (!fenced).then_some((index + 1, plain))
    })
}

/// The anchors that a page's headings get, as the usual hosts make them.
fn headings(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let Some(title) = line.strip_prefix('#').map(|line| line.trim_start_matches('#')).filter(|_| !fenced) else {
            continue;
        };
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let repeated = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if repeated == 0 { anchor.clone() } else { format!("{anchor}-{repeated}") });
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = "[a](design/house.md) [b](../README.md \"title\") [c](gone.md) `[d](gone.md)`\n\
                    ```\n[e](gone.md)\n```\n[f](https://example.org/gone.md) [g](../../out.md) [h](/etc/passwd)\n\
                    [name]: design\n[other]: gone\n";
        let files = [("docs/x.md", page), ("README.md", ""), ("docs/design/house.md", "")];
        assert_eq!(
            found(judge, &files),
            [
                "docs/x.md:1: the link to `gone.md` leads nowhere",
                "docs/x.md:5: the link to `../../out.md` leaves the repository",
                "docs/x.md:5: the link to `/etc/passwd` is absolute; start from this page",
                "docs/x.md:7: the link to `gone` leads nowhere",
            ]
        );
    }

    #[test]
    fn a_link_to_a_heading_that_is_not_there_is_found() {
        let files = [
            ("a.md", "# `One` & two\n[x](#one--two) [y](b.md#three) [z](b.md#four)\n"),
            ("b.md", "## Three\n```\n# Four\n```\n"),
        ];
        assert_eq!(found(judge, &files), ["a.md:2: the link to `b.md#four` leads to no heading of b.md"]);
    }
}
