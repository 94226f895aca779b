//! Sums over requests, and the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::projects::millis;
use super::times::optional_time;
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Caller, Endpoint, KeyId, Listed, Listing, OrganizationId, Plain, ProjectId, Query,
    Time,
};
use crate::base::{NanoUsd, TokenCounts, UnixTime, unix_time};
use crate::control::{
    Actor, Analytics, Capability, Granularity, GroupBy, Only, UsageQuestion, UsageRow, UsageScope, Zone,
};
use crate::store::{LedgerEntry, LedgerFilter, LedgerKind};
use crate::usage::Distribution;

/// How far back an answer goes unless asked otherwise.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/projects/{project}/analytics",
            Needs(Capability::UsageRead),
            "Sums up what a project used, by time and groups.",
            of_project,
        ),
        Endpoint::get(
            "/organizations/{organization}/analytics",
            Needs(Capability::OrganizationUsageRead),
            "Sums up what all projects of an organization used, by time and groups.",
            of_organization,
        ),
        Endpoint::get(
            "/projects/{project}/keys/{key}/usage",
            Needs(Capability::UsageRead),
            "Sums up what a key used, by time and groups.",
            of_key,
        ),
        Endpoint::get(
            "/organizations/{organization}/ledger",
            Needs(Capability::LedgerRead),
            "Lists entries of the ledger, newest first.",
            ledger,
        ),
    ]
}

/// What is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// From when on, as RFC 3339 has it; a day before `to` unless said.
    #[param(nullable = false, format = "date-time")]
    from: Option<String>,
    /// Before when, at most 366 days later; now unless said.
    #[param(nullable = false, format = "date-time")]
    to: Option<String>,
    /// `minute` (up to 7 days back), `hour` (up to 90 days back), `day` or `month`; `hour` unless said.
    #[param(nullable = false, pattern = "^(minute|hour|day|month)$")]
    granularity: Option<String>,
    /// Where hours, days and months begin: `UTC`, an offset such as `+02:00`, or a name of the IANA database such as
    /// `Europe/Berlin`. Hours of a zone that is not whole hours from UTC go 7 days back.
    #[param(nullable = false, max_length = 64)]
    timezone: Option<String>,
    /// Names with commas between: `project`, `route`, `key`, `member`, `group`, `provider`, `model`, `target`, `endpoint`,
    /// `status`, `error`, `stream`, `credential`; or `tag` alone.
    #[param(nullable = false, max_length = 200)]
    group_by: Option<String>,
    /// Only of this key.
    #[param(nullable = false, max_length = 128)]
    key_id: Option<String>,
    /// Only this route.
    #[param(nullable = false, max_length = 255)]
    route: Option<String>,
    /// Only this provider.
    #[param(nullable = false, max_length = 255)]
    provider: Option<String>,
    /// Only this model.
    #[param(nullable = false, max_length = 255)]
    model: Option<String>,
}

/// Which entries are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LedgerQuery {
    /// Id of a project.
    #[param(nullable = false, max_length = 128)]
    project: Option<String>,
    /// `requests`, `fee`, `topup`, `adjustment`, `refund`, `crash_reserve` or `reprice`.
    #[param(nullable = false, max_length = 32)]
    kind: Option<String>,
    /// Name of an account.
    #[param(nullable = false, max_length = 1_024)]
    account: Option<String>,
    /// From then on, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    from: Option<String>,
    /// Before, as RFC 3339 has it.
    #[param(nullable = false, format = "date-time")]
    to: Option<String>,
}

/// USD as a decimal text with nine decimals.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Money(pub(super) NanoUsd);

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^-?[0-9]+\\.[0-9]{9}$"));
        RefOr::T(text.description(Some("USD, with nine decimals.")).build().into())
    }
}

impl ToSchema for Money {}

