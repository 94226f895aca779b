//! Money is limited only where everything has a price.
//!
//! What has no price costs nothing in the books, so a limit in money would let it through for ever. A limit is refused
//! while such a target is live in its scope, and such a version while a limit can apply to it.

use super::super::error::{ControlError, FieldProblem};
use crate::{
    base::Id,
    snapshot::{ProjectPart, Snapshot},
    store::{LimitKind, LimitMode, Member, OrganizationRole, PolicyPlace, ProjectRole, StoredLimit, Tx},
};

/// Targets that a refusal names, at most.
const NAMED_MAX: usize = 20;

/// Refuses a limit in money while a target without a price is live in its scope. `path` is the field that asks for it.
///
/// # Errors
/// [`ControlError::Invalid`] with a problem for each target; the store's.
pub(super) fn refuse_unpriced(
    tx: &dyn Tx,
    snapshot: &Snapshot,
    limit: &StoredLimit,
    path: &str,
) -> Result<(), ControlError> {
    if !is_of_money(limit) {
        return Ok(());
    }
    let mut problems = Vec::new();
    for project in projects_under(tx, limit)? {
        if let Some(part) = snapshot.project(project.as_str()) {
            problems.extend(unpriced_targets(part).into_iter().map(|target| problem(path, &target)));
        }
    }
    problems.truncate(NAMED_MAX);
    if problems.is_empty() { Ok(()) } else { Err(ControlError::Invalid(problems)) }
}

/// Refuses a new key that limits in money bind while a target without a price is live in its project.
///
/// # Errors
/// [`ControlError::Invalid`].
pub(in crate::control) fn refuse_unpriced_key(snapshot: &Snapshot, project: &Id) -> Result<(), ControlError> {
    let targets = snapshot.project(project.as_str()).map(|part| unpriced_targets(part)).unwrap_or_default();
    if targets.is_empty() {
        return Ok(());
    }
    Err(ControlError::Invalid(targets.iter().take(NAMED_MAX).map(|target| problem("", target)).collect()))
}

fn problem(path: &str, target: &str) -> FieldProblem {
    let said = format!("money cannot be limited while {target} is served without a price; state one, or 0 for free");
    FieldProblem::new(path, said)
}

/// Whether a limit in money can apply to requests of a project.
///
/// # Errors
/// The store's.
pub(in crate::control) fn is_money_limited(tx: &dyn Tx, organization: &Id, project: &Id) -> Result<bool, ControlError> {
    for limit in tx.limits_of_organization(organization)?.iter().filter(|limit| is_of_money(limit)) {
        let applies = match &limit.place {
            PolicyPlace::Organization(_) => true,
            PolicyPlace::Project(id) => id == project,
            PolicyPlace::Key(id) => tx.key(id)?.is_some_and(|key| key.project == *project),
            PolicyPlace::Member { organization, user } => match tx.member(organization, user)? {
                Some(member) => concerns(tx, &member, project)?,
                None => false,
            },
        };
        if applies {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of_money(limit: &StoredLimit) -> bool {
    limit.kind == LimitKind::Usd && limit.mode == LimitMode::Enforce
}

fn projects_under(tx: &dyn Tx, limit: &StoredLimit) -> Result<Vec<Id>, ControlError> {
    let of_organization = |tx: &dyn Tx| -> Result<Vec<Id>, ControlError> {
        let all = tx.all_projects()?.into_iter();
        Ok(all.filter(|project| project.organization == limit.organization).map(|project| project.id).collect())
    };
    match &limit.place {
        PolicyPlace::Project(id) => Ok(vec![id.clone()]),
        PolicyPlace::Key(id) => Ok(tx.key(id)?.map(|key| key.project).into_iter().collect()),
        PolicyPlace::Organization(_) => of_organization(tx),
        PolicyPlace::Member { organization, user } => {
            let Some(member) = tx.member(organization, user)? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for project in of_organization(tx)? {
                if concerns(tx, &member, &project)? {
                    found.push(project);
                }
            }
            Ok(found)
        }
    }
}

/// Whether a member has keys in a project, or may make some.
fn concerns(tx: &dyn Tx, member: &Member, project: &Id) -> Result<bool, ControlError> {
    let is_administrator = matches!(member.role, OrganizationRole::Owner | OrganizationRole::Admin);
    let makes_keys = |role| matches!(role, ProjectRole::ProjectAdmin | ProjectRole::Developer);
    if is_administrator || member.grants.iter().any(|grant| grant.project == *project && makes_keys(grant.role)) {
        return Ok(true);
    }
    let place = PolicyPlace::Member { organization: member.organization.clone(), user: member.user.clone() };
    Ok(tx.keys_under(&place)?.iter().any(|key| key.project == *project))
}

/// Live targets without a price, as `project/route` and the name of the model.
fn unpriced_targets(part: &ProjectPart) -> Vec<String> {
    let mut found = Vec::new();
    for route in part.routes() {
        for target in route.all_targets().filter(|target| target.price.is_none()) {
            found.push(format!("`{}/{}` of route `{}`", target.labels.provider, target.labels.model, route.full_name));
        }
    }
    found
}
