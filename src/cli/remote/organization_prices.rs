//! `millrace prices organization`: what an organization pays.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Call;
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::table::Column;

const PRICES: &[Column] = &[
    ("MODEL", "/model"),
    ("INPUT", "/input"),
    ("OUTPUT", "/output"),
    ("CACHED INPUT", "/cached_input"),
    ("PER REQUEST", "/per_request"),
    ("PER IMAGE", "/per_image"),
    ("PER SEARCH", "/per_web_search"),
    ("PER AUDIO MINUTE", "/per_audio_minute"),
    ("SOURCE", "/source"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationPricesCommand {
    /// Lists the prices of the organization, USD per million tokens.
    List,
    /// Sets what a model costs the organization with its own credentials. It holds at once.
    Set(Box<SetPriceArgs>),
    /// Removes a price: that of the tables holds again.
    Remove {
        /// As it was set: `openai/gpt-4o`, or `openai/gpt-4o*`.
        model: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetPriceArgs {
    /// Provider and model, such as `openai/gpt-4o`; the name may end in `*`.
    model: String,
    /// USD per million tokens of prompts; 0 is free.
    #[arg(long, value_name = "USD")]
    input: String,
    /// USD per million tokens of answers.
    #[arg(long, value_name = "USD")]
    output: String,
    /// USD per million tokens read from the provider's cache; as `--input` when absent.
    #[arg(long, value_name = "USD")]
    cached_input: Option<String>,
    /// USD per million tokens written to the cache for five minutes; as `--input` when absent.
    #[arg(long, value_name = "USD")]
    cache_write_5m: Option<String>,
    /// USD per million tokens written to the cache for an hour; as `--input` when absent.
    #[arg(long, value_name = "USD")]
    cache_write_1h: Option<String>,
    /// USD per million tokens of pictures in prompts; as `--input` when absent.
    #[arg(long, value_name = "USD")]
    image_input: Option<String>,
    /// USD per million tokens of pictures in answers; as `--output` when absent.
    #[arg(long, value_name = "USD")]
    image_output: Option<String>,
    /// USD for each request beside its tokens.
    #[arg(long, value_name = "USD")]
    per_request: Option<String>,
    /// USD for each picture in an answer beside its tokens.
    #[arg(long, value_name = "USD")]
    per_image: Option<String>,
    /// USD for each search that the provider makes.
    #[arg(long, value_name = "USD")]
    per_web_search: Option<String>,
    /// USD for each minute of audio beside its tokens.
    #[arg(long, value_name = "USD")]
    per_audio_minute: Option<String>,
}

/// Runs a command about the prices of an organization.
pub(super) fn run(desk: &Desk, command: OrganizationPricesCommand) -> Result<(), Failure> {
    let path = format!("{}/prices", desk.organization()?);
    let (prices, etag) = present(desk, &path)?;
    match command {
        OrganizationPricesCommand::List => desk.show_rows(&prices, PRICES),
        OrganizationPricesCommand::Set(args) => {
            let mut after: Vec<Value> = prices.iter().filter(|row| text(row, "model") != args.model).cloned().collect();
            after.push(object(&[
                ("model", Some(json!(args.model))),
                ("input", Some(json!(args.input))),
                ("output", Some(json!(args.output))),
                ("cached_input", args.cached_input.map(Value::from)),
                ("cache_write_5m", args.cache_write_5m.map(Value::from)),
                ("cache_write_1h", args.cache_write_1h.map(Value::from)),
                ("image_input", args.image_input.map(Value::from)),
                ("image_output", args.image_output.map(Value::from)),
                ("per_request", args.per_request.map(Value::from)),
                ("per_image", args.per_image.map(Value::from)),
                ("per_web_search", args.per_web_search.map(Value::from)),
                ("per_audio_minute", args.per_audio_minute.map(Value::from)),
            ]));
            let answer = put(desk, &path, (after, etag))?;
            desk.done(&format!("`{}` has a price of the organization", args.model), &answer)
        }
        OrganizationPricesCommand::Remove { model } => {
            let after: Vec<Value> = prices.iter().filter(|row| text(row, "model") != model).cloned().collect();
            if after.len() == prices.len() {
                return Err(Failure::Missing(format!("the organization has no price for `{model}`")));
            }
            let answer = put(desk, &path, (after, etag))?;
            desk.done(&format!("`{model}` has no price of the organization any more"), &answer)
        }
    }
}

fn present(desk: &Desk, path: &str) -> Result<(Vec<Value>, Option<String>), Failure> {
    let seen = desk.client.send(Call::get(path))?;
    let etag = seen.etag.clone();
    match seen.json()?.get_mut("prices").map(Value::take) {
        Some(Value::Array(rows)) => Ok((rows, etag)),
        _ => Ok((Vec::new(), etag)),
    }
}

fn put(desk: &Desk, path: &str, (mut prices, etag): (Vec<Value>, Option<String>)) -> Result<Value, Failure> {
    for row in prices.iter_mut().filter_map(Value::as_object_mut) {
        // Where it comes from is for the gateway to say.
        row.remove("source");
        row.retain(|_, value| !value.is_null());
        for amount in row.iter_mut().filter(|(name, _)| *name != "model" && !name.starts_with("per_")) {
            if let Some(short) = amount.1.as_str().map(shortened) {
                *amount.1 = short.into();
            }
        }
    }
    desk.client.send(Call::put(path).json(&json!({ "prices": prices })).if_match(etag.as_deref()))?.json()
}

/// An amount without zeros at its end: answers have 9 decimals, prices of tokens take 6.
fn shortened(amount: &str) -> String {
    if !amount.contains('.') {
        return amount.to_owned();
    }
    amount.trim_end_matches('0').trim_end_matches('.').to_owned()
}
