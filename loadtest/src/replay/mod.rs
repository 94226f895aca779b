//! Serves recorded exchanges of the OpenAI dialects.
//!
//! The request names its record as the model `rec/ID`, since a gateway rewrites the model to what its
//! configuration says. The answer has the recorded status, headers and body; streams are cut anew, because
//! recordings keep no chunk borders. The request is not compared with the recorded one: the truth log has it.

mod record;

use std::path::PathBuf;

use serde_json::json;

use self::record::{Record, Shelf};
use crate::serve::{
    After, Delay, Endpoint, Fields, Handler, ListenArgs, Plan, Request, Seat, Split, Step, chunk, head, reply, start,
    wait_for_signal,
};

/// Options of this command.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: ListenArgs,
    /// Directory with the recorded exchanges, `*.ndjson.zst`.
    #[arg(long)]
    corpus: PathBuf,
    /// How streams are cut into chunks: `whole`, `one-byte`, `utf8`, `crlf` or `seed:N`.
    #[arg(long, default_value = "whole", value_parser = Split::parse)]
    split: Split,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let shelf = Shelf::load(&args.corpus)?;
    anyhow::ensure!(!shelf.is_empty(), "no exchange of an OpenAI dialect in {}", args.corpus.display());
    eprintln!("{} records", shelf.len());
    let replay = Replay { shelf, split: args.split };
    wait_for_signal(&args.listen, || start(&args.listen, replay))
}

struct Replay {
    shelf: Shelf,
    split: Split,
}

impl Handler for Replay {
    fn plan(&self, request: &Request, seat: &mut Seat) -> Plan {
        if let Some(rest) = request.path().strip_prefix("/__records") {
            return self.listing(request, rest);
        }
        let Some(endpoint) = Endpoint::of(request.path()) else {
            return refuse(404, "no such endpoint");
        };
        let fields = match Fields::read(request.body()) {
            Ok(fields) => fields,
            Err(reason) => return refuse(400, &reason),
        };
        let stream = fields.stream.unwrap_or(false);
        let plan = self.recorded(endpoint, &fields, seat).unwrap_or_else(|reason| refuse(400, &reason));
        Plan { stream, model: fields.model, ..plan }
    }
}

impl Replay {
    fn recorded(&self, endpoint: Endpoint, fields: &Fields, seat: &mut Seat) -> Result<Plan, String> {
        let choice = Choice::parse(fields.model.as_deref().unwrap_or_default(), self.split)?;
        let record = self.shelf.find(choice.id).ok_or_else(|| format!("no record `{}`", choice.id))?;
        if record.endpoint != endpoint {
            return Err(format!("record `{}` is of dialect {}", choice.id, record.dialect));
        }
        Ok(Plan {
            status: record.status,
            steps: answer(record, &choice, &mut seat.random),
            after: After::KeepAlive,
            model: None,
            stream: false,
            usage: None,
        })
    }

    /// `/__records` lists, `/__records/ID` shows one with its headers, `/__records/ID/body` only its body.
    fn listing(&self, request: &Request, rest: &str) -> Plan {
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return self.list(request);
        }
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        match (self.shelf.find(id), part) {
            (Some(record), "body") => reply(200, "application/octet-stream", &record.body),
            (Some(record), "") => {
                let mut shown = summary(record);
                if let Some(members) = shown.as_object_mut() {
                    members.insert("headers".to_owned(), json!(record.headers));
                }
                reply(200, "application/json", format!("{shown}\n").as_bytes())
            }
            _ => refuse(404, "no such record"),
        }
    }

    fn list(&self, request: &Request) -> Plan {
        let wanted = |name: &str, value: &str| request.query(name).is_none_or(|wanted| wanted == value);
        let limit = request.query("limit").map_or(Ok(usize::MAX), str::parse);
        let Ok(limit) = limit else {
            return refuse(400, "`limit` is no number");
        };
        let lines: String = self
            .shelf
            .iter()
            .filter(|record| {
                wanted("dialect", &record.dialect)
                    && wanted("provider", &record.provider)
                    && wanted("stream", if record.stream { "true" } else { "false" })
                    && wanted("status", &record.status.to_string())
            })
            .take(limit)
            .map(|record| format!("{}\n", summary(record)))
            .collect();
        reply(200, "application/x-ndjson", lines.as_bytes())
    }
}

/// What a model name asks for: `rec/ID[/KEY=VALUE,KEY=VALUE]` with the keys `split` and `gap_ms`.
#[derive(Debug, PartialEq)]
struct Choice<'a> {
    id: &'a str,
    split: Split,
    gap: Delay,
}

impl<'a> Choice<'a> {
    fn parse(model: &'a str, default: Split) -> Result<Self, String> {
        let rest = model.strip_prefix("rec/").ok_or_else(|| format!("model `{model}` is no `rec/ID`"))?;
        let (id, options) = rest.split_once('/').unwrap_or((rest, ""));
        let mut choice = Self { id, split: default, gap: Delay::NONE };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("split", value)) => choice.split = Split::parse(value)?,
                Some(("gap_ms", value)) => choice.gap = Delay::parse(value)?,
                _ => return Err(format!("unknown option `{option}`; known: split, gap_ms")),
            }
        }
        Ok(choice)
    }
}

/// Streams go out in chunks, one write each; a plain body that is not cut has a length.
fn answer(record: &Record, choice: &Choice<'_>, random: &mut fastrand::Rng) -> Vec<Step> {
    let lines: String = record.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    if !record.stream && choice.split == Split::Whole {
        let head = head(record.status, &format!("{lines}content-length: {}\r\n", record.body.len()));
        return vec![Step::write([head, record.body.clone()].concat())];
    }
    let mut steps = vec![Step::write(head(record.status, &format!("{lines}transfer-encoding: chunked\r\n")))];
    for piece in choice.split.cut(&record.body) {
        steps.push(Step::write(chunk(&piece)));
        if !choice.gap.is_none() {
            steps.push(Step::Wait(choice.gap.sample(random)));
        }
    }
    steps.push(Step::write(b"0\r\n\r\n".to_vec()));
    steps
}

fn summary(record: &Record) -> serde_json::Value {
    json!({
        "id": record.id,
        "dialect": record.dialect,
        "provider": record.provider,
        "endpoint": record.path,
        "status": record.status,
        "stream": record.stream,
        "model": record.model,
        "body_bytes": record.body.len(),
        "request": record.request,
    })
}

fn refuse(status: u16, message: &str) -> Plan {
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "replay_refused"}});
    reply(status, "application/json", error.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
