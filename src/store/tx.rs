//! What can be done inside one transaction.
//!
//! The traits are shaped by what `control/` needs. All reads of a transaction see one state, all its writes become
//! durable together or not at all. `update_*` takes a record as it was read and changed: its `revision` is the expected
//! one, and the stored row gets the next; [`StoreError::Stale`] when another change came first. A `delete_*` of a row that
//! is not there is stale too, except that of a session. Times are kept to the millisecond.

use super::{
    alert_tx::Alerts,
    error::StoreError,
    ledger_tx::Ledger,
    payload_tx::Payloads,
    query::{AuditFilter, KeyFilter, Page, PageRequest, ProjectFilter, VersionFilter},
    record::{
        Activation, AdminToken, Alert, ApiKey, AuditEntry, AuditEvent, EgressRule, Invitation, KeptAnswer, Member,
        Organization, OrganizationPrices, Owner, PolicyPlace, Project, ProviderKey, Rule, SecondFactor, Secret,
        Session, StoredLimit, User, Version,
    },
    reprice_tx::Reprices,
    usage_tx::{Requests, Rollups},
};
use crate::base::{Id, UnixTime};

/// Outcome of an operation.
pub type Outcome<T> = Result<T, StoreError>;

/// Everything that one transaction can do.
pub trait Tx:
    People
    + Access
    + Projects
    + Keys
    + Rules
    + Prices
    + Limits
    + Secrets
    + Seals
    + Audit
    + Notes
    + Ledger
    + Rollups
    + Requests
    + Alerts
    + Payloads
    + Reprices
{
}

impl<T> Tx for T where
    T: People
        + Access
        + Projects
        + Keys
        + Rules
        + Prices
        + Limits
        + Secrets
        + Seals
        + Audit
        + Notes
        + Ledger
        + Rollups
        + Requests
        + Alerts
        + Payloads
        + Reprices
{
}

/// Prices of organizations.
pub trait Prices {
    /// The prices of an organization; none if it never had some.
    fn organization_prices(&self, organization: &Id) -> Outcome<Option<OrganizationPrices>>;
    /// Puts prices in the place of those before. `revision` is the one that was read, 0 for none.
    fn put_organization_prices(&mut self, row: &OrganizationPrices) -> Outcome<()>;
}

/// Organizations, users, members, invitations.
pub trait People {
    /// Organizations, all or only `among` these.
    fn organizations(&self, among: Option<&[Id]>, page: &PageRequest) -> Outcome<Page<Organization>>;
    /// One organization.
    fn organization(&self, id: &Id) -> Outcome<Option<Organization>>;
    /// Adds an organization.
    fn insert_organization(&mut self, row: &Organization) -> Outcome<()>;
    /// Changes an organization.
    fn update_organization(&mut self, row: &Organization) -> Outcome<()>;
    /// Deletes an organization with members, invitations, tokens, secrets and projects; [`StoreError::Stale`] while one of
    /// them is served.
    fn delete_organization(&mut self, id: &Id) -> Outcome<()>;
    /// One user.
    fn user(&self, id: &Id) -> Outcome<Option<User>>;
    /// The user with this e-mail, in lower case.
    fn user_by_email(&self, email: &str) -> Outcome<Option<User>>;
    /// How many users are instance administrators.
    fn instance_admin_count(&self) -> Outcome<u64>;
    /// Adds a user; [`StoreError::Taken`] for an e-mail in use.
    fn insert_user(&mut self, row: &User) -> Outcome<()>;
    /// Changes a user.
    fn update_user(&mut self, row: &User) -> Outcome<()>;
    /// Members of an organization.
    fn members(&self, organization: &Id, page: &PageRequest) -> Outcome<Page<Member>>;
    /// One member.
    fn member(&self, organization: &Id, user: &Id) -> Outcome<Option<Member>>;
    /// Every membership of a user.
    fn memberships(&self, user: &Id) -> Outcome<Vec<Member>>;
    /// How many owners an organization has.
    fn owner_count(&self, organization: &Id) -> Outcome<u64>;
    /// Adds a member; [`StoreError::Taken`] if the user is one already.
    fn insert_member(&mut self, row: &Member) -> Outcome<()>;
    /// Changes a member.
    fn update_member(&mut self, row: &Member) -> Outcome<()>;
    /// Notes when a user was last seen, in every organization; no revision rises.
    fn touch_members(&mut self, user: &Id, at: UnixTime) -> Outcome<()>;
    /// Removes a member.
    fn delete_member(&mut self, organization: &Id, user: &Id) -> Outcome<()>;
    /// Invitations of an organization.
    fn invitations(&self, organization: &Id, page: &PageRequest) -> Outcome<Page<Invitation>>;
    /// One invitation.
    fn invitation(&self, id: &Id) -> Outcome<Option<Invitation>>;
    /// The invitation with this token.
    fn invitation_by_token(&self, digest: &[u8; 32]) -> Outcome<Option<Invitation>>;
    /// Adds an invitation.
    fn insert_invitation(&mut self, row: &Invitation) -> Outcome<()>;
    /// Changes an invitation.
    fn update_invitation(&mut self, row: &Invitation) -> Outcome<()>;
}

