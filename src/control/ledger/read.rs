//! Reading what was stored: rows of requests, entries, sums.

use std::time::Duration;

use super::super::{
    actor::Actor,
    error::ControlError,
    gate,
    instance::Control,
    permit::{Capability, Extent, Scope, permit},
};
use super::{
    analytics::{Analytics, UsageQuestion, answer},
    tail::Tail,
};
use crate::{
    base::Id,
    store::{LedgerEntry, LedgerFilter, Page, PageRequest, RequestFilter, RequestRow, Tx},
};

/// How long one question may take. Others wait for the same threads.
const QUESTION_MAX: Duration = Duration::from_secs(5);

/// Whose usage is asked for.
#[derive(Debug, Clone)]
pub enum UsageScope {
    /// That of a project.
    Project(Id),
    /// That of a key of a project.
    Key(Id, Id),
    /// That of all projects of an organization.
    Organization(Id),
}

/// Projects whose usage an actor may see, as they are counted, and the one member whose it must be, if not everybody's.
struct Seen {
    projects: Vec<String>,
    member: Option<String>,
}

impl Control {
    /// Rows of requests of a project, newest first unless asked otherwise. Whoever sees only own keys sees only theirs.
    ///
    /// # Errors
    /// The permission's; [`ControlError::Invalid`] when it takes too long.
    pub async fn requests(
        &self,
        actor: &Actor,
        project: &Id,
        mut filter: RequestFilter,
        page: PageRequest,
    ) -> Result<Page<RequestRow>, ControlError> {
        let (actor, scope, files) =
            (actor.clone(), UsageScope::Project(project.clone()), self.file_slug(actor, project)?);
        self.store()
            .read_within(QUESTION_MAX, move |tx| {
                let seen = seen(tx, &actor, &scope, files)?;
                filter.project = seen.projects.into_iter().next().unwrap_or_default();
                filter.member = seen.member.or(filter.member);
                Ok(tx.requests(&filter, &page)?)
            })
            .await
    }

    /// One request of a project by its id.
    ///
    /// # Errors
    /// The permission's; [`ControlError::NotFound`] when it was not stored, or is gone.
    pub async fn request(&self, actor: &Actor, project: &Id, request_id: &str) -> Result<RequestRow, ControlError> {
        let (actor, scope, files) =
            (actor.clone(), UsageScope::Project(project.clone()), self.file_slug(actor, project)?);
        let request_id = request_id.to_owned();
        self.store()
            .read_within(QUESTION_MAX, move |tx| {
                let seen = seen(tx, &actor, &scope, files)?;
                let project = seen.projects.first().map(String::as_str).unwrap_or_default();
                let found = tx.request(project, &request_id)?.ok_or(ControlError::NotFound)?;
                match seen.member {
                    Some(member) if member != found.dimension.member => Err(ControlError::NotFound),
                    _ => Ok(found),
                }
            })
            .await
    }

    /// Follows the requests of a project as they end.
    ///
    /// # Errors
    /// The permission's; [`ControlError::LimitReached`] when too many others do so.
    pub async fn tail(&self, actor: &Actor, project: &Id, mut filter: RequestFilter) -> Result<Tail, ControlError> {
        let seen = self.seen_now(actor, project).await?;
        filter.project = seen.projects.into_iter().next().unwrap_or_default();
        filter.member = seen.member.or(filter.member);
        self.tails().open(filter)
    }

    /// Whose requests of a project an actor sees: those of one member, or of all.
    ///
    /// # Errors
    /// The permission's.
    pub async fn tail_member(&self, actor: &Actor, project: &Id) -> Result<Option<String>, ControlError> {
        Ok(self.seen_now(actor, project).await?.member)
    }

    async fn seen_now(&self, actor: &Actor, project: &Id) -> Result<Seen, ControlError> {
        let (actor, scope, files) =
            (actor.clone(), UsageScope::Project(project.clone()), self.file_slug(actor, project)?);
        self.store().read(move |tx| seen(tx, &actor, &scope, files)).await
    }

