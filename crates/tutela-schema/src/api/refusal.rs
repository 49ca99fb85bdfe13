//! What is answered when something was refused or did not work.

use crate::spec::{Diagnostic, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{}", error.message)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorBody,
}

impl ErrorReply {
    /// An error without diagnostics.
    pub fn new(code: ErrorCode, message: impl Into<String>, help: Option<String>) -> Self {
        ErrorReply { error: ErrorBody { code, message: message.into(), help, diagnostics: Vec::new() } }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Which kind of error, for programs.
    pub code: ErrorCode,
    /// What happened and why, for people.
    pub message: String,
    /// How to mend it; null when we do not know.
    pub help: Option<String>,
    /// What is wrong with the spec; left out for errors about something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<DiagnosticBody>,
}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    BadRequest,
    /// The spec was refused; nothing changed.
    SpecRefused,
    /// Nobody knows who the caller is: there is no token or certificate, or none that holds.
    NotAuthenticated,
    /// The caller may not do that.
    NotAllowed,
    /// There is no such path.
    NotFound,
    /// The request is for a guard of another name.
    NoSuchGuard,
    /// There is no such service or instance.
    NoSuchService,
    /// The path has other methods.
    MethodNotAllowed,
    /// It does not go with the present state.
    Conflict,
    /// The request is larger than it may be.
    TooLarge,
    /// Too much is asked at once.
    Busy,
    /// The caller asks too often.
    TooManyRequests,
    /// This computer, or this version, cannot do it.
    NotSupported,
    /// It took longer than it may.
    Timeout,
    /// It did not work.
    Failed,
    /// The guard made a mistake.
    Internal,
}

impl ErrorCode {
    /// The HTTP status it is sent with.
    pub const fn http_status(self) -> u16 {
        match self {
            ErrorCode::BadRequest => 400,
            ErrorCode::SpecRefused => 422,
            ErrorCode::NotAuthenticated => 401,
            ErrorCode::NotAllowed => 403,
            ErrorCode::NotFound | ErrorCode::NoSuchGuard | ErrorCode::NoSuchService => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::Conflict => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::TooManyRequests => 429,
            ErrorCode::Busy => 503,
            ErrorCode::NotSupported => 501,
            ErrorCode::Timeout => 504,
            ErrorCode::Failed | ErrorCode::Internal => 500,
        }
    }

    /// The exit code of a command line that met it.
    pub const fn exit_code(self) -> u8 {
        match self {
            ErrorCode::BadRequest | ErrorCode::SpecRefused => 2,
            ErrorCode::NoSuchGuard | ErrorCode::NoSuchService => 4,
            ErrorCode::NotAuthenticated | ErrorCode::NotAllowed => 5,
            ErrorCode::NotFound
            | ErrorCode::MethodNotAllowed
            | ErrorCode::Conflict
            | ErrorCode::TooLarge
            | ErrorCode::Busy
            | ErrorCode::TooManyRequests
            | ErrorCode::NotSupported
            | ErrorCode::Timeout
            | ErrorCode::Failed
            | ErrorCode::Internal => 1,
        }
    }
}

/// Something that is wrong with a spec, or worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosticBody {
    /// `error` or `warning`.
    pub severity: String,
    /// Which kind, such as `unknown-key`.
    pub code: String,
    /// What and why, for people.
    pub message: String,
    /// The file it is in; null when it is in none.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, in characters, from 1.
    pub column: Option<u32>,
    /// How to mend it; null when we do not know.
    pub help: Option<String>,
}

impl From<&Diagnostic> for DiagnosticBody {
    fn from(diagnostic: &Diagnostic) -> Self {
        let origin = diagnostic.origin.as_ref();
        DiagnosticBody {
            severity: match diagnostic.severity {
                Severity::Error => "error".to_owned(),
                Severity::Warning => "warning".to_owned(),
            },
            code: diagnostic.code.as_str().to_owned(),
            message: diagnostic.message.clone(),
            file: origin.map(|origin| origin.file.display().to_string()),
            line: origin.map(|origin| origin.line),
            column: origin.map(|origin| origin.column),
            help: diagnostic.help.clone(),
        }
    }
}
