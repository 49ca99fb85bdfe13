//! `[services.X.logs]` and `[logs]`: sizes that make sense, forms that go together, patterns that can be used.

use super::Os;
use super::diagnostic::Code;
use super::keys::{CompressKey, FormatKey, GuardLogKeys, LogKeys, MultilineKeys};
use super::probe;
use super::section::{Section, steps};
use super::tree::Step;
use std::time::Duration;
use tutela_core::spec::{Compression, LogForm, LogPolicy, MultilineRule, MultilineSpec};

/// The size at which a log file is rotated where the spec is silent.
pub(super) const ROTATE_SIZE: u64 = 50 * 1024 * 1024;

/// How many rotated files are kept where the spec is silent.
pub(super) const KEEP: u32 = 10;

/// The most that may be kept: each costs a look at start.
const KEEP_MAX: u32 = 100_000;

/// How long a record waits for a further line where the spec is silent: longer than any program takes between the lines
/// of a stack trace, shorter than anybody who looks at the file notices.
const WAIT: Duration = Duration::from_millis(500);

/// The longest wait: nobody finds a line in the file before.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How many lines a record has where the spec is silent, and at most.
const LINES: u32 = 500;
const LINES_MAX: u32 = 10_000;

/// What `[logs]` asks for.
pub(super) struct GuardLogs {
    /// How many bytes all log files may take.
    pub(super) budget: Option<u64>,
    /// Whether the spec's secrets are masked.
    pub(super) redact_secrets: bool,
    /// What is masked besides.
    pub(super) redact: Vec<String>,
}

/// What `[logs]` asks for.
pub(super) fn guard_logs(section: &mut Section<'_>, keys: GuardLogKeys) -> GuardLogs {
    GuardLogs {
        budget: keys.budget.map(|size| size.0).filter(|bytes| *bytes > 0),
        redact_secrets: keys.redact_secrets.unwrap_or(true),
        redact: patterns(section, keys.redact, steps!["logs", "redact"]),
    }
}

/// How a service's output is kept.
pub(super) fn logs(section: &mut Section<'_>, keys: LogKeys) -> LogPolicy {
    let mode = keys.mode.as_deref().and_then(|text| {
        // Without a bit that would let a program run it or change whose it runs as.
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0);
        if mode.is_none_or(|mode| mode & 0o600 != 0o600) {
            let message = format!("{text:?} is no mode of a log file");
            let help = "write it in octal, such as \"0640\": its owner reads and writes it, and nobody runs it";
            section.error_with(Code::BadValue, steps!["logs", "mode"], message, help);
        }
        mode
    });
    let has_modes = section.os != Os::Windows;
    let keep = keys.keep.unwrap_or(KEEP);
    if keep > KEEP_MAX {
        section.error(Code::NumberRange, steps!["logs", "keep"], format!("'logs.keep' is at most {KEEP_MAX}"));
    }
    let rotate_size = keys.rotate_size.map_or(ROTATE_SIZE, |size| size.0);
    // Below this, rotation itself would be the work.
    const ROTATE_SIZE_MIN: u64 = 4096;
    if rotate_size > 0 && rotate_size < ROTATE_SIZE_MIN {
        let message = format!("'logs.rotate_size' is at least {ROTATE_SIZE_MIN} bytes, or \"0\" for never");
        section.error(Code::NumberRange, steps!["logs", "rotate_size"], message);
    }
    let form = match (keys.format.unwrap_or(FormatKey::Raw), keys.timestamps.unwrap_or(true)) {
        (FormatKey::Raw, false) => LogForm::Raw,
        (FormatKey::Raw, true) => LogForm::Stamped,
        (FormatKey::Json, true) => LogForm::Json,
        (FormatKey::Json, false) => {
            let message = "records in JSON have timestamps: 'timestamps = false' does not go with format = \"json\"";
            section.error_with(Code::BadValue, steps!["logs", "timestamps"], message, "leave 'timestamps' out");
            LogForm::Json
        }
    };
    let multiline = keys.multiline.and_then(|keys| multiline(section, keys));
    let redact = patterns(section, keys.redact, steps!["logs", "redact"]);
    LogPolicy {
        dir: keys.dir.map(|dir| section.path(&dir, steps!["logs", "dir"])),
        form,
        multiline,
        redact,
        rotate_size: (rotate_size > 0).then_some(rotate_size),
        rotate_every: keys.rotate_every.map(|span| span.0).filter(|span| !span.is_zero()),
        keep,
        keep_for: keys.keep_for.map(|span| span.0).filter(|span| !span.is_zero()),
        compress: match keys.compress {
            None | Some(CompressKey::None) => Compression::None,
            Some(CompressKey::Zstd) => Compression::Zstd,
            Some(CompressKey::Gzip) => Compression::Gzip,
        },
        // Where they have no effect they are not looked up either.
        mode: mode.filter(|_| has_modes),
        owner: keys.owner.filter(|_| has_modes),
        group: keys.group.filter(|_| has_modes),
    }
}

