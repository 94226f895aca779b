//! The view of a request body agrees with another JSON reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::wire::{Edits, Endpoint, Limits, RequestView, view_request};
use serde::Deserialize;

/// What a provider would read. A repeated name is an error here, as it is in the view.
#[derive(Deserialize)]
struct Seen {
    model: String,
    stream: Option<bool>,
    stream_options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    include_usage: Option<bool>,
}

fn read(body: &[u8]) -> Seen {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

fuzz_target!(|body: &[u8]| {
    for endpoint in Endpoint::ALL {
        let Ok(view) = view_request(endpoint, body, &Limits::default()) else { continue };
        agrees(&view, body);
        edited(endpoint, &view, body);
    }
});

fn agrees(view: &RequestView, body: &[u8]) {
    let seen = read(body);
    assert_eq!(view.model_name(body), seen.model);
    assert_eq!(view.stream, seen.stream.unwrap_or(false));
    let wants_usage = seen.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
    assert_eq!(view.wants_usage(body), wants_usage);
}

/// The spliced body differs in what was spliced and in nothing else.
fn edited(endpoint: Endpoint, view: &RequestView, body: &[u8]) {
    let mut edits = Edits::new();
    edits.set_model(view, b"\"another/model\"");
    edits.ask_for_usage(view, body);
    let mut out = Vec::new();
    edits.write(body, &mut out);
    assert_eq!(out.len(), edits.body_bytes(body.len()));
    let seen = read(&out);
    assert_eq!(seen.model, "another/model");
    assert_eq!(seen.stream, read(body).stream);
    assert_eq!(seen.stream_options.and_then(|options| options.include_usage), Some(true));
    view_request(endpoint, &out, &Limits::default()).expect("the spliced body is as strict as the body");
}
