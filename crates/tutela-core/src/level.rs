//! How much a line of output matters: the one ladder that every dialect of logging is brought to.
//!
//! Called where lines are judged (a sink's threshold, a filter of `tutela logs`) and where they are written for
//! somebody who has numbers of his own (syslog, OpenTelemetry, the Event Log). Deliberately absent: finding the level
//! in a line, which is reading and belongs to `tutela-logs`.

/// How much a line matters; a higher one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Each step.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// Normal.
    Info,
    /// Normal, and worth to be seen.
    Notice,
    /// Something may stop working.
    Warn,
    /// Something does not work.
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error, Level::Fatal];

    /// The word in spec files, records and filters.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// The severity of syslog (RFC 5424, section 6.2.1), which the journal calls priority: 0 is the worst.
    pub const fn severity(self) -> u8 {
        match self {
            Level::Trace | Level::Debug => 7,
            Level::Info => 6,
            Level::Notice => 5,
            Level::Warn => 4,
            Level::Error => 3,
            Level::Fatal => 2,
        }
    }
}
