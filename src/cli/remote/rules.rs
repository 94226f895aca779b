//! `millrace rule` and `key explain`: rules, what they decide.

use millrace::iam::RuleType;
use serde_json::{Value, json};

use super::client::encoded;
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::people::member;
use super::rule_args::{KeyExplainArgs, PlaceArgs, RuleAddArgs, RuleCommand};
use super::table::Column;

const COLUMNS: &[Column] =
    &[("RULE", "/id"), ("TYPE", "/type"), ("VALUE", "/value"), ("STATUS", "/status"), ("MADE", "/created_at")];
const STEPS: &[Column] = &[
    ("SCOPE", "/scope"),
    ("STEP", "/step"),
    ("RULES", "/rule_ids"),
    ("DECIDED BY", "/decided_by"),
    ("REMOVED", "/removed"),
];

/// Runs a command about rules.
pub(super) fn run(desk: &Desk, command: RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::List { place } => desk.show_rows(&desk.whole(&path(desk, &place)?)?, COLUMNS),
        RuleCommand::Add(args) => add(desk, &args),
        RuleCommand::Remove { rule, place } => {
            desk.delete(&format!("{}/{}", path(desk, &place)?, encoded(&rule)), "")?;
            desk.done(&format!("{rule} is deleted"), &Value::Null)
        }
    }
}

/// Path of the rules of a place.
fn path(desk: &Desk, place: &PlaceArgs) -> Result<String, Failure> {
    let root = match (&place.project, &place.key, &place.member) {
        (Some(project), Some(key), _) => format!("{}/keys/{}", desk.project(project)?, encoded(key)),
        (Some(project), None, _) => desk.project(project)?,
        (None, _, Some(user)) => member(desk, &desk.organization()?, user)?.0,
        (None, _, None) => desk.organization()?,
    };
    Ok(format!("{root}/rules"))
}

fn add(desk: &Desk, args: &RuleAddArgs) -> Result<(), Failure> {
    let status = if args.inactive { "inactive" } else { "active" };
    let body = json!({ "type": args.kind, "value": value(args)?, "status": status });
    let made = desk.post(&path(desk, &args.place)?, &body)?;
    desk.done(&format!("made rule {}", text(&made, "id")), &made)
}

/// The value in the form of the rule's type.
fn value(args: &RuleAddArgs) -> Result<Value, Failure> {
    let prices = object(&[
        ("pricing_type", args.pricing_type.as_deref().map(Value::from)),
        ("max_input_price", args.max_input_price.as_deref().map(Value::from)),
        ("max_output_price", args.max_output_price.as_deref().map(Value::from)),
    ]);
    let (has_prices, has_entries) = (prices != json!({}), !args.entries.is_empty());
    match RuleType::parse(&args.kind).and_then(RuleType::list_field) {
        Some(field) if has_entries && !has_prices => Ok(json!({ field: args.entries })),
        Some(field) => Err(Failure::Usage(format!("a rule `{}` takes {field} and no prices", args.kind))),
        None if has_prices && !has_entries => Ok(prices),
        None => Err(Failure::Usage(format!(
            "a rule `{}` takes `--pricing-type`, `--max-input-price` or `--max-output-price`, and no entries",
            args.kind
        ))),
    }
}

/// `millrace key explain`.
pub(super) fn explain(desk: &Desk, args: &KeyExplainArgs) -> Result<(), Failure> {
    let body = object(&[
        ("route", Some(json!(args.route))),
        ("endpoint", Some(json!(args.endpoint))),
        ("client_ip", args.client_ip.as_deref().map(Value::from)),
    ]);
    let project = desk.project(&args.name.project)?;
    let said = desk.post(&format!("{project}/keys/{}/explain", encoded(&args.name.key)), &body)?;
    if desk.is_json() {
        return desk.show(&said);
    }
    let list = |name: &str| said.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let targets: Vec<String> = list("targets").iter().map(|target| text(target, "target").to_owned()).collect();
    if said.get("allowed") == Some(&json!(true)) {
        desk.print(&format!("allowed, by: {}\n", targets.join(", ")))?;
    } else {
        desk.print("refused\n")?;
    }
    desk.show_rows(&list("steps"), STEPS)
}
