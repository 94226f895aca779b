//! Whatever a provider says under any status is read calmly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::wire::{Endpoint, read_usage, view_answer, view_upstream_error};

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    for endpoint in Endpoint::ALL {
        if let Ok(view) = view_answer(endpoint, body) {
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok(), "an answer that is no JSON");
            for span in [view.model, view.error].into_iter().flatten() {
                assert!(!span.of(body).is_empty());
            }
        }
    }
    let _ = read_usage(body);
    let error = view_upstream_error(status % 600, body);
    let told = error.client_status();
    assert!((400..600).contains(&told) && told != 401 && told != 403, "{status} is told as {told}");
    let mut out = Vec::new();
    error.write_body(&mut out);
    let body: serde_json::Value = serde_json::from_slice(&out).expect("our own error is JSON");
    for name in ["message", "type", "param", "code"] {
        assert!(body["error"].get(name).is_some(), "{name} is missing in {body}");
    }
});
