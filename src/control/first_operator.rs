//! The organization and the operator that exist from the start.
//!
//! `default` is there from the first start. Whoever starts the process may hand it a token by the environment: its bearer
//! runs the machine and owns `default`. A token is looked up by its digest; only the digest is stored.

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::{
    base::{Id, IdKind, Secret, unix_time},
    store::{ActorKind, AdminToken, Order, Organization, OrganizationRole, OrganizationStatus, PageRequest, Store},
};

use super::{
    actor::{Actor, Membership},
    error::ControlError,
    identity::{Authenticate, Presented, Proof},
    instance::Control,
};

/// Name of the organization that exists from the start.
const DEFAULT_NAME: &str = "default";
/// Shortest token that is taken from the environment: what can be guessed must not run the machine.
const TOKEN_CHARS_MIN: usize = 32;
/// Longest token that is looked up.
const TOKEN_CHARS_MAX: usize = 512;

/// Finds the organization that exists from the start, the oldest; makes it in a new store.
///
/// # Errors
/// The store's.
pub async fn default_organization(store: &Store) -> Result<Id, ControlError> {
    let id = Id::random(IdKind::Organization)?;
    store
        .write(move |tx| {
            let first = PageRequest { limit: 1, after: None, order: Order::Ascending };
            if let Some(found) = tx.organizations(None, &first)?.rows.into_iter().next() {
                return Ok::<_, ControlError>(found.id);
            }
            tx.insert_organization(&Organization {
                id: id.clone(),
                name: DEFAULT_NAME.to_owned(),
                status: OrganizationStatus::Active,
                project_limit: 10,
                active_key_limit: None,
                default_retention_days: 30,
                log_payloads: false,
                require_second_approver: false,
                created_at: unix_time(),
                revision: 1,
            })?;
            let mut event = Actor::system().event("organization.create", id.as_str());
            event.organization = Some(id.clone());
            event.after = serde_json::json!({ "name": DEFAULT_NAME }).to_string();
            tx.append_audit(&event)?;
            Ok(id)
        })
        .await
}

/// Takes the token of the environment as that of the first operator. The same token again changes nothing.
///
/// # Errors
/// [`ControlError::Invalid`] when it is too short or cannot be sent in a header, or the store's.
pub async fn admit_operator(store: &Store, organization: &Id, token: &Secret) -> Result<(), ControlError> {
    let text = token.reveal();
    if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let said = format!("must have {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters");
        return Err(ControlError::field("MILLRACE_ADMIN_TOKEN", said));
    }
    let row = AdminToken {
        id: Id::random(IdKind::AdminToken)?,
        digest: digest_of(text),
        last4: super::vault::last4(text),
        description: "first operator, from the environment".to_owned(),
        organization: Some(organization.clone()),
        instance_admin: true,
        role: OrganizationRole::Owner,
        grants: Vec::new(),
        created_by: None,
        expires_at: None,
        created_at: unix_time(),
        last_used_at: None,
    };
    store
        .write(move |tx| {
            if tx.admin_token_by_digest(&row.digest)?.is_some() {
                return Ok::<_, ControlError>(());
            }
            tx.insert_admin_token(&row)?;
            let mut event = Actor::system().event("admin_token.create", row.id.as_str());
            event.organization.clone_from(&row.organization);
            event.after = serde_json::json!({ "description": row.description, "role": row.role }).to_string();
            tx.append_audit(&event)?;
            Ok(())
        })
        .await
}

#[async_trait]
impl Authenticate for Control {
    async fn authenticate(&self, proof: Proof<'_>, presented: Presented<'_>) -> Result<Actor, ControlError> {
        let Proof::Bearer(text) = proof else {
            return Err(ControlError::NotAuthenticated);
        };
        if text.len() > TOKEN_CHARS_MAX {
            return Err(ControlError::NotAuthenticated);
        }
        let digest = digest_of(text);
        let (address, request_id) = (presented.address.to_owned(), presented.request_id.to_owned());
        let token = self.store().read(move |tx| tx.admin_token_by_digest(&digest)).await?;
        let token = token.filter(|token| token.expires_at.is_none_or(|expires| unix_time() < expires));
        let token = token.ok_or(ControlError::NotAuthenticated)?;
        let membership = |organization| Membership { organization, role: token.role, grants: token.grants.clone() };
        Ok(Actor {
            kind: ActorKind::Token,
            author: token.created_by.clone().unwrap_or_else(|| token.id.clone()),
            name: token.description.clone(),
            address,
            request_id,
            instance_admin: token.instance_admin,
            memberships: token.organization.clone().map(membership).into_iter().collect(),
            id: token.id,
        })
    }
}

/// A token has 128 random bits or more, so one fast hash is enough.
fn digest_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{Rig, kind};

    #[tokio::test]
    async fn operator_of_the_environment_owns_the_default_organization() {
        let rig = Rig::new().await;
        let store = rig.control.store();
        let organization = default_organization(store).await.unwrap();
        assert_eq!(organization, rig.organization, "the oldest one");
        let token = Secret::new("mr_admin_0123456789012345678901234567".to_owned());
        for _ in 0..2 {
            admit_operator(store, &organization, &token).await.unwrap();
        }
        let presented = Presented { address: "127.0.0.1", request_id: "r" };
        let ask = |proof| rig.control.authenticate(proof, presented);
        let actor = ask(Proof::Bearer(token.reveal())).await.unwrap();
        assert!(actor.instance_admin && actor.membership(&organization).unwrap().role == OrganizationRole::Owner);
        assert!(matches!(ask(Proof::Bearer("mr_admin_other")).await, Err(ControlError::NotAuthenticated)));
        assert!(matches!(ask(Proof::Session(token.reveal())).await, Err(ControlError::NotAuthenticated)));
        for short in ["", "secret", &"x".repeat(600), &format!("{} x", "y".repeat(40))] {
            let refused = admit_operator(store, &organization, &Secret::new(short.to_owned())).await;
            assert_eq!(kind(&refused), "invalid", "{short}");
        }
    }
}
