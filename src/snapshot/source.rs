//! What a snapshot is compiled from.
//!
//! Checked configurations with everything that they name: the compiler itself asks nobody for anything.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    base::{Secret, Swap},
    config::{KeyEntry, Mode, PriceEntry, Problem, Project, Provider},
    limit::Meters,
    metrics::Registry,
    upstream::{BoundOrigin, Origins},
    usage::Catalogue,
};

use super::credit::Credits;

/// One project to be served.
pub struct ProjectSource {
    /// What identifies the project for ever. Slugs are unique in one organization only; in file mode both are the same.
    pub id: Arc<str>,
    /// The slug under which its routes are called.
    pub slug: Box<str>,
    /// Organization that owns it, as metrics and logs name it.
    pub organization: Box<str>,
    /// Number of the version; none in file mode, where files have none.
    pub version: Option<u64>,
    /// Where the text came from, for messages.
    pub file: String,
    /// When it came, in seconds since 1970.
    pub created: u64,
    /// The checked text.
    pub config: Project,
    /// Values of `!secret NAME`.
    pub secrets: Arc<BTreeMap<String, BoundSecret>>,
    /// Keys for models without `credentials.api_key`, the first that fits wins: the project's own, then its
    /// organization's.
    pub provider_keys: Vec<ProviderKey>,
    /// Prices of its organization: they hold where the project states none, before the catalogue.
    pub organization_prices: Vec<PriceEntry>,
    /// Whose credentials may be used.
    pub funding: Funding,
}

/// Whose credentials a project may use. By default own ones, since there are no others.
#[derive(Debug, Clone, Default)]
pub struct Funding {
    /// The project's setting, which holds where the configuration has no `mode`.
    pub mode: Mode,
    /// Keys of the platform, one a provider.
    pub platform_keys: Vec<ProviderKey>,
}

impl ProjectSource {
    /// The mode that holds.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.config.mode.unwrap_or(self.funding.mode)
    }
}

/// A secret and where it may be sent.
#[derive(Debug, Clone)]
pub struct BoundSecret {
    /// The secret.
    pub value: Secret,
    /// The only places that may see it. `None` is any place: in file mode the administrator wrote both.
    pub origins: Option<Vec<BoundOrigin>>,
    /// Id of its record; none in file mode.
    pub record: Option<Arc<str>>,
}

/// A stored key for all models of one provider. It goes to its own address and nowhere else.
#[derive(Debug, Clone)]
pub struct ProviderKey {
    /// Whose key it is.
    pub provider: Provider,
    /// The key.
    pub value: Secret,
    /// The address it was entered for, instead of the provider's own.
    pub base_url: Option<String>,
    /// Id of its record.
    pub record: Arc<str>,
}

/// Everything that file mode serves.
pub struct Sources {
    /// The projects.
    pub projects: Vec<ProjectSource>,
    /// The keys.
    pub keys: Vec<KeyEntry>,
    /// Where the keys came from, for messages.
    pub keys_file: String,
}

/// What outlives a snapshot: counters, connections and resolved names stay when the configuration changes.
#[derive(Clone)]
pub struct Registries {
    /// Counters by labels.
    pub metrics: Arc<Registry>,
    /// Provider addresses in use.
    pub origins: Arc<Origins>,
    /// Prices of models that no configuration states, replaced when the operator's file changes.
    pub prices: Arc<Swap<Catalogue>>,
    /// Counters of limits.
    pub meters: Arc<Meters>,
    /// What organizations have paid in.
    pub credits: Arc<Credits>,
}

impl Registries {
    /// Registries over these counters and addresses, with the built-in prices; limits count in memory alone.
    #[must_use]
    pub fn new(metrics: Arc<Registry>, origins: Arc<Origins>) -> Self {
        Self {
            metrics,
            origins,
            prices: Arc::new(Swap::new(Catalogue::default())),
            meters: Arc::new(Meters::in_memory()),
            credits: Arc::default(),
        }
    }
}

/// A problem and the file in which it stands.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// File of the problem.
    pub file: String,
    /// The problem.
    pub problem: Problem,
}