/// Tokens by class.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct TokensView {
    input: u64,
    output: u64,
    /// Part of `input`.
    cache_read: u64,
    /// Part of `input`.
    cache_write: u64,
    /// Part of `output`.
    reasoning: u64,
    /// Part of `input`.
    audio_input: u64,
    /// Part of `output`.
    audio_output: u64,
    /// Part of `input`.
    image_input: u64,
    /// Part of `output`.
    image_output: u64,
    /// No tokens: pictures that were made for answers.
    images: u64,
    /// No tokens: searches that the provider made.
    web_searches: u64,
    /// Milliseconds of audio that transcriptions heard; no tokens.
    audio_ms: u64,
}

impl From<TokenCounts> for TokensView {
    fn from(tokens: TokenCounts) -> Self {
        Self {
            input: tokens.input,
            output: tokens.output,
            cache_read: tokens.cache_read,
            cache_write: tokens.cache_write,
            reasoning: tokens.reasoning,
            audio_input: tokens.audio_input,
            audio_output: tokens.audio_output,
            image_input: tokens.image_input,
            image_output: tokens.image_output,
            images: tokens.images.into(),
            web_searches: tokens.searches.into(),
            audio_ms: tokens.audio_millis,
        }
    }
}

/// Percentiles of durations in milliseconds, each to 3.2 %; null when nothing was measured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Percentiles)]
struct PercentilesView {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

impl From<&Distribution> for PercentilesView {
    fn from(seen: &Distribution) -> Self {
        let ms = |hundredths| seen.percentile(hundredths).map(|duration| duration.as_secs_f64() * 1_000.0);
        Self { p50: ms(50), p95: ms(95), p99: ms(99) }
    }
}

/// What requests used together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSum)]
struct UsageSumView {
    /// When the bucket begins.
    begins: Time,
    /// The group, by what was asked for.
    group: BTreeMap<&'static str, String>,
    requests: u64,
    /// Failed and refused ones.
    errors: u64,
    /// Failed and refused ones by code.
    errors_by_code: BTreeMap<String, u64>,
    cancelled: u64,
    /// Those whose tokens were estimated.
    estimated: u64,
    /// Those that a provider was asked for and no price is known of.
    unpriced: u64,
    attempts: u64,
    tokens: TokensView,
    cost: Money,
    fee: Money,
    saved: Money,
    duration_ms: PercentilesView,
    ttft_ms: PercentilesView,
    overhead_ms: PercentilesView,
}

impl From<UsageRow> for UsageSumView {
    fn from(row: UsageRow) -> Self {
        let tally = row.tally;
        Self {
            begins: UnixTime(Duration::from_secs(row.begins)).into(),
            group: row.group.into_iter().map(|(by, text)| (by.as_str(), text)).collect(),
            requests: tally.requests,
            errors: row.errors.values().sum(),
            errors_by_code: row.errors,
            cancelled: tally.cancelled,
            estimated: tally.estimated,
            unpriced: tally.unpriced,
            attempts: tally.attempts,
            tokens: tally.tokens.into(),
            cost: Money(tally.cost),
            fee: Money(tally.fee),
            saved: Money(tally.saved),
            duration_ms: (&tally.duration).into(),
            ttft_ms: (&tally.ttft).into(),
            overhead_ms: (&tally.overhead).into(),
        }
    }
}

/// Sums by time and groups.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Analytics)]
struct AnalyticsView {
    from: Time,
    to: Time,
    /// Everything together; empty where rows are by tag.
    total: UsageSumView,
    /// By time, then by group; at most 10,000.
    rows: Vec<UsageSumView>,
}

/// One entry of the ledger. Entries never change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerEntry)]
struct LedgerEntryView {
    id: u64,
    at: Time,
    kind: LedgerKind,
    account: String,
    /// When the period of the account begins, in nanoseconds since 1970; 0 for all time.
    period: u64,
    /// In the unit of the account: nano-USD, tokens, requests or milliseconds.
    amount: i64,
    /// How many requests it sums up.
    requests: u64,
    organization: String,
    project: String,
    first_request_id: String,
    last_request_id: String,
    comment: String,
    operation: String,
}

impl From<LedgerEntry> for LedgerEntryView {
    fn from(entry: LedgerEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.into(),
            kind: entry.kind,
            account: entry.account,
            period: entry.period,
            amount: entry.amount,
            requests: entry.requests,
            organization: entry.organization,
            project: entry.project,
            first_request_id: entry.first_request,
            last_request_id: entry.last_request,
            comment: entry.comment,
            operation: entry.operation,
        }
    }
}

