//! How bad a line is, found in the line itself.
//!
//! Called for each line that somebody filters by level, and by what makes records of lines. [`detect`] looks at the
//! beginning of a line only, takes no memory, and answers what the program said or nothing: a level that is not
//! there is never guessed, and a word in the middle of a sentence is no level.
//!
//! Deliberately absent: what belongs to several lines (a traceback), and exit codes or streams as a level.

mod json;
mod text;

#[cfg(test)]
mod tests;

pub use tutela_core::level::{Level, NoLevel};

/// What the line says of itself. `None`: nothing that can be relied on.
///
/// Looks at no more than [`json::HEAD_BYTES`] of a JSON object and [`text::HEAD_BYTES`] of anything else.
#[must_use]
pub fn detect(line: &[u8]) -> Option<Level> {
    let line = &line[text::blank(line)..];
    match line.first()? {
        b'{' => json::level(line),
        b'<' => text::syslog(line).or_else(|| text::level(line)),
        _ => text::glog(line).or_else(|| text::redis(line)).or_else(|| text::level(line)),
    }
}

/// Whether a level is also a word that people write in capitals for its own sake.
fn is_weak(word: &[u8]) -> bool {
    [&b"fine"[..], b"config", b"note", b"log", b"success", b"fail", b"alert", b"silly", b"critical", b"panic"]
        .iter()
        .any(|weak| word.eq_ignore_ascii_case(weak))
}
