//! Reads the script that a model name is.
//!
//! `NAME[/KEY=VALUE,KEY=VALUE..]`, and for faults `fault/KIND[=VALUE][@KEY=VALUE][,KEY=VALUE..]`.
//! A model name that starts with no script name gets the plain answer, so every name works.

use std::str::FromStr;

use crate::serve::Delay;

/// The keys that every script takes.
pub(crate) const COMMON_KEYS: &[&str] = &[
    "latency",
    "latency_ms",
    "first_ms",
    "size",
    "events",
    "gap",
    "gap_ms",
    "bytes",
    "stamp",
    "chunked",
    "close",
    "echo",
    "first",
    "p",
    "prompt",
    "completion",
    "cached",
    "reasoning",
    "pictures",
    "searches",
    "seconds",
    "dims",
    "request_bytes",
];

/// A model name, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script<'a> {
    /// What kind of script.
    pub(crate) name: Name<'a>,
    /// What follows the `=` of a fault's kind.
    pub(crate) value: Option<&'a str>,
    options: Vec<(&'a str, Option<&'a str>)>,
}

/// The kinds of scripts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Name<'a> {
    /// The plain answer; also for names that are no script.
    Fast,
    /// The same, with a pace by default.
    Stream,
    /// A stream that stays open.
    Hold,
    /// A fault, by its kind.
    Fault(&'a str),
}

impl<'a> Script<'a> {
    /// Takes a model name apart.
    ///
    /// # Errors
    /// When it is a script with a malformed list of options.
    pub(crate) fn parse(model: &'a str) -> Result<Self, String> {
        let (name, rest) = model.split_once('/').map_or((model, ""), |(name, rest)| (name, rest));
        let mut items = rest.split([',', '@']).filter(|item| !item.is_empty());
        let mut value = None;
        let name = match name {
            "fast" => Name::Fast,
            "stream" => Name::Stream,
            "hold" => Name::Hold,
            "fault" => {
                let kind = items.next().ok_or("a fault needs a kind: `fault/KIND`")?;
                let (kind, given) = kind.split_once('=').map_or((kind, None), |(kind, given)| (kind, Some(given)));
                value = given;
                Name::Fault(kind)
            }
            _ => {
                return Ok(Self { name: Name::Fast, value: None, options: Vec::new() });
            }
        };
        let mut options: Vec<(&str, Option<&str>)> = Vec::new();
        for item in items {
            let (key, value) = item.split_once('=').map_or((item, None), |(key, value)| (key, Some(value)));
            if options.iter().any(|(known, _)| *known == key) {
                return Err(format!("option `{key}` stands twice"));
            }
            options.push((key, value));
        }
        Ok(Self { name, value, options })
    }

    /// Refuses options that neither all scripts nor this one takes.
    pub(crate) fn check_keys(&self, own: &[&str]) -> Result<(), String> {
        let known = |key: &str| COMMON_KEYS.contains(&key) || own.contains(&key);
        match self.options.iter().find(|(key, _)| !known(key)) {
            Some((key, _)) => {
                Err(format!("unknown option `{key}`; known: {}, {}", own.join(", "), COMMON_KEYS.join(", ")))
            }
            None => Ok(()),
        }
    }

    /// Whether an option without value stands.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.options.iter().any(|(known, value)| *known == key && value.is_none_or(|value| value != "false"))
    }

    /// The text of an option.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == key).and_then(|(_, value)| *value)
    }

    /// The number of an option, at most `max`.
    pub(crate) fn number<T>(&self, key: &str, default: T, max: T) -> Result<T, String>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        self.text(key).map_or(Ok(default), |text| bounded(key, text, max))
    }

    /// The number after the fault's kind, at most `max`.
    pub(crate) fn own_number<T>(&self, default: T, max: T) -> Result<T, String>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        self.value.map_or(Ok(default), |text| bounded("the fault's value", text, max))
    }

    /// The delay of an option, which may also stand under the key with `_ms`.
    pub(crate) fn delay(&self, key: &str, default: Delay) -> Result<Delay, String> {
        let in_ms =
            self.options.iter().find(|(known, _)| known.strip_suffix("_ms") == Some(key)).and_then(|(_, value)| *value);
        self.text(key).or(in_ms).map_or(Ok(default), Delay::parse)
    }
}

fn bounded<T>(key: &str, text: &str, max: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(number) if number <= max => Ok(number),
        _ => Err(format!("`{text}` is no number from 0 to {max} for {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_are_taken_apart() {
        for (model, name, value, options) in [
            ("fast", Name::Fast, None, vec![]),
            ("gpt-4o-mini", Name::Fast, None, vec![]),
            ("openai/gpt-4o,x=1", Name::Fast, None, vec![]),
            ("stream/events=100,gap_ms=10", Name::Stream, None, vec![("events", Some("100")), ("gap_ms", Some("10"))]),
            ("hold/", Name::Hold, None, vec![]),
            ("fault/reset", Name::Fault("reset"), None, vec![]),
            (
                "fault/reset@chunk=7,events=9",
                Name::Fault("reset"),
                None,
                vec![("chunk", Some("7")), ("events", Some("9"))],
            ),
            ("fault/status=429,retry_after=5", Name::Fault("status"), Some("429"), vec![("retry_after", Some("5"))]),
            ("fault/usage=late,close", Name::Fault("usage"), Some("late"), vec![("close", None)]),
        ] {
            assert_eq!(Script::parse(model), Ok(Script { name, value, options }), "{model}");
        }
    }

    #[test]
    fn malformed_scripts_are_refused() {
        for (model, want) in [
            ("fault", "a fault needs a kind: `fault/KIND`"),
            ("fault/", "a fault needs a kind: `fault/KIND`"),
            ("fast/size=1,size=2", "option `size` stands twice"),
        ] {
            assert_eq!(Script::parse(model), Err(want.to_owned()), "{model}");
        }
        let unknown = Script::parse("fast/speed=1").unwrap().check_keys(&[]).unwrap_err();
        assert!(unknown.starts_with("unknown option `speed`"), "{unknown}");
    }

    #[test]
    fn option_values_are_bounded() {
        let script = Script::parse("fast/size=12,latency_ms=5,p=x").unwrap();
        assert_eq!(script.number("size", 1, 100), Ok(12));
        assert_eq!(script.number("events", 7, 100), Ok(7));
        assert!(script.number("size", 1, 11).is_err());
        assert!(script.number("p", 1.0, 1.0).is_err());
        assert_eq!(script.delay("latency", Delay::NONE), Ok(Delay::Fixed(5.0)));
    }
}
