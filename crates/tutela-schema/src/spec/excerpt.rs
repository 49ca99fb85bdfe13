//! A spec's text as it may be shown below a refusal: with its secrets blanked, each byte by a `*`, so that columns stay.
//!
//! Called where a refusal is drawn. It looks at the text and not at what was read from it, because what is refused was
//! mostly not read: text values of keys with a secret's name, and the user and password in addresses.

use super::resolved::is_secret;

/// The text with its secrets blanked. As long as before, in bytes and lines.
pub fn blanked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for line in lines(text) {
        for (from, to) in credentials(&text[line.clone()]).into_iter().chain(values(&text[line.clone()])) {
            bytes[line.start + from..line.start + to].fill(b'*');
        }
    }
    // Whole texts were blanked, so no character was cut.
    String::from_utf8(bytes).unwrap_or_default()
}

fn lines(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        range
    })
}

/// What stands between `://` and `@` of an address.
fn credentials(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, sign) in line.match_indices("://") {
        let from = at + sign.len();
        let rest = &line[from..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(rest.len());
        if let Some(sign) = rest[..end].rfind('@') {
            found.push((from, from + sign));
        }
    }
    found
}

/// The text values of keys whose names say that they are secret: `TOKEN = "…"`, also quoted and in inline tables.
fn values(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('=') {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let name = &before[before.trim_end_matches(is_part).len()..];
        let after = line[at + 1..].trim_start();
        let from = line.len() - after.len();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        // Where a token's hash belongs, the token itself may stand by mistake.
        if name.is_empty() || !(is_secret(name) || name == "hash") {
            continue;
        }
        let inside = &after[1..];
        // Where a secret is may be seen.
        if super::secret_refs::is_reference(inside) {
            continue;
        }
        // An escaped quote ends nothing; a text without an end goes to the line's.
        let mut escaped = false;
        let end = inside.find(|c: char| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && quote == '"' && !escaped;
            ends
        });
        let end = end.unwrap_or_else(|| inside.trim_end().len());
        found.push((from + 1, from + 1 + end));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_and_everything_else_stays_where_it_is() {
        let text = "env = { API_TOKEN = \"s3cr\\\"et\", PORT = \"80\" }\nhttp = \"http://user:pä55@host/in\"\n\
                    \"password\" = 'x y' # why\nkeep = 3\nhash = \"tutela_0\"\nshared_key = \"unended\n";
        let shown = "env = { API_TOKEN = \"********\", PORT = \"80\" }\nhttp = \"http://**********@host/in\"\n\
                     \"password\" = '***' # why\nkeep = 3\nhash = \"********\"\nshared_key = \"*******\n";
        assert_eq!(blanked(text), shown);
        assert_eq!(blanked(text).len(), text.len());
    }
}