async fn of_project(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    ProjectId(project): ProjectId,
    Query(query): Query<UsageQuery>,
) -> Result<Plain<AnalyticsView>, ApiError> {
    ask(&api, &actor, UsageScope::Project(project), query).await
}

async fn of_organization(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Query(query): Query<UsageQuery>,
) -> Result<Plain<AnalyticsView>, ApiError> {
    ask(&api, &actor, UsageScope::Organization(organization), query).await
}

async fn of_key(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    (ProjectId(project), KeyId(key)): (ProjectId, KeyId),
    Query(query): Query<UsageQuery>,
) -> Result<Plain<AnalyticsView>, ApiError> {
    ask(&api, &actor, UsageScope::Key(project, key), query).await
}

async fn ledger(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Query(query): Query<LedgerQuery>,
    listing: Listing,
) -> Result<Listed<LedgerEntryView>, ApiError> {
    let kind = query.kind.map(|kind| LedgerKind::parse(&kind).ok_or_else(|| ApiError::field("kind", "unknown kind")));
    let filter = LedgerFilter {
        organization: None,
        project: query.project,
        kind: kind.transpose()?,
        account: query.account,
        since: optional_time("from", query.from.as_deref())?,
        until: optional_time("to", query.to.as_deref())?,
    };
    let page = api.control.ledger(&actor, &organization, filter, listing.page.clone()).await?;
    let mark = |row: &LedgerEntry| (millis(row.at), row.id.to_string());
    Ok(Listed::new(&listing, page, mark, LedgerEntryView::from))
}

async fn ask(api: &Api, actor: &Actor, scope: UsageScope, query: UsageQuery) -> Result<Plain<AnalyticsView>, ApiError> {
    let question = query.question()?;
    let (from, to) = (question.from.into(), question.to.into());
    let Analytics { total, rows } = api.control.usage(actor, scope, question).await?;
    let rows = rows.into_iter().map(UsageSumView::from).collect();
    Ok(Plain(AnalyticsView { from, to, total: total.into(), rows }))
}

impl UsageQuery {
    fn question(self) -> Result<UsageQuestion, ApiError> {
        let to = optional_time("to", self.to.as_deref())?.unwrap_or_else(unix_time);
        let from = optional_time("from", self.from.as_deref())?.unwrap_or(UnixTime(to.0.saturating_sub(DAY)));
        let granularity = match self.granularity.as_deref() {
            Some("minute") => Granularity::Minute,
            None | Some("hour") => Granularity::Hour,
            Some("day") => Granularity::Day,
            Some("month") => Granularity::Month,
            Some(_) => return Err(ApiError::field("granularity", "expected `minute`, `hour`, `day` or `month`")),
        };
        let zone = self.timezone.as_deref().map_or_else(|| Ok(Zone::utc()), Zone::parse)?;
        let only =
            Only { key: self.key_id, member: None, route: self.route, provider: self.provider, model: self.model };
        Ok(UsageQuestion { from, to, granularity, zone, group_by: groups(self.group_by.as_deref())?, only })
    }
}

fn groups(text: Option<&str>) -> Result<Vec<GroupBy>, ApiError> {
    let mut groups = Vec::new();
    for word in text.into_iter().flat_map(|text| text.split(',')) {
        let known = GroupBy::ALL.iter().find(|(_, known)| *known == word.trim());
        let Some((by, _)) = known.filter(|(by, _)| !groups.contains(by)) else {
            let words: Vec<_> = GroupBy::ALL.iter().map(|(_, word)| *word).collect();
            return Err(ApiError::field("group_by", format!("expected some of `{}`, each once", words.join("`, `"))));
        };
        groups.push(*by);
    }
    Ok(groups)
}
