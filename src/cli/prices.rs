//! `millrace prices`: what models cost, from which source.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use millrace::base::NanoUsd;
use millrace::config::find_provider;
use millrace::control::{PriceFile, read_price_table};
use millrace::snapshot::Refusal;
use millrace::usage::{Catalogue, ListedModel, PriceClass, PriceTable};
use serde_json::{Value, json};

use super::documents::{read, settings};
use super::print::{REFUSED, out, report_problems};
use super::remote::{self, Group, Later, Leaf, OrganizationPricesCommand, ProjectPricesArgs, RepriceArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Shows what a model costs where no configuration says otherwise; without a model, the tables.
    Show(ShowArgs),
    /// Lists and changes the prices of an organization on a gateway.
    Organization(Later<Group<OrganizationPricesCommand>>),
    /// Shows what the live models of a project cost, as the gateway bills them.
    Project(Later<Leaf<ProjectPricesArgs>>),
    /// Prices past usage of a project again on a gateway; shows what would change unless `--apply` is given.
    Reprice(Later<Leaf<RepriceArgs>>),
    /// Checks a price table and puts it where `prices_file` of the settings says.
    Update(UpdateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Provider and model, such as `openai/gpt-4o-mini`.
    #[arg(value_name = "PROVIDER/MODEL")]
    model: Option<String>,
    /// Settings file whose `prices_file` counts too.
    #[arg(short, long, value_name = "FILE", env = "MILLRACE_CONFIG")]
    config: Option<PathBuf>,
    /// Prints a JSON object.
    #[arg(long, env = "MILLRACE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The new table. Without it, `--check` checks the one in use.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    from: Option<PathBuf>,
    /// Checks and compares only; changes nothing.
    #[arg(long)]
    check: bool,
    /// Settings file that names `prices_file`.
    #[arg(short, long, value_name = "FILE", env = "MILLRACE_CONFIG", default_value = "/etc/millrace/millrace.yaml")]
    config: PathBuf,
}

/// Runs a command.
pub(crate) fn prices(command: PricesCommand) -> anyhow::Result<ExitCode> {
    match command {
        PricesCommand::Show(args) => show(&args),
        PricesCommand::Organization(Later(group)) => Ok(remote::organization_prices(group)),
        PricesCommand::Project(Later(leaf)) => Ok(remote::project_prices(&leaf)),
        PricesCommand::Reprice(Later(leaf)) => Ok(remote::reprice(&leaf)),
        PricesCommand::Update(args) => update(&args),
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let catalogue = match &args.config {
        Some(config) => price_file(config).and_then(|file| file.load()),
        None => Ok(Catalogue::default()),
    };
    let catalogue = match catalogue {
        Ok(catalogue) => catalogue,
        Err(refusals) => return Ok(refuse(&refusals)),
    };
    let Some(full_name) = &args.model else {
        return show_tables(&catalogue, args.json);
    };
    let Some((provider, model)) = full_name.split_once('/') else {
        bail!("`{full_name}`: the form is `PROVIDER/MODEL`, such as `openai/gpt-4o-mini`");
    };
    let provider = find_provider(provider).map_or(provider, |known| known.name());
    let Some(listed) = catalogue.lookup(provider, model) else {
        bail!(
            "`{provider}/{model}` is in no table; add it to `prices` of the project, or write its costs at the model"
        );
    };
    if args.json {
        return out(&format!("{}\n", as_json(provider, model, &listed)));
    }
    out(&as_text(provider, model, &listed))
}

fn show_tables(catalogue: &Catalogue, as_json: bool) -> anyhow::Result<ExitCode> {
    let tables: Vec<(&str, &PriceTable)> = catalogue
        .file()
        .map(|table| ("prices_file", &**table))
        .into_iter()
        .chain(Catalogue::built_in().map(|table| ("catalogue", table)))
        .collect();
    if as_json {
        let shown = tables.iter().map(|(name, table)| {
            let head = table.head();
            json!({ "name": name, "source": head.source, "date": head.date, "as_of": head.as_of, "rows": table.rows().count() })
        });
        return out(&format!("{}\n", json!({ "tables": shown.collect::<Vec<_>>() })));
    }
    let mut text = String::new();
    for (name, table) in tables {
        let head = table.head();
        let as_of = head.as_of.as_ref().map(|day| format!(", prices of {day}")).unwrap_or_default();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name}: {} of {}{as_of}, {} rows", head.source, head.date, table.rows().count());
    }
    out(&text)
}

/// The prices of one tier, by class.
fn rates(listed: &ListedModel, input_tokens: u64) -> impl Iterator<Item = (&'static str, String)> {
    PriceClass::ALL.into_iter().map(move |class| {
        let per_million = NanoUsd::from_pico_up(listed.price.rate(class, input_tokens).times(1_000_000));
        (long_name(class), decimal(per_million))
    })
}

fn long_name(class: PriceClass) -> &'static str {
    match class {
        PriceClass::Input => "input",
        PriceClass::Output => "output",
        PriceClass::CacheRead => "cached_input",
        PriceClass::CacheWrite => "cache_write_5m",
        PriceClass::CacheWrite1h => "cache_write_1h",
        PriceClass::AudioInput => "audio_input",
        PriceClass::AudioOutput => "audio_output",
        PriceClass::Reasoning => "reasoning",
        PriceClass::ImageInput => "image_input",
        PriceClass::ImageOutput => "image_output",
    }
}

