//! The keys of `[logs]`, which holds for every service, and of `multiline`.

use crate::spec::scalar::{Size, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// What holds for the output of every service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardLogKeys {
    /// How much disk all log files may take. Beyond it the oldest rotated file of any service is removed; files that are being written count and stay. Left out or `"0"`: as much as there is.
    #[schemars(extend("examples" = ["10GiB"]))]
    pub budget: Option<Size>,
    /// Regular expressions: what they match in the output becomes `***` before it is written or shown; of one with groups, what its groups match.
    #[schemars(extend("default" = [], "examples" = [["\\b4[0-9]{15}\\b"]]))]
    pub redact: Option<Vec<String>>,
    /// Whether the secrets of this file are masked in the output: the values that `check --resolved` hides, of at least six bytes, also as they stand in JSON, in a URL and in base64.
    #[schemars(extend("default" = true))]
    pub redact_secrets: Option<bool>,
}

/// Which lines belong together; exactly one of `start` and `continue` says how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultilineKeys {
    /// A regular expression: a line with a match begins a record, others belong to the one before.
    #[schemars(extend("examples" = ["^[0-9]{4}-[0-9]{2}-[0-9]{2}"]))]
    pub start: Option<String>,
    /// A regular expression: a line with a match belongs to the one before, others begin a record.
    #[schemars(extend("examples" = ["^[ \\t]|^Caused by:"]))]
    pub r#continue: Option<String>,
    /// How long a record waits for a further line; at most `"1m"`.
    #[schemars(extend("default" = "500ms"))]
    pub wait: Option<Span>,
    /// How many lines a record has at most. It has at most 64 KiB, too.
    #[schemars(range(min = 2, max = 10_000), extend("default" = 500))]
    pub lines: Option<u32>,
}
