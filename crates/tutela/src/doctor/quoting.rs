//! A path with spaces that nobody quoted: `C:\Program Files\shop\api.exe --port 1` is the program `C:\Program`.

use super::{Call, Chart};
use tutela_schema::spec::Code;

/// Words that are put together at the most; a path has few spaces.
const WORDS_MAX: usize = 8;

pub(super) fn examine(chart: &mut Chart<'_>, call: &Call<'_>) {
    let Some(meant) = meant(&call.words, |path| call.launch().cwd.join(path).is_file()) else { return };
    let first = call.words.first().map(String::as_str).unwrap_or_default();
    let message = format!("the program {first} does not exist, but {meant} does: its spaces split it");
    let help =
        format!("write the command as a list, with the path as one word: [\"{}\", …]", meant.replace('\\', "\\\\"));
    chart.wrong(Code::PathUnquoted, call.service.name.as_str(), &call.keys, message, help);
}

/// The shortest run of first words that together are a file.
fn meant(words: &[String], is_file: impl Fn(&str) -> bool) -> Option<String> {
    (2..=words.len().min(WORDS_MAX))
        .map(|count| words.iter().take(count).cloned().collect::<Vec<_>>().join(" "))
        .find(|path| is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_split_path_are_found_together() {
        let words = ["/opt/my", "shop/api", "--port", "1"].map(String::from);
        assert_eq!(meant(&words, |path| path == "/opt/my shop/api").as_deref(), Some("/opt/my shop/api"));
        assert_eq!(meant(&words, |_| false), None);
        assert_eq!(meant(&words[..1], |_| true), None);
    }
}
