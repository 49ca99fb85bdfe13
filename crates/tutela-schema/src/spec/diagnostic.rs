//! What is wrong with a spec, or worth knowing about it, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// One thing that is wrong with a spec, or worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the spec from being used.
    pub severity: Severity,
    /// Which kind it is, for programs and for looking it up.
    pub code: Code,
    /// What and why, in one line without a full stop; fits after `refused:`.
    pub message: String,
    /// Where it is; `None` for what is in no file.
    pub origin: Option<Origin>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without help.
    pub fn error(code: Code, origin: Option<Origin>, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, code, message: message.into(), origin, help: None }
    }

    /// A warning without help.
    pub fn warning(code: Code, origin: Option<Origin>, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, origin, message) }
    }

    /// The same with help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// One line: `shop.toml:3:1: error[unknown-key]: unknown key 'comand' (did you mean 'command'?)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Whether something stops a spec from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not.
    Warning,
    /// It does.
    Error,
}

/// A place in a file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as its path was given.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The bytes of [`Origin::source`] that it is about; they lie on character borders.
    pub span: Range<usize>,
    /// The whole text of the file. Where the file is no UTF-8, U+FFFD stands for what is none.
    pub source: Arc<str>,
}

impl Origin {
    /// The line of the file that it begins in, without its end.
    pub fn line_text(&self) -> &str {
        let before = self.source.get(..self.span.start).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        self.source.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }
}

/// `FILE:LINE:COLUMN`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Without the text, which would drown everything else.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.span)
    }
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// The kinds of diagnostics. Their words are stable: scripts and searches rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$meta])* $name,)* }

        impl Code {
            /// Every code, for the reference.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A file does not exist.
    FileNotFound = "file-not-found",
    /// A file cannot be read.
    FileUnreadable = "file-unreadable",
    /// A file is larger than it may be.
    FileTooLarge = "file-too-large",
    /// A file is no UTF-8.
    NotUtf8 = "not-utf-8",
    /// A file is no TOML.
    Syntax = "syntax",
    /// A key is there twice.
    DuplicateKey = "duplicate-key",
    /// A text has the character NUL, which no program could be given.
    Nul = "nul",
    /// There is nothing to keep.
    Empty = "empty",
    /// A key does not exist.
    UnknownKey = "unknown-key",
    /// A key is needed and not there.
    MissingKey = "missing-key",
    /// A key is of no use where it stands.
    MisplacedKey = "misplaced-key",
    /// A value has another type.
    WrongType = "wrong-type",
    /// A value is none of those that exist.
    BadValue = "bad-value",
    /// A number is outside of what makes sense.
    NumberRange = "number-out-of-range",
    /// A text is no duration.
    BadDuration = "bad-duration",
    /// A text is no size.
    BadSize = "bad-size",
    /// A text is no name.
    BadName = "bad-name",
    /// A name is there twice.
    DuplicateName = "duplicate-name",
    /// A text is no command.
    BadCommand = "bad-command",
    /// A text is no address.
    BadAddress = "bad-address",
    /// A text is no regular expression.
    BadPattern = "bad-pattern",
    /// No signal has that name.
    BadSignal = "bad-signal",
    /// A `${` does not become a variable.
    BadVariable = "bad-variable",
    /// A variable is not set and has no default.
    UnsetVariable = "unset-variable",
    /// `${instance}` stands where there is no instance.
    InstanceNotHere = "instance-not-here",
    /// A line of an environment file is none.
    BadEnvFile = "bad-env-file",
    /// A needed service does not exist.
    MissingNeed = "missing-need",
    /// Services need each other in a circle.
    NeedCycle = "need-cycle",
    /// A probe has no target, or several.
    ProbeTarget = "probe-target",
    /// Times of a probe do not go together.
    ProbeTiming = "probe-timing",
    /// An alert has no way, or several.
    AlertWay = "alert-way",
    /// A sink has no way, or several.
    SinkWay = "sink-way",
    /// A reference to a secret cannot be one, or stands where none may.
    BadSecret = "bad-secret",
    /// A secret is not there, or cannot be read.
    SecretMissing = "secret-missing",
    /// A secret can be read by everybody.
    SecretExposed = "secret-exposed",
    /// A certificate or key cannot be used.
    BadCertificate = "bad-certificate",
    /// There is more of something than there may be.
    TooMany = "too-many",
    /// Something is different, or has no effect, on this OS.
    OsDifference = "os-difference",
    /// Something is allowed and looks like a mistake.
    Suspicious = "suspicious",
    /// A program does not exist.
    ProgramMissing = "program-missing",
    /// A program may not be run, or is none.
    ProgramNotExecutable = "program-not-executable",
    /// A program is for another processor or OS.
    ProgramArchitecture = "program-architecture",
    /// A working folder does not exist or may not be entered.
    FolderMissing = "folder-missing",
    /// An account or group does not exist.
    AccountUnknown = "account-unknown",
    /// The guard may not do what is asked for.
    NoRight = "no-right",
    /// A port that the service is to answer at is in use.
    PortInUse = "port-in-use",
    /// A library that a program is linked to is not there.
    LibraryMissing = "library-missing",
    /// A variable makes a loader run code that the command does not name, with an administrator's rights.
    LoaderVariable = "loader-variable",
    /// Somebody who is no administrator could replace what runs with an administrator's rights.
    WritableByOthers = "writable-by-others",
    /// A path with spaces was split into words.
    PathUnquoted = "path-unquoted",
    /// The wall clock is wrong, or nobody keeps it.
    ClockOff = "clock-off",
    /// A disk has little room left.
    DiskLow = "disk-low",
    /// A limit of the account is low.
    LimitLow = "limit-low",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `did you mean 'x'?` for the known word nearest to `word`, if one is near.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // A longer comparison would only cost time: no key is that long.
    if word.len() > 64 {
        return None;
    }
    let likeness = |known: &str| {
        // A word that was only cut short is nearer than any likeness of letters.
        if word.len() >= 3 && known.starts_with(word) { 1.0 } else { strsim::jaro_winkler(word, known) }
    };
    let best = known.into_iter().map(|known| (likeness(known), known));
    let (likeness, known) = best.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // Below 0.8 the suggestions for short keys become noise.
    (likeness >= 0.8).then(|| format!("did you mean '{known}'?"))
}
