//! What a recorded answer must cost, by the public list.
//!
//! Shares no code with the gateway: it reads the public list itself, takes the first model that fits, and multiplies decimal
//! fractions as integers.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::reading::Reading;

/// The public list of prices.
pub(super) struct Oracle {
    providers: Vec<Value>,
    /// The day whose prices hold.
    as_of: String,
}

impl Oracle {
    pub(super) fn read(list: &Path, as_of: &str) -> Self {
        let providers = serde_json::from_reader(File::open(list).unwrap()).unwrap();
        Self { providers, as_of: as_of.to_owned() }
    }

    /// The cost in nano-USD; none for a model that nobody prices. `provider` is the name in the list.
    pub(super) fn cost(&self, provider: &str, model: &str, reading: &Reading) -> Option<i128> {
        let next = match provider {
            "azure" => "openai",
            "google" => "anthropic",
            "zai" => "zhipuai",
            _ => provider,
        };
        let mut found = [provider, next].into_iter().map(|provider| (provider, self.prices(provider, model)));
        let (provider, prices) = found.find_map(|(provider, prices)| Some((provider, prices?)))?;
        let free = prices.as_object().unwrap().is_empty();
        // Where the list states nothing: USD for a thousand searches.
        let own = match (provider, model.split('/').next().unwrap()) {
            ("openai", _) | ("openrouter", "openai" | "anthropic") => 10,
            ("x-ai", _) | ("openrouter", "x-ai") => 5,
            ("openrouter", _) if !free => 7,
            _ => 0,
        };
        let rate = |names: &[&str]| {
            let found = names.iter().find_map(|name| prices.get(*name));
            found.map_or(0, |price| if free { 0 } else { tiered(price, reading.input) })
        };
        let class = |name| rate(&[name, if name.starts_with("output") { "output_mtok" } else { "input_mtok" }]);
        let write = class("cache_write_mtok");
        let hour = if prices.get("cache_write_1h_mtok").is_some() {
            class("cache_write_1h_mtok")
        } else {
            write.max(rate(&["input_mtok"]))
        };
        // OpenRouter once states the same tokens as written and as read, and edited recordings more parts than their whole: the
        // whole is billed, its parts in this order.
        let (mut prompt, mut answer) = (reading.input, reading.output);
        let pico = share(&mut prompt, reading.cache_read) * class("cache_read_mtok")
            + share(&mut prompt, reading.cache_write_1h) * hour
            + share(&mut prompt, reading.cache_write - reading.cache_write_1h) * write
            + share(&mut prompt, reading.audio_input) * class("input_audio_mtok")
            + share(&mut prompt, reading.image_input) * class("input_image_mtok")
            + prompt * rate(&["input_mtok"])
            + share(&mut answer, reading.audio_output) * class("output_audio_mtok")
            + share(&mut answer, reading.reasoning) * class("output_reasoning_mtok")
            + share(&mut answer, reading.image_output) * class("output_image_mtok")
            + answer * rate(&["output_mtok"])
            + reading.searches * rate(&["web_searches_kcount"]).max(own * 1_000_000) * 1_000
            // USD for a thousand requests, in millionths: a thousandth of it is nano-USD.
            + rate(&["requests_kcount"]) * 1_000;
        Some((pico + 999) / 1_000)
    }

    fn prices(&self, provider: &str, model: &str) -> Option<Value> {
        let models = self.providers.iter().find(|found| found["id"] == provider)?["models"].as_array().unwrap();
        // Configurations of Google's embedding models begin so; the list does not.
        let name = model.strip_prefix("models/").unwrap_or(model).to_lowercase();
        let priced: Vec<(&Value, Value)> =
            models.iter().filter_map(|model| Some((model, self.in_force(provider, model)?))).collect();
        let by = |whole| priced.iter().find(|(model, _)| fits(&model["match"], &name, whole));
        by(true).or_else(|| by(false)).map(|(_, prices)| prices.clone())
    }

