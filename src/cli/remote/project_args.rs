//! Flags of `millrace project`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Lists projects.
    List(ListArgs),
    /// Shows a project.
    Show(NameArgs),
    /// Makes a project.
    Create(CreateArgs),
    /// Changes settings of a project; they are live at once.
    Set(SetArgs),
    /// Puts a project away: its keys get 410, everything is kept.
    Archive(ActArgs),
    /// Brings an archived project back; `rollback` serves it again.
    Restore(ActArgs),
    /// Deletes a project with its keys and its history for good.
    Delete {
        /// Slug or id.
        project: String,
        /// The project's slug, typed again.
        #[arg(long, value_name = "SLUG")]
        confirm: String,
    },
    /// Saves a file as the project's draft.
    Load(LoadArgs),
    /// Checks a file as the gateway would, and stores nothing.
    Validate(FileArgs),
    /// Makes a new project from a file: its first draft.
    Import {
        /// Configuration; `-` is standard input.
        file: PathBuf,
        /// Slug and name. The file's name when absent.
        #[arg(long)]
        name: Option<String>,
    },
    /// Writes the exact text of a version.
    Export {
        /// Slug or id.
        project: String,
        /// Number of the version. What is served when absent, else what is open.
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// New file. Standard output when absent.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Copies an earlier version to a new draft.
    Copy(VersionArgs),
    /// Drops the open draft.
    Discard(NameArgs),
    /// Approves the open draft, if it has no problem.
    Approve(VersionArgs),
    /// Takes an approval back.
    Withdraw(VersionArgs),
    /// Makes an approved version live, without a failed request.
    Serve(ServeArgs),
    /// Takes the project offline.
    Unserve(ActArgs),
    /// Makes an earlier version live again.
    Rollback {
        /// Slug or id.
        project: String,
        /// Number of the version. The one served before when absent.
        #[arg(long, value_name = "NUMBER")]
        to: Option<u32>,
        /// Why, for the history.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Shows what differs between two versions.
    Diff(DiffArgs),
    /// Lists versions, or what was live when.
    History {
        /// Slug or id.
        project: String,
        /// Lists what was live when, instead of versions.
        #[arg(long)]
        generations: bool,
    },
    /// Makes a project be as a file says: shows what differs, and with `--serve` makes it live.
    Apply(ApplyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Slug or id.
    pub(crate) project: String,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only `DEV` (nothing served) or `PROD`.
    #[arg(long, value_parser = ["DEV", "PROD"], ignore_case = true)]
    pub(crate) status: Option<String>,
    /// Archived ones instead.
    #[arg(long)]
    pub(crate) archived: bool,
    /// Only this environment.
    #[arg(long)]
    pub(crate) environment: Option<String>,
    /// Only with this tag, as `KEY` or `KEY=VALUE`.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only with this text in name, slug or description.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) query: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// 1 to 255 characters.
    pub(crate) name: String,
    /// The `project` part of `project/route`. Made from the name when absent.
    #[arg(long)]
    pub(crate) slug: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Slug or id.
    pub(crate) project: String,
    /// New name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Up to 2,000 characters.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// A label such as `production`.
    #[arg(long)]
    pub(crate) environment: Option<String>,
    /// A tag, as `KEY=VALUE`; all tags are replaced. May be given several times.
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// Where provider credentials come from.
    #[arg(long, value_parser = ["hybrid", "api-keys", "credits"])]
    pub(crate) mode: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// Slug or id.
    pub(crate) project: String,
    /// Why, for the history.
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Slug or id.
    pub(crate) project: String,
    /// Configuration; `-` is standard input.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) place: FileArgs,
    /// What changed, for the history.
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Slug or id.
    pub(crate) project: String,
    /// Number of the version. The open one when absent.
    pub(crate) version: Option<u32>,
    /// Why, for the history.
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) version: VersionArgs,
    /// Refuses if the project was served, rolled back or unserved since this generation.
    #[arg(long, value_name = "GENERATION")]
    pub(crate) expected_generation: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Slug or id.
    pub(crate) project: String,
    /// Number of a version, `served` or `open`.
    #[arg(long, value_name = "VERSION", default_value = "served")]
    pub(crate) from: String,
    /// Number of a version, `served` or `open`.
    #[arg(long, value_name = "VERSION", default_value = "open")]
    pub(crate) to: String,
    /// What is compared.
    #[arg(long, value_enum, default_value_t = DiffForm::Semantic)]
    pub(crate) form: DiffForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffForm {
    /// Routes, models, guardrails and limits.
    Semantic,
    /// Lines.
    Text,
}

impl DiffForm {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Semantic => "semantic",
            Self::Text => "text",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Configuration; `-` is standard input, and needs `--project`.
    pub(crate) file: PathBuf,
    /// Slug or id. The file's name when absent.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Approves the draft and makes it live, then waits until every worker shows it.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Makes the project if there is none.
    #[arg(long)]
    pub(crate) create: bool,
    /// Shows what would be done, and does nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replaces a draft that somebody else has open.
    #[arg(long)]
    pub(crate) replace_draft: bool,
    /// What changed, for the history.
    #[arg(long)]
    pub(crate) comment: Option<String>,
}
