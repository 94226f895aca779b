//! Flags and their variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace::config::{DocumentKind, Server};

use super::prices::PricesCommand;
use super::remote::{
    AccountCommand, AlertCommand, AuditCommand, BackupArgs, CreditsCommand, Group, InstanceCommand, Later, Leaf,
    LimitCommand, LoginArgs, LogsCommand, MemberCommand, OrgCommand, ProjectCommand, ProviderKeyCommand,
    RemoteKeyCommand, RuleCommand, SecretCommand, SetupArgs, TokenCommand, UsageArgs,
};

/// An LLM gateway: projects, routes and keys in front of model providers.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about, propagate_version = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the projects of a settings file.
    Serve(ServeArgs),
    /// Serves one project from memory, with a mock provider or one upstream, and prints a request to try.
    Demo(DemoArgs),
    /// Checks documents and reports every problem with file, line and column.
    Check(CheckArgs),
    /// Prints the JSON Schema of a kind of document.
    Schema {
        /// The kind of document.
        #[arg(value_enum, default_value_t = DocumentArg::Project, env = "MILLRACE_SCHEMA")]
        document: DocumentArg,
    },
    /// Shows and checks the prices of models.
    Prices {
        #[command(subcommand)]
        command: PricesCommand,
    },
    /// Makes API keys: `new` for the keys file, the others on a gateway.
    Key(Later<KeyGroup>),
    /// Manages organizations of a gateway.
    Org(Later<Group<OrgCommand>>),
    /// Manages members of an organization.
    Member(Later<Group<MemberCommand>>),
    /// Manages projects, their configurations and what is live.
    Project(Later<Group<ProjectCommand>>),
    /// Manages the gateway's keys for providers.
    ProviderKey(Later<Group<ProviderKeyCommand>>),
    /// Manages limits of organizations, projects, members and keys: money, requests, tokens, what is open at once.
    Limit(Later<Group<LimitCommand>>),
    /// Manages IAM rules: which providers, models and routes keys may use, at what price, from where.
    Rule(Later<Group<RuleCommand>>),
    /// Manages alert rules: what is noticed, and who is told.
    Alert(Later<Group<AlertCommand>>),
    /// Manages secrets that configurations name.
    Secret(Later<Group<SecretCommand>>),
    /// Manages admin tokens.
    Token(Later<Group<TokenCommand>>),
    /// Makes the first operator with the set-up token that the first start printed, and logs in.
    Setup(SetupArgs),
    /// Logs in with a password and saves an admin token.
    Login(LoginArgs),
    /// Manages the own user: password, second factor.
    Account(Later<Group<AccountCommand>>),
    /// Shows how a gateway fares, sets what new organizations begin with, opens private networks. Needs a token of
    /// `millrace login --instance`, or the one that the gateway was started with (`MILLRACE_ADMIN_TOKEN`).
    Instance(Later<Group<InstanceCommand>>),
    /// Shows the credits of an organization; tops up and corrects them.
    Credits(Later<Group<CreditsCommand>>),
    /// Reads and checks the audit log.
    Audit(Later<Group<AuditCommand>>),
    /// Sums up what an organization or a project used.
    Usage(Later<Leaf<UsageArgs>>),
    /// Reads the stored requests of a project.
    Logs(Later<Group<LogsCommand>>),
    /// Copies the store of a gateway on this machine, running or not, into a new file.
    Backup(BackupArgs),
    /// Prints version, commit and features.
    Version {
        /// Prints a JSON object.
        #[arg(long, env = "MILLRACE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
        json: bool,
    },
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

// The commands of keys. No doc comment: clap would show it as their help.
#[derive(Debug, Args)]
pub(crate) struct KeyGroup {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key, prints it once, and prints its entry for the keys file.
    New(KeyArgs),
    #[command(flatten)]
    Remote(Box<RemoteKeyCommand>),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Settings file.
    #[arg(short, long, value_name = "FILE", env = "MILLRACE_CONFIG", default_value = "/etc/millrace/millrace.yaml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Folder for what the process writes.
    #[arg(long, value_name = "FOLDER", env = "MILLRACE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What a flag or variable may say instead of the settings file.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Overrides {
    /// Address of the data plane.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of the admin plane.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_ADMIN_LISTEN")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Number of workers, 1 to 256.
    #[arg(long, value_name = "COUNT", env = "MILLRACE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,
}

impl Overrides {
    /// Puts the values into the settings.
    pub(crate) fn apply(self, server: &mut Server) {
        server.listen = self.listen.unwrap_or(server.listen);
        server.admin_listen = self.admin_listen.unwrap_or(server.admin_listen);
        server.runtime.workers = self.workers.or(server.runtime.workers);
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Key that clients send, 16 to 200 printable ASCII characters. A new one is made and printed when absent.
    #[arg(long, value_name = "KEY", env = "MILLRACE_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Address of a provider with the OpenAI wire, instead of the mock provider.
    #[arg(long, value_name = "URL", env = "MILLRACE_UPSTREAM", requires = "model")]
    pub(crate) upstream: Option<String>,
    /// Model name at the upstream.
    #[arg(long, value_name = "NAME", env = "MILLRACE_MODEL", requires = "upstream")]
    pub(crate) model: Option<String>,
    /// Variable that holds the key for the upstream.
    #[arg(long, value_name = "VARIABLE", env = "MILLRACE_API_KEY_ENV", requires = "upstream")]
    pub(crate) api_key_env: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Documents; `-` is standard input. A settings file is checked with its projects and keys.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Kind of the documents. Told by their keys when absent.
    #[arg(long, value_enum, env = "MILLRACE_KIND")]
    pub(crate) kind: Option<DocumentArg>,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text, env = "MILLRACE_FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Makes an `mr_live_` key, for production, instead of an `mr_test_` key.
    #[arg(long, env = "MILLRACE_LIVE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) live: bool,
    /// Project that the key may call; may be given several times.
    #[arg(long = "project", value_name = "SLUG", env = "MILLRACE_PROJECT", value_delimiter = ',')]
    pub(crate) projects: Vec<String>,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Format::Text, env = "MILLRACE_FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object for programs.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentArg {
    /// Models and routes of a project.
    Project,
    /// Settings of a process.
    Server,
    /// API keys.
    Keys,
}

impl From<DocumentArg> for DocumentKind {
    fn from(arg: DocumentArg) -> Self {
        match arg {
            DocumentArg::Project => Self::Project,
            DocumentArg::Server => Self::Server,
            DocumentArg::Keys => Self::Keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn group_is_described_when_it_is_used_and_keeps_its_help() {
        let mut commands = Cli::command();
        for (name, about, inner) in [
            ("org", "Manages organizations of a gateway", "list"),
            ("project", "Manages projects, their configurations and what is live", "apply"),
            ("key", "Makes API keys: `new` for the keys file, the others on a gateway", "new"),
        ] {
            let group = commands.find_subcommand_mut(name).unwrap();
            assert_eq!(group.get_subcommands().count(), 0, "{name}, before it is used");
            group.build();
            assert_eq!(group.get_about().unwrap().to_string(), about, "{name}");
            assert!(group.find_subcommand(inner).is_some(), "{name} {inner}");
        }
    }
}
