//! `millrace alert`: what is noticed, and who is told.

use serde_json::{Value, json};

use super::alert_args::{AlertCommand, AlertCreateArgs};
use super::client::{Call, encoded};
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::input::secret;
use super::table::Column;

const RULES: &[Column] = &[
    ("NAME", "/name"),
    ("EVENT", "/event"),
    ("SCOPE", "/scope"),
    ("TARGET", "/target"),
    ("ENABLED", "/enabled"),
    ("ORPHANED", "/orphaned"),
    ("ID", "/id"),
];
const NOTICES: &[Column] = &[("AT", "/at"), ("STATE", "/state"), ("VALUE", "/value"), ("DETAIL", "/detail")];
/// Notices that `show` prints.
const NOTICES_SHOWN: usize = 20;

/// Runs a command about alert rules.
pub(super) fn run(desk: &Desk, command: AlertCommand) -> Result<(), Failure> {
    let path = |alert: &str| format!("/alerts/{}", encoded(alert));
    match command {
        AlertCommand::List { owner } => {
            let list = format!("{}/alerts", desk.owner(owner.project.as_deref())?);
            desk.show_rows(&desk.all(&list, &[])?, RULES)
        }
        AlertCommand::Create(args) => create(desk, &args),
        AlertCommand::Show { alert } => show(desk, &path(&alert)),
        AlertCommand::Delete { alert } => {
            desk.confirm(&format!("delete {alert} with its history"))?;
            desk.delete(&path(&alert), "")?;
            desk.done(&format!("{alert} is deleted"), &Value::Null)
        }
        AlertCommand::Test { alert } => {
            let test = format!("{}/test", path(&alert));
            desk.client.send(Call::post(&test).json(&json!({})))?;
            desk.done(&format!("a test is on its way; see `millrace alert show {alert}`"), &Value::Null)
        }
    }
}

fn create(desk: &Desk, args: &AlertCreateArgs) -> Result<(), Failure> {
    let list = format!("{}/alerts", desk.owner(args.owner.project.as_deref())?);
    let (scope, target) = match (&args.route, &args.key) {
        (Some(route), _) => (Some("route"), Some(route)),
        (None, Some(key)) => (Some("key"), Some(key)),
        (None, None) => (None, None),
    };
    let mut channels = vec![json!({ "type": "dashboard" })];
    if let Some(url) = &args.webhook {
        let secret = secret(args.secret.value_file.as_deref(), "key of the webhook's signature")?;
        channels.push(json!({ "type": "webhook", "url": url, "secret": secret.reveal() }));
    }
    if !args.emails.is_empty() {
        channels.push(json!({ "type": "email", "to": args.emails }));
    }
    let percents = (!args.percents.is_empty()).then(|| json!(args.percents));
    let condition = object(&[
        ("percents", percents),
        ("threshold", args.threshold.map(Value::from)),
        ("window_seconds", args.window.map(Value::from)),
        ("minimum_requests", args.minimum.map(Value::from)),
    ]);
    let body = object(&[
        ("name", Some(json!(args.name))),
        ("event", Some(json!(args.event))),
        ("scope", scope.map(Value::from)),
        ("target", target.map(|target| json!(target))),
        ("condition", Some(condition)),
        ("channels", Some(json!(channels))),
    ]);
    let made = desk.post(&list, &body)?;
    desk.done(&format!("made alert rule {} ({})", args.name, text(&made, "id")), &made)
}

/// Programs get one object; people get two tables.
fn show(desk: &Desk, path: &str) -> Result<(), Failure> {
    let rule = desk.get(path)?;
    let notices = desk.some(&format!("{path}/history"), &[], NOTICES_SHOWN)?;
    if desk.is_json() {
        return desk.show(&json!({ "alert": rule, "history": notices }));
    }
    desk.show(&rule)?;
    desk.say("\n")?;
    desk.show_rows(&notices, NOTICES)
}
