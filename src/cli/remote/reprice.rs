//! `millrace prices reprice`: past usage at other prices.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::Call;
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::table::Column;

const MODELS: &[Column] = &[
    ("PROVIDER", "/provider"),
    ("MODEL", "/model"),
    ("REQUESTS", "/figures/requests"),
    ("BY ROWS", "/figures/by_rows"),
    ("BY SUMS", "/figures/by_sums"),
    ("NEWLY PRICED", "/figures/newly_priced"),
    ("NO PRICE", "/figures/without_price"),
    ("INEXACT", "/figures/inexact"),
    ("OLD USD", "/figures/old_cost"),
    ("NEW USD", "/figures/new_cost"),
    ("DIFFERENCE", "/figures/difference"),
];

const RUNS: &[Column] = &[
    ("RUN", "/id"),
    ("AT", "/at"),
    ("STATE", "/state"),
    ("CREDENTIAL", "/credential"),
    ("REQUESTS", "/total/requests"),
    ("DIFFERENCE", "/total/difference"),
    ("COMMENT", "/comment"),
];

/// Which prices hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PricesArg {
    /// As a request is priced now.
    Served,
    /// Those of the organization and of the tables, whatever the configuration states.
    Tables,
}

/// Whose credential served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CredentialArg {
    /// One of the project or its organization.
    Own,
    /// One of the platform: paid from credits; for instance administrators.
    Platform,
}

#[derive(Debug, Args)]
pub(crate) struct RepriceArgs {
    /// Project, by slug or id.
    project: String,
    /// Requests that ended from then on, such as `2026-11-01T00:00:00Z`.
    #[arg(long, value_name = "TIME", required_unless_present = "list")]
    from: Option<String>,
    /// Until before when; not in the future.
    #[arg(long, value_name = "TIME", required_unless_present = "list")]
    to: Option<String>,
    /// By which prices; `served` when absent.
    #[arg(long, value_enum, conflicts_with = "version")]
    prices: Option<PricesArg>,
    /// By what this version of the configuration states, the rest as now.
    #[arg(long)]
    version: Option<u32>,
    /// Requests of which credentials; `own` when absent.
    #[arg(long, value_enum)]
    credential: Option<CredentialArg>,
    /// Only this route.
    #[arg(long)]
    route: Option<String>,
    /// Only this provider, such as `openai`.
    #[arg(long)]
    provider: Option<String>,
    /// Only this model, as its provider names it.
    #[arg(long)]
    model: Option<String>,
    /// Why; stands in the ledger.
    #[arg(long, default_value = "")]
    comment: String,
    /// Carries it out. Without it only the figures are shown and nothing is changed.
    #[arg(long)]
    apply: bool,
    /// Names the run: given twice, it is carried out once. Drawn when absent.
    #[arg(long, requires = "apply")]
    key: Option<String>,
    /// Lists the runs so far instead.
    #[arg(long, conflicts_with_all = ["from", "to", "apply"])]
    list: bool,
}

/// Prices past usage again, or shows what would change.
pub(super) fn run(desk: &Desk, args: &RepriceArgs) -> Result<(), Failure> {
    let path = format!("{}/usage/reprice", desk.project(&args.project)?);
    if args.list {
        return desk.show_rows(&desk.all(&path, &[])?, RUNS);
    }
    if args.apply {
        desk.confirm("this changes what past usage has cost")?;
    }
    let word = |word: &str| Value::from(word);
    let body = object(&[
        ("from", args.from.clone().map(Value::from)),
        ("to", args.to.clone().map(Value::from)),
        ("prices", args.prices.map(|prices| word(if prices == PricesArg::Served { "served" } else { "tables" }))),
        ("version", args.version.map(Value::from)),
        ("credential", args.credential.map(|of| word(if of == CredentialArg::Own { "own" } else { "platform" }))),
        ("route", args.route.clone().map(Value::from)),
        ("provider", args.provider.clone().map(Value::from)),
        ("model", args.model.clone().map(Value::from)),
        ("comment", Some(json!(args.comment))),
        ("dry_run", Some(json!(!args.apply))),
    ]);
    let answer = match &args.key {
        Some(key) => desk.client.send(Call::ask(&path).json(&body).header("idempotency-key", key.as_str()))?.json()?,
        None => desk.post(&path, &body)?,
    };
    if desk.is_json() {
        return desk.show(&answer);
    }
    let models = answer.get("models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    desk.show_rows(models, MODELS)?;
    let difference = answer.pointer("/total/difference").and_then(Value::as_str).unwrap_or_default();
    let said = match text(&answer, "id") {
        "" => format!("nothing was changed; `--apply` makes it {difference} USD\n"),
        id => format!("{id}: {difference} USD\n"),
    };
    desk.say(&said)
}