/// Admin tokens and sessions.
pub trait Access {
    /// Tokens made by a user, or all of an organization, or all.
    fn admin_tokens(
        &self,
        organization: Option<&Id>,
        creator: Option<&Id>,
        page: &PageRequest,
    ) -> Outcome<Page<AdminToken>>;
    /// One token.
    fn admin_token(&self, id: &Id) -> Outcome<Option<AdminToken>>;
    /// The token with this digest.
    fn admin_token_by_digest(&self, digest: &[u8; 32]) -> Outcome<Option<AdminToken>>;
    /// Adds a token; [`StoreError::Taken`] for a digest in use.
    fn insert_admin_token(&mut self, row: &AdminToken) -> Outcome<()>;
    /// Removes a token.
    fn delete_admin_token(&mut self, id: &Id) -> Outcome<()>;
    /// Notes that a token was used.
    fn touch_admin_token(&mut self, id: &Id, at: UnixTime) -> Outcome<()>;
    /// The session with this digest.
    fn session(&self, digest: &[u8; 32]) -> Outcome<Option<Session>>;
    /// Adds a session.
    fn insert_session(&mut self, row: &Session) -> Outcome<()>;
    /// Notes that a session was used.
    fn touch_session(&mut self, digest: &[u8; 32], at: UnixTime) -> Outcome<()>;
    /// Ends a session.
    fn delete_session(&mut self, digest: &[u8; 32]) -> Outcome<()>;
    /// Ends every session of a user.
    fn delete_sessions_of(&mut self, user: &Id) -> Outcome<()>;
    /// The second factor of a user.
    fn second_factor(&self, user: &Id) -> Outcome<Option<SecondFactor>>;
    /// Puts a second factor in the place of the one before, if there was one.
    fn put_second_factor(&mut self, row: &SecondFactor) -> Outcome<()>;
    /// Notes that the code of a half minute was used; [`StoreError::Stale`] when it or a later one was used before.
    fn use_step(&mut self, user: &Id, step: u64) -> Outcome<()>;
    /// Removes the second factor of a user, if there is one.
    fn delete_second_factor(&mut self, user: &Id) -> Outcome<()>;
    /// Ends sessions begun before `created` or last seen before `seen`.
    fn delete_old_sessions(&mut self, created: UnixTime, seen: UnixTime) -> Outcome<()>;
}

/// Projects, versions, activations.
pub trait Projects {
    /// Projects of an organization.
    fn projects(&self, organization: &Id, filter: &ProjectFilter, page: &PageRequest) -> Outcome<Page<Project>>;
    /// One project.
    fn project(&self, id: &Id) -> Outcome<Option<Project>>;
    /// The project with this slug in an organization, archived ones included.
    fn project_by_slug(&self, organization: &Id, slug: &str) -> Outcome<Option<Project>>;
    /// Projects of an organization that are not archived.
    fn active_project_count(&self, organization: &Id) -> Outcome<u64>;
    /// Every project of the instance, in order of id: for the start.
    fn all_projects(&self) -> Outcome<Vec<Project>>;
    /// Adds a project; [`StoreError::Taken`] with `name` or `slug`. Names are compared ignoring case.
    fn insert_project(&mut self, row: &Project) -> Outcome<()>;
    /// Changes a project.
    fn update_project(&mut self, row: &Project) -> Outcome<()>;
    /// Deletes a project with versions, texts, activations, keys, secrets and provider keys; audit events stay.
    fn delete_project(&mut self, id: &Id) -> Outcome<()>;
    /// Versions of a project, by number.
    fn versions(&self, project: &Id, filter: &VersionFilter, page: &PageRequest) -> Outcome<Page<Version>>;
    /// One version.
    fn version(&self, project: &Id, number: u32) -> Outcome<Option<Version>>;
    /// The exact text of a version; [`StoreError::Corrupt`] when it does not fit its digest.
    fn version_text(&self, project: &Id, number: u32) -> Outcome<Option<Vec<u8>>>;
    /// Adds a version with its text.
    fn insert_version(&mut self, row: &Version, text: &[u8]) -> Outcome<()>;
    /// Changes state, problems, approval and times of a version. Its text never changes.
    ///
    /// A project has one served and one open version at most, at every moment: change the old one first, else
    /// [`StoreError::Taken`] with `served_version` or `open_version`. [`StoreError::Stale`] when there is no such version.
    fn update_version(&mut self, row: &Version) -> Outcome<()>;
    /// Activations of a project, by generation.
    fn activations(&self, project: &Id, page: &PageRequest) -> Outcome<Page<Activation>>;
    /// Adds an activation; [`StoreError::Taken`] with `generation` when it is there already.
    fn insert_activation(&mut self, row: &Activation) -> Outcome<()>;
    /// The last version before the one that is live now that was live and is still stored.
    fn previously_served(&self, project: &Id) -> Outcome<Option<u32>>;
}

