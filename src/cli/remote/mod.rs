//! Commands that talk to a gateway through its admin API.
//!
//! Exit statuses: 0 done, 1 refused, 2 wrong usage, 3 not reachable, 4 not logged in or not permitted, 5 conflict. Tables
//! are for people, `--json` is for programs: then the answer of the API is printed as it is.

mod account;
mod alert_args;
mod alerts;
mod apply;
mod args;
mod audit;
mod backup;
mod client;
mod credits;
mod desk;
mod diff;
mod failure;
mod input;
mod instance;
mod keys;
mod later;
mod limit_args;
mod limits;
mod login;
mod organization_prices;
mod people;
mod project;
mod project_args;
mod project_prices;
mod reprice;
mod rule_args;
mod rules;
mod secrets;
mod table;
mod tail;
mod usage;
mod usage_args;
mod version;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use alert_args::AlertCommand;
pub(crate) use args::{
    AccountCommand, AuditCommand, BackupArgs, Group, InstanceCommand, Leaf, LoginArgs, MemberCommand, OrgCommand,
    ProviderKeyCommand, RemoteKeyCommand, SecretCommand, SetupArgs, TokenCommand,
};
pub(crate) use credits::CreditsCommand;
use desk::Desk;
use failure::Failure;
pub(crate) use later::Later;
pub(crate) use limit_args::LimitCommand;
pub(crate) use organization_prices::OrganizationPricesCommand;
pub(crate) use project_args::ProjectCommand;
pub(crate) use project_prices::ProjectPricesArgs;
pub(crate) use reprice::RepriceArgs;
pub(crate) use rule_args::RuleCommand;
pub(crate) use usage_args::{LogsCommand, UsageArgs};

/// Runs a command of a group.
pub(crate) fn organizations(group: Group<OrgCommand>) -> ExitCode {
    grouped(group, people::organizations)
}

/// Runs a command of a group.
pub(crate) fn members(group: Group<MemberCommand>) -> ExitCode {
    grouped(group, people::members)
}

/// Runs a command of a group.
pub(crate) fn tokens(group: Group<TokenCommand>) -> ExitCode {
    grouped(group, people::tokens)
}

/// Runs a command of a group.
pub(crate) fn projects(group: Group<ProjectCommand>) -> ExitCode {
    grouped(group, project::run)
}

/// Runs a command of a group.
pub(crate) fn alerts(group: Group<AlertCommand>) -> ExitCode {
    grouped(group, alerts::run)
}

/// Runs a command of a group.
pub(crate) fn secrets(group: Group<SecretCommand>) -> ExitCode {
    grouped(group, secrets::secrets)
}

/// Runs a command of a group.
pub(crate) fn provider_keys(group: Group<ProviderKeyCommand>) -> ExitCode {
    grouped(group, secrets::provider_keys)
}

/// Runs a command of a group.
pub(crate) fn instance(group: Group<InstanceCommand>) -> ExitCode {
    grouped(group, instance::run)
}

/// `millrace limit`.
pub(crate) fn limits(group: Group<LimitCommand>) -> ExitCode {
    grouped(group, limits::run)
}

/// `millrace rule`.
pub(crate) fn rules(group: Group<RuleCommand>) -> ExitCode {
    grouped(group, rules::run)
}

/// Runs a command of a group.
pub(crate) fn credits(group: Group<CreditsCommand>) -> ExitCode {
    grouped(group, credits::run)
}

/// `millrace prices organization`.
pub(crate) fn organization_prices(group: Group<OrganizationPricesCommand>) -> ExitCode {
    grouped(group, organization_prices::run)
}

/// Runs a command of a group.
pub(crate) fn audit(group: Group<AuditCommand>) -> ExitCode {
    grouped(group, |desk, command| audit::run(desk, &command))
}

/// Runs a command of a group.
pub(crate) fn logs(group: Group<LogsCommand>) -> ExitCode {
    grouped(group, |desk, command| usage::logs(desk, &command))
}

/// `millrace usage`.
pub(crate) fn usage(leaf: &Leaf<UsageArgs>) -> ExitCode {
    ended(Desk::open(&leaf.reach).and_then(|desk| usage::usage(&desk, &leaf.args)), leaf.reach.json)
}

/// `millrace prices project`.
pub(crate) fn project_prices(leaf: &Leaf<ProjectPricesArgs>) -> ExitCode {
    ended(Desk::open(&leaf.reach).and_then(|desk| project_prices::run(&desk, &leaf.args)), leaf.reach.json)
}

/// `millrace prices reprice`.
pub(crate) fn reprice(leaf: &Leaf<RepriceArgs>) -> ExitCode {
    ended(Desk::open(&leaf.reach).and_then(|desk| reprice::run(&desk, &leaf.args)), leaf.reach.json)
}

/// Runs a command about the keys of a gateway.
pub(crate) fn keys(command: RemoteKeyCommand) -> ExitCode {
    match keys::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, json)) => ended(Err(failure), json),
    }
}

/// `millrace login`.
pub(crate) fn login(args: &LoginArgs) -> ExitCode {
    ended(login::run(args), args.reach.json)
}

/// `millrace setup`.
pub(crate) fn set_up(args: &SetupArgs) -> ExitCode {
    ended(login::set_up(args), args.reach.json)
}

/// Runs a command of a group.
pub(crate) fn account(group: Group<AccountCommand>) -> ExitCode {
    let Group { reach, command } = group;
    ended(Desk::open(&reach).and_then(|desk| account::run(desk, &command)), reach.json)
}

/// `millrace backup`.
pub(crate) fn backup(args: &BackupArgs) -> ExitCode {
    ended(backup::run(args), false)
}

fn grouped<T: Subcommand>(group: Group<T>, run: impl FnOnce(&Desk, T) -> Result<(), Failure>) -> ExitCode {
    let Group { reach, command } = group;
    ended(Desk::open(&reach).and_then(|desk| run(&desk, command)), reach.json)
}

fn ended(done: Result<(), Failure>, json: bool) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            failure.exit()
        }
    }
}
