//! Configurations: drafts, versions, approval, history.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::comment::Comment;
use super::config_problem::ConfigProblem;
use super::projects::millis;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Caller, Code, Created, Document, Endpoint, IfMatch, Known, Listed, Listing,
    NoContent, OptionalBody, Plain, ProjectId, Query, Tagged, Time, Upload, VersionNumber, Wanted,
};
use crate::base::{Id, IdKind};
use crate::config::parse_time;
use crate::control::{Capability, DraftText, Expected, Saved, VersionText, version_revision};
use crate::store::{Version, VersionFilter, VersionState};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let read = Needs(Capability::ProjectRead);
    vec![
        Endpoint::put(
            "/projects/{project}/config/draft",
            Needs(Capability::DraftWrite),
            "Saves a configuration as the new open version; problems are returned, not refused.",
            save,
        )
        .refuses(&[Code::ProjectArchived]),
        Endpoint::get("/projects/{project}/config/draft", read, "Shows the open version.", show_draft),
        Endpoint::delete(
            "/projects/{project}/config/draft",
            Needs(Capability::DraftWrite),
            "Drops the open version; what is served stays live.",
            discard,
        )
        .refuses(&[Code::ProjectArchived]),
        Endpoint::post(
            "/projects/{project}/config/validate",
            Needs(Capability::DraftWrite),
            "Checks a configuration as approval would and stores nothing.",
            validate,
        ),
        Endpoint::get("/projects/{project}/config/versions", read, "Lists versions, newest first.", list),
        Endpoint::get(
            "/projects/{project}/config/versions/{version}",
            read,
            "Shows a version; as YAML the exact bytes that were saved.",
            show,
        ),
        Endpoint::post(
            "/projects/{project}/config/versions/{version}/approve",
            Needs(Capability::Approve),
            "Approves a draft after every check that serving makes.",
            approve,
        )
        .refuses(&[
            Code::SecondPersonRequired,
            Code::IllegalTransition,
            Code::ConfigInvalid,
            Code::ProjectArchived,
        ]),
        Endpoint::post(
            "/projects/{project}/config/versions/{version}/withdraw",
            Needs(Capability::Approve),
            "Takes an approval back.",
            withdraw,
        )
        .refuses(&[Code::IllegalTransition, Code::ProjectArchived]),
        Endpoint::post(
            "/projects/{project}/config/versions/{version}/copy",
            Needs(Capability::DraftWrite),
            "Copies a version of the history to a new draft.",
            copy,
        )
        .refuses(&[Code::IllegalTransition, Code::ProjectArchived]),
    ]
}

/// A version of a configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigVersion)]
pub(super) struct VersionView {
    version: u32,
    state: VersionState,
    /// SHA-256 of the text, in hex.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    /// Bytes of the text.
    size: u32,
    /// Id of the user or token; `file` in file mode.
    author: String,
    created_at: Time,
    comment: String,
    approver: Option<String>,
    approved_at: Option<Time>,
    approve_comment: String,
    /// The version it was copied from.
    copied_from: Option<u32>,
    /// The draft that it replaced.
    replaces: Option<u32>,
    /// When it last became live.
    served_at: Option<Time>,
}

/// A version with its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigVersionText)]
struct VersionTextView {
    #[serde(flatten)]
    version: VersionView,
    /// The YAML text.
    content: String,
    /// Problems found when it was saved.
    problems: Vec<ConfigProblem>,
}

/// What became of a save.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigSaved)]
struct SavedView {
    version: u32,
    state: VersionState,
    /// What is wrong with it; approval refuses while one is an error.
    problems: Vec<ConfigProblem>,
    /// Whether an approved version was replaced.
    approval_lost: bool,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigCheck)]
struct CheckView {
    problems: Vec<ConfigProblem>,
}

/// Which versions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct VersionQuery {
    /// Only in this state.
    #[param(nullable = false)]
    state: Option<VersionState>,
    /// Only of this user or token.
    #[param(nullable = false, max_length = 64)]
    author: Option<String>,
    /// Only from then on, RFC 3339.
    #[param(nullable = false, format = "date-time")]
    since: Option<String>,
    /// Only before, RFC 3339.
    #[param(nullable = false, format = "date-time")]
    until: Option<String>,
}

async fn save(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    known: Known,
    upload: Upload,
) -> Result<Tagged<SavedView>, ApiError> {
    let draft = DraftText { text: upload.content.to_vec(), comment: upload.comment };
    let saved = api.control.save_draft(&actor, &project, expected(known), draft).await?;
    Ok(Tagged { revision: version_revision(&saved.version), body: saved.into() })
}

