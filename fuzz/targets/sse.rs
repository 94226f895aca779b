//! Server-sent events: the same events however they arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::wire::{Endpoint, Splitter, SseError, SseLimits, StreamWatch};

const LIMITS: SseLimits =
    SseLimits { line_bytes_max: 256, event_bytes_max: 1024, fields_max: 16, stream_bytes_max: 16 << 10 };

/// The ends of all events, fed `piece` bytes at a time.
fn ends(bytes: &[u8], piece: usize) -> (Vec<usize>, Option<SseError>) {
    let (mut splitter, mut from, mut found) = (Splitter::new(LIMITS), 0, Vec::new());
    let mut there = 0;
    while there < bytes.len() {
        there = (there + piece).min(bytes.len());
        loop {
            match splitter.next_event(&bytes[..there], from) {
                Ok(Some(end)) => {
                    assert!(end > from && end <= there, "an event from {from} to {end} of {there}");
                    found.push(end);
                    from = end;
                }
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = ends(bytes, bytes.len().max(1));
    let cut = ends(bytes, usize::from(piece).max(1));
    // A bound may be noticed at another byte, but the events before it are the same.
    let common = whole.0.len().min(cut.0.len());
    assert_eq!(whole.0[..common], cut.0[..common], "events depend on where the stream was cut");
    if whole.1.is_none() && cut.1.is_none() {
        assert_eq!(whole.0, cut.0);
    }
    for endpoint in Endpoint::ALL {
        let mut watch = StreamWatch::new(endpoint, true);
        let mut from = 0;
        for end in &whole.0 {
            watch.observe(&bytes[from..*end]);
            from = *end;
        }
        watch.observe_tail(&bytes[from..]);
        let _ = (watch.end(), watch.is_done(), watch.usage(), watch.messages_count(), watch.content_bytes());
    }
});
