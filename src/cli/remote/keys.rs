//! `millrace key`: API keys of a project on a gateway.

use serde_json::{Value, json};

use super::args::{KeyCreateArgs, KeyListArgs, KeyNameArgs, KeyRollArgs, KeyStateArgs, RemoteKeyCommand};
use super::client::encoded;
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::people::{from_now, shown_once};
use super::rules::explain;
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("KEY", "/masked"),
    ("DESCRIPTION", "/description"),
    ("STATUS", "/status"),
    ("GROUP", "/group"),
    ("EXPIRES", "/expires_at"),
    ("LAST USED", "/last_used_at"),
    ("ID", "/id"),
];

/// Runs a command about keys.
pub(super) fn run(command: RemoteKeyCommand) -> Result<(), (Failure, bool)> {
    let with = |json: bool| move |failure| (failure, json);
    match command {
        RemoteKeyCommand::Create(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| create(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
        RemoteKeyCommand::List(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| list(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
        RemoteKeyCommand::Show(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| show(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
        RemoteKeyCommand::Roll(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| roll(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
        RemoteKeyCommand::Disable(leaf) => Desk::open(&leaf.reach)
            .and_then(|desk| act(&desk, &leaf.args, "disable", "is refused from now on"))
            .map_err(with(leaf.reach.json)),
        RemoteKeyCommand::Enable(leaf) => Desk::open(&leaf.reach)
            .and_then(|desk| act(&desk, &leaf.args, "enable", "works again"))
            .map_err(with(leaf.reach.json)),
        RemoteKeyCommand::Delete(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| delete(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
        RemoteKeyCommand::Explain(leaf) => {
            Desk::open(&leaf.reach).and_then(|desk| explain(&desk, &leaf.args)).map_err(with(leaf.reach.json))
        }
    }
}

fn create(desk: &Desk, args: &KeyCreateArgs) -> Result<(), Failure> {
    let expires = args.expires.as_deref().map(from_now).transpose()?;
    let body = object(&[
        ("description", Some(json!(args.description))),
        ("expires_at", expires.map(Value::from)),
        ("group", args.group.as_deref().map(Value::from)),
    ]);
    let made = desk.post(&format!("{}/keys", desk.project(&args.project)?), &body)?;
    desk.done(&shown_once(text(&made, "key"), "key"), &made)
}

fn list(desk: &Desk, args: &KeyListArgs) -> Result<(), Failure> {
    let filters =
        [("filter", args.mine.then_some("mine")), ("status", args.status.as_deref()), ("group", args.group.as_deref())];
    let rows = desk.all(&format!("{}/keys", desk.project(&args.project)?), &filters)?;
    desk.show_rows(&rows, COLUMNS)
}

fn path(desk: &Desk, args: &KeyNameArgs) -> Result<String, Failure> {
    Ok(format!("{}/keys/{}", desk.project(&args.project)?, encoded(&args.key)))
}

fn show(desk: &Desk, args: &KeyNameArgs) -> Result<(), Failure> {
    desk.show(&desk.get(&path(desk, args)?)?)
}

fn roll(desk: &Desk, args: &KeyRollArgs) -> Result<(), Failure> {
    let overlap = args.overlap.as_deref().map(|text| {
        let length = millrace::base::parse_duration(text);
        length.map(|length| length.as_secs()).map_err(|error| Failure::Usage(format!("--overlap {text}: {error}")))
    });
    let body = object(&[("overlap_seconds", overlap.transpose()?.map(Value::from))]);
    let answer = desk.post(&format!("{}/roll", path(desk, &args.name)?), &body)?;
    desk.done(&shown_once(text(&answer, "key"), "key"), &answer)
}

fn act(desk: &Desk, args: &KeyStateArgs, verb: &str, said: &str) -> Result<(), Failure> {
    let body = object(&[("comment", args.comment.as_deref().map(Value::from))]);
    let answer = desk.post(&format!("{}/{verb}", path(desk, &args.name)?), &body)?;
    desk.done(&format!("{} {said}", args.name.key), &answer)
}

fn delete(desk: &Desk, args: &KeyNameArgs) -> Result<(), Failure> {
    desk.confirm(&format!("delete {}, which stops it at once", args.key))?;
    desk.delete(&path(desk, args)?, "")?;
    desk.done(&format!("{} is deleted", args.key), &Value::Null)
}
