//! The value of a rule: strict when it is written.
//!
//! What is read back from the store always decides: a value that would be refused today is never passed over.

use serde_json::{Map, Value};

use crate::base::{Cidr, NanoUsd};

use super::rule::{Glob, Pricing, PricingType, RuleType, RuleValue, Step};

/// Most entries of one rule.
pub const ENTRIES_MAX: usize = 100;
/// Longest pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 256;

/// A part of a value that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueProblem {
    /// Path inside the value, such as `models.0`; empty for all of it.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl ValueProblem {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl RuleType {
    /// The field of the value that holds its list; none for prices.
    #[must_use]
    pub fn list_field(self) -> Option<&'static str> {
        match self.step() {
            Step::Providers => Some("providers"),
            Step::Routes => Some("routes"),
            Step::Models => Some("models"),
            Step::Addresses => Some("cidrs"),
            Step::Pricing => None,
        }
    }
}

impl RuleValue {
    /// Reads a value that somebody writes.
    ///
    /// # Errors
    /// Every problem: a field that is missing, empty, of another type or unknown.
    pub fn check(kind: RuleType, value: &Value) -> Result<Self, Vec<ValueProblem>> {
        let fields = value.as_object().ok_or_else(|| vec![ValueProblem::new("", "expected an object")])?;
        let known: &[&str] = match kind.list_field() {
            Some(field) => &[field],
            None => &["pricing_type", "max_input_price", "max_output_price"],
        };
        let mut problems: Vec<ValueProblem> = fields
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let message = format!("a rule `{}` has no such field, only `{}`", kind.as_str(), known.join("`, `"));
                ValueProblem::new(name, message)
            })
            .collect();
        let read = match kind.list_field() {
            Some(field) => read_list(kind, field, fields, &mut problems),
            None => read_pricing(fields, &mut problems).map(Self::Pricing),
        };
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(problems),
        }
    }

    /// Reads a value that was stored. What would not be accepted today still decides: an empty list allows nothing, and
    /// what cannot be read denies everything.
    #[must_use]
    pub fn stored(kind: RuleType, text: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Self::Unreadable;
        };
        let list = kind.list_field().and_then(|field| value.get(field)).and_then(Value::as_array);
        if list.is_some_and(Vec::is_empty) {
            return if kind.step() == Step::Addresses {
                Self::Networks(Box::default())
            } else {
                Self::Patterns(Box::default())
            };
        }
        Self::check(kind, &value).unwrap_or(Self::Unreadable)
    }
}

fn read_list(
    kind: RuleType,
    field: &str,
    fields: &Map<String, Value>,
    problems: &mut Vec<ValueProblem>,
) -> Option<RuleValue> {
    let Some(list) = fields.get(field).and_then(Value::as_array) else {
        problems.push(ValueProblem::new(field, "expected a list of texts with one entry at least"));
        return None;
    };
    if list.is_empty() || list.len() > ENTRIES_MAX {
        problems.push(ValueProblem::new(field, format!("expected 1 to {ENTRIES_MAX} entries")));
        return None;
    }
    let mut texts = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        match entry.as_str() {
            Some(text) => texts.push((format!("{field}.{index}"), text)),
            None => problems.push(ValueProblem::new(format!("{field}.{index}"), "expected a text")),
        }
    }
    if kind.step() == Step::Addresses {
        let networks = texts.into_iter().filter_map(|(path, text)| match text.parse::<Cidr>() {
            Ok(network) => Some(network.normalised()),
            Err(error) => {
                problems.push(ValueProblem::new(path, format!("not a network such as `10.0.0.0/8`: {error}")));
                None
            }
        });
        return Some(RuleValue::Networks(networks.collect()));
    }
    let patterns = texts.into_iter().filter_map(|(path, text)| {
        let fits = (1..=PATTERN_CHARS_MAX).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if !fits {
            let message = format!(
                "expected 1 to {PATTERN_CHARS_MAX} characters, no control characters, no space around; `*` stands for \
                 any text"
            );
            problems.push(ValueProblem::new(path, message));
        }
        fits.then(|| Glob::new(text))
    });
    Some(RuleValue::Patterns(patterns.collect()))
}