    /// The prices of the day; none for a model that the table leaves out.
    fn in_force(&self, provider: &str, model: &Value) -> Option<Value> {
        let mut prices = &model["prices"];
        if let Some(several) = prices.as_array() {
            let since = |entry: &Value| entry["constraint"]["start_date"].as_str().unwrap_or("").to_owned();
            let of_day = several.iter().find(|entry| entry["constraint"].get("start_time").is_some());
            let last = several.iter().rfind(|entry| since(entry) <= self.as_of);
            // The dearer time of the day is the second one of the list.
            prices = &of_day.or(last)?["prices"];
        }
        let names = prices.as_object().unwrap();
        let nothing = !["input_mtok", "output_mtok"].iter().any(|name| names.contains_key(*name));
        let is_free = model["id"].as_str().unwrap().ends_with(":free");
        // Nothing can be billed by these: Google does not count pictures apart on the wire that is spoken with it.
        let uncounted = ["output_video_mtok", if provider == "google" { "output_image_mtok" } else { "" }];
        let left_out = uncounted.iter().any(|name| names.contains_key(*name)) || (nothing && !is_free);
        (!left_out).then(|| prices.clone())
    }
}

fn share(whole: &mut i128, part: i128) -> i128 {
    let taken = part.min(*whole);
    *whole -= taken;
    taken
}

/// The rate for a prompt of this size, in pico-USD a token.
fn tiered(price: &Value, input: i128) -> i128 {
    let mut rate = price.get("base").unwrap_or(price);
    for tier in price.get("tiers").and_then(Value::as_array).into_iter().flatten() {
        if input > i128::from(tier["start"].as_i64().unwrap()) {
            rate = &tier["price"];
        }
    }
    millionths_up(&rate.to_string())
}

/// A decimal in millionths, rounded up where it has more than six decimals.
fn millionths_up(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    let padded = format!("{fraction:0<12}");
    let trillionths = digits(whole) * 1_000_000_000_000 + digits(&padded[..12]);
    (trillionths + 999_999) / 1_000_000
}

fn fits(rule: &Value, name: &str, whole: bool) -> bool {
    let (kind, value) = rule.as_object().unwrap().iter().next().unwrap();
    if let Some(rules) = value.as_array() {
        return rules.iter().any(|rule| fits(rule, name, whole));
    }
    let value = value.as_str().unwrap();
    let lower = value.to_lowercase();
    match (kind.as_str(), whole) {
        ("equals", true) => name == lower,
        ("starts_with", false) => name.starts_with(&lower),
        ("ends_with", false) => name.ends_with(&lower),
        ("contains", false) => name.contains(&lower),
        ("regex", _) => fits_digits(value, name, whole),
        _ => false,
    }
}

/// The few expressions of the list: text, escaped dots, digits, an anchor at the end.
fn fits_digits(expression: &str, name: &str, whole: bool) -> bool {
    let body = expression.strip_prefix('^').unwrap();
    let (body, closed) = body.strip_suffix('$').map_or((body, false), |body| (body, true));
    if closed != whole {
        return false;
    }
    let (mut rest, mut left) = (body, name);
    while !rest.is_empty() {
        let (digits, after) = match rest.strip_prefix("\\d{") {
            Some(counted) => {
                let (count, after) = counted.split_once('}').unwrap();
                (count.parse().unwrap(), after)
            }
            None => rest.strip_prefix("\\d").map_or((0, rest), |after| (1, after)),
        };
        if digits > 0 {
            let Some(head) = left.get(..digits).filter(|head| head.bytes().all(|b| b.is_ascii_digit())) else {
                return false;
            };
            (rest, left) = (after, &left[head.len()..]);
            continue;
        }
        let plain = rest.strip_prefix('\\').unwrap_or(rest);
        let Some(after) = left.strip_prefix(&plain[..1]) else { return false };
        (rest, left) = (&plain[1..], after);
    }
    !whole || left.is_empty()
}
