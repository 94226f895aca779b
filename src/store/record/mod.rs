//! What is stored, as plain values without SQL.
//!
//! A record says what each field means and its bounds; the rules between records are in `control/`.

mod alert;
mod attempt;
mod audit;
mod decision;
mod instance;
mod key;
mod ledger;
mod limit;
mod payload;
mod people;
mod place;
mod price;
mod project;
mod reprice;
mod rule;
mod text_enum;
mod usage;

pub use alert::{
    Alert, AlertChannel, AlertCondition, AlertDelivery, AlertEvent, AlertMark, AlertNotice, AlertScope, AlertState,
    ChannelKind, DeliveryState,
};
pub use attempt::AttemptRow;
pub use audit::{ActorKind, AuditEntry, AuditEvent, KeptAnswer};
pub(in crate::store) use decision::kept_costs;
pub use decision::{DecisionRow, DetailsRow, RefusalRow};
pub use instance::EgressRule;
pub use key::{ApiKey, KeyStatus, Owner, ProviderKey, Sealed, Secret};
pub use ledger::{Account, BucketLevel, LedgerEntry, LedgerFilter, LedgerKind, SlotLevel};
pub use limit::{LimitAlgorithm, LimitKind, LimitMode, StoredLimit};
pub use payload::StoredPayload;
pub use people::{
    AdminToken, Invitation, InvitationStatus, Member, Organization, OrganizationRole, OrganizationStatus, ProjectGrant,
    ProjectRole, SecondFactor, Session, User,
};
pub use place::PolicyPlace;
pub use price::{OrganizationPrice, OrganizationPrices};
pub use project::{Activation, ActivationKind, Lifecycle, Mode, Project, Version, VersionState};
pub use reprice::{Corrected, PricedRow, Reprice, RepriceChange, RepriceState, RowCorrection, SumCorrection};
pub use rule::{Rule, RuleStatus};
pub use usage::{Dimension, HOUR_CUTS, RequestFilter, RequestRow, Rollup, Span, TagPlace, TagTally};
