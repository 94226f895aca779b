//! Members of an organization and what they may do.

use std::sync::Arc;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    keys::KeyChange,
    limits::{FieldDeed, FieldPatch, Reach},
    login::hold_at_least,
    permit::{Capability, Scope, permit},
};
use crate::{
    base::Id,
    snapshot::RuleOwner,
    store::{ApiKey, Member, Order, OrganizationRole, Page, PageRequest, PolicyPlace, ProjectGrant, Tx},
};

/// What is to change; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    /// Role in the organization.
    pub role: Option<OrganizationRole>,
    /// All roles in projects.
    pub grants: Option<Vec<ProjectGrant>>,
    /// Active keys at most; `Some(None)` lifts the limit.
    pub active_key_limit: Option<Option<u32>>,
    /// Limits over all keys that the member made.
    pub limits: FieldPatch,
}

impl Control {
    /// Members of an organization.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn members(
        &self,
        actor: &Actor,
        organization: Id,
        page: PageRequest,
    ) -> Result<Page<Member>, ControlError> {
        permit(actor, Capability::MembersRead, Scope::Organization(&organization))?;
        Ok(self.store().read(move |tx| tx.members(&organization, &page)).await?)
    }

    /// One member.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`].
    pub async fn member(&self, actor: &Actor, organization: Id, user: Id) -> Result<Member, ControlError> {
        permit(actor, Capability::MembersRead, Scope::Organization(&organization))?;
        self.store().read(move |tx| tx.member(&organization, &user)?.ok_or(ControlError::NotFound)).await
    }

    /// The caller's own membership; with a token that of its maker.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for an organization that the caller does not belong to.
    pub async fn own_membership(&self, actor: &Actor, organization: Id) -> Result<Member, ControlError> {
        actor.membership(&organization).ok_or(ControlError::NotFound)?;
        let user = actor.author.clone();
        self.store().read(move |tx| tx.member(&organization, &user)?.ok_or(ControlError::NotFound)).await
    }

    /// Changes role, grants or limits of a member whose revision is `expected`.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotPermitted`] for the own role and for more than the caller holds;
    /// [`ControlError::LastOwner`].
    pub async fn change_member(
        self: &Arc<Self>,
        actor: &Actor,
        (organization, user): (Id, Id),
        expected: u64,
        patch: MemberPatch,
    ) -> Result<Member, ControlError> {
        permit(actor, Capability::MembersWrite, Scope::Organization(&organization))?;
        let (actor, control) = (actor.clone(), Arc::clone(self));
        self.change_keys(move |tx| {
            gate::usable_organization(tx, &actor, &organization)?;
            let mut keys = KeyChange::new(control.meters());
            let before = tx.member(&organization, &user)?.ok_or(ControlError::NotFound)?;
            gate::expect_revision(before.revision, expected)?;
            let after = Member {
                role: patch.role.unwrap_or(before.role),
                grants: patch.grants.unwrap_or_else(|| before.grants.clone()),
                active_key_limit: patch.active_key_limit.unwrap_or(before.active_key_limit),
                ..before.clone()
            };
            check_change(tx, &actor, &before, &after)?;
            check_grants(tx, &organization, &after.grants)?;
            let place = PolicyPlace::Member { organization: organization.clone(), user: user.clone() };
            let snapshot = control.served();
            let deed = FieldDeed {
                actor: &actor,
                organization: organization.clone(),
                project: None,
                reach: Reach::Any,
                snapshot: &snapshot,
            };
            let is_limited_anew = deed.write(tx, &place, &patch.limits)?;
            if is_limited_anew {
                keys.replace_under(tx, &organization, &place)?;
            } else if after == before {
                return Ok((keys, before));
            }
            tx.update_member(&after)?;
            if (after.role, &after.grants) != (before.role, &before.grants) {
                // Threat T-43: whoever holds a session of before holds nothing.
                tx.delete_sessions_of(&user)?;
            }
            let mut event = actor.event("member.update", user.as_str());
            event.organization = Some(organization.clone());
            (event.before, event.after) = (shown(&before), shown(&after));
            tx.append_audit(&event)?;
            Ok((keys, tx.member(&organization, &user)?.ok_or(ControlError::NotFound)?))
        })
        .await
    }

    /// Removes a member, ends its tokens and disables the keys it made, at once on the data plane too. A member may leave
    /// by itself.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::LastOwner`].
    pub async fn remove_member(
        self: &Arc<Self>,
        actor: &Actor,
        (organization, user): (Id, Id),
        expected: u64,
    ) -> Result<(), ControlError> {
        let (actor, meters) = (actor.clone(), self.meters());
        self.commit_and_show(
            move |tx| {
                let keys = remove(tx, &actor, (&organization, &user), expected)?;
                let mut shown = KeyChange::new(meters);
                shown.replace_all(tx, &organization, &keys)?;
                let (organization, user) = (organization.as_str().into(), user.as_str().into());
                Ok(((shown, RuleOwner::Member { organization, user }), ()))
            },
            |edit, (shown, rules)| {
                edit.put_rules(rules, Vec::new());
                shown.put(edit);
            },
        )
        .await
    }
}

