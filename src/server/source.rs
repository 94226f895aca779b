//! What is served: where it is from, how it changes.
//!
//! The one place that tells the ways of configuration apart. The rest of the start sees a first snapshot, rules for the
//! guard, and something to follow.

use std::time::Duration;

use crate::{
    base::log::{Level, Value, emit},
    config::Server,
    control::{Demo, FileSet, Publisher, Stamp, first},
    snapshot::{Refusal, Registries, Snapshot, Sources},
    upstream::Rules,
};

use super::{
    error::ServerError,
    settings::{demo_rules, egress_rules, make_data_dir},
};

/// How often files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where projects and keys come from.
pub enum Source {
    /// The files that the settings name.
    Files,
    /// The built-in demo.
    Demo(Demo),
}

impl Source {
    /// The rules of the egress guard: those of the settings, and what the source itself opens.
    pub(super) fn rules(&self, server: &Server) -> Result<Rules, ServerError> {
        let mut rules = egress_rules(server)?;
        if let Self::Demo(demo) = self {
            rules.allow.extend(demo_rules(demo)?);
        }
        Ok(rules)
    }

    /// Reads everything and compiles it; what follows it is returned beside the snapshot.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub(super) fn open(self, server: &Server, registries: &Registries) -> Result<(Snapshot, Follow), ServerError> {
        let (sources, follow) = match self {
            Self::Demo(demo) => (demo.sources().map_err(ServerError::Config)?, Follow::Nothing),
            Self::Files => {
                let files = FileSet::new(server);
                // Before the reading: what changes meanwhile is read again.
                let stamp = files.stamp();
                let sources = load(&files).map_err(ServerError::Config)?;
                make_data_dir(&server.data_dir);
                (sources, Follow::Files(Box::new(Watched { files, stamp, look: tokio::time::interval(LOOK_EVERY) })))
            }
        };
        let snapshot = first(sources, registries).map_err(ServerError::Config)?;
        Ok((snapshot, follow))
    }
}

/// How later changes of the configuration arrive.
pub(super) enum Follow {
    /// As files.
    Files(Box<Watched>),
    /// There are none.
    Nothing,
}

/// Files and how they looked when they were read last.
pub(super) struct Watched {
    files: FileSet,
    stamp: Stamp,
    look: tokio::time::Interval,
}

impl Follow {
    /// Waits until something has changed. May be dropped and asked again.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Files(watched) => loop {
                watched.look.tick().await;
                if watched.files.stamp() != watched.stamp {
                    return;
                }
            },
        }
    }

    /// Reads everything again. All or nothing: a bad file changes nothing and is reported.
    pub(super) fn reload(&mut self, publisher: &Publisher) {
        let Self::Files(watched) = self else { return };
        watched.stamp = watched.files.stamp();
        match load(&watched.files) {
            Ok(sources) => {
                // A refusal has been reported by the publisher.
                let _ = publisher.replace(sources);
            }
            Err(refusals) => publisher.refuse(&refusals),
        }
    }
}

fn load(files: &FileSet) -> Result<Sources, Vec<Refusal>> {
    let loaded = files.load()?;
    for warning in &loaded.warnings {
        let text = warning.problem.render(&warning.file);
        emit(Level::Warn, "configuration warning", &[("problem", Value::Text(&text))]);
    }
    Ok(loaded.sources)
}
