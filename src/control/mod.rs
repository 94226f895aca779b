//! What is served, and how it changes.
//!
//! [`Control`] holds the rules of store mode: projects, versions, what is live. Every change goes through [`Publisher`],
//! whatever it came from: nothing is visible before all of it was checked and compiled, and a refused change leaves what
//! serves untouched. No SQL here, and no HTTP but the webhooks of alerts.

mod activation;
mod actor;
mod alerts;
mod answers;
mod approve;
mod check;
mod credits;
mod demo;
mod diff;
mod drafts;
mod egress_rules;
mod error;
mod export;
mod file_mode;
mod file_projects;
mod files;
mod gate;
mod grants;
mod identity;
mod instance;
mod instance_settings;
mod instance_status;
mod keys;
#[cfg(test)]
mod keys_tests;
mod ledger;
#[cfg(test)]
mod lifecycle_tests;
mod limits;
mod live_routes;
mod login;
mod organization_prices;
mod payloads;
mod people;
mod permit;
mod platform_credentials;
mod price_file;
mod project_end;
mod project_settings;
#[cfg(test)]
mod project_tests;
mod projects;
mod publish;
mod reprice;
mod reseal;
mod rules;
mod sealed_keys;
#[cfg(test)]
mod secret_tests;
mod serve;
#[cfg(test)]
mod serve_tests;
mod site;
mod start;
mod tenures;
#[cfg(test)]
pub(crate) mod tests;
mod transitions;
mod vault;
mod versions;

pub use activation::Intent;
pub use actor::{Actor, Membership};
pub use alerts::{AlertPatch, Alerting, Channel, HistoryRow, Mail, MailError, NewAlert, ShownAlert, watch_alerts};
pub use answers::{Answer, KeepAnswers, Kept};
pub use credits::{CreditState, Payment};
pub use demo::{Demo, DemoUpstream};
pub use diff::{Change, Compared, Names, SemanticDiff, VersionName, semantic_diff};
pub use drafts::{DraftText, Expected, Saved};
pub use egress_rules::{NewEgressRule, open_egress};
pub use error::{ControlError, FieldProblem};
pub use export::ProjectDocument;
pub use file_projects::{FileProjects, ProjectText};
pub use files::{FileSet, Loaded, Stamp};
pub use grants::{digests_of, grants_of};
pub use identity::{Authenticate, Presented, Proof};
pub use instance::{Control, ControlParts};
pub use instance_settings::{InstanceSettings, InstanceSettingsPatch};
pub use instance_status::{InstanceStatus, ProjectCounts, WorkerStatus};
pub use keys::{
    CredentialHealth, Force, KeyPatch, KeyUse, NewKey, NewProviderKey, NewSecret, ProviderKeyPatch, SecretPatch, Uses,
    keep_credentials, keep_key_use,
};
pub use ledger::{
    Analytics, Granularity, GroupBy, Keeper, Leases, Only, Tail, Tails, UsageQuestion, UsageRow, UsageScope,
    WantedLease, Zone, keep, look_after_book, ring_keeper,
};
#[cfg(test)]
pub(crate) use ledger::{Stepped, Way};
pub use limits::{FieldPatch, LimitFields, LimitPatch, LimitUse, NewLimit, PeriodKind, PeriodLimit, unit_name};
pub use live_routes::{LiveRoute, LiveTarget};
pub use login::{Account, FirstStart, Login, NewToken, Offered, prepare_first_start};
pub use payloads::{PayloadText, Payloads, keep_payloads};
pub use people::{AuditScope, Joined, MemberPatch, NewInvitation, OrganizationPatch};
pub use permit::{Capability, Extent, Scope, permit, permit_anywhere};
pub use platform_credentials::NewPlatformCredential;
pub use price_file::{PriceFile, read_price_table};
pub use project_settings::{Effective, NewProject, ProjectPatch, SettingSource};
pub use projects::ProjectState;
pub use publish::{Publisher, Unconfirmed, first, first_of, warn};
pub use reprice::{ModelFigures, PriceChoice, RepriceFigures, RepriceOrder, RepriceReport, Repriced, finish_reprices};
pub use reseal::keep_sealed;
pub use rules::{Explanation, ExplanationStep, NewRule, Question, RulePatch};
pub use sealed_keys::{OpenedKeys, SealedKeys, origins_of, place_of_provider_key, place_of_secret, provider_named};
pub use serve::Activated;
pub use site::PolicySite;
pub use start::{has_pepper, load, open_pepper};
pub use transitions::{Action, Facts, Illegal, next};
pub use vault::{Pepper, Place, Purpose, Vault, VaultError, last4};
pub use versions::{TEXT_BYTES_MAX, VersionText, version_revision};
