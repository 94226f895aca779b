//! What the control plane keeps, durable and in transactions.
//!
//! [`Store`] runs closures over a [`Tx`] on threads of its own: the admin thread never waits for a disk. Records are plain
//! values; which rules hold between them is decided in `control/`.

mod alert_tx;
mod chain;
mod engine;
mod error;
mod handle;
mod health;
mod ledger_tx;
mod payload_tx;
mod query;
mod queue;
mod record;
mod reprice_tx;
mod sqlite;
mod tx;
mod usage_tx;

pub use alert_tx::{Alerts, ExpiringKey};
pub use chain::{Chain, verify_chain};
pub use error::StoreError;
pub use handle::Store;
pub use health::Health;
pub use ledger_tx::{Ledger, Place};
pub use payload_tx::Payloads;
pub use query::{AuditFilter, KeyFilter, Order, Page, PageRequest, ProjectFilter, VersionFilter};
pub use record::{
    Account, Activation, ActivationKind, ActorKind, AdminToken, Alert, AlertChannel, AlertCondition, AlertDelivery,
    AlertEvent, AlertMark, AlertNotice, AlertScope, AlertState, ApiKey, AttemptRow, AuditEntry, AuditEvent,
    BucketLevel, ChannelKind, Corrected, DecisionRow, DeliveryState, DetailsRow, Dimension, EgressRule, HOUR_CUTS,
    Invitation, InvitationStatus, KeptAnswer, KeyStatus, LedgerEntry, LedgerFilter, LedgerKind, Lifecycle,
    LimitAlgorithm, LimitKind, LimitMode, Member, Mode, Organization, OrganizationPrice, OrganizationPrices,
    OrganizationRole, OrganizationStatus, Owner, PolicyPlace, PricedRow, Project, ProjectGrant, ProjectRole,
    ProviderKey, RefusalRow, Reprice, RepriceChange, RepriceState, RequestFilter, RequestRow, Rollup, RowCorrection,
    Rule, RuleStatus, Sealed, SecondFactor, Secret, Session, SlotLevel, Span, StoredLimit, StoredPayload,
    SumCorrection, TagPlace, TagTally, User, Version, VersionState,
};
pub use reprice_tx::Reprices;
pub use sqlite::OTHER_TAG;
pub use tx::{
    Access, Audit, Keys, Limits, Notes, Outcome, People, Prices, Projects, Rules, SealPlace, Seals, Secrets, Tx,
};
pub use usage_tx::{Requests, Rollups};

#[cfg(test)]
mod tests;
