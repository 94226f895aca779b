//! The command line: flags, variables, exit statuses.
//!
//! Exit status 0: done, or valid. 1: refused, or failed. 2: wrong usage. Commands that talk to a gateway add 3, 4 and 5. A value comes from its flag, else from its
//! `MILLRACE_*` variable, else from the settings file, else from the default.

mod args;
mod check;
mod documents;
mod key;
mod launch;
mod prices;
mod print;
mod remote;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use millrace::base::{COMMIT, FEATURES, VERSION};
use millrace::config::{keys_schema, project_schema, server_schema};

use args::{Cli, Command, DocumentArg, KeyCommand, KeyGroup};
use print::{REFUSED, out, report};
use remote::Later;

/// Runs the command of this process.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(args) => launch::serve(args),
        Command::Demo(args) => launch::demo(args),
        Command::Check(args) => check::check(&args),
        Command::Prices { command } => prices::prices(command),
        Command::Schema { document } => schema(document),
        Command::Key(Later(KeyGroup { command: KeyCommand::New(args) })) => key::new(&args),
        Command::Key(Later(KeyGroup { command: KeyCommand::Remote(command) })) => Ok(remote::keys(*command)),
        Command::Org(Later(group)) => Ok(remote::organizations(group)),
        Command::Member(Later(group)) => Ok(remote::members(group)),
        Command::Project(Later(group)) => Ok(remote::projects(group)),
        Command::ProviderKey(Later(group)) => Ok(remote::provider_keys(group)),
        Command::Limit(Later(group)) => Ok(remote::limits(group)),
        Command::Rule(Later(group)) => Ok(remote::rules(group)),
        Command::Alert(Later(group)) => Ok(remote::alerts(group)),
        Command::Secret(Later(group)) => Ok(remote::secrets(group)),
        Command::Token(Later(group)) => Ok(remote::tokens(group)),
        Command::Setup(args) => Ok(remote::set_up(&args)),
        Command::Login(args) => Ok(remote::login(&args)),
        Command::Account(Later(group)) => Ok(remote::account(group)),
        Command::Instance(Later(group)) => Ok(remote::instance(group)),
        Command::Credits(Later(group)) => Ok(remote::credits(group)),
        Command::Audit(Later(group)) => Ok(remote::audit(group)),
        Command::Usage(Later(leaf)) => Ok(remote::usage(&leaf)),
        Command::Logs(Later(group)) => Ok(remote::logs(group)),
        Command::Backup(args) => Ok(remote::backup(&args)),
        Command::Version { json } => version(json),
        Command::Completions { shell } => completions(shell),
    };
    done.unwrap_or_else(|error| {
        report(&error);
        ExitCode::from(REFUSED)
    })
}

fn schema(document: DocumentArg) -> anyhow::Result<ExitCode> {
    let schema = match document {
        DocumentArg::Project => project_schema(),
        DocumentArg::Server => server_schema(),
        DocumentArg::Keys => keys_schema(),
    };
    out(&format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

fn version(json: bool) -> anyhow::Result<ExitCode> {
    if !json {
        return out(&format!("millrace {VERSION} ({COMMIT})\n"));
    }
    let shown = serde_json::json!({ "version": VERSION, "commit": COMMIT, "features": FEATURES });
    out(&format!("{shown}\n"))
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut script);
    out(&String::from_utf8_lossy(&script))
}
