//! Flags of the commands about usage and logs.

use clap::{Args, Subcommand, ValueEnum};

use super::args::OwnerArgs;

/// Length of the buckets of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GranularityArg {
    /// Up to 7 days back.
    Minute,
    /// Up to 90 days back.
    Hour,
    /// Days of the zone.
    Day,
    /// Months of the zone.
    Month,
}

impl GranularityArg {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// `millrace usage`.
#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    /// Only of this key, by id.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// From when on, such as `2026-11-01T00:00:00Z`; a day ago when absent.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Until before when; now when absent.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Length of the rows' time.
    #[arg(long, value_enum, default_value_t = GranularityArg::Day)]
    pub(crate) every: GranularityArg,
    /// `UTC`, an offset such as `+02:00`, or a name such as `Europe/Berlin`.
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,
    /// What rows are broken down by, with commas between: `route`, `model`, `key`, `status`, ...
    #[arg(long, value_name = "NAMES")]
    pub(crate) by: Option<String>,
}

/// `millrace logs`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// Lists stored requests of a project, newest first.
    List(LogsListArgs),
    /// Follows requests of a project as they end, stored or not.
    Tail(LogsTailArgs),
    /// Shows one stored request.
    Show {
        /// Project, by slug or id.
        project: String,
        /// Id of the request, from `x-request-id`.
        request_id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LogsListArgs {
    /// Project, by slug or id.
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// From then on.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Before.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Requests at most.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LogsTailArgs {
    /// Project, by slug or id.
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Ends after so many requests.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
}

/// Which requests are shown.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only of this key, by id.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only this route.
    #[arg(long)]
    pub(crate) route: Option<String>,
    /// Only this model.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Only this status, such as `429`, or class, such as `5xx`.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only with this tag, as `name` or `name=value`.
    #[arg(long)]
    pub(crate) tag: Option<String>,
}

impl FilterArgs {
    pub(super) fn pairs(&self) -> Vec<(&str, Option<&str>)> {
        vec![
            ("key", self.key.as_deref()),
            ("route", self.route.as_deref()),
            ("model", self.model.as_deref()),
            ("status", self.status.as_deref()),
            ("tag", self.tag.as_deref()),
        ]
    }
}
