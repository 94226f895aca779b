//! What exists before anybody could log in.
//!
//! The organization `default`, and one way in: the token of the environment, else a set-up token that makes the first
//! operator. It is shown once, works once, and ends when there is an instance administrator.

use super::super::{actor::Actor, error::ControlError};
use super::{authenticate::digest_of, session::RANDOM_CHARS};
use crate::{
    base::{Id, IdKind, Secret, push_random, unix_time},
    store::{AdminToken, Order, Organization, OrganizationRole, OrganizationStatus, PageRequest, Store, Tx},
};

/// Name of the organization that exists from the start.
const DEFAULT_NAME: &str = "default";
/// Note that names that organization, whatever it is called later.
const FIRST_ORGANIZATION_NOTE: &str = "first_organization";
/// Note that names the token of the environment, which a new value replaces.
const ENVIRONMENT_NOTE: &str = "environment_token";
/// Note that holds the digest of the set-up token while there is one.
pub(super) const SETUP_NOTE: &str = "setup_token_digest";
/// Shortest token of the environment, in characters.
const TOKEN_CHARS_MIN: usize = 16;
/// Longest token of the environment, in characters.
const TOKEN_CHARS_MAX: usize = 200;

/// What the first start of a store needs.
pub struct FirstStart {
    /// The organization that exists from the start.
    pub organization: Id,
    /// To be printed once, to standard error; none when somebody can already enter.
    pub setup_token: Option<Secret>,
}

/// Makes sure that the organization `default` exists and that somebody can enter: with the token of the environment, else
/// as an instance administrator, else with a new set-up token, which ends the one before. To be called at every start.
///
/// # Errors
/// [`ControlError::Invalid`] for a token that is too short or too long or cannot be sent in a header; the store's.
pub async fn prepare_first_start(store: &Store, environment: Option<Secret>) -> Result<FirstStart, ControlError> {
    let mut setup = "mr_setup_".to_owned();
    push_random(&mut setup, RANDOM_CHARS)?;
    let setup_digest = digest_of(&setup);
    let row = default_row()?;
    let token = environment.as_ref().map(environment_row).transpose()?;
    let (organization, is_open) = store
        .write(move |tx| {
            let organization = make_default(tx, row)?;
            let has_token = token.is_some();
            replace_environment_token(
                tx,
                token.map(|row| AdminToken { organization: Some(organization.clone()), ..row }),
            )?;
            let is_open = !has_token && tx.instance_admin_count()? == 0;
            if is_open || tx.note(SETUP_NOTE)?.is_some() {
                tx.put_note(SETUP_NOTE, is_open.then_some(setup_digest.as_slice()))?;
            }
            Ok::<_, ControlError>((organization, is_open))
        })
        .await?;
    Ok(FirstStart { organization, setup_token: is_open.then(|| Secret::new(setup)) })
}

/// The organization that exists from the start.
///
/// # Errors
/// [`ControlError::Internal`] before [`prepare_first_start`]; the store's.
pub(in crate::control) fn first_organization(tx: &dyn Tx) -> Result<Id, ControlError> {
    let found = id_of_note(tx, FIRST_ORGANIZATION_NOTE)?;
    found.ok_or_else(|| ControlError::Internal("there is no first organization".to_owned()))
}

fn default_row() -> Result<Organization, ControlError> {
    Ok(Organization {
        id: Id::random(IdKind::Organization)?,
        name: DEFAULT_NAME.to_owned(),
        status: OrganizationStatus::Active,
        project_limit: 10,
        active_key_limit: None,
        default_retention_days: 30,
        log_payloads: false,
        require_second_approver: false,
        created_at: unix_time(),
        revision: 1,
    })
}

fn make_default(tx: &mut dyn Tx, row: Organization) -> Result<Id, ControlError> {
    if let Some(found) = id_of_note(tx, FIRST_ORGANIZATION_NOTE)? {
        return Ok(found);
    }
    let oldest = PageRequest { limit: 1, after: None, order: Order::Ascending };
    let id = match tx.organizations(None, &oldest)?.rows.into_iter().next() {
        Some(found) => found.id,
        None => {
            tx.insert_organization(&row)?;
            let mut event = Actor::system().event("organization.create", row.id.as_str());
            event.organization = Some(row.id.clone());
            event.after = serde_json::json!({ "name": row.name }).to_string();
            tx.append_audit(&event)?;
            row.id
        }
    };
    tx.put_note(FIRST_ORGANIZATION_NOTE, Some(id.as_str().as_bytes()))?;
    Ok(id)
}

fn environment_row(token: &Secret) -> Result<AdminToken, ControlError> {
    let text = token.reveal();
    if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let said = format!("must have {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters; choose another");
        return Err(ControlError::field("MILLRACE_ADMIN_TOKEN", said));
    }
    Ok(AdminToken {
        id: Id::random(IdKind::AdminToken)?,
        digest: digest_of(text),
        last4: super::super::vault::last4(text),
        description: "MILLRACE_ADMIN_TOKEN".to_owned(),
        organization: None,
        instance_admin: true,
        role: OrganizationRole::Owner,
        grants: Vec::new(),
        created_by: None,
        expires_at: None,
        created_at: unix_time(),
        last_used_at: None,
    })
}

/// The token of the environment ends when the process is started with another one, or without.
fn replace_environment_token(tx: &mut dyn Tx, wanted: Option<AdminToken>) -> Result<(), ControlError> {
    if let Some(id) = id_of_note(tx, ENVIRONMENT_NOTE)?
        && let Some(before) = tx.admin_token(&id)?
    {
        if wanted.as_ref().is_some_and(|wanted| wanted.digest == before.digest) {
            return Ok(());
        }
        tx.delete_admin_token(&id)?;
        let mut event = Actor::system().event("token.delete", id.as_str());
        event.organization = before.organization;
        tx.append_audit(&event)?;
        tx.put_note(ENVIRONMENT_NOTE, None)?;
    }
    let Some(row) = wanted else {
        return Ok(());
    };
    tx.insert_admin_token(&row)?;
    tx.put_note(ENVIRONMENT_NOTE, Some(row.id.as_str().as_bytes()))?;
    let mut event = Actor::system().event("token.create", row.id.as_str());
    event.organization.clone_from(&row.organization);
    event.after = serde_json::json!({ "description": row.description, "role": row.role }).to_string();
    tx.append_audit(&event)?;
    Ok(())
}

fn id_of_note(tx: &dyn Tx, name: &str) -> Result<Option<Id>, ControlError> {
    Ok(tx.note(name)?.and_then(|text| String::from_utf8(text).ok()).map(|text| Id::stored(&text)))
}
