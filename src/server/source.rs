//! What is served: where it is from, how it changes.
//!
//! The one place that tells the ways of configuration apart. The rest of the start sees a first snapshot, rules for the
//! guard, and something to follow.

use std::{sync::Arc, time::Duration};

use crate::{
    base::log::{Level, Value, emit},
    config::Server,
    control::{Demo, FileProjects, FileSet, Loaded, Publisher, Stamp, first, warn},
    snapshot::{Refusal, Registries, Snapshot},
    upstream::Rules,
};

use super::{
    error::ServerError,
    settings::{demo_rules, egress_rules},
    store_mode::Kept,
};

/// How often files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where projects and keys come from.
pub enum Source {
    /// The files that the settings name.
    Files,
    /// The built-in demo.
    Demo(Demo),
    /// The store in the data directory, changed by the admin API.
    Store,
}

/// What a source comes to.
pub(super) struct Opened {
    /// What is served first.
    pub(super) snapshot: Snapshot,
    /// How it changes.
    pub(super) follow: Follow,
    /// The store, for the API; none in the demo.
    pub(super) kept: Option<Kept>,
    /// What the API shows of files.
    pub(super) files: Option<Arc<FileProjects>>,
}

impl Source {
    /// Whether there is a store, so that limits are kept over a restart.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Self::Demo(_))
    }

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
    pub(super) async fn open(self, server: &Server, registries: &Registries) -> Result<Opened, ServerError> {
        match self {
            Self::Demo(demo) => {
                let sources = demo.sources().map_err(ServerError::Config)?;
                let snapshot = first(sources, registries).map_err(ServerError::Config)?;
                Ok(Opened { snapshot, follow: Follow::Nothing, kept: None, files: None })
            }
            Self::Files => open_files(server, registries).await,
            Self::Store => {
                let kept = Kept::open(server).await?;
                let snapshot = kept.first_snapshot(registries).await?;
                Ok(Opened { snapshot, follow: Follow::Nothing, kept: Some(kept), files: None })
            }
        }
    }
}

async fn open_files(server: &Server, registries: &Registries) -> Result<Opened, ServerError> {
    let set = FileSet::new(server);
    // Before the reading: what changes meanwhile is read again.
    let stamp = set.stamp();
    let Loaded { sources, texts, .. } = load(&set).map_err(ServerError::Config)?;
    let snapshot = first(sources, registries).map_err(ServerError::Config)?;
    // Files are served without a store; only the API needs one.
    let kept = match Kept::open(server).await {
        Ok(kept) => Some(kept),
        Err(error) => {
            let text = error.to_string();
            emit(Level::Warn, "the store cannot be opened, so there is no admin API", &[("error", Value::Text(&text))]);
            None
        }
    };
    let names = set.secret_names();
    let files = kept.as_ref().map(|kept| Arc::new(FileProjects::new(kept.organization.clone(), names, texts)));
    let look = tokio::time::interval(LOOK_EVERY);
    let follow = Follow::Files(Box::new(Watched { files: set, stamp, look, shown: files.clone() }));
    Ok(Opened { snapshot, follow, kept, files })
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
    /// What the API shows of them.
    shown: Option<Arc<FileProjects>>,
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
            Ok(loaded) => {
                // A refusal has been reported by the publisher.
                if publisher.replace(loaded.sources).is_ok()
                    && let Some(shown) = &watched.shown
                {
                    shown.replace(loaded.texts);
                }
            }
            Err(refusals) => publisher.refuse(&refusals),
        }
    }
}

fn load(files: &FileSet) -> Result<Loaded, Vec<Refusal>> {
    let loaded = files.load()?;
    warn(&loaded.warnings);
    Ok(loaded)
}
