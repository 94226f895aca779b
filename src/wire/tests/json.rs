//! The scanner against serde_json.

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;

use crate::wire::json::{BYTES_MAX, Scanner};
use crate::wire::json_place::JsonFault;
use crate::wire::json_text::{push_json_string, unescape};

/// Checks a whole document with generous limits.
fn check(document: &[u8]) -> Result<(), JsonFault> {
    check_within(document, 128, u32::MAX)
}

fn check_within(document: &[u8], depth_max: u32, nodes_max: u32) -> Result<(), JsonFault> {
    if std::str::from_utf8(document).is_err() {
        return Err(JsonFault::Utf8);
    }
    let mut scanner = Scanner::new(document, 0, depth_max, nodes_max);
    scanner.skip_space();
    scanner.value()?;
    scanner.finish()
}

#[test]
fn the_grammar_is_strict() {
    for (document, want) in [
        ("", Err(JsonFault::End)),
        (" {} ", Ok(())),
        ("[1,-0,0.5,1e9,1E-9,-1.25e+10,12345678901234567890]", Ok(())),
        ("[01]", Err(JsonFault::Unexpected)),
        ("[-]", Err(JsonFault::Number)),
        ("[1.]", Err(JsonFault::Number)),
        ("[.5]", Err(JsonFault::Unexpected)),
        ("[+1]", Err(JsonFault::Unexpected)),
        ("[1e]", Err(JsonFault::Number)),
        ("[1e999]", Err(JsonFault::Number)),
        ("[1e-999]", Ok(())),
        ("[NaN]", Err(JsonFault::Unexpected)),
        ("[Infinity]", Err(JsonFault::Unexpected)),
        ("[nul]", Err(JsonFault::Unexpected)),
        ("[1,]", Err(JsonFault::Unexpected)),
        ("[,1]", Err(JsonFault::Unexpected)),
        ("[1 2]", Err(JsonFault::Unexpected)),
        ("[1}", Err(JsonFault::Unexpected)),
        ("{\"a\":1]", Err(JsonFault::Unexpected)),
        ("{\"a\" 1}", Err(JsonFault::Unexpected)),
        ("{\"a\":1,}", Err(JsonFault::Unexpected)),
        ("{a:1}", Err(JsonFault::Unexpected)),
        ("{'a':1}", Err(JsonFault::Unexpected)),
        ("{\"a\":}", Err(JsonFault::Unexpected)),
        ("[1] [2]", Err(JsonFault::Trailing)),
        ("[1]\0", Err(JsonFault::Trailing)),
        ("[1] // x", Err(JsonFault::Trailing)),
        ("[\u{a0}1]", Err(JsonFault::Unexpected)),
        ("\u{feff}[]", Err(JsonFault::Unexpected)),
        ("[\"a", Err(JsonFault::End)),
        ("[\"a\n\"]", Err(JsonFault::Control)),
        ("[\"a\u{7f}\"]", Ok(())),
        (r#"["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"]"#, Ok(())),
        (r#"["\x"]"#, Err(JsonFault::Escape)),
        (r#"["\u00g0"]"#, Err(JsonFault::Escape)),
        (r#"["\ud83d"]"#, Err(JsonFault::Surrogate)),
        (r#"["\ude00\ud83d"]"#, Err(JsonFault::Surrogate)),
        (r#"["\ude00"]"#, Err(JsonFault::Surrogate)),
        (r#"["\ud83dxxxxxx"]"#, Err(JsonFault::Surrogate)),
        (r#"["\u12"#, Err(JsonFault::End)),
    ] {
        assert_eq!(check(document.as_bytes()), want, "{document}");
        let serde = serde_json::from_str::<Value>(document).is_ok();
        assert_eq!(want.is_ok(), serde, "serde_json differs: {document}");
    }
}

#[test]
fn limits_hold_exactly() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(check_within(nested(64).as_bytes(), 64, 100), Ok(()));
    assert_eq!(check_within(nested(65).as_bytes(), 64, 100), Err(JsonFault::Depth));
    assert_eq!(check_within(nested(128).as_bytes(), 1_000, 1_000), Ok(()));
    assert_eq!(check_within(nested(129).as_bytes(), 1_000, 1_000), Err(JsonFault::Depth));
    let deep = nested(1_000_000);
    assert_eq!(check(deep.as_bytes()), Err(JsonFault::Depth));
    assert_eq!(check_within(b"[1,{\"a\":2}]", 64, 4), Ok(()));
    assert_eq!(check_within(b"[1,{\"a\":2}]", 64, 3), Err(JsonFault::Nodes));
    assert_eq!(check("1".repeat(256).as_bytes()), Ok(()));
    assert_eq!(check("1".repeat(257).as_bytes()), Err(JsonFault::Number));
    assert!(u32::try_from(BYTES_MAX).is_ok());
}

#[test]
fn children_and_text_are_counted() {
    for (document, children, text_bytes) in [
        ("[]", 0, 0),
        ("{}", 0, 0),
        ("[[]]", 1, 0),
        ("[[],[1,2,3],{\"a\":\"x\",\"b\":[]}]", 3, 1),
        ("{\"a\":[1,2],\"b\":\"yz\"}", 2, 2),
        ("[1,2,3]", 3, 0),
        ("\"a\\n\"", 0, 3),
    ] {
        let mut scanner = Scanner::new(document.as_bytes(), 0, 64, 100);
        let value = scanner.value().unwrap();
        assert_eq!(value.children, children, "{document}");
        assert_eq!(value.span.of(document.as_bytes()), document.as_bytes());
        assert_eq!(scanner.text_bytes(), text_bytes, "{document}");
    }
}

#[test]
fn long_strings_end_at_their_quote_wherever_it_stands() {
    for length in 0..200 {
        for special in ["\"", "\\\"", "\u{1}", "\\u0041", "é"] {
            let document = format!("\"{}{special}{}\"", "x".repeat(length), "y".repeat(length % 7));
            let serde = serde_json::from_str::<Value>(&document).is_ok();
            assert_eq!(check(document.as_bytes()).is_ok(), serde, "{document}");
        }
    }
}

#[test]
fn a_text_of_many_pages_is_checked_at_every_place() {
    let text = "x".repeat(5 * 1024);
    let plain = format!("\"{text}\"");
    assert_eq!(check(plain.as_bytes()), Ok(()));
    for at in (1..=text.len()).step_by(7) {
        for (byte, want) in [
            (b'\x1f', JsonFault::Control),
            (b'\0', JsonFault::Control),
            (b'"', JsonFault::Trailing),
            (b'\\', JsonFault::Escape),
        ] {
            let mut document = plain.clone().into_bytes();
            document[at] = byte;
            if at == text.len() && byte == b'"' {
                continue;
            }
            let fault = if at == text.len() && byte == b'\\' { JsonFault::End } else { want };
            assert_eq!(check(&document), Err(fault), "{byte} at {at}");
        }
    }
}

#[test]
fn every_control_character_is_refused_in_strings_of_any_length() {
    for byte in 0..0x80u8 {
        for length in [0, 7, 8, 15, 16, 17, 80, 81, 200, 2_000] {
            let document = format!("\"{}{}{}\"", "x".repeat(length), char::from(byte), "y".repeat(20));
            let serde = serde_json::from_str::<Value>(&document).is_ok();
            assert_eq!(check(document.as_bytes()).is_ok(), serde, "{byte} at {length}");
        }
    }
}

/// Valid documents, with all kinds of strings and numbers in them.
pub(super) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\]{0,60}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_é\"]{0,8}", inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

/// Documents that are almost JSON.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        "[\\[\\]{}:,\" ]",
        Just("\"a\"".to_owned()),
        Just("\\u".to_owned()),
        Just("\\ud83d".to_owned()),
        Just("\\ude00".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,3})?",
        "[\\x00-\\x7f]",
    ];
    proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #[test]
    fn valid_documents_are_accepted(value in values(), pretty in any::<bool>()) {
        let document = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        prop_assert_eq!(check(&document.unwrap()), Ok(()));
    }

    #[test]
    fn validity_is_that_of_serde_json(document in almost()) {
        let serde = serde_json::from_slice::<Value>(&document).is_ok();
        prop_assert_eq!(check(&document).is_ok(), serde);
    }

    #[test]
    fn a_changed_byte_is_judged_as_serde_json_does(value in values(), at in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut document = serde_json::to_vec(&value).unwrap();
        let at = at % document.len();
        if cut { document.truncate(at) } else { document[at] = byte }
        let serde = serde_json::from_slice::<Value>(&document).is_ok();
        prop_assert_eq!(check(&document).is_ok(), serde);
    }

    #[test]
    fn strings_survive_encoding_and_unescaping(text in any::<String>()) {
        let mut encoded = Vec::new();
        push_json_string(&text, &mut encoded);
        prop_assert_eq!(&serde_json::from_slice::<String>(&encoded).unwrap(), &text);
        let by_serde = serde_json::to_vec(&text).unwrap();
        for encoded in [encoded, by_serde] {
            let plain = unescape(&encoded[1..encoded.len() - 1]).unwrap();
            prop_assert_eq!(plain, text.as_bytes());
        }
    }
}
