//! Which price holds for a model.
//!
//! The first that states it wins: the keys of the model, `prices` of the project, those of its organization, the catalogue. The
//! keys of a model may state some classes only; the rest is as the next source says.

use std::sync::Arc;

use crate::{
    config::{At, Code, Costs, Model, PriceEntry, Problem},
    usage::{Catalogue, ListedModel, Price, PriceClass, PriceSource, StatedPrices},
};

use super::{part::ProjectPart, route::Reach, source::ProjectSource};

/// Most tokens of an answer of a model of which nobody knows better.
const OUTPUT_MAX: u64 = 4_096;

/// What is known about the costs of a model.
pub(super) struct Pricing {
    /// What it costs; none when no source states both input and output.
    pub(super) price: Option<Arc<Price>>,
    /// Most tokens of one answer.
    pub(super) output_max: u64,
    /// Most tokens of a request and its answer together, where the catalogue knows it.
    pub(super) context_window: Option<u64>,
}

/// Looks up what a model costs where its requests go.
pub(super) fn pricing(project: &ProjectSource, model: &Model, reach: &Reach, catalogue: &Catalogue) -> Pricing {
    let listed = listed(model, reach, catalogue);
    let output_max = listed.as_ref().and_then(|listed| listed.output_max).unwrap_or(OUTPUT_MAX);
    let context_window = listed.as_ref().and_then(|listed| listed.context_window);
    let below = entry(&project.config.prices, model)
        .and_then(|entry| listed_price(entry, PriceSource::Project))
        .or_else(|| entry(&project.organization_prices, model).and_then(|e| listed_price(e, PriceSource::Organization)))
        .or_else(|| listed.map(|listed| listed.price));
    let own = stated(&model.costs);
    let price = match below {
        below if own.is_empty() => below,
        Some(below) => Some(Arc::new(below.patched(&own, PriceSource::Model))),
        None => Price::new(own, PriceSource::Model, None).map(Arc::new),
    };
    Pricing { price, output_max, context_window }
}

/// What the catalogue knows of a model. The host decides, not the wire that it speaks: behind an unknown address, a name that
/// somebody else's model has too says nothing about the price.
fn listed(model: &Model, reach: &Reach, catalogue: &Catalogue) -> Option<ListedModel> {
    match reach {
        Reach::Mock(_) => catalogue.lookup(model.provider.name(), &model.name),
        Reach::Http(target) => {
            let provider = catalogue.provider_at(&target.origin.url().host_name())?;
            catalogue.lookup(provider, &model.name)
        }
    }
}

/// The closest entry for a model.
fn entry<'a>(prices: &'a [PriceEntry], model: &Model) -> Option<&'a PriceEntry> {
    let fitting = prices.iter().filter_map(|entry| Some((entry.fits(model.provider, &model.name)?, entry)));
    fitting.max_by_key(|(closeness, _)| *closeness).map(|(_, entry)| entry)
}

fn listed_price(entry: &PriceEntry, source: PriceSource) -> Option<Arc<Price>> {
    let price = Price::new(stated(&entry.costs), source, None)?;
    let price = price.with_request_fee(entry.per_request).with_audio_minute(entry.per_audio_minute);
    Some(Arc::new(price.with_search_fee(entry.per_web_search).with_image_fee(entry.per_image)))
}

fn stated(costs: &Costs) -> StatedPrices {
    StatedPrices::default()
        .with(PriceClass::Input, costs.input)
        .with(PriceClass::Output, costs.output)
        .with(PriceClass::CacheRead, costs.cached_input)
        .with(PriceClass::CacheWrite, costs.cache_write_5m)
        .with(PriceClass::CacheWrite1h, costs.cache_write_1h)
        .with(PriceClass::ImageInput, costs.image_input)
        .with(PriceClass::ImageOutput, costs.image_output)
}

/// Warns about every target of a route that has no price: what it costs is counted nowhere.
#[must_use]
pub fn unpriced(project: &ProjectSource, part: &ProjectPart) -> Vec<Problem> {
    let mut problems = Vec::new();
    for written in &project.config.routes {
        let Some(route) = part.route(&written.name.value) else { continue };
        for (references, target) in [
            (&written.chat, &route.chat),
            (&written.embedding, &route.embedding),
            (&written.transcription, &route.transcription),
        ] {
            let unpriced = target.as_ref().filter(|target| target.price.is_none());
            if let (Some(target), Some(reference)) = (unpriced, references.first()) {
                let full_name = format!("{}/{}", target.labels.provider, target.labels.model);
                problems.push(unpriced_problem(reference, &full_name));
            }
        }
    }
    problems
}