/// API keys.
pub trait Keys {
    /// Keys of a project.
    fn keys(&self, project: &Id, filter: &KeyFilter, page: &PageRequest) -> Outcome<Page<ApiKey>>;
    /// One key.
    fn key(&self, id: &Id) -> Outcome<Option<ApiKey>>;
    /// Every key of a project.
    fn keys_of_project(&self, project: &Id) -> Outcome<Vec<ApiKey>>;
    /// Calls `each` with every key of the instance: for the start.
    fn each_key(&self, each: &mut dyn FnMut(ApiKey)) -> Outcome<()>;
    /// Active keys over all projects of an organization, of one creator if given.
    fn active_key_count(&self, organization: &Id, creator: Option<&Id>) -> Outcome<u64>;
    /// Adds a key; [`StoreError::Taken`] for a digest in use.
    fn insert_key(&mut self, row: &ApiKey) -> Outcome<()>;
    /// Changes a key, but not when it was last used.
    fn update_key(&mut self, row: &ApiKey) -> Outcome<()>;
    /// Deletes a key if its revision is the stored one.
    fn delete_key(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// Notes when keys were last used, by public id.
    fn touch_keys(&mut self, used: &[(String, UnixTime)]) -> Outcome<()>;
    /// Disables every active key that a user made in an organization; returns the changed keys.
    fn disable_keys_of(&mut self, organization: &Id, creator: &Id) -> Outcome<Vec<ApiKey>>;
}

/// IAM rules. They go with the organization, project, member or key at which they stand.
pub trait Rules {
    /// Rules of one place, the oldest first.
    fn rules(&self, place: &PolicyPlace) -> Outcome<Vec<Rule>>;
    /// One rule.
    fn rule(&self, id: &Id) -> Outcome<Option<Rule>>;
    /// Calls `each` with every rule of the instance, the oldest first: for the start.
    fn each_rule(&self, each: &mut dyn FnMut(Rule)) -> Outcome<()>;
    /// Adds a rule.
    fn insert_rule(&mut self, row: &Rule) -> Outcome<()>;
    /// Changes type, value and status of a rule.
    fn update_rule(&mut self, row: &Rule) -> Outcome<()>;
    /// Deletes a rule if its revision is the stored one.
    fn delete_rule(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// Every key that a user made in an organization: those that the rules of this member bind.
    fn keys_made_by(&self, organization: &Id, creator: &Id) -> Outcome<Vec<ApiKey>>;
}

/// Limits. They go with the organization, project, member or key at which they stand.
pub trait Limits {
    /// Limits of one place, the oldest first.
    fn limits(&self, place: &PolicyPlace) -> Outcome<Vec<StoredLimit>>;
    /// One limit.
    fn limit(&self, id: &Id) -> Outcome<Option<StoredLimit>>;
    /// Limits of an organization and of everything in it, the oldest first.
    fn limits_of_organization(&self, organization: &Id) -> Outcome<Vec<StoredLimit>>;
    /// Calls `each` with every limit of the instance, the oldest first: for the start.
    fn each_limit(&self, each: &mut dyn FnMut(StoredLimit)) -> Outcome<()>;
    /// Adds a limit; [`StoreError::Taken`] for a kind, window and algorithm that the place has.
    fn insert_limit(&mut self, row: &StoredLimit) -> Outcome<()>;
    /// Changes amount, window, algorithm and mode of a limit.
    fn update_limit(&mut self, row: &StoredLimit) -> Outcome<()>;
    /// Deletes a limit if its revision is the stored one.
    fn delete_limit(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// The keys over which limits of a place stand.
    fn keys_under(&self, place: &PolicyPlace) -> Outcome<Vec<ApiKey>>;
}

/// Secrets and provider keys.
pub trait Secrets {
    /// Secrets of one owner, by name.
    fn secrets(&self, owner: &Owner) -> Outcome<Vec<Secret>>;
    /// One secret.
    fn secret(&self, id: &Id) -> Outcome<Option<Secret>>;
    /// Adds a secret; [`StoreError::Taken`] with `name`.
    fn insert_secret(&mut self, row: &Secret) -> Outcome<()>;
    /// Changes a secret.
    fn update_secret(&mut self, row: &Secret) -> Outcome<()>;
    /// Deletes a secret if its revision is the stored one.
    fn delete_secret(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// Provider keys of one owner, in order.
    fn provider_keys(&self, owner: &Owner) -> Outcome<Vec<ProviderKey>>;
    /// One provider key.
    fn provider_key(&self, id: &Id) -> Outcome<Option<ProviderKey>>;
    /// Adds a provider key.
    fn insert_provider_key(&mut self, row: &ProviderKey) -> Outcome<()>;
    /// Changes a provider key.
    fn update_provider_key(&mut self, row: &ProviderKey) -> Outcome<()>;
    /// Deletes a provider key if its revision is the stored one.
    fn delete_provider_key(&mut self, id: &Id, revision: u64) -> Outcome<()>;
    /// When a secret or provider key was last used.
    fn credential_use(&self, id: &Id) -> Outcome<Option<UnixTime>>;
    /// Notes when secrets and provider keys were last used; those that are not there any more are passed over.
    fn touch_credentials(&mut self, used: &[(Id, UnixTime)]) -> Outcome<()>;
}

/// Sealed values by the master key they were made with. `head` is how those of the current one begin.
pub trait Seals {
    /// How many values begin with something else.
    fn stale_seal_count(&self, head: &[u8]) -> Outcome<u64>;
    /// Secrets whose value does, behind `after`, by id.
    fn stale_secrets(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<Secret>>;
    /// Provider keys whose value does, behind `after`, by id.
    fn stale_provider_keys(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<ProviderKey>>;
    /// Second factors whose secret does, behind the user `after`.
    fn stale_second_factors(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<SecondFactor>>;
    /// Kept answers whose body does, behind this caller and key.
    fn stale_answers(&self, head: &[u8], after: (&str, &str), limit: u32) -> Outcome<Vec<KeptAnswer>>;
    /// Alert rules whose webhook secret does, behind `after`, by id.
    fn stale_alerts(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<Alert>>;
    /// Puts a seal in the place of another one of the same value; false when that one is not there any more. No revision
    /// rises.
    fn reseal(&mut self, place: SealPlace<'_>, before: &[u8], after: &[u8]) -> Outcome<bool>;
}

/// Where a seal stands.
#[derive(Debug, Clone, Copy)]
pub enum SealPlace<'a> {
    /// The value of a secret.
    Secret(&'a Id),
    /// The value of a provider key.
    ProviderKey(&'a Id),
    /// The secret of a user's second factor.
    SecondFactor(&'a Id),
    /// An answer of a caller and an `Idempotency-Key`.
    Answer(&'a str, &'a str),
    /// A fact about the instance.
    Note(&'a str),
    /// The webhook secret of an alert rule.
    Alert(&'a Id),
    /// The key of the payloads of a project.
    PayloadKey(&'a str),
}

/// The audit log: append only.
pub trait Audit {
    /// Puts an event behind the last one; returns its sequence number.
    fn append_audit(&mut self, event: &AuditEvent) -> Outcome<u64>;
    /// Events, by sequence number.
    fn audit(&self, filter: &AuditFilter, page: &PageRequest) -> Outcome<Page<AuditEntry>>;
    /// Up to `limit` entries behind `after`, in order: for the check of the chain.
    fn audit_after(&self, after: u64, limit: u32) -> Outcome<Vec<AuditEntry>>;
}

/// Kept answers, egress rules, and small facts about the instance.
pub trait Notes {
    /// The answer kept for a caller and an `Idempotency-Key`.
    fn kept_answer(&self, caller: &str, key: &str) -> Outcome<Option<KeptAnswer>>;
    /// Keeps an answer in the place of the one before, if there is one.
    fn keep_answer(&mut self, row: &KeptAnswer) -> Outcome<()>;
    /// Forgets answers kept before.
    fn forget_answers(&mut self, before: UnixTime) -> Outcome<()>;
    /// Every egress rule, oldest first.
    fn egress_rules(&self) -> Outcome<Vec<EgressRule>>;
    /// Adds an egress rule.
    fn insert_egress_rule(&mut self, row: &EgressRule) -> Outcome<()>;
    /// Removes an egress rule.
    fn delete_egress_rule(&mut self, id: &Id) -> Outcome<()>;
    /// A fact by name, such as `setup_token_digest`.
    fn note(&self, name: &str) -> Outcome<Option<Vec<u8>>>;
    /// Writes a fact; none removes it.
    fn put_note(&mut self, name: &str, value: Option<&[u8]>) -> Outcome<()>;
}