    /// What was used in a time, in buckets and groups.
    ///
    /// # Errors
    /// The permission's; [`ControlError::Invalid`] when it takes too long or has too many rows.
    pub async fn usage(
        &self,
        actor: &Actor,
        scope: UsageScope,
        mut question: UsageQuestion,
    ) -> Result<Analytics, ControlError> {
        let files = match &scope {
            UsageScope::Project(project) => self.file_slug(actor, project)?,
            UsageScope::Key(..) => {
                self.refuse_if_files_own("keys")?;
                None
            }
            UsageScope::Organization(_) => None,
        };
        // In file mode one organization has everything.
        let owns_all = self.files().is_some();
        let actor = actor.clone();
        self.store()
            .read_within(QUESTION_MAX, move |tx| {
                let seen = match &scope {
                    UsageScope::Organization(organization) => seen_in(tx, &actor, organization, owns_all)?,
                    _ => seen(tx, &actor, &scope, files)?,
                };
                if let UsageScope::Key(_, key) = &scope {
                    question.only.key = Some(key.as_str().to_owned());
                }
                question.only.member = seen.member.or(question.only.member);
                answer(tx, &seen.projects, &question)
            })
            .await
    }

    /// Entries of the ledger of an organization, newest first unless asked otherwise.
    ///
    /// # Errors
    /// As [`permit`].
    pub async fn ledger(
        &self,
        actor: &Actor,
        organization: &Id,
        mut filter: LedgerFilter,
        page: PageRequest,
    ) -> Result<Page<LedgerEntry>, ControlError> {
        let (actor, organization, owns_all) = (actor.clone(), organization.clone(), self.files().is_some());
        self.store()
            .read_within(QUESTION_MAX, move |tx| {
                permit(&actor, Capability::LedgerRead, Scope::Organization(&organization))?;
                tx.organization(&organization)?.ok_or(ControlError::NotFound)?;
                filter.organization = (!owns_all).then(|| organization.as_str().to_owned());
                Ok(tx.ledger(&filter, &page)?)
            })
            .await
    }

    /// In file mode the slug of a project, which is what it is counted under.
    fn file_slug(&self, actor: &Actor, project: &Id) -> Result<Option<FileProject>, ControlError> {
        let Some(files) = self.files() else { return Ok(None) };
        let found = files.project(actor, project)?.project;
        Ok(Some(FileProject { organization: found.organization, slug: found.slug }))
    }
}

/// A project of a file.
struct FileProject {
    organization: Id,
    slug: String,
}

/// What of a project an actor may see.
fn seen(tx: &dyn Tx, actor: &Actor, scope: &UsageScope, file: Option<FileProject>) -> Result<Seen, ControlError> {
    let (UsageScope::Project(project) | UsageScope::Key(project, _)) = scope else {
        return Err(ControlError::NotFound);
    };
    let (extent, counted_as) = match file {
        Some(file) => {
            let place = Scope::Project(&file.organization, project);
            (permit(actor, Capability::UsageRead, place)?, file.slug)
        }
        None => {
            let (found, extent) = gate::project_for(tx, actor, Capability::UsageRead, project)?;
            (extent, found.id.as_str().to_owned())
        }
    };
    if let UsageScope::Key(_, key) = scope {
        let key = tx.key(key)?.filter(|key| key.project == *project).ok_or(ControlError::NotFound)?;
        if extent == Extent::Own && key.created_by != actor.author {
            return Err(ControlError::NotFound);
        }
    }
    let member = (extent == Extent::Own).then(|| actor.author.as_str().to_owned());
    Ok(Seen { projects: vec![counted_as], member })
}

fn seen_in(tx: &dyn Tx, actor: &Actor, organization: &Id, owns_all: bool) -> Result<Seen, ControlError> {
    permit(actor, Capability::OrganizationUsageRead, Scope::Organization(organization))?;
    tx.organization(organization)?.ok_or(ControlError::NotFound)?;
    let projects = tx.counted_projects((!owns_all).then(|| organization.as_str()))?;
    Ok(Seen { projects, member: None })
}
