//! Scalars to values: numbers, durations, sizes, texts, JSON.
//!
//! Every refusal says what was expected and what was found, and never repeats the value: it may be a secret.

use std::time::Duration;

use serde_json::{Map, Number, Value};

use crate::base::{MoneyError, NanoUsd, UnitError, parse_byte_size, parse_duration};

use super::limit_tables::COUNT_MAX;
use super::problem::Code;
use super::yaml::{Content, Form, Node, Scalar};

/// Most decimals of an amount: a millionth of a USD for a million tokens is one pico-USD a token.
const MONEY_DECIMALS_MAX: usize = 6;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The value has another type than the one that is wanted.
    pub(super) fn wrong_type(wanted: &str, node: &Node) -> Self {
        let message = format!("expected {wanted}, found {}", describe(node));
        Self::new(Code::WrongType, message)
    }
}

/// Names what a node holds, without its value.
pub(super) fn describe(node: &Node) -> &'static str {
    let scalar = match &node.content {
        Content::List(_) => return "a list",
        Content::Map(_) => return "a map",
        Content::Refused => return "something that is not accepted",
        Content::Scalar(scalar) => scalar,
    };
    match scalar.form {
        Form::Secret => "`!secret`",
        _ if scalar.is_null() => "nothing",
        Form::Plain if read_bool(scalar).is_some() => "a boolean",
        Form::Plain if core_number(&scalar.text).is_some() => "a number",
        _ => "text",
    }
}

/// The scalar of a node, secrets excluded.
pub(super) fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.content {
        Content::Scalar(scalar) if scalar.form != Form::Secret => Some(scalar),
        _ => None,
    }
}

/// Reads `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Refusal> {
    scalar(node).and_then(read_bool).ok_or_else(|| Refusal::wrong_type("`true` or `false`", node))
}

fn read_bool(scalar: &Scalar) -> Option<bool> {
    match (scalar.form, scalar.text.as_str()) {
        (Form::Quoted, _) => None,
        (_, "true") => Some(true),
        (_, "false") => Some(false),
        _ => None,
    }
}

/// Reads a whole number within bounds, both included.
pub(super) fn integer(node: &Node, min: u64, max: u64) -> Result<u64, Refusal> {
    let wrong = || Refusal::wrong_type("a whole number", node);
    let scalar = scalar(node).filter(|s| s.form != Form::Quoted).ok_or_else(wrong)?;
    let (negative, digits) = match scalar.text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, scalar.text.strip_prefix('+').unwrap_or(&scalar.text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    match digits.parse::<u64>() {
        Ok(number) if (!negative || number == 0) && (min..=max).contains(&number) => Ok(number),
        // Nobody asks for the upper end of what has none to speak of.
        Ok(number) if max == COUNT_MAX && (negative || number < min) => {
            Err(Refusal::new(Code::OutOfRange, format!("must be {} or more", grouped(min))))
        }
        _ => Err(Refusal::new(Code::OutOfRange, format!("must be {} to {}", grouped(min), grouped(max)))),
    }
}

/// Reads a number of bytes within bounds, both included.
pub(super) fn size(node: &Node, min: u64, max: u64) -> Result<u64, Refusal> {
    let scalar =
        scalar(node).filter(|s| !s.is_null()).ok_or_else(|| Refusal::wrong_type("a size such as `64 KiB`", node))?;
    let range = || {
        let message = format!("must be {} to {}", shown_size(min), shown_size(max));
        Refusal::new(Code::OutOfRange, message)
    };
    match parse_byte_size(&scalar.text) {
        Ok(size) if (min..=max).contains(&size.0) => Ok(size.0),
        Ok(_) | Err(UnitError::TooLarge) => Err(range()),
        Err(_) if is_negative_number(&scalar.text) => Err(range()),
        Err(error) => Err(Refusal::new(Code::BadValue, error.to_string())),
    }
}

/// Reads a duration within bounds, both included. The bounds are durations as people write them.
pub(super) fn duration(node: &Node, min: &str, max: &str) -> Result<Duration, Refusal> {
    let scalar =
        scalar(node).filter(|s| !s.is_null()).ok_or_else(|| Refusal::wrong_type("a duration such as `30 s`", node))?;
    let range = || Refusal::new(Code::OutOfRange, format!("must be {min} to {max}"));
    let bound = |text| parse_duration(text).unwrap_or_default();
    match parse_duration(&scalar.text) {
        Ok(value) if (bound(min)..=bound(max)).contains(&value) => Ok(value),
        Ok(_) | Err(UnitError::TooLarge) => Err(range()),
        Err(UnitError::Decimals) => Err(Refusal::new(Code::OutOfRange, "at most 3 decimals are accepted")),
        Err(_) if is_negative_number(&scalar.text) => Err(range()),
        Err(error) => Err(Refusal::new(Code::BadValue, error.to_string())),
    }
}

/// Reads an amount in USD, a number or a text, digit by digit: a float would not hold what is written.
pub(super) fn money(node: &Node) -> Result<NanoUsd, Refusal> {
    let wrong = || Refusal::wrong_type("an amount in USD such as `2.50`", node);
    let scalar = scalar(node).filter(|s| !s.is_null()).ok_or_else(wrong)?;
    let text = scalar.text.trim();
    let out_of_range = |message: &str| Refusal::new(Code::OutOfRange, message);
    if is_negative_number(text) {
        return Err(out_of_range("must be 0 or more"));
    }
    if text.split_once('.').is_some_and(|(_, fraction)| fraction.len() > MONEY_DECIMALS_MAX && is_digits(fraction)) {
        return Err(out_of_range("at most 6 decimals are accepted"));
    }
    text.parse().map_err(|error| match error {
        MoneyError::TooLarge | MoneyError::Decimals => out_of_range(&error.to_string()),
        MoneyError::Form if read_bool(scalar).is_some() || scalar.form == Form::Plain && !starts_as_number(text) => {
            wrong()
        }
        MoneyError::Form => Refusal::new(Code::BadValue, "expected an amount in USD such as `2.50`"),
    })
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn starts_as_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))
}

