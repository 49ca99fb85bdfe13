//! What a constant is, as a person reads it: `64 KiB`, `250 ms`, `10000`. What cannot be worked out here, because it
//! names others, is shown as it is written.

/// The value that these words of code come to.
pub(super) fn shown(name: &str, words: &[&str]) -> String {
    if let Some((unit, inside)) = duration(words)
        && let Some(number) = number(inside)
    {
        return time(number, unit);
    }
    match number(words) {
        Some(number) if name.contains("BYTES") && number >= 1024 => bytes(number),
        Some(number) => number.to_string(),
        None => format!("`{}`", spelled(words)),
    }
}

/// The nanoseconds of a unit of `Duration::from_…`, and what is in its brackets.
fn duration<'w, 'a>(words: &'w [&'a str]) -> Option<(u128, &'w [&'a str])> {
    let at = words.iter().position(|word| word.starts_with("from_"))?;
    let unit = match words[at] {
        "from_secs" => 1_000_000_000,
        "from_millis" => 1_000_000,
        "from_micros" => 1_000,
        _ => return None,
    };
    let is_path = words[..at].iter().all(|word| matches!(*word, "std" | "time" | "::" | "Duration"));
    match words.get(at + 1..)? {
        ["(", inside @ .., ")"] if is_path => Some((unit, inside)),
        _ => None,
    }
}

/// Products and shifts of plain numbers.
fn number(words: &[&str]) -> Option<u128> {
    let plain = |word: &str| {
        let digits = word.replace('_', "");
        let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix("0o")) {
            (Some(digits), _) => (digits.to_owned(), 16),
            (_, Some(digits)) => (digits.to_owned(), 8),
            _ => (digits, 10),
        };
        u128::from_str_radix(&digits, radix).ok()
    };
    match words {
        [one] => plain(one),
        [rest @ .., "*", last] => number(rest)?.checked_mul(plain(last)?),
        [rest @ .., "<", "<", last] => number(rest)?.checked_shl(u32::try_from(plain(last)?).ok()?),
        _ => None,
    }
}

fn time(number: u128, unit: u128) -> String {
    let nanoseconds = number * unit;
    let whole = |unit: u128, least: u128| nanoseconds.is_multiple_of(unit) && nanoseconds / unit >= least;
    let second = 1_000_000_000;
    // A minute is told in seconds, which is how people say it.
    for (unit, least, word) in [
        (86_400 * second, 1, "d"),
        (3600 * second, 1, "h"),
        (60 * second, 2, "min"),
        (second, 1, "s"),
        (1_000_000, 1, "ms"),
    ] {
        if whole(unit, least) {
            return format!("{} {word}", nanoseconds / unit);
        }
    }
    format!("{} µs", nanoseconds / 1_000)
}

fn bytes(number: u128) -> String {
    for (bits, word) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if number.is_multiple_of(1 << bits) {
            return format!("{} {word}", number >> bits);
        }
    }
    format!("{number} B")
}

/// As rustfmt would have it, about.
fn spelled(words: &[&str]) -> String {
    let mut text = String::new();
    for word in words {
        let tight = matches!(*word, "::" | "(" | ")" | "." | "[" | "]" | ">" | "," | ";");
        let after = text.ends_with(['(', '[', '.', '<', '!', '&']) || text.ends_with("::") || text.is_empty();
        let generic = *word == "<" && text.ends_with("::");
        if !tight && !after && !generic {
            text.push(' ');
        }
        text.push_str(word);
    }
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_people_read_them() {
        for (name, code, wanted) in [
            ("A_MAX", "16_384", "16384"),
            ("A_BYTES", "64 * 1024", "64 KiB"),
            ("A_BYTES", "1 < < 20", "1 MiB"),
            ("A_BYTES", "28_000", "28000 B"),
            ("A_BYTES", "200", "200"),
            ("MODE", "0o755", "493"),
            ("A", "Duration :: from_secs ( 24 * 60 * 60 )", "1 d"),
            ("A", "Duration :: from_secs ( 60 )", "60 s"),
            ("A", "std :: time :: Duration :: from_millis ( 1500 )", "1500 ms"),
            ("A", "Duration :: from_micros ( 20 )", "20 µs"),
            ("A", "2 * OTHER_MAX", "`2 * OTHER_MAX`"),
            ("A", "size_of :: < u32 > ( )", "`size_of::<u32>()`"),
        ] {
            assert_eq!(shown(name, &code.split(' ').collect::<Vec<_>>()), wanted, "{code}");
        }
    }
}
