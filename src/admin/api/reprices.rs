//! Past usage of a project at other prices.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::projects::millis;
use super::times::time;
use super::usage::Money;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdempotencyKey, Listed, Listing, Plain, ProjectId, Time,
};
use crate::control::{Capability, PriceChoice, RepriceFigures, RepriceOrder, RepriceReport, Repriced};
use crate::store::{Reprice, RepriceState};
use crate::usage::Credential;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let path = "/projects/{project}/usage/reprice";
    let access = Needs(Capability::UsageReprice);
    vec![
        Endpoint::post(
            path,
            access,
            "Prices past usage of a project again, or says what would change: a dry run unless asked otherwise.",
            reprice,
        )
        .refuses(&[Code::InUse, Code::ConfigInvalid]),
        Endpoint::get(path, access, "Lists the runs that have priced usage again, newest first.", list),
    ]
}

/// What is priced again, and by what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RepriceInput {
    /// Requests that ended from then on. The beginning of a minute; of an hour of UTC more than 7 days back, of a day of UTC
    /// more than 90 days back.
    #[schema(format = "date-time")]
    from: String,
    /// Until before when, at most 366 days later and not in the future.
    #[schema(format = "date-time")]
    to: String,
    /// `served` is as a request is priced now. `tables` leaves out what the configuration states: prices of the organization,
    /// then the tables of the instance. Default `served`.
    #[schema(nullable = false, pattern = "^(served|tables)$")]
    prices: Option<String>,
    /// By what this version of the configuration states, which must have been live once, the rest as now.
    #[schema(nullable = false, minimum = 1)]
    version: Option<u32>,
    /// `own` for requests of own credentials; `platform` for those that were paid from credits, which takes an instance
    /// administrator, and the tables decide. Default `own`.
    #[schema(nullable = false, pattern = "^(own|platform)$")]
    credential: Option<String>,
    /// Only this route.
    #[schema(nullable = false, max_length = 255)]
    route: Option<String>,
    /// Only this provider.
    #[schema(nullable = false, max_length = 255)]
    provider: Option<String>,
    /// Only this model, as its provider names it.
    #[schema(nullable = false, max_length = 255)]
    model: Option<String>,
    /// Why; stands in the ledger.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
    /// Whether only the figures are wanted. Default true: nothing is changed unless it is false.
    #[serde(default = "yes")]
    #[schema(default = true)]
    dry_run: bool,
}

fn yes() -> bool {
    true
}

/// A run that prices usage again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reprice)]
struct RepriceView {
    /// The run, which its entries of the ledger name; null for a dry one.
    id: Option<String>,
    /// `done`, or how far it is; null for a dry run.
    state: Option<RepriceState>,
    /// When it was asked for; null for a dry run.
    at: Option<Time>,
    /// `own` or `platform`; null for a dry run.
    credential: Option<String>,
    comment: String,
    /// All requests together.
    total: RepriceFiguresView,
    /// By model.
    models: Vec<RepriceModelView>,
}

/// What some requests cost before and after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepriceFigures)]
struct RepriceFiguresView {
    requests: u64,
    /// Those that are priced one by one, since all of their group are stored.
    by_rows: u64,
    /// Those that are priced by their sums, which tell the same.
    by_sums: u64,
    /// Those that had no price.
    newly_priced: u64,
    /// Those that stay as they are, since nobody states a price.
    without_price: u64,
    /// Those that stay as they are, since not all of their group are stored and the sums do not tell the exact cost.
    inexact: u64,
    old_cost: Money,
    new_cost: Money,
    /// What they cost more; with `-` what they cost less.
    difference: Money,
}

/// The figures of one model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepriceModel)]
struct RepriceModelView {
    provider: String,
    model: String,
    figures: RepriceFiguresView,
}

async fn reprice(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<RepriceInput>,
) -> Result<Plain<RepriceView>, ApiError> {
    let order = body.order()?;
    // Keys are chosen by callers: those of two may be the same.
    let operation = format!("{}:{key}", actor.id);
    Ok(Plain(api.control.reprice(&actor, &project, order, operation).await?.into()))
}

async fn list(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    listing: Listing,
) -> Result<Listed<RepriceView>, ApiError> {
    let page = api.control.reprices(&actor, &project, listing.page.clone()).await?;
    let mark = |row: &Repriced| {
        let run = row.run.as_ref();
        (run.map_or(0, |run| millis(run.made_at)), run.map(|run| run.id.to_string()).unwrap_or_default())
    };
    Ok(Listed::new(&listing, page, mark, RepriceView::from))
}

impl RepriceInput {
    fn order(self) -> Result<RepriceOrder, ApiError> {
        let prices = match (self.prices.as_deref(), self.version) {
            (None, Some(version)) => PriceChoice::Version(version),
            (None | Some("served"), None) => PriceChoice::Served,
            (Some("tables"), None) => PriceChoice::Tables,
            (Some(_), Some(_)) => return Err(ApiError::field("version", "give `prices` or `version`, not both")),
            (Some(_), None) => return Err(ApiError::field("prices", "expected `served` or `tables`")),
        };
        let credential = match self.credential.as_deref() {
            None | Some("own") => Credential::Own,
            Some("platform") => Credential::Platform,
            Some(_) => return Err(ApiError::field("credential", "expected `own` or `platform`")),
        };
        Ok(RepriceOrder {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            prices,
            credential,
            route: self.route,
            provider: self.provider,
            model: self.model,
            comment: self.comment,
            dry_run: self.dry_run,
        })
    }
}

impl From<Repriced> for RepriceView {
    fn from(repriced: Repriced) -> Self {
        let Repriced { run, report: RepriceReport { total, models } } = repriced;
        let of = |read: fn(&Reprice) -> String| run.as_ref().map(read);
        Self {
            id: of(|run| run.id.to_string()),
            state: run.as_ref().map(|run| run.state),
            at: run.as_ref().map(|run| run.made_at.into()),
            credential: of(|run| run.credential.clone()),
            comment: of(|run| run.comment.clone()).unwrap_or_default(),
            total: total.into(),
            models: models
                .into_iter()
                .map(|of| RepriceModelView { provider: of.provider, model: of.model, figures: of.figures.into() })
                .collect(),
        }
    }
}

impl From<RepriceFigures> for RepriceFiguresView {
    fn from(of: RepriceFigures) -> Self {
        Self {
            difference: Money(of.difference()),
            requests: of.requests,
            by_rows: of.by_rows,
            by_sums: of.by_sums,
            newly_priced: of.newly_priced,
            without_price: of.without_price,
            inexact: of.inexact,
            old_cost: Money(of.old_cost),
            new_cost: Money(of.new_cost),
        }
    }
}