/// USD without zeros at the end.
fn decimal(amount: NanoUsd) -> String {
    let text = amount.to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The sizes of prompts from which tiers hold: none for the base.
fn tiers(listed: &ListedModel) -> Vec<(Option<u64>, u64)> {
    let tiers = listed.price.thresholds().map(|over| (Some(over), over.saturating_add(1)));
    std::iter::once((None, 0)).chain(tiers).collect()
}

fn as_json(provider: &str, model: &str, listed: &ListedModel) -> Value {
    let tiers = tiers(listed).into_iter().map(|(over, size)| {
        let mut shown = json!({ "over_input_tokens": over });
        if let Value::Object(shown) = &mut shown {
            shown.extend(rates(listed, size).map(|(name, price)| (name.to_owned(), price.into())));
        }
        shown
    });
    json!({
        "model": format!("{provider}/{model}"),
        "source": listed.price.source().as_str(),
        "date": listed.price.date(),
        "unit": "USD per million tokens",
        "prices": tiers.collect::<Vec<_>>(),
        "per_request": decimal(listed.price.per_request()),
        "per_image": decimal(listed.price.per_image()),
        "per_web_search": decimal(listed.price.per_search()),
        "per_audio_minute": decimal(listed.price.per_audio_minute()),
        "context_window": listed.context_window,
        "max_output_tokens": listed.output_max,
    })
}

fn as_text(provider: &str, model: &str, listed: &ListedModel) -> String {
    let price = &listed.price;
    let date = price.date().unwrap_or("no date");
    let mut text = format!("{provider}/{model}: {} of {date}, USD per million tokens\n", price.source().as_str());
    for (over, size) in tiers(listed) {
        if let Some(over) = over {
            let _ = writeln!(text, "prompts of more than {over} tokens:");
        }
        for (name, price) in rates(listed, size) {
            let _ = writeln!(text, "  {name:<15} {price}");
        }
    }
    let fees = [("request", price.per_request()), ("image", price.per_image()), ("web search", price.per_search())];
    for (of, fee) in fees.into_iter().filter(|(_, fee)| *fee != NanoUsd::ZERO) {
        let _ = writeln!(text, "each {of}: {} USD", decimal(fee));
    }
    if price.per_audio_minute() != NanoUsd::ZERO {
        let _ = writeln!(text, "each minute of audio: {} USD", decimal(price.per_audio_minute()));
    }
    if let Some(tokens) = listed.context_window {
        let _ = writeln!(text, "context window: {tokens} tokens");
    }
    if let Some(tokens) = listed.output_max {
        let _ = writeln!(text, "longest answer: {tokens} tokens");
    }
    text
}

fn update(args: &UpdateArgs) -> anyhow::Result<ExitCode> {
    let file = price_file(&args.config);
    let placed = file.as_ref().ok().and_then(|file| file.path());
    let Some(from) = args.from.as_deref().or(placed) else {
        if let Err(refusals) = &file {
            return Ok(refuse(refusals));
        }
        bail!("{}: there is no `prices_file` to check", args.config.display());
    };
    let table = match read_price_table(from) {
        Ok(table) => table,
        Err(refusals) => return Ok(refuse(&refusals)),
    };
    let head = table.head();
    let mut text = format!("{}: {} of {}, {} rows\n", from.display(), head.source, head.date, table.rows().count());
    let present = Catalogue::new(placed.and_then(|path| read_price_table(path).ok()).map(Into::into));
    text += &differences(&table, &present);
    if args.check {
        return out(&text);
    }
    let Some(place) = placed else {
        if let Err(refusals) = &file {
            return Ok(refuse(refusals));
        }
        bail!("{}: set `prices_file`, then the table is copied there", args.config.display());
    };
    replace(from, place).with_context(|| format!("{} cannot be written", place.display()))?;
    out(&format!("{text}written to {}; a running gateway reads it at the next SIGHUP\n", place.display()))
}

/// Says which names would cost something else than now. Names with wildcards stand for themselves.
fn differences(table: &PriceTable, present: &Catalogue) -> String {
    let (mut text, mut same) = (String::new(), 0_usize);
    for (provider, names, row) in table.rows() {
        for name in names {
            let rate = |price: &millrace::usage::Price| {
                [PriceClass::Input, PriceClass::Output]
                    .map(|class| decimal(NanoUsd::from_pico_up(price.rate(class, 0).times(1_000_000))))
                    .join(" and ")
            };
            let new = rate(&row.price);
            match present.find(provider, name).map(|price| rate(&price)) {
                Some(old) if old == new => same += 1,
                Some(old) => _ = writeln!(text, "  {provider}/{name}: {old} -> {new}"),
                None => _ = writeln!(text, "  {provider}/{name}: {new} (new)"),
            }
        }
    }
    let _ = writeln!(text, "{same} names cost what they cost now");
    text
}

/// Puts a copy in place in one step, so that a gateway that reads meanwhile sees the old table or the new one.
fn replace(from: &Path, place: &Path) -> std::io::Result<()> {
    let beside = place.with_extension("new");
    fs::copy(from, &beside)?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, place)
}

fn price_file(config: &Path) -> Result<PriceFile, Vec<Refusal>> {
    let text = read(config).map_err(|refusal| vec![refusal])?;
    Ok(PriceFile::new(&settings(&text, config)?.server))
}

fn refuse(refusals: &[Refusal]) -> ExitCode {
    report_problems(refusals);
    ExitCode::from(REFUSED)
}
