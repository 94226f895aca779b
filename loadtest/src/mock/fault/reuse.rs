//! What happens to a kept connection between two requests.

use std::time::Duration;

use super::Fault;
use crate::mock::answer::{honest, plain, stream};
use crate::mock::ask::Ask;
use crate::serve::{After, Plan, head};

/// What the mock says out of turn; no client may ever see it.
pub(super) const CANARY: &str = r#"{"canary":"this answer belongs to nobody"}"#;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "close-on-reuse",
        values: "fin|reset",
        keys: &[],
        rows: "F-10",
        about: "An honest answer; when the next request arrives on the connection, it is closed (default) or reset with zero bytes of answer.",
        streams_only: false,
        make: |ask| {
            let reset = is_reset(ask)?;
            Ok(Plan { after: After::CloseOnReuse { reset }, ..answered(ask) })
        },
    },
    Fault {
        name: "idle-close",
        values: "fin|reset",
        keys: &["after_ms"],
        rows: "F-10",
        about: "An honest answer; `after_ms` (100) later the kept connection is closed (default) or reset.",
        streams_only: false,
        make: |ask| {
            let (wait, reset) = (wait(ask)?, is_reset(ask)?);
            Ok(Plan { after: After::CloseLater { wait, reset }, ..answered(ask) })
        },
    },
    Fault {
        name: "early",
        values: "",
        keys: &["after_ms"],
        rows: "T-53",
        about: "An honest answer; `after_ms` (100) later a whole second answer with a canary, before any request asked for it.",
        streams_only: false,
        make: |ask| {
            let wait = wait(ask)?;
            Ok(Plan { after: After::SayLater { wait, bytes: canary_answer() }, ..answered(ask) })
        },
    },
];

/// A whole answer that no request asked for.
pub(super) fn canary_answer() -> Vec<u8> {
    let lines = format!("content-type: application/json\r\ncontent-length: {}\r\n", CANARY.len());
    [head(200, &lines), CANARY.as_bytes().to_vec()].concat()
}

fn answered(ask: &Ask<'_>) -> Plan {
    honest(ask, if ask.stream { stream(ask) } else { plain(ask) })
}

fn wait(ask: &Ask<'_>) -> Result<Duration, String> {
    ask.script.number("after_ms", 100, 3_600_000).map(Duration::from_millis)
}

fn is_reset(ask: &Ask<'_>) -> Result<bool, String> {
    match ask.script.value {
        None | Some("fin") => Ok(false),
        Some("reset") => Ok(true),
        Some(other) => Err(format!("unknown way to close `{other}`; known: fin, reset")),
    }
}
