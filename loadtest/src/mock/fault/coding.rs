//! Compressed answers that nobody asked for.
//!
//! Whole, broken, or far too large.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Fault;
use crate::mock::answer::{before, events, honest, own_lines};
use crate::mock::ask::Ask;
use crate::mock::body;
use crate::serve::{Plan, Step, head};

/// Unpacked size of the bomb.
const BOMB_BYTES: usize = 128 << 20;

pub(super) const FAULTS: &[Fault] = &[Fault {
    name: "gzip",
    values: "honest|truncated|corrupt|nested|bomb|lie|unknown",
    keys: &[],
    rows: "F-18 T-52",
    about: "Gzip nobody asked for: the honest answer packed (default), cut off, with flipped bytes, packed twice, 128 MiB packed into about 128 KiB, plain bytes that claim to be gzip, or an unknown coding.",
    streams_only: false,
    make: gzip,
}];

fn gzip(ask: &Ask<'_>) -> Result<Plan, String> {
    let plain =
        if ask.stream { events(ask).into_iter().flat_map(|event| event.bytes).collect() } else { body::body(ask) };
    let mut coding = "gzip";
    let packed = match ask.script.value.unwrap_or("honest") {
        "honest" => pack(&plain)?,
        "truncated" => {
            let mut packed = pack(&plain)?;
            packed.truncate(packed.len() / 2);
            packed
        }
        "corrupt" => {
            let mut packed = pack(&plain)?;
            let middle = packed.len() / 2;
            packed.iter_mut().skip(middle).take(8).for_each(|byte| *byte ^= 0xff);
            packed
        }
        "nested" => {
            coding = "gzip, gzip";
            pack(&pack(&plain)?)?
        }
        "bomb" => bomb()?,
        "lie" => plain,
        "unknown" => {
            coding = "x-mock";
            plain
        }
        other => return Err(format!("unknown gzip `{other}`")),
    };
    let kind = if ask.stream { "text/event-stream" } else { "application/json" };
    let lines = format!(
        "content-type: {kind}\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n{}",
        packed.len(),
        own_lines(ask)
    );
    let mut steps = before(ask);
    steps.push(Step::write([head(200, &lines), packed].concat()));
    Ok(honest(ask, steps))
}

fn pack(plain: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).and_then(|()| encoder.finish()).map_err(|error| error.to_string())
}

/// The bomb, packed once for the whole process, since that takes about a second.
fn bomb() -> Result<Vec<u8>, String> {
    static BOMB: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    BOMB.get_or_init(|| {
        let text = vec![b'a'; BOMB_BYTES];
        pack(&[br#"{"choices":[{"message":{"content":""#.as_slice(), &text, br#""}}]}"#].concat())
    })
    .clone()
}