fn multiline(section: &mut Section<'_>, keys: MultilineKeys) -> Option<MultilineSpec> {
    let at = |key: &str| steps!["logs", "multiline", key].to_vec();
    let wait = section.some_time(keys.wait.as_ref(), WAIT, &at("wait"));
    if wait > WAIT_MAX {
        section.error(Code::NumberRange, &at("wait"), "'logs.multiline.wait' is at most 1m");
    }
    let lines = keys.lines.unwrap_or(LINES);
    if !(2..=LINES_MAX).contains(&lines) {
        section.error(Code::NumberRange, &at("lines"), format!("'logs.multiline.lines' is 2 to {LINES_MAX}"));
    }
    let rule = match (keys.start, keys.r#continue) {
        (Some(start), None) => pattern(section, &start, &at("start")).then_some(MultilineRule::Start(start)),
        (None, Some(rest)) => pattern(section, &rest, &at("continue")).then_some(MultilineRule::Continue(rest)),
        (Some(_), Some(_)) => {
            let message = "'start' and 'continue' say the same thing in two ways";
            section.error_with(Code::BadValue, &at("continue"), message, "leave one of them out");
            None
        }
        (None, None) => {
            let message = "'logs.multiline' does not say which lines belong together";
            let help = "give 'start' or 'continue' a pattern, such as continue = '^\\s'";
            section.error_with(Code::MissingKey, steps!["logs", "multiline"], message, help);
            None
        }
    }?;
    Some(MultilineSpec { rule, wait, lines })
}

/// The patterns that can be used; the others are refused, each at its place.
fn patterns(section: &mut Section<'_>, given: Option<Vec<String>>, way: &[Step]) -> Vec<String> {
    let mut used = Vec::new();
    for (at, text) in given.unwrap_or_default().into_iter().enumerate() {
        let steps = [way, steps![at]].concat();
        if !pattern(section, &text, &steps) {
            continue;
        }
        if matches_nothing(&text) {
            let message =
                format!("the pattern {text:?} matches the empty text, so it would mask every place of every line");
            section.error_with(
                Code::BadPattern,
                &steps,
                message,
                "let it match at least one character: '+' in place of '*'",
            );
            continue;
        }
        used.push(text);
    }
    used
}

/// Whether a text is a regular expression of a size that can be used.
fn pattern(section: &mut Section<'_>, text: &str, steps: &[Step]) -> bool {
    let judged = probe::pattern(text);
    if let Err(why) = &judged {
        section.error(Code::BadPattern, steps, format!("the pattern cannot be used: {why}"));
    }
    judged.is_ok()
}

/// Whether a pattern can match no character at all. Not every one that can does so in an empty text: `\b` wants a word
/// beside it.
fn matches_nothing(text: &str) -> bool {
    let found = |regex: regex::Regex| {
        ["", "a b\n-", "0"].iter().any(|sample| regex.find_iter(sample).any(|found| found.is_empty()))
    };
    regex::Regex::new(text).is_ok_and(found)
}