/// Reads a text: what is not a number, a boolean or null unless it stands in quotes.
pub(super) fn text(node: &Node) -> Result<&str, Refusal> {
    let Some(scalar) = scalar(node) else {
        return Err(Refusal::wrong_type("text", node));
    };
    let other = scalar.is_null()
        || (scalar.form == Form::Plain && (read_bool(scalar).is_some() || core_number(&scalar.text).is_some()));
    if !other {
        return Ok(&scalar.text);
    }
    let mut refusal = Refusal::wrong_type("text", node);
    if !scalar.is_null() {
        refusal.hint = Some("write it in quotes".to_owned());
    }
    Err(refusal)
}

/// Turns a node into JSON. Calls `refuse` for each part that JSON cannot say, with the path below the node.
pub(super) fn json(node: &Node, path: &str, refuse: &mut dyn FnMut(&str, &Node, Refusal)) -> Value {
    match &node.content {
        Content::Refused => Value::Null,
        Content::Scalar(scalar) => json_scalar(scalar).unwrap_or_else(|refusal| {
            refuse(path, node, refusal);
            Value::Null
        }),
        Content::List(nodes) => nodes
            .iter()
            .enumerate()
            .map(|(index, node)| json(node, &super::yaml::join_index(path, index), refuse))
            .collect(),
        Content::Map(entries) => {
            let mut map = Map::new();
            for entry in entries {
                let path = super::yaml::join_key(path, &entry.key);
                map.insert(entry.key.clone(), json(&entry.value, &path, refuse));
            }
            Value::Object(map)
        }
    }
}

fn json_scalar(scalar: &Scalar) -> Result<Value, Refusal> {
    let text = || Value::String(scalar.text.clone());
    match scalar.form {
        Form::Secret => Err(Refusal::new(
            Code::WrongType,
            "`!secret` is not accepted here; secrets go into `credentials.api_key` only",
        )),
        Form::Quoted => Ok(text()),
        Form::Plain | Form::Expanded => {
            if scalar.is_null() {
                return Ok(Value::Null);
            }
            if let Some(value) = read_bool(scalar) {
                return Ok(Value::Bool(value));
            }
            match core_number(&scalar.text) {
                None => Ok(text()),
                Some(Some(number)) => Ok(Value::Number(number)),
                Some(None) => Err(Refusal::new(Code::OutOfRange, "JSON does not hold this number")),
            }
        }
    }
}

