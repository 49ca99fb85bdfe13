//! The guard's own health: the body of `/health`, `/livez` and `/readyz`.

use crate::wall::WallTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the guard and what it keeps do, in one word, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReply {
    /// The worst of the checks.
    pub status: CheckStatus,
    /// What was looked at.
    pub checks: Vec<HealthCheck>,
    /// When this was answered.
    pub timestamp: WallTime,
}

impl HealthReply {
    /// A reply whose status is the worst of `checks`.
    pub fn of(checks: Vec<HealthCheck>, timestamp: WallTime) -> Self {
        let status = checks.iter().map(|check| check.status).max().unwrap_or(CheckStatus::Healthy);
        HealthReply { status, checks, timestamp }
    }

    /// The HTTP status of this body: a warning still serves.
    pub const fn http_status(&self) -> u16 {
        match self.status {
            CheckStatus::Healthy | CheckStatus::Warning => 200,
            CheckStatus::Unhealthy => 503,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthCheck {
    /// What, such as `service:api`, `dependency:api/database`, `disk:logs`.
    pub name: String,
    /// How it is.
    pub status: CheckStatus,
    /// How long its answer took, in milliseconds; left out where nothing was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// How full it is; left out where that means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<f64>,
    /// Why it is so, for people; left out where there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl HealthCheck {
    /// A check without figures.
    pub fn new(name: impl Into<String>, status: CheckStatus) -> Self {
        HealthCheck { name: name.into(), status, latency_ms: None, used_percent: None, message: None }
    }
}

/// How something is; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Healthy,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Unhealthy,
}
