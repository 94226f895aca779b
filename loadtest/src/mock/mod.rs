//! A scripted provider that speaks the OpenAI dialect.
//!
//! The model name of a request says how it is answered: at once, as a stream with a pace, or with a fault.
//! The table of all scripts stands in the README of this crate.

mod answer;
mod ask;
mod body;
mod event;
mod fault;
mod script;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use self::ask::Ask;
use self::script::Name;
use crate::serve::{Endpoint, Fields, Handler, ListenArgs, Plan, Request, Seat, reply, start, wait_for_signal};

/// Options of this command.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: ListenArgs,
    /// Print the table of all faults and leave.
    #[arg(long)]
    scripts: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.scripts {
        print!("{}", fault::table());
        return Ok(());
    }
    let mock = Mock::new(args.listen.seed);
    wait_for_signal(&args.listen, || start(&args.listen, mock))
}

/// The scripted provider.
struct Mock {
    seed: u64,
    /// Requests so far of each model name with `first=N`.
    seen: Mutex<HashMap<String, u64>>,
}

impl Handler for Mock {
    fn plan(&self, request: &Request, seat: &mut Seat) -> Plan {
        let path = request.path();
        if path == "/__counters" && request.method() == "DELETE" {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return reply(200, "text/plain", b"");
        }
        if path.ends_with("/v1/models") {
            return match request.method() {
                "GET" => reply(200, "application/json", MODELS.as_bytes()),
                _ => refuse(405, "wrong method"),
            };
        }
        let Some(endpoint) = Endpoint::of(path) else {
            return refuse(404, &format!("no endpoint `{path}`"));
        };
        if request.method() != "POST" {
            return refuse(405, "wrong method");
        }
        let read = if endpoint == Endpoint::Transcriptions { Fields::of_form } else { Fields::read };
        let fields = match read(request.body()) {
            Ok(fields) => fields,
            Err(reason) => return refuse(400, &reason),
        };
        let stream = fields.stream.unwrap_or(false);
        let plan = self.scripted(request, endpoint, &fields, seat).unwrap_or_else(|reason| refuse(400, &reason));
        Plan { stream, model: fields.model, ..plan }
    }
}

impl Mock {
    fn new(seed: u64) -> Self {
        Self { seed, seen: Mutex::default() }
    }

    fn scripted(
        &self,
        request: &Request,
        endpoint: Endpoint,
        fields: &Fields,
        seat: &mut Seat,
    ) -> Result<Plan, String> {
        let mut ask = Ask::new(request, endpoint, fields)?;
        ask.connection = seat.connection;
        ask.request = seat.request;
        ask.seed = seat.random.u64(..) ^ self.seed;
        check_size(&ask)?;
        match ask.script.name {
            Name::Fast | Name::Stream => {
                ask.script.check_keys(&[])?;
                let steps = if ask.stream { answer::stream(&ask) } else { answer::plain(&ask) };
                Ok(answer::honest(&ask, steps))
            }
            Name::Hold => {
                ask.script.check_keys(&[])?;
                Ok(answer::honest(&ask, answer::hold(&ask)))
            }
            Name::Fault(kind) => {
                let plan = fault::make(kind, &ask)?;
                if self.is_due(&ask, fields, seat)? {
                    return Ok(plan);
                }
                let steps = if ask.stream { answer::stream(&ask) } else { answer::plain(&ask) };
                Ok(answer::honest(&ask, steps))
            }
        }
    }
}

impl Mock {
    /// Whether a fault with `first=N` or `p=SHARE` strikes this time. `first` counts per model name.
    fn is_due(&self, ask: &Ask<'_>, fields: &Fields, seat: &mut Seat) -> Result<bool, String> {
        if ask.script.text("first").is_some() {
            let first: u64 = ask.script.number("first", 0, u64::MAX)?;
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let count = seen.entry(fields.model.clone().unwrap_or_default()).or_default();
            *count += 1;
            return Ok(*count <= first);
        }
        let share: f64 = ask.script.number("p", 1.0, 1.0)?;
        Ok(seat.random.f64() < share)
    }
}

/// Refuses a body that has not the size that its script names.
fn check_size(ask: &Ask<'_>) -> Result<(), String> {
    let want: usize = ask.script.number("request_bytes", ask.body.len(), usize::MAX)?;
    if want == ask.body.len() { Ok(()) } else { Err(format!("body has {} bytes, not {want}", ask.body.len())) }
}

/// An error that is no fault: the request itself was wrong.
fn refuse(status: u16, message: &str) -> Plan {
    let error = serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "mock_refused"}});
    reply(status, "application/json", error.to_string().as_bytes())
}

const MODELS: &str = r#"{"object":"list","data":[{"id":"fast","object":"model","created":1760000000,"owned_by":"mock"},{"id":"stream","object":"model","created":1760000000,"owned_by":"mock"},{"id":"hold","object":"model","created":1760000000,"owned_by":"mock"}]}"#;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
