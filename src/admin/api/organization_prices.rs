//! Prices of an organization, one list.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Endpoint, IfMatch, NoContent, OrganizationId, Tagged, Time,
};
use crate::base::NanoUsd;
use crate::control::Capability;
use crate::store::{OrganizationPrice, OrganizationPrices};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let path = "/organizations/{organization}/prices";
    let write = Needs(Capability::OrganizationPricesWrite);
    vec![
        Endpoint::get(
            path,
            Needs(Capability::Self_),
            "Lists the prices of an organization, which hold for own credentials where a project states none.",
            show,
        ),
        Endpoint::put(path, write, "Puts prices in the place of those before; they hold for requests at once.", put),
        Endpoint::delete(path, write, "Removes all prices: those of the instance's tables hold again.", delete),
    ]
}

/// All prices of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationPricesPut {
    #[schema(max_items = 500)]
    prices: Vec<OrganizationPriceInput>,
}

/// What the models of one name cost. Amounts are USD; those of tokens per million, with at most 6 decimals. 0 is free.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationPriceInput {
    /// `provider/name`; the name may end in `*`. A whole name comes before the longest beginning.
    #[schema(min_length = 3, max_length = 255)]
    model: String,
    /// Tokens of a prompt.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    input: String,
    /// Tokens of an answer.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    output: String,
    /// Tokens of a prompt read from the provider's cache. Default: as `input`.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    cached_input: Option<String>,
    /// Tokens of a prompt written to the cache for five minutes. Default: as `input`.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    cache_write_5m: Option<String>,
    /// Tokens of a prompt written to the cache for an hour. Default: as `input`.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    cache_write_1h: Option<String>,
    /// Tokens of pictures in a prompt, where the provider counts them apart. Default: as `input`.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    image_input: Option<String>,
    /// Tokens of pictures in an answer, where the provider counts them apart. Default: as `output`.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,6})?$", max_length = 24)]
    image_output: Option<String>,
    /// Each request beside its tokens. Default 0.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,9})?$", max_length = 24)]
    per_request: Option<String>,
    /// Each picture in an answer beside its tokens. Default 0.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,9})?$", max_length = 24)]
    per_image: Option<String>,
    /// Each search that the provider makes for an answer. Default 0.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,9})?$", max_length = 24)]
    per_web_search: Option<String>,
    /// Each minute of audio beside its tokens, by the millisecond. Default 0.
    #[schema(pattern = "^[0-9]+([.][0-9]{1,9})?$", max_length = 24)]
    per_audio_minute: Option<String>,
}

/// Prices of an organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationPrices)]
struct OrganizationPricesView {
    prices: Vec<OrganizationPriceView>,
    /// When they were last changed; null if never.
    changed_at: Option<Time>,
}

/// What the models of one name cost, in USD; tokens per million.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationPrice)]
struct OrganizationPriceView {
    model: String,
    input: String,
    output: String,
    cached_input: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
    image_input: Option<String>,
    image_output: Option<String>,
    per_request: String,
    per_image: String,
    per_web_search: String,
    per_audio_minute: String,
    /// As rows of requests name it: `organization`.
    source: &'static str,
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
) -> Result<Tagged<OrganizationPricesView>, ApiError> {
    api.control.organization_prices(&actor, &organization).await.map(tagged).map_err(ApiError::from)
}

async fn put(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IfMatch(revision): IfMatch,
    Body(body): Body<OrganizationPricesPut>,
) -> Result<Tagged<OrganizationPricesView>, ApiError> {
    let prices = body.prices.into_iter().enumerate().map(|(index, input)| input.price(index));
    let prices = prices.collect::<Result<Vec<_>, _>>()?;
    let put = api.control.put_organization_prices(&actor, &organization, revision, prices).await;
    put.map(tagged).map_err(ApiError::from)
}

async fn delete(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IfMatch(revision): IfMatch,
) -> Result<NoContent, ApiError> {
    api.control.put_organization_prices(&actor, &organization, revision, Vec::new()).await?;
    Ok(NoContent)
}

fn tagged(row: OrganizationPrices) -> Tagged<OrganizationPricesView> {
    Tagged { revision: row.revision, body: row.into() }
}

impl OrganizationPriceInput {
    fn price(self, index: usize) -> Result<OrganizationPrice, ApiError> {
        let amount = |name: &str, text: &str| -> Result<NanoUsd, ApiError> {
            text.parse().map_err(|error: crate::base::MoneyError| {
                ApiError::field(format!("prices.{index}.{name}"), error.to_string())
            })
        };
        let some = |name: &str, text: Option<String>| text.map(|text| amount(name, &text)).transpose();
        Ok(OrganizationPrice {
            input: amount("input", &self.input)?,
            output: amount("output", &self.output)?,
            cached_input: some("cached_input", self.cached_input)?,
            cache_write_5m: some("cache_write_5m", self.cache_write_5m)?,
            cache_write_1h: some("cache_write_1h", self.cache_write_1h)?,
            image_input: some("image_input", self.image_input)?,
            image_output: some("image_output", self.image_output)?,
            per_request: some("per_request", self.per_request)?.unwrap_or_default(),
            per_image: some("per_image", self.per_image)?.unwrap_or_default(),
            per_web_search: some("per_web_search", self.per_web_search)?.unwrap_or_default(),
            per_audio_minute: some("per_audio_minute", self.per_audio_minute)?.unwrap_or_default(),
            model: self.model,
        })
    }
}

impl From<OrganizationPrices> for OrganizationPricesView {
    fn from(row: OrganizationPrices) -> Self {
        let changed_at = (row.revision > 0).then(|| row.changed_at.into());
        Self { prices: row.prices.into_iter().map(OrganizationPriceView::from).collect(), changed_at }
    }
}

impl From<OrganizationPrice> for OrganizationPriceView {
    fn from(price: OrganizationPrice) -> Self {
        let text = |amount: NanoUsd| amount.to_string();
        Self {
            model: price.model,
            input: text(price.input),
            output: text(price.output),
            cached_input: price.cached_input.map(text),
            cache_write_5m: price.cache_write_5m.map(text),
            cache_write_1h: price.cache_write_1h.map(text),
            image_input: price.image_input.map(text),
            image_output: price.image_output.map(text),
            per_request: text(price.per_request),
            per_image: text(price.per_image),
            per_web_search: text(price.per_web_search),
            per_audio_minute: text(price.per_audio_minute),
            source: crate::usage::PriceSource::Organization.as_str(),
        }
    }
}
