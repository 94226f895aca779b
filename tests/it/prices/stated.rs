//! Costs that providers state themselves, against ours.

use std::collections::BTreeMap;

use millrace::usage::Catalogue;

use super::{Recorded, corpus, counts, records};

/// A reason, and whether it holds for an answer.
type Reason = (&'static str, fn(&Recorded) -> bool);

/// Why a stated cost may be another than ours, and for which answers.
const REASONS: [Reason; 6] = [
    ("an edited recording, whose cost is a round number", |record| {
        record.usage["cost_in_usd_ticks"].as_u64() == Some(123_456)
    }),
    ("another model was asked as a tool, or the provider was another than the listed one", |record| {
        let used = record.usage.pointer("/server_tool_use_details/tool_calls_executed");
        used.and_then(serde_json::Value::as_u64).unwrap_or(0) > 0
    }),
    ("the provider's own key was used, so its price was not charged", |record| record.usage["is_byok"] == true),
    ("sent on to a provider with another price than the listed one", |record| {
        let models = [
            "moonshotai/kimi-k2",
            "openai/gpt-oss-20b",
            "qwen/qwen3-30b-a3b-instruct-2507",
            "z-ai/glm-4.6",
            "x-ai/grok-4",
        ];
        record.names.0 == "openrouter" && record.models.iter().any(|model| models.contains(&model.as_str()))
    }),
    ("the price of cached tokens is another than that of the list", |record| {
        record.names.0 == "openrouter" && record.reading.cache_read > 0
    }),
    ("a search fee of the plugin, not told apart in the usage", |record| {
        record.models.iter().any(|model| model == "openai/gpt-5.1-codex-mini")
    }),
];

/// What a provider says that an answer cost, in USD, and to how many USD it rounds.
fn stated(record: &Recorded) -> Option<(f64, f64)> {
    let usage = &record.usage;
    if let Some(ticks) = usage["cost_in_usd_ticks"].as_f64() {
        return Some((ticks / 1e10, 1e-9));
    }
    if let Some(cost) = usage["cost"].as_f64() {
        return Some((cost, 1e-9));
    }
    // Perplexity charges its fee by the size of the search, the list knows the largest only; the tokens are compared. Both
    // sides are rounded, to the fifth decimal or, in older answers, the third.
    let tokens = |name: &str| usage["cost"][name].as_f64();
    let (input, output) = (tokens("input_tokens_cost")?, tokens("output_tokens_cost")?);
    let is_coarse = [input, output].iter().all(|cost| (cost * 1e3).fract() == 0.0);
    Some((input + output, if is_coarse { 1.0e-3 } else { 1.1e-5 }))
}

#[test]
fn costs_that_providers_state_agree_or_have_a_reason() {
    let Some(folder) = corpus() else { return };
    let catalogue = Catalogue::default();
    let mut agreed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut excepted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut unpriced, mut problems) = (Vec::new(), Vec::new());
    for record in records(&folder) {
        let Some((said, rounding)) = stated(&record) else { continue };
        let price = record.models.iter().rev().find_map(|model| catalogue.find(record.names.1, model));
        let Some(price) = price else {
            unpriced.push(format!("{}/{}", record.names.1, record.models.join(" ")));
            continue;
        };
        let cost = price.cost(&record.parsed.unwrap_or_else(|| counts(&record.reading)));
        let fee = if record.names.0 == "perplexity" { price.per_request() } else { millrace::base::NanoUsd::ZERO };
        let ours = (cost.units() - fee.units()) as f64 / 1e9;
        let what = format!("{}/{} {}: {said} and {ours}", record.names.1, record.models.join(" "), record.id);
        if (ours - said).abs() <= rounding {
            *agreed.entry(record.names.1).or_default() += 1;
        } else if let Some((reason, _)) = REASONS.iter().find(|(_, holds)| holds(&record)) {
            excepted.entry(reason).or_default().push(what);
        } else {
            problems.push(what);
        }
    }
    println!("agreed: {agreed:?}");
    for (reason, answers) in &excepted {
        println!("{} answers, {reason}:\n  {}", answers.len(), answers.join("\n  "));
    }
    println!("{} answers of models without a price: {unpriced:?}", unpriced.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(agreed.values().sum::<usize>() > 100, "{agreed:?}");
    let unused: Vec<_> = REASONS.iter().filter(|(reason, _)| !excepted.contains_key(reason)).collect();
    assert!(unused.is_empty(), "{} reasons are needed no longer", unused.len());
}
