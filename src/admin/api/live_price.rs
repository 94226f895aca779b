//! What a live target costs, as its requests are priced.

use serde::Serialize;
use utoipa::ToSchema;

use super::usage::Money;
use crate::base::NanoUsd;
use crate::snapshot::Target;
use crate::usage::{Price, PriceClass};

/// Who pays, and what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LivePrices)]
pub(super) struct LivePricesView {
    /// With an own credential; null when it is never used, or when nobody states a price.
    own: Option<LivePriceView>,
    /// With the platform's credential; null when it is never used.
    platform: Option<LivePriceView>,
}

/// A price in USD, and who stated it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LivePrice)]
struct LivePriceView {
    /// `model`, `prices` of the project, `organization`, `prices_file` or `catalogue`: the first of these that states one.
    source: &'static str,
    /// As of when, such as `2026-11-01`; null for prices without a date.
    date: Option<String>,
    /// Each request, beside its tokens.
    per_request: Money,
    /// Each picture in an answer, beside its tokens.
    per_image: Money,
    /// Each search that the provider makes for an answer.
    per_web_search: Money,
    /// Each minute of audio, in USD.
    per_audio_minute: Money,
    /// A million tokens by class; the first for every prompt, each other for prompts that are longer than it says.
    tiers: Vec<PriceTierView>,
}

/// A million tokens of each class, in USD. What nobody stated follows from what was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PriceTier)]
struct PriceTierView {
    /// For prompts of more than so many tokens.
    over_input_tokens: u64,
    input: Money,
    cached_input: Money,
    cache_write_5m: Money,
    cache_write_1h: Money,
    audio_input: Money,
    output: Money,
    audio_output: Money,
    reasoning: Money,
    image_input: Money,
    image_output: Money,
}

impl From<&Target> for LivePricesView {
    fn from(target: &Target) -> Self {
        let only_platform = target.paid.as_ref().is_some_and(|paid| paid.instead.is_none());
        let own = target.price.as_deref().filter(|_| !only_platform);
        Self {
            own: own.map(LivePriceView::from),
            platform: target.paid.as_ref().map(|paid| LivePriceView::from(&*paid.price)),
        }
    }
}

impl From<&Price> for LivePriceView {
    fn from(price: &Price) -> Self {
        let tier = |over: u64| {
            // One token more than the threshold: the rates above it.
            let of = |class| {
                let size = if over == 0 { 0 } else { over.saturating_add(1) };
                Money(NanoUsd::from_pico_up(price.rate(class, size).times(1_000_000)))
            };
            PriceTierView {
                over_input_tokens: over,
                input: of(PriceClass::Input),
                cached_input: of(PriceClass::CacheRead),
                cache_write_5m: of(PriceClass::CacheWrite),
                cache_write_1h: of(PriceClass::CacheWrite1h),
                audio_input: of(PriceClass::AudioInput),
                output: of(PriceClass::Output),
                audio_output: of(PriceClass::AudioOutput),
                reasoning: of(PriceClass::Reasoning),
                image_input: of(PriceClass::ImageInput),
                image_output: of(PriceClass::ImageOutput),
            }
        };
        let tiers = std::iter::once(0).chain(price.thresholds());
        Self {
            source: price.source().as_str(),
            date: price.date().map(str::to_owned),
            per_request: Money(price.per_request()),
            per_image: Money(price.per_image()),
            per_web_search: Money(price.per_search()),
            per_audio_minute: Money(price.per_audio_minute()),
            tiers: tiers.map(tier).collect(),
        }
    }
}
