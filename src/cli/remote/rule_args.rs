//! Flags of the commands about IAM rules.

use clap::{Args, Subcommand};
use millrace::iam::RuleType;

use super::args::KeyNameArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Lists the rules of one place.
    List {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Makes a rule; it holds on all workers at once.
    Add(RuleAddArgs),
    /// Deletes a rule; it holds nowhere from then on.
    Remove {
        /// Id of the rule: `rul_...`.
        rule: String,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// Where a rule stands: at the organization when nothing is given.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// At a project, by slug or id.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// At a key of the project: `key_...`.
    #[arg(long, requires = "project")]
    pub(crate) key: Option<String>,
    /// At a member, by id or e-mail: for the keys that the member made.
    #[arg(long, conflicts_with = "project")]
    pub(crate) member: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RuleAddArgs {
    /// What it does.
    #[arg(value_name = "TYPE", value_parser = types())]
    pub(crate) kind: String,
    /// Names of models, providers or routes, in which `*` stands for any text; or networks. None for rules about prices.
    #[arg(value_name = "ENTRY")]
    pub(crate) entries: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Whether targets are `free` or `paid`; for rules about prices.
    #[arg(long, value_parser = ["free", "paid"])]
    pub(crate) pricing_type: Option<String>,
    /// USD of a million input tokens; for rules about prices.
    #[arg(long, value_name = "USD")]
    pub(crate) max_input_price: Option<String>,
    /// USD of a million output tokens; for rules about prices.
    #[arg(long, value_name = "USD")]
    pub(crate) max_output_price: Option<String>,
    /// Keeps the rule for later: it is not evaluated.
    #[arg(long)]
    pub(crate) inactive: bool,
}

fn types() -> clap::builder::PossibleValuesParser {
    RuleType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().into()
}

#[derive(Debug, Args)]
pub(crate) struct KeyExplainArgs {
    #[command(flatten)]
    pub(crate) name: KeyNameArgs,
    /// The route, with or without the project.
    #[arg(long)]
    pub(crate) route: String,
    /// The endpoint: `chat`, `completions`, `embeddings` or `responses`.
    #[arg(long, default_value = "chat")]
    pub(crate) endpoint: String,
    /// Address of the client. Without it the address counts as unknown.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client_ip: Option<String>,
}