/// Returns the keys that were disabled.
fn remove(
    tx: &mut dyn Tx,
    actor: &Actor,
    (organization, user): (&Id, &Id),
    expected: u64,
) -> Result<Vec<ApiKey>, ControlError> {
    let leaves = actor.author == *user && actor.membership(organization).is_some();
    if !leaves {
        permit(actor, Capability::MembersWrite, Scope::Organization(organization))?;
    }
    gate::usable_organization(tx, actor, organization)?;
    let before = tx.member(organization, user)?.ok_or(ControlError::NotFound)?;
    gate::expect_revision(before.revision, expected)?;
    if before.role == OrganizationRole::Owner {
        only_by_owner(actor, organization)?;
        keep_an_owner(tx, organization)?;
    }
    let keys = tx.disable_keys_of(organization, user)?;
    let tokens = end_tokens_of(tx, organization, user)?;
    tx.delete_member(organization, user)?;
    if tx.memberships(user)?.is_empty() && !tx.user(user)?.is_some_and(|user| user.instance_admin) {
        tx.delete_sessions_of(user)?;
    }
    let mut event = actor.event("member.remove", user.as_str());
    event.organization = Some(organization.clone());
    event.before = shown(&before);
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let tokens: Vec<&str> = tokens.iter().map(Id::as_str).collect();
    event.after = serde_json::json!({ "disabled_keys": ids, "ended_tokens": tokens }).to_string();
    tx.append_audit(&event)?;
    Ok(keys)
}

/// Ends the tokens that a member made, so that they do not come to life again when the member does.
fn end_tokens_of(tx: &mut dyn Tx, organization: &Id, user: &Id) -> Result<Vec<Id>, ControlError> {
    let first = PageRequest { limit: 100, after: None, order: Order::Ascending };
    let mut ended = Vec::new();
    loop {
        let page = tx.admin_tokens(Some(organization), Some(user), &first)?;
        for token in page.rows {
            tx.delete_admin_token(&token.id)?;
            ended.push(token.id);
        }
        if !page.has_more {
            return Ok(ended);
        }
    }
}

/// Nobody changes the own role, grants more than they hold, or takes the last owner away.
fn check_change(tx: &dyn Tx, actor: &Actor, before: &Member, after: &Member) -> Result<(), ControlError> {
    let is_new_role = after.role != before.role || after.grants != before.grants;
    if is_new_role && actor.author == before.user {
        return Err(ControlError::NotPermitted("nobody changes their own role; ask another owner".to_owned()));
    }
    if is_new_role {
        hold_at_least(actor, &before.organization, after.role, &after.grants)?;
    }
    if before.role == OrganizationRole::Owner {
        only_by_owner(actor, &before.organization)?;
        if after.role != OrganizationRole::Owner {
            keep_an_owner(tx, &before.organization)?;
        }
    }
    Ok(())
}

fn only_by_owner(actor: &Actor, organization: &Id) -> Result<(), ControlError> {
    if actor.membership(organization).is_some_and(|own| own.role == OrganizationRole::Owner) {
        return Ok(());
    }
    Err(ControlError::NotPermitted("only an owner changes or removes an owner".to_owned()))
}

fn keep_an_owner(tx: &dyn Tx, organization: &Id) -> Result<(), ControlError> {
    if tx.owner_count(organization)? > 1 { Ok(()) } else { Err(ControlError::LastOwner) }
}

/// Grants name projects of the organization, each at most once.
pub(in crate::control) fn check_grants(
    tx: &dyn Tx,
    organization: &Id,
    grants: &[ProjectGrant],
) -> Result<(), ControlError> {
    for (index, grant) in grants.iter().enumerate() {
        let path = format!("project_grants.{index}.project_id");
        let is_own = tx.project(&grant.project)?.is_some_and(|project| project.organization == *organization);
        if !is_own {
            return Err(ControlError::field(path, "no such project in this organization"));
        }
        if grants.iter().take(index).any(|earlier| earlier.project == grant.project) {
            return Err(ControlError::field(path, "the project is named twice"));
        }
    }
    Ok(())
}

/// Grants as the audit log keeps them.
pub(in crate::control) fn grants_json(grants: &[ProjectGrant]) -> serde_json::Value {
    grants.iter().map(|grant| serde_json::json!({ "project_id": grant.project.as_str(), "role": grant.role })).collect()
}

/// The member as the audit log keeps it.
fn shown(row: &Member) -> String {
    serde_json::json!({
        "email": row.email,
        "role": row.role,
        "project_grants": grants_json(&row.grants),
        "max_active_keys": row.active_key_limit,
    })
    .to_string()
}