fn read_pricing(fields: &Map<String, Value>, problems: &mut Vec<ValueProblem>) -> Option<Pricing> {
    let written = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let mut pricing = Pricing::default();
    if let Some(value) = written("pricing_type") {
        pricing.pricing_type = value.as_str().and_then(PricingType::parse);
        if pricing.pricing_type.is_none() {
            problems.push(ValueProblem::new("pricing_type", "expected `free` or `paid`"));
        }
    }
    for (name, slot) in
        [("max_input_price", &mut pricing.max_input_price), ("max_output_price", &mut pricing.max_output_price)]
    {
        let Some(value) = written(name) else {
            continue;
        };
        // The shortest text of a number is the one that was written.
        let text = if value.is_number() { Some(value.to_string()) } else { value.as_str().map(str::to_owned) };
        *slot = text.and_then(|text| text.parse().ok()).filter(|price| *price >= NanoUsd::ZERO);
        if slot.is_none() {
            let message = "expected USD per million tokens such as `2.50`, 0 or more, nine digits behind the point";
            problems.push(ValueProblem::new(name, message));
        }
    }
    if problems.is_empty() && pricing == Pricing::default() {
        let message = "expected `pricing_type`, `max_input_price` or `max_output_price`";
        problems.push(ValueProblem::new("", message));
    }
    Some(pricing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(kind: RuleType, value: &Value) -> Vec<String> {
        match RuleValue::check(kind, value) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.path).collect(),
        }
    }

    #[test]
    fn written_value_has_its_field_and_nothing_else() {
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|number| number.to_string()).collect();
        for (kind, value, want) in [
            (RuleType::AllowModels, json!({"models": ["gpt-4o*", "openai/*"]}), &[][..]),
            (RuleType::AllowModels, json!({"models": []}), &["models"]),
            (RuleType::DenyModels, json!({}), &["models"]),
            (RuleType::DenyModels, json!({"models": "gpt"}), &["models"]),
            (RuleType::DenyModels, json!({"models": many}), &["models"]),
            (RuleType::DenyModels, json!({"providers": ["a"]}), &["providers", "models"]),
            (
                RuleType::DenyModels,
                json!({"models": ["a", "", 3, " b", "c\n"]}),
                &["models.2", "models.1", "models.3", "models.4"],
            ),
            (RuleType::DenyModels, json!(["a"]), &[""]),
            (RuleType::AllowIpCidrs, json!({"cidrs": ["10.0.0.0/8", "::1"]}), &[]),
            (RuleType::AllowIpCidrs, json!({"cidrs": []}), &["cidrs"]),
            (
                RuleType::AllowIpCidrs,
                json!({"cidrs": ["10.0.0.1/8", "x", "1.2.3.4/33"]}),
                &["cidrs.0", "cidrs.1", "cidrs.2"],
            ),
            (RuleType::AllowPricing, json!({"pricing_type": "free"}), &[]),
            (RuleType::AllowPricing, json!({"max_input_price": 2.5, "max_output_price": "10"}), &[]),
            (RuleType::AllowPricing, json!({}), &[""]),
            (RuleType::AllowPricing, json!({"pricing_type": null}), &[""]),
            (RuleType::AllowPricing, json!({"pricing_type": "cheap"}), &["pricing_type"]),
            (
                RuleType::DenyPricing,
                json!({"max_input_price": -1, "max_output_price": "1e9"}),
                &["max_input_price", "max_output_price"],
            ),
            (RuleType::AllowRoutes, json!({"routes": ["chat"]}), &[]),
            (RuleType::AllowProviders, json!({"providers": ["custom:*"]}), &[]),
        ] {
            assert_eq!(paths(kind, &value), want, "{} {value}", kind.as_str());
        }
    }

    #[test]
    fn stored_value_that_would_be_refused_still_decides() {
        let nothing = RuleValue::Patterns(Box::default());
        for (kind, text, want) in [
            (RuleType::AllowModels, r#"{"models":[]}"#, nothing.clone()),
            (RuleType::DenyModels, r#"{"models":[]}"#, nothing),
            (RuleType::AllowIpCidrs, r#"{"cidrs":[]}"#, RuleValue::Networks(Box::default())),
            (RuleType::AllowModels, "{}", RuleValue::Unreadable),
            (RuleType::DenyModels, "{", RuleValue::Unreadable),
            (RuleType::AllowPricing, "{}", RuleValue::Unreadable),
            (RuleType::AllowRoutes, r#"{"routes":["a"]}"#, RuleValue::Patterns([Glob::new("a")].into())),
        ] {
            assert_eq!(RuleValue::stored(kind, text), want, "{} {text}", kind.as_str());
        }
    }

    #[test]
    fn prices_and_networks_are_kept_in_one_form() {
        let value = json!({"max_input_price": 0.15, "max_output_price": "0.6", "pricing_type": "paid"});
        let want = Pricing {
            pricing_type: Some(PricingType::Paid),
            max_input_price: Some(NanoUsd(150_000_000)),
            max_output_price: Some(NanoUsd(600_000_000)),
        };
        assert_eq!(RuleValue::check(RuleType::AllowPricing, &value), Ok(RuleValue::Pricing(want)));
        let value = json!({"cidrs": ["::ffff:10.0.0.0/104"]});
        let want = RuleValue::Networks(["10.0.0.0/8".parse().unwrap()].into());
        assert_eq!(RuleValue::check(RuleType::DenyIpCidrs, &value), Ok(want));
    }
}
