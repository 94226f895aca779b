//! Arguments that cost nothing until they are used.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// Arguments that are described when their command is used, or its help asked for.
///
/// The process that stays is `serve`, and what it touches at its start stays in memory: without this, the flags of all
/// commands that talk to a gateway would be a part of it.
#[derive(Debug)]
pub(crate) struct Later<T>(pub(crate) T);

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| keeping_help(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| keeping_help(command, T::augment_args_for_update))
    }
}

/// Describes a command whose help was set before: that of its flags would take the place.
fn keeping_help(command: Command, describe: fn(Command) -> Command) -> Command {
    let about = command.get_about().cloned();
    let described = describe(command).long_about(None);
    match about {
        Some(about) => described.about(about),
        None => described,
    }
}

impl<T: Args> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}
