//! `millrace prices project`: what its requests are billed.

use clap::Args;
use serde_json::Value;

use super::desk::{Desk, text};
use super::failure::Failure;
use super::table::Column;

const PRICES: &[Column] = &[
    ("ROUTE", "/route"),
    ("MODEL", "/model"),
    ("PAID BY", "/paid_by"),
    ("SOURCE", "/source"),
    ("DATE", "/date"),
    ("INPUT", "/tiers/0/input"),
    ("CACHED INPUT", "/tiers/0/cached_input"),
    ("OUTPUT", "/tiers/0/output"),
    ("PER REQUEST", "/per_request"),
    ("PER IMAGE", "/per_image"),
    ("PER SEARCH", "/per_web_search"),
];

#[derive(Debug, Args)]
pub(crate) struct ProjectPricesArgs {
    /// Project, by slug or id.
    project: String,
    /// Only this model, such as `openai/gpt-4o-mini`.
    #[arg(value_name = "PROVIDER/MODEL")]
    model: Option<String>,
}

/// Shows the price of every live target, as the gateway resolves it.
pub(super) fn run(desk: &Desk, args: &ProjectPricesArgs) -> Result<(), Failure> {
    let routes = desk.get(&format!("{}/routes", desk.project(&args.project)?))?;
    let routes = routes.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = routes.iter().flat_map(|route| {
        let targets = ["chat", "embedding"].into_iter().filter_map(|list| route.get(list));
        targets.filter(|target| target.is_object()).flat_map(|target| rows(text(route, "name"), target))
    });
    let rows: Vec<Value> =
        all.filter(|row| args.model.as_ref().is_none_or(|wanted| text(row, "model") == wanted)).collect();
    if let Some(model) = args.model.as_ref().filter(|_| rows.is_empty()) {
        return Err(Failure::Missing(format!("no live route of the project has `{model}`")));
    }
    desk.show_rows(&rows, PRICES)
}

/// A row for each of those who may pay for a target; one without a price where nobody states one.
fn rows(route: &str, target: &Value) -> Vec<Value> {
    let row = |paid_by: &str, price: &Value| {
        let mut row = price.as_object().cloned().unwrap_or_default();
        let model = format!("{}/{}", text(target, "provider"), text(target, "model"));
        for (name, value) in
            [("route", route), ("model", &model), ("target", text(target, "target")), ("paid_by", paid_by)]
        {
            row.insert(name.to_owned(), Value::from(value));
        }
        Value::Object(row)
    };
    let of = |who: &str| target.pointer(&format!("/prices/{who}")).filter(|price| price.is_object());
    let paid = ["own", "platform"].into_iter().filter_map(|who| of(who).map(|price| row(who, price)));
    let paid: Vec<Value> = paid.collect();
    if paid.is_empty() { vec![row("own", &Value::Null)] } else { paid }
}
