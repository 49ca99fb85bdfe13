//! `tutela metrics`: the figures of one guard or of all, as text for a person or for the textfile collector.
//!
//! The texts of several guards are one text in the end: a family is described once, whoever has figures in it, as the
//! format demands.

use super::words::MetricsWords;
use super::{Code, DONE, FAILED, block_on, report};
use crate::client::{ClientError, Reach};
use std::path::Path;

pub fn metrics(words: &MetricsWords, reach: &Reach) -> Code {
    let text = match block_on(ask(words.guard.as_deref(), reach)) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return report::client_error(&error),
        Err(code) => return code,
    };
    match &words.output {
        None => {
            // A closed output has nobody left to be told.
            let _ = report::print(&text);
            DONE
        }
        Some(path) => match write(path, &text) {
            Ok(()) => DONE,
            Err(error) => {
                report::error(&format!("failed to write {}: {error}", path.display()), None);
                FAILED
            }
        },
    }
}

async fn ask(guard: Option<&str>, reach: &Reach) -> Result<String, ClientError> {
    if let Some(guard) = guard {
        return reach.client(guard).text("/metrics").await;
    }
    let mut texts = Vec::new();
    for name in reach.guards() {
        match reach.client(&name).text("/metrics").await {
            Ok(text) => texts.push(text),
            // One that ended meanwhile, or is another account's, is none of those that can be shown.
            Err(ClientError::NoGuard { .. } | ClientError::NotAllowed { .. }) if !reach.is_remote() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(merged(&texts))
}

/// Texts of several guards as one.
fn merged(texts: &[String]) -> String {
    let mut families: Vec<(&str, String)> = Vec::new();
    for text in texts {
        let mut at = None;
        for line in text.lines() {
            let described = line.strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next());
            if let Some(name) = described {
                let known = families.iter().position(|(known, _)| *known == name);
                let place = known.unwrap_or_else(|| {
                    families.push((name, format!("{line}\n")));
                    families.len() - 1
                });
                at = Some((place, known.is_some()));
                continue;
            }
            let Some((place, known)) = at else { continue };
            if !(known && line.starts_with('#')) {
                let (_, family) = &mut families[place];
                family.push_str(line);
                family.push('\n');
            }
        }
    }
    families.into_iter().map(|(_, text)| text).collect()
}

/// Puts a text in the place of a file, so that whoever reads it sees the old one or the new one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_several_guards_is_described_once() {
        let one = "# HELP a A.\n# TYPE a gauge\na{guard=\"x\"} 1\n# HELP b B.\n# TYPE b gauge\nb{guard=\"x\"} 2\n";
        let two = "# HELP a A.\n# TYPE a gauge\na{guard=\"y\"} 3\n# HELP c C.\n# TYPE c gauge\nc{guard=\"y\"} 4\n";
        assert_eq!(
            merged(&[one.to_owned(), two.to_owned()]),
            "# HELP a A.\n# TYPE a gauge\na{guard=\"x\"} 1\na{guard=\"y\"} 3\n\
             # HELP b B.\n# TYPE b gauge\nb{guard=\"x\"} 2\n# HELP c C.\n# TYPE c gauge\nc{guard=\"y\"} 4\n"
        );
        assert_eq!(merged(&[]), "");
    }
}
