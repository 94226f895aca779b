//! Flags of the commands about limits.

use clap::{Args, Subcommand};

use super::rule_args::PlaceArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    /// Lists the limits of one place with what is used.
    List {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Makes a limit, or changes the amount of the one with this kind, window and algorithm. It holds on all workers at
    /// once, and what was used stays used.
    Set(LimitSetArgs),
    /// Deletes a limit; it holds nowhere from then on.
    Remove {
        /// Id of the limit: `lim_...`.
        limit: String,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LimitSetArgs {
    /// What it counts. `credits`, at a project only: what it may draw of its organization's credits.
    #[arg(value_name = "KIND", value_parser = ["usd", "credits", "requests", "tokens_input", "tokens_output", "tokens", "audio", "concurrent"])]
    pub(crate) kind: String,
    /// Most in one window: USD such as `12.50` for `usd` and `credits`, a whole number for all else. 0 blocks everything.
    #[arg(value_name = "AMOUNT")]
    pub(crate) amount: String,
    /// Length of a window, such as `1 minute` or `30 days`. None for all time, and for `concurrent`.
    #[arg(long, value_name = "LENGTH")]
    pub(crate) window: Option<String>,
    /// How the window moves: `fixed_window` when there is one, else `total`.
    #[arg(long, value_parser = ["fixed_window", "aligned_fixed_window", "sliding_window", "token_bucket", "calendar", "total"])]
    pub(crate) algorithm: Option<String>,
    /// Counts what it would have refused, and refuses nothing.
    #[arg(long)]
    pub(crate) shadow: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Limits of a new key; each is unlimited when absent.
#[derive(Debug, Args)]
pub(crate) struct KeyLimitArgs {
    /// USD for all time, such as `100` or `12.50`; 0 blocks everything.
    #[arg(long, value_name = "USD")]
    pub(crate) usage_limit: Option<String>,
    /// USD in each period, such as `50/month` or `5/12 hours`; the period begins with the first request.
    #[arg(long, value_name = "USD/PERIOD")]
    pub(crate) period_limit: Option<String>,
    /// Lets the period begin with the hour, day, week or month in UTC.
    #[arg(long, requires = "period_limit")]
    pub(crate) calendar: bool,
    /// Requests a minute.
    #[arg(long, value_name = "COUNT")]
    pub(crate) rpm: Option<u64>,
    /// Tokens of requests and answers a minute.
    #[arg(long, value_name = "COUNT")]
    pub(crate) tpm: Option<u64>,
    /// Requests open at once.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_concurrent: Option<u64>,
}
