//! The request view: what is read, what is refused.

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;

use super::json::values;
use crate::wire::{BodyError, BodyFault, Endpoint, ErrorCase, JsonFault, Limits, RequestView, view_request};

fn view(endpoint: Endpoint, body: &str) -> Result<RequestView, BodyError> {
    view_request(endpoint, body.as_bytes(), &Limits::default())
}

/// Holds a view against what serde_json reads of the same body.
pub(super) fn assert_view_equals(view: &RequestView, body: &[u8], value: &Value, case: &str) {
    let parse = |span: crate::wire::Span| serde_json::from_slice::<Value>(span.of(body)).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(Some(view.model_name(body)), value["model"].as_str(), "{case}");
    assert_eq!(parse(view.model), value["model"], "{case}");
    assert_eq!(view.stream, value["stream"] == Value::Bool(true), "{case}");
    assert_eq!(view.stream_options.map(parse).as_ref(), object.get("stream_options"), "{case}");
    let include_usage = value.pointer("/stream_options/include_usage");
    assert_eq!(view.include_usage.map(parse).as_ref(), include_usage, "{case}");
    assert_eq!(view.wants_usage(body), include_usage == Some(&Value::Bool(true)), "{case}");
    if let Some(messages) = view.messages {
        assert_eq!(parse(messages), value["messages"], "{case}");
    }
    if let Some(instructions) = view.instructions {
        assert_eq!(parse(instructions), value["instructions"], "{case}");
    }
    assert_eq!(body[view.open as usize], b'{', "{case}");
    assert_eq!(body[view.close as usize], b'}', "{case}");
    for name in object.keys() {
        assert!(view.has_name(body, name.as_bytes()), "{case}: {name}");
    }
    assert!(!view.has_name(body, b"no such name"), "{case}");
}

#[test]
fn a_chat_body_is_viewed() {
    let body = r#" { "messages" : [ {"role":"user","content":"\"model\":\"x\""} , {} ] ,"temperature":0.5,
        "stream":true,"stream_options":{"include_obfuscation":false,"include_usage":false},"model":"team/gpt-4o.1_x" } "#;
    let view = view(Endpoint::Chat, body).unwrap();
    assert_view_equals(&view, body.as_bytes(), &serde_json::from_str(body).unwrap(), "chat");
    assert!(view.messages.is_some() && view.instructions.is_none() && !view.needs_state);
}

