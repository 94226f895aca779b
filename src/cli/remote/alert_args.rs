//! Flags of `millrace alert`.

use clap::{Args, Subcommand};

use super::args::{OwnerArgs, ValueArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Lists alert rules.
    List {
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Makes an alert rule. Without a channel its notices stand in its history only.
    Create(Box<AlertCreateArgs>),
    /// Shows a rule, and what it noticed last.
    Show {
        /// Id of the rule: `alr_...`.
        alert: String,
    },
    /// Deletes a rule with its history.
    Delete {
        /// Id of the rule: `alr_...`.
        alert: String,
    },
    /// Sends one fixed message through the channels of a rule.
    Test {
        /// Id of the rule: `alr_...`.
        alert: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AlertCreateArgs {
    /// What people call it.
    pub(crate) name: String,
    /// What it notices, such as `spend_threshold`, `error_rate` or `upstream_down`.
    #[arg(long)]
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    /// Only this route of the project.
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    pub(crate) route: Option<String>,
    /// Only this key of the project: `key_...`.
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Percentages of a limit, such as `50,80,100`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) percents: Vec<u32>,
    /// From which value on: percent, milliseconds, days, USD or requests, as the event counts.
    #[arg(long)]
    pub(crate) threshold: Option<u64>,
    /// How far back it looks, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) window: Option<u64>,
    /// With fewer requests in the window nothing is decided.
    #[arg(long, value_name = "COUNT")]
    pub(crate) minimum: Option<u64>,
    /// Address that gets a signed `POST`. The key of its signature is asked for, or comes from `--value-file`.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    #[command(flatten)]
    pub(crate) secret: ValueArgs,
    /// Address that gets an e-mail. May be given several times.
    #[arg(long = "email", value_name = "ADDRESS")]
    pub(crate) emails: Vec<String>,
}