/// Reads a number of YAML's core schema (YAML 1.2.2, section 10.3.2).
///
/// `None`: not a number. `Some(None)`: a number that JSON does not hold.
#[allow(clippy::option_option)]
fn core_number(text: &str) -> Option<Option<Number>> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let fine = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return fine.then(|| u64::from_str_radix(digits, radix).ok().map(Number::from));
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(None);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at).unwrap_or_default(), unsigned.get(at + 1..)),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fine = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let some_digit = !whole.is_empty() || !fraction.is_empty();
    if !some_digit || !digits(whole) || !digits(fraction) || !exponent_fine {
        return None;
    }
    if digits(unsigned) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let signed = text.parse::<i64>().ok().map(Number::from);
        return Some(signed.or_else(|| text.parse::<u64>().ok().map(Number::from)));
    }
    Some(text.parse::<f64>().ok().and_then(Number::from_f64))
}

fn is_negative_number(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Writes a size with its largest whole unit.
pub(super) fn shown_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        let whole = 1u64 << shift;
        if bytes >= whole && bytes.is_multiple_of(whole) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Position;

    fn plain(text: &str) -> Node {
        Node { at: Position::START, content: Content::Scalar(Scalar { text: text.to_owned(), form: Form::Plain }) }
    }

    #[test]
    fn plain_scalars_become_json_as_the_core_schema_says() {
        for (text, want) in [
            ("true", "true"),
            ("True", "\"True\""),
            ("yes", "\"yes\""),
            ("null", "null"),
            ("~", "null"),
            ("12", "12"),
            ("+12", "12"),
            ("-12", "-12"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0x", "\"0x\""),
            ("1_000", "\"1_000\""),
            ("0.1", "0.1"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e3", "1000.0"),
            ("1e", "\"1e\""),
            (".", "\".\""),
            ("-", "\"-\""),
            ("1.2.3", "\"1.2.3\""),
            ("18446744073709551615", "18446744073709551615"),
            ("infinity", "\"infinity\""),
            ("nan", "\"nan\""),
        ] {
            let mut refused = false;
            let value = json(&plain(text), "", &mut |_, _, _| refused = true);
            assert_eq!((value.to_string().as_str(), refused), (want, false), "{text}");
        }
        for text in [".inf", "-.inf", ".nan", "1e999", "18446744073709551616"] {
            let mut refused = false;
            json(&plain(text), "", &mut |_, _, _| refused = true);
            assert!(refused, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_bounded() {
        for (text, want) in [
            ("1", Ok(1)),
            ("8", Ok(8)),
            ("0", Err(Code::OutOfRange)),
            ("9", Err(Code::OutOfRange)),
            ("-1", Err(Code::OutOfRange)),
            ("99999999999999999999", Err(Code::OutOfRange)),
            ("1.0", Err(Code::WrongType)),
            ("", Err(Code::WrongType)),
            ("one", Err(Code::WrongType)),
        ] {
            let got = integer(&plain(text), 1, 8).map_err(|refusal| refusal.code);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn money_is_read_digit_by_digit() {
        let quoted = |text: &str| Node {
            at: Position::START,
            content: Content::Scalar(Scalar { text: text.to_owned(), form: Form::Quoted }),
        };
        for (text, want) in [
            ("0", Ok(0)),
            ("2.5", Ok(2_500_000_000)),
            ("0.123456", Ok(123_456_000)),
            ("0.1234567", Err(Code::OutOfRange)),
            ("0.1000000", Err(Code::OutOfRange)),
            ("9300000000", Err(Code::OutOfRange)),
            ("9007199253.740993", Ok(9_007_199_253_740_993_000)),
            ("-1", Err(Code::OutOfRange)),
            ("1e-3", Err(Code::BadValue)),
            ("0x10", Err(Code::BadValue)),
            (".5", Err(Code::BadValue)),
        ] {
            let want = want.map(NanoUsd);
            assert_eq!(money(&plain(text)).map_err(|refusal| refusal.code), want, "{text}");
            assert_eq!(money(&quoted(text)).map_err(|refusal| refusal.code), want, "quoted {text}");
        }
        assert_eq!(money(&plain("true")).map_err(|refusal| refusal.code), Err(Code::WrongType));
        assert_eq!(money(&plain("free")).map_err(|refusal| refusal.code), Err(Code::WrongType));
        assert_eq!(money(&plain("")).map_err(|refusal| refusal.code), Err(Code::WrongType));
    }

    #[test]
    fn sizes_are_shown_with_their_largest_unit() {
        for (bytes, want) in [(0, "0 B"), (1_500, "1500 B"), (65_536, "64 KiB"), (1 << 30, "1 GiB")] {
            assert_eq!(shown_size(bytes), want);
        }
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