#[test]
fn the_responses_wire_is_viewed_by_its_own_names() {
    for (body, needs_state, has_instructions) in [
        (r#"{"model":"m","input":"x","previous_response_id":null}"#, false, false),
        (r#"{"model":"m","input":"x","previous_response_id":"resp_1"}"#, true, false),
        (r#"{"model":"m","input":[],"conversation":"conv_1","instructions":null}"#, true, true),
        (r#"{"model":"m","instructions":"be kind","messages":7}"#, false, true),
    ] {
        let view = view(Endpoint::Responses, body).unwrap();
        assert_view_equals(&view, body.as_bytes(), &serde_json::from_str(body).unwrap(), body);
        assert_eq!(view.needs_state, needs_state, "{body}");
        assert_eq!(view.instructions.is_some(), has_instructions, "{body}");
        assert_eq!(view.messages, None, "{body}");
    }
}

/// Body, fault.
const REFUSED: [(&str, BodyFault); 37] = [
    ("", BodyFault::Json(JsonFault::End)),
    ("\u{feff}{\"model\":\"m\"}", BodyFault::Json(JsonFault::Mark)),
    (r#"{"model":"m"} x"#, BodyFault::Json(JsonFault::Trailing)),
    (r#"{"model":"m"}{"model":"n"}"#, BodyFault::Json(JsonFault::Trailing)),
    (r#"{"model":"m""#, BodyFault::Json(JsonFault::End)),
    (r#"[{"model":"m"}]"#, BodyFault::NotAnObject),
    ("null", BodyFault::NotAnObject),
    ("{}", BodyFault::ModelMissing),
    (r#"{"messages":[]}"#, BodyFault::ModelMissing),
    (r#"{"a":{"model":"m"}}"#, BodyFault::ModelMissing),
    (r#"{"model":null}"#, BodyFault::ModelForm),
    (r#"{"model":""}"#, BodyFault::ModelForm),
    (r#"{"model":7}"#, BodyFault::ModelForm),
    (r#"{"model":["m"]}"#, BodyFault::ModelForm),
    (r#"{"model":"a b"}"#, BodyFault::ModelForm),
    (r#"{"model":"é"}"#, BodyFault::ModelForm),
    (r#"{"model":"a:b"}"#, BodyFault::ModelForm),
    (r#"{"model":"m\u0061"}"#, BodyFault::ModelForm),
    (r#"{"model":"a\/b"}"#, BodyFault::ModelForm),
    (r#"{"model":"m","model":"n"}"#, BodyFault::Duplicate("model")),
    (r#"{"model":"m","stream":true,"stream":false}"#, BodyFault::Duplicate("stream")),
    (r#"{"model":"m","messages":[],"messages":[]}"#, BodyFault::Duplicate("messages")),
    (r#"{"model":"m","mod\u0065l":"n"}"#, BodyFault::Spelling("model")),
    (r#"{"mod\u0065l":"n"}"#, BodyFault::Spelling("model")),
    (r#"{"model":"m","Model":"n"}"#, BodyFault::Spelling("model")),
    (r#"{"model":"m","MODEL":"n"}"#, BodyFault::Spelling("model")),
    ("{\"model\":\"m\",\"\u{17f}tream\":true}", BodyFault::Spelling("stream")),
    (r#"{"model":"m","\u017ftream":true}"#, BodyFault::Spelling("stream")),
    (r#"{"model":"m","stream":1}"#, BodyFault::Type("stream", "`true` or `false`")),
    (r#"{"model":"m","stream":"true"}"#, BodyFault::Type("stream", "`true` or `false`")),
    (r#"{"model":"m","messages":{}}"#, BodyFault::Type("messages", "an array")),
    (r#"{"model":"m","stream_options":[]}"#, BodyFault::Type("stream_options", "an object")),
    (r#"{"model":"m","stream_options":true}"#, BodyFault::Type("stream_options", "an object")),
    (r#"{"model":"m","stream_options":{"include_usage":1}}"#, BodyFault::Type("include_usage", "`true` or `false`")),
    (
        r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
        BodyFault::Duplicate("include_usage"),
    ),
    (r#"{"model":"m","stream_options":{"includ\u0065_usage":true}}"#, BodyFault::Spelling("include_usage")),
    (r#"{"model":"m","stream_options":{},"stream_options":null}"#, BodyFault::Duplicate("stream_options")),
];

#[test]
fn a_body_that_readers_could_differ_on_is_refused() {
    for (body, want) in REFUSED {
        assert_eq!(view(Endpoint::Chat, body).map_err(|e| e.fault), Err(want), "{body}");
    }
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(201));
    assert_eq!(view(Endpoint::Chat, &long).map_err(|e| e.fault), Err(BodyFault::ModelForm));
    assert!(view(Endpoint::Chat, &long.replacen('m', "", 2)).is_err(), "the name `model` itself");
    assert!(view(Endpoint::Chat, &long.replacen("mm", "m", 1)).is_ok());
    let not_utf8 = view_request(Endpoint::Chat, b"{\"model\":\"m\",\"a\":\"\xFF\"}", &Limits::default());
    assert_eq!(not_utf8, Err(BodyError { fault: BodyFault::Json(JsonFault::Utf8), at: 18 }));
}

#[test]
fn limits_are_exact_and_named() {
    let limits = Limits { depth_max: 3, nodes_max: 8, messages_max: 2 };
    for (name, body, want) in [
        ("two messages", r#"{"model":"m","messages":[{},{}]}"#, None),
        ("three messages", r#"{"model":"m","messages":[{},{},{}]}"#, Some(BodyFault::TooMany("messages"))),
        ("depth 3", r#"{"model":"m","messages":[{}]}"#, None),
        ("depth 4", r#"{"model":"m","messages":[{"content":[]}]}"#, Some(BodyFault::Json(JsonFault::Depth))),
        ("depth in options", r#"{"model":"m","stream_options":{"a":[[]]}}"#, Some(BodyFault::Json(JsonFault::Depth))),
        ("8 nodes", r#"{"model":"m","a":[1,2,3,4,5]}"#, None),
        ("9 nodes", r#"{"model":"m","a":[1,2,3,4,5,6]}"#, Some(BodyFault::Json(JsonFault::Nodes))),
    ] {
        let fault = view_request(Endpoint::Chat, body.as_bytes(), &limits).err().map(|e| e.fault);
        assert_eq!(fault, want, "{name}");
    }
    let input = r#"{"model":"m","input":[{},{},{}]}"#;
    let fault = |endpoint| view_request(endpoint, input.as_bytes(), &limits).err().map(|e| e.fault);
    assert_eq!(fault(Endpoint::Responses), Some(BodyFault::TooMany("input")));
    assert_eq!(fault(Endpoint::Embeddings), None, "embeddings take long lists");
}

#[test]
fn an_error_says_what_and_where_without_content() {
    for (body, message, case, param) in [
        (
            r#"{"model":"m",]"#,
            "the body is not valid JSON: unexpected character (at byte 13)",
            ErrorCase::BadJson,
            None,
        ),
        (
            r#"{"model":"a b"}"#,
            "`model` must be a string of 1 to 200 letters, digits and `.`, `_`, `/`, `-`, without escapes (at byte 9)",
            ErrorCase::BadField,
            Some("model"),
        ),
        (r#"{"model":"m","model":"n"}"#, "`model` stands twice (at byte 13)", ErrorCase::DuplicateField, Some("model")),
        (
            r#"{"model":"m","stream":2}"#,
            "`stream` must be `true` or `false` (at byte 22)",
            ErrorCase::BadField,
            Some("stream"),
        ),
        ("{}", "`model` is missing", ErrorCase::BadField, Some("model")),
    ] {
        let error = view(Endpoint::Chat, body).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!((error.case(), error.param()), (case, param), "{body}");
    }
}

#[test]
fn many_and_escaped_names_are_still_found() {
    let mut body = r#"{"model":"m","tempera\u0074ure":1"#.to_owned();
    for at in 0..40 {
        body += &format!(",\"name{at}\":{at}");
    }
    body += "}";
    let view = view(Endpoint::Chat, &body).unwrap();
    assert_view_equals(&view, body.as_bytes(), &serde_json::from_str(&body).unwrap(), "many");
    assert!(view.has_name(body.as_bytes(), b"temperature"));
}

/// Members that we read, with valid and invalid values, and others.
fn members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let name = prop_oneof![
        Just("model".to_owned()),
        Just("stream".to_owned()),
        Just("stream_options".to_owned()),
        Just("messages".to_owned()),
        Just("instructions".to_owned()),
        "[a-zM]{1,7}",
    ];
    let value = prop_oneof![
        "[a-z/]{1,9}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(serde_json::json!({"include_usage": true})),
        Just(serde_json::json!([{"role": "user"}])),
        values(),
    ];
    proptest::collection::vec((name, value), 0..6)
}

proptest! {
    #[test]
    fn a_view_agrees_with_serde_json(members in members(), endpoint in 0usize..5) {
        let text: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let body = format!("{{\"model\":\"m\",{}}}", text.join(","));
        let value = serde_json::from_str::<Value>(&body);
        match view(Endpoint::ALL[endpoint], &body) {
            Ok(view) => {
                let names = members.iter().filter(|(name, _)| name == "model").count();
                prop_assert_eq!(names, 0, "a second model");
                assert_view_equals(&view, body.as_bytes(), &value.unwrap(), &body);
            }
            Err(error) => prop_assert!(error.param().is_some() || members.is_empty(), "{body}: {error}"),
        }
    }

    #[test]
    fn no_bytes_make_the_view_panic(body in proptest::collection::vec(any::<u8>(), 0..200), endpoint in 0usize..5) {
        let _ = view_request(Endpoint::ALL[endpoint], &body, &Limits::default());
        let _ = crate::wire::view_answer(Endpoint::ALL[endpoint], &body);
        let _ = crate::wire::read_usage(&body);
        let _ = crate::wire::view_upstream_error(400, &body);
    }

    #[test]
    fn no_mutation_makes_the_view_differ_from_serde_json(value in values(), at in any::<usize>(), byte in any::<u8>()) {
        let mut body = serde_json::to_vec(&serde_json::json!({"stream": true, "x": value, "model": "m"})).unwrap();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(view) = view_request(Endpoint::Chat, &body, &Limits::default()) {
            let value = serde_json::from_slice(&body).unwrap();
            assert_view_equals(&view, &body, &value, "mutated");
        }
    }
}