async fn show_draft(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    wanted: Wanted,
) -> Result<Document<VersionTextView>, ApiError> {
    Ok(document(api.control.open_version(&actor, &project).await?, wanted))
}

async fn discard(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.discard_draft(&actor, &project, revision).await?;
    Ok(NoContent)
}

async fn validate(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    upload: Upload,
) -> Result<Plain<CheckView>, ApiError> {
    let problems = api.control.validate(&actor, &project, upload.content.to_vec()).await?;
    Ok(Plain(CheckView { problems: problems.iter().map(ConfigProblem::from).collect() }))
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<VersionQuery>,
    listing: Listing,
) -> Result<Listed<VersionView>, ApiError> {
    let filter = query.filter()?;
    let page = api.control.versions(&actor, &project, filter, listing.page.clone()).await?;
    let mark = |row: &Version| (millis(row.created_at), row.number.to_string());
    Ok(Listed::new(&listing, page, mark, VersionView::from))
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), VersionNumber(number)): (ProjectId, VersionNumber),
    wanted: Wanted,
) -> Result<Document<VersionTextView>, ApiError> {
    Ok(document(api.control.version(&actor, &project, number).await?, wanted))
}

async fn approve(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), VersionNumber(number)): (ProjectId, VersionNumber),
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<VersionView>, ApiError> {
    api.control.approve(&actor, &project, number, body.comment).await.map(tagged).map_err(ApiError::from)
}

async fn withdraw(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), VersionNumber(number)): (ProjectId, VersionNumber),
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Tagged<VersionView>, ApiError> {
    api.control.withdraw(&actor, &project, number, body.comment).await.map(tagged).map_err(ApiError::from)
}

async fn copy(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), VersionNumber(number)): (ProjectId, VersionNumber),
    known: Known,
    OptionalBody(body): OptionalBody<Comment>,
) -> Result<Created<SavedView>, ApiError> {
    let saved = api.control.copy_version(&actor, (&project, number), expected(known), body.comment).await?;
    let location = format!("/projects/{project}/config/versions/{}", saved.version.number);
    Ok(Created { revision: version_revision(&saved.version), body: saved.into(), location })
}

impl VersionQuery {
    fn filter(self) -> Result<VersionFilter, ApiError> {
        let time = |path: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match parse_time(&text) {
                Some(time) => Ok(Some(time)),
                None => Err(ApiError::field(path, "expected a time as RFC 3339 has it")),
            },
        };
        let author = match self.author {
            None => None,
            Some(text) => {
                let id = [IdKind::User, IdKind::AdminToken].iter().find_map(|kind| Id::parse(*kind, &text));
                Some(id.ok_or_else(|| ApiError::field("author", "must be the id of a user or token"))?)
            }
        };
        Ok(VersionFilter {
            state: self.state,
            author,
            since: time("since", self.since)?,
            until: time("until", self.until)?,
        })
    }
}

fn expected(known: Known) -> Expected {
    match known {
        Known::Revision(revision) => Expected::Open(revision),
        Known::Absent => Expected::NoneOpen,
    }
}

fn tagged(version: Version) -> Tagged<VersionView> {
    Tagged { revision: version_revision(&version), body: version.into() }
}

fn document(found: VersionText, wanted: Wanted) -> Document<VersionTextView> {
    let revision = version_revision(&found.version);
    match wanted {
        Wanted::Yaml => Document::Yaml(found.text.into(), revision),
        Wanted::Json => {
            let problems = ConfigProblem::stored(&found.version.problems);
            let content = String::from_utf8_lossy(&found.text).into_owned();
            let body = VersionTextView { version: found.version.into(), content, problems };
            Document::Json(Tagged { body, revision })
        }
    }
}

impl From<Saved> for SavedView {
    fn from(saved: Saved) -> Self {
        Self {
            version: saved.version.number,
            state: saved.version.state,
            problems: ConfigProblem::stored(&saved.version.problems),
            approval_lost: saved.approval_lost,
        }
    }
}

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        let text = |id: Id| id.as_str().to_owned();
        Self {
            version: version.number,
            state: version.state,
            digest: version.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            size: version.size,
            author: text(version.author),
            created_at: version.created_at.into(),
            comment: version.comment,
            approver: version.approver.map(text),
            approved_at: version.approved_at.map(Time),
            approve_comment: version.approve_comment,
            copied_from: version.copied_from,
            replaces: version.replaces,
            served_at: version.served_at.map(Time),
        }
    }
}
