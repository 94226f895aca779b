//! The chunked coding: any cut, any content, no surprise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::http::{ChunkDecoder, Step};

#[derive(Debug, PartialEq)]
enum Outcome {
    Ended { used: usize },
    Open,
    Refused,
}

/// Decodes pieces of at most `piece` bytes.
fn decode(bytes: &[u8], piece: usize) -> (Vec<u8>, Outcome) {
    let (mut decoder, mut content, mut used) = (ChunkDecoder::default(), Vec::new(), 0);
    for part in bytes.chunks(piece) {
        let mut at = 0;
        loop {
            match decoder.step(part, &mut at) {
                Ok(Step::Content(range)) => content.extend_from_slice(&part[range]),
                Ok(Step::More) => break,
                Ok(Step::End) => return (content, Outcome::Ended { used: used + at }),
                Err(_) => return (content, Outcome::Refused),
            }
        }
        used += part.len();
    }
    (content, Outcome::Open)
}

fn encode(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut coded = Vec::new();
    for part in bytes.chunks(piece) {
        coded.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        coded.extend_from_slice(part);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let piece = usize::from(piece).max(1);
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, piece), whole, "the outcome depends on where the body was cut");
    assert!(whole.0.len() <= bytes.len());

    let coded = encode(bytes, piece);
    let used = coded.len();
    assert_eq!(decode(&coded, piece), (bytes.to_vec(), Outcome::Ended { used }));
});