/// The warning about one reference. Where money is limited it is an error: set its severity.
#[must_use]
pub fn unpriced_problem(reference: &At<usize>, full_name: &str) -> Problem {
    let message = format!("`{full_name}` has no price, so what it costs is not counted");
    let hint = "add a price, in `prices` or at the model, or 0 for free";
    reference.warn(Code::UnpricedModel, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use crate::{
        base::{NanoUsd, PicoUsd, TokenCounts},
        config::Provider,
        usage::{Catalogue, PriceClass, PriceSource},
    };

    use super::super::tests::{compiled, source};
    use super::*;

    /// The price of the one chat model of a project with these lines.
    fn price(model: &str, rest: &str) -> (Option<Arc<Price>>, Vec<String>) {
        let text = format!("chat_models: [{{model_id: m, {model}}}]\nroutes: {{r: {{chat_models: [m]}}}}\n{rest}");
        let project = source("p", "p", &text);
        let part = compiled(&project);
        let price = part.route("r").unwrap().chat.as_ref().unwrap().price.clone();
        (price, unpriced(&project, &part).iter().map(ToString::to_string).collect())
    }

    const OPENAI: &str = "model: openai/gpt-4o-mini, credentials: {base_url: \"https://api.openai.com/v1\"}";
    const OWN: &str = "model: openai/gpt-4o-mini, credentials: {base_url: \"https://models.example.com/v1\"}";

    #[test]
    fn first_source_that_states_a_price_wins() {
        use PriceSource::{Catalogue, Model, Project};
        let keys = "input_cost_per_million_tokens: 7, output_cost_per_million_tokens: \"8.000001\"";
        let exact = "prices: [{model: openai/gpt-4*, input: 1, output: 2}, {model: openai/gpt-4o-mini, input: 3, output: 4, \
                     per_request: 0.5}, {model: openai/gpt-4o-mini*, input: 5, output: 6}]";
        let star = "prices: [{model: openai/*, input: 1, output: 2}, {model: openai/gpt-4*, input: 3, output: 4}, {model: \
                    groq/gpt-4o-mini, input: 5, output: 6}]";
        for (name, model, rest, want) in [
            ("catalogue", OPENAI.to_owned(), "", Some((150_000, 600_000, Catalogue))),
            ("host of another provider", OPENAI.replace("api.openai.com", "api.together.xyz"), "", None),
            ("unknown host", OWN.to_owned(), "", None),
            ("listed at an unknown host", OWN.to_owned(), star, Some((3_000_000, 4_000_000, Project))),
            ("whole name before a star", OPENAI.to_owned(), exact, Some((3_000_000, 4_000_000, Project))),
            ("longest start", OPENAI.to_owned(), star, Some((3_000_000, 4_000_000, Project))),
            ("keys", format!("{OPENAI}, {keys}"), star, Some((7_000_000, 8_000_001, Model))),
            ("keys alone", format!("{OWN}, {keys}"), "", Some((7_000_000, 8_000_001, Model))),
            ("one key", format!("{OPENAI}, output_cost_per_million_tokens: 9"), "", Some((150_000, 9_000_000, Model))),
            ("one key alone", format!("{OWN}, output_cost_per_million_tokens: 9"), "", None),
            ("mock", "model: mock/any".to_owned(), "", Some((0, 0, Catalogue))),
        ] {
            let (price, warnings) = price(&model, rest);
            let rate = |price: &Price, class| price.rate(class, 0).0;
            let got = price
                .as_ref()
                .map(|price| (rate(price, PriceClass::Input), rate(price, PriceClass::Output), price.source()));
            assert_eq!(got, want, "{name}");
            assert_eq!(warnings.is_empty(), got.is_some(), "{name}: {warnings:?}");
        }
        let (price, _) = price(OPENAI, exact);
        assert_eq!(price.unwrap().cost(&TokenCounts::default()), NanoUsd(500_000_000));
    }

    #[test]
    fn classes_come_from_the_keys_the_list_or_the_input_price() {
        let cached = "input_cached_cost_per_million_tokens: 0.01, input_cache_creation_5m_cost_per_million_tokens: 0.2, \
                      input_cache_creation_1h_cost_per_million_tokens: 0.4";
        let list =
            "prices: [{model: openai/gpt-4o-mini, input: 1, output: 2, cached_input: 0.5, cache_write_5m: 1.25}]";
        for (name, model, rest, want) in [
            ("catalogue", OPENAI.to_owned(), "", [75_000, 150_000, 150_000]),
            ("keys", format!("{OPENAI}, {cached}"), "", [10_000, 200_000, 400_000]),
            ("list", OPENAI.to_owned(), list, [500_000, 1_250_000, 1_250_000]),
            ("keys over list", format!("{OPENAI}, {cached}"), list, [10_000, 200_000, 400_000]),
        ] {
            let (price, _) = price(&model, rest);
            let classes = [PriceClass::CacheRead, PriceClass::CacheWrite, PriceClass::CacheWrite1h];
            let got = classes.map(|class| price.as_ref().unwrap().rate(class, 0));
            assert_eq!(got, want.map(PicoUsd), "{name}");
        }
        let free = format!("{OPENAI}, input_cost_per_million_tokens: 0, output_cost_per_million_tokens: 0");
        assert!(price(&free, "").0.unwrap().is_free());
    }

    #[test]
    fn own_address_of_every_provider_has_its_prices() {
        let catalogue = Catalogue::default();
        for provider in Provider::ALL {
            let host = provider.default_base_url().map(|url| url.split('/').nth(2).unwrap());
            if let Some(host) = host {
                assert_eq!(catalogue.provider_at(host), Some(provider.name()), "{host}");
            }
        }
    }
}
