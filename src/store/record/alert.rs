//! Alert rules, what they noticed, and notices on their way.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use crate::base::{Id, UnixTime};

text_enum! {
    /// What a rule looks at.
    AlertScope {
        /// Every project of the organization.
        Organization = "organization",
        /// One project.
        Project = "project",
        /// One route of a project.
        Route = "route",
        /// One API key of a project.
        Key = "key",
    }
}

text_enum! {
    /// What a rule notices. Some are known by name and cannot be noticed yet.
    AlertEvent {
        /// A limit in money is used up to one of some percentages.
        SpendThreshold = "spend_threshold",
        /// Limits refused requests.
        LimitReached = "limit_reached",
        /// Credits run out.
        CreditsLow = "credits_low",
        /// A share of requests fails or is refused.
        ErrorRate = "error_rate",
        /// 95 % of requests take no longer than a time, the rest does.
        LatencyP95 = "latency_p95",
        /// Attempts at providers fail.
        UpstreamDown = "upstream_down",
        /// A provider refuses a credential.
        CredentialRefused = "credential_refused",
        /// A guardrail acted.
        Guardrail = "guardrail",
        /// A guardrail is in no configuration any more.
        GuardrailRemoved = "guardrail_removed",
        /// The platform's credential had to serve, because the own one was refused.
        Fallback = "fallback",
        /// The cache answers less often than it should.
        Cache = "cache",
        /// A version went live.
        Serve = "serve",
        /// An earlier version went live again.
        Rollback = "rollback",
        /// What is stored of a project does not compile: it answers 503.
        ConfigError = "config_error",
        /// An API key expires soon.
        KeyExpiring = "key_expiring",
        /// Requests had no price.
        Unpriced = "unpriced",
        /// Figures of a provider could not be true.
        UsageSuspect = "usage_suspect",
        /// Accounts differ from the sum of their entries.
        LedgerMismatch = "ledger_mismatch",
    }
}

text_enum! {
    /// What a notice says.
    AlertState {
        /// The condition holds.
        Firing = "firing",
        /// It does not hold any more.
        Recovered = "recovered",
        /// Somebody tried the channels.
        Test = "test",
    }
}

text_enum! {
    /// How a notice reaches somebody.
    ChannelKind {
        /// It stands in the history.
        Dashboard = "dashboard",
        /// A signed request to an address.
        Webhook = "webhook",
        /// An e-mail.
        Email = "email",
    }
}

text_enum! {
    /// How far a delivery is.
    DeliveryState {
        /// It waits for its next try.
        Pending = "pending",
        /// It arrived.
        Delivered = "delivered",
        /// Every try failed.
        Failed = "failed",
    }
}

/// When a rule fires. Each event uses some of the fields and has defaults for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AlertCondition {
    /// Percentages of a limit, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub percents: Vec<u32>,
    /// From which value on, in the unit of the event: percent, milliseconds, requests, days; below which, for USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u64>,
    /// How far back it looks, in seconds: 60 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// With fewer requests or attempts in the window nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_requests: Option<u64>,
}

/// Where notices go. The secret of a webhook is apart, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertChannel {
    /// The history only.
    Dashboard,
    /// `POST` of JSON to this address.
    Webhook(String),
    /// E-mail to these addresses.
    Email(Vec<String>),
}

impl AlertChannel {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Dashboard => ChannelKind::Dashboard,
            Self::Webhook(_) => ChannelKind::Webhook,
            Self::Email(_) => ChannelKind::Email,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its id.
    pub id: Id,
    /// The organization.
    pub organization: Id,
    /// The project; none for the whole organization.
    pub project: Option<Id>,
    /// What it looks at.
    pub scope: AlertScope,
    /// Name of the route or id of the key.
    pub target: Option<String>,
    /// What people call it, 1 to 255 characters.
    pub name: String,
    /// Up to 2,000 characters.
    pub description: String,
    /// Whether it is looked at.
    pub enabled: bool,
    /// Why it is not; empty when it is.
    pub disabled_reason: String,
    /// What it notices.
    pub event: AlertEvent,
    /// From when on.
    pub condition: AlertCondition,
    /// Where its notices go; one of a kind at most.
    pub channels: Vec<AlertChannel>,
    /// Key of the webhook's signature, sealed.
    pub sealed_secret: Option<Vec<u8>>,
    /// Who made it.
    pub created_by: Id,
    /// When.
    pub created_at: UnixTime,
    /// When it was last changed: what happened before does not count.
    pub changed_at: UnixTime,
    /// Rises with each change.
    pub revision: u64,
}

/// What fires now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMark {
    /// The rule.
    pub alert: Id,
    /// What of the things it looks at; empty for all together.
    pub subject: String,
    /// How bad, 1 or more: the place of the percentage that is passed.
    pub level: u32,
    /// Since when.
    pub since: UnixTime,
    /// When somebody was last told.
    pub noticed_at: UnixTime,
}

/// What a rule noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertNotice {
    /// 1, 2, 3, ...; 0 in one that is not stored yet.
    pub id: u64,
    /// The rule.
    pub alert: Id,
    /// When.
    pub at: UnixTime,
    /// What it says.
    pub state: AlertState,
    /// What it is about; empty for the rule as a whole.
    pub subject: String,
    /// The value that was seen, with its unit.
    pub value: String,
    /// A sentence for people.
    pub detail: String,
}

/// A notice on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertDelivery {
    /// 1, 2, 3, ...; 0 in one that is not stored yet.
    pub id: u64,
    /// The notice.
    pub notice: u64,
    /// The rule.
    pub alert: Id,
    /// The channel.
    pub channel: ChannelKind,
    /// What is sent: JSON.
    pub payload: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: u32,
    /// When the next try is due.
    pub next_at: UnixTime,
    /// Why the last try failed; empty if it did not.
    pub error: String,
}
