//! The check of a configuration: with the code that serves it.
//!
//! Used for drafts, for approval, for serving and at the start alike. A text of 1 MiB takes tens of milliseconds, so it is
//! checked on a thread of its own and the admin thread goes on.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    base::Id,
    config::{Code, Costs, Position, PriceEntry, Problem, ProjectContext, Provider, Severity, check_project},
    limit::Meters,
    metrics::Registry,
    snapshot::{Funding, ProjectPart, ProjectSource, Refusal, Registries, compile_project, unpriced},
    store::{Project, Tx},
};

use super::{
    error::ControlError,
    limits::is_money_limited,
    organization_prices::compiled_prices,
    sealed_keys::{SealedKeys, mode_of},
    vault::Vault,
};

/// Longest check.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);

/// A text and everything that decides on it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) project: Project,
    pub(super) number: u32,
    pub(super) text: Vec<u8>,
    pub(super) keys: SealedKeys,
    /// Those of the organization.
    prices: Vec<PriceEntry>,
    /// Whether a limit in money can apply, so that everything needs a price.
    money_limited: bool,
    /// Whether what the text itself states of prices is left out.
    by_tables: bool,
}

/// What a check found.
pub(super) struct Verdict {
    /// What can be served; none when a problem is an error.
    pub(super) part: Option<ProjectPart>,
    /// Errors and warnings, by position.
    pub(super) problems: Vec<Problem>,
}

impl Candidate {
    /// Takes a text that is not stored.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn new(tx: &dyn Tx, project: &Project, number: u32, text: Vec<u8>) -> Result<Self, ControlError> {
        let keys = SealedKeys::read(tx, project)?;
        let money_limited = is_money_limited(tx, &project.organization, &project.id)?;
        let prices = compiled_prices(tx, &project.organization)?;
        Ok(Self { project: project.clone(), number, text, keys, prices, money_limited, by_tables: false })
    }

    /// The same for what is live already: it does not end because a price was lost, say with another table of prices.
    pub(super) fn without_money_rule(self) -> Self {
        Self { money_limited: false, ..self }
    }

    /// The same by prices of its organization and the tables alone.
    pub(super) fn without_written_prices(self) -> Self {
        Self { by_tables: true, ..self }
    }

    /// The same with other prices of its organization.
    pub(super) fn with_prices(self, prices: Vec<PriceEntry>) -> Self {
        Self { prices, ..self }
    }

    /// Reads a stored text.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], or the store's.
    pub(super) fn read(tx: &dyn Tx, project: &Project, number: u32) -> Result<Self, ControlError> {
        let text = tx.version_text(&project.id, number)?.ok_or(ControlError::NotFound)?;
        Self::new(tx, project, number, text)
    }

    /// Checks and compiles. `registries` of a data plane for what is to be served, [`rehearsal`] for all else.
    pub(super) fn judge(&self, vault: &Vault, registries: &Registries) -> Verdict {
        let opened = self.keys.open(vault);
        let providers: Vec<Provider> = opened.provider_keys.iter().map(|key| key.provider).collect();
        let platform: Vec<Provider> = opened.platform_keys.iter().map(|key| key.provider).collect();
        let mode = mode_of(self.project.mode);
        let context =
            ProjectContext { secret_names: Some(&opened.names), provider_keys: &providers, mode, platform: &platform };
        let checked = match check_project(&self.text, context) {
            Ok(checked) => checked,
            Err(problems) => return Verdict { part: None, problems },
        };
        let mut config = checked.config;
        if self.by_tables {
            config.prices.clear();
            config.models.iter_mut().for_each(|model| model.costs = Costs::default());
        }
        let source = ProjectSource {
            id: self.project.id.as_str().into(),
            slug: self.project.slug.as_str().into(),
            // Names of organizations may be the same or change; what is counted belongs to one for ever.
            organization: self.project.organization.as_str().into(),
            version: Some(u64::from(self.number)),
            file: self.place(),
            created: self.project.created_at.seconds(),
            config,
            secrets: opened.secrets,
            provider_keys: opened.provider_keys,
            organization_prices: self.prices.clone(),
            funding: Funding { mode, platform_keys: opened.platform_keys },
        };
        let mut problems = checked.warnings;
        match compile_project(&source, registries) {
            Ok(part) => {
                let mut without_price = unpriced(&source, &part);
                let is_refused = self.money_limited && !without_price.is_empty();
                if is_refused {
                    without_price.iter_mut().for_each(|problem| problem.severity = Severity::Error);
                }
                problems.extend(without_price);
                problems.sort_by_key(|problem| problem.at);
                Verdict { part: (!is_refused).then_some(part), problems }
            }
            Err(refusals) => {
                problems.extend(refusals.into_iter().map(|refusal| refusal.problem));
                problems.sort_by_key(|problem| problem.at);
                Verdict { part: None, problems }
            }
        }
    }

    /// What messages call the text.
    pub(super) fn place(&self) -> String {
        format!("{} version {}", self.project.slug, self.number)
    }

    /// As [`Self::judge`], on a thread of its own and within 5 seconds.
    ///
    /// # Errors
    /// [`ControlError::Internal`] when the check itself broke.
    pub(super) async fn judge_aside(
        self,
        vault: Arc<Vault>,
        registries: Registries,
    ) -> Result<(Self, Verdict), ControlError> {
        let place = self.place();
        let check = move || {
            let verdict = self.judge(&vault, &registries);
            (self, verdict)
        };
        aside(place, CHECK_TIME_MAX, check).await
    }
}

/// Runs a check on a thread of its own and waits for it so long. One that takes longer goes on there, and its outcome is
/// dropped.
async fn aside<T: Send + 'static>(
    place: String,
    time_max: Duration,
    check: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::time::timeout(time_max, tokio::task::spawn_blocking(check)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(ControlError::Internal(format!("the check of {place} panicked"))),
        Err(_) => {
            let message =
                format!("the check took longer than {} s; make the configuration smaller", time_max.as_secs());
            let problem = Problem::error("", Position::START, Code::TooLarge, message);
            Err(ControlError::ConfigInvalid(vec![Refusal { file: place, problem }]))
        }
    }
}

impl Verdict {
    /// The part, or the errors.
    ///
    /// # Errors
    /// [`ControlError::ConfigInvalid`] with every problem.
    pub(super) fn accept(self, place: &str) -> Result<ProjectPart, ControlError> {
        let problems = self.problems;
        self.part.ok_or_else(|| {
            let refusals = problems.into_iter().map(|problem| Refusal { file: place.to_owned(), problem });
            ControlError::ConfigInvalid(refusals.collect())
        })
    }

    /// The problems as a JSON list.
    pub(super) fn problems_json(&self) -> String {
        Value::Array(self.problems.iter().map(Problem::to_json).collect()).to_string()
    }

    /// How many problems are errors.
    pub(super) fn error_count(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }
}

/// Registries for a check that serves nothing: no counters appear in the metrics, and an address that nothing else uses
/// is forgotten with the outcome.
pub(super) fn rehearsal(live: &Registries) -> Registries {
    let meters = Arc::new(Meters::in_memory());
    Registries { metrics: Arc::new(Registry::new(0)), meters, ..live.clone() }
}

/// Refuses a text that cannot even be stored.
///
/// # Errors
/// [`ControlError::TooLarge`] beyond 1 MiB, [`ControlError::Invalid`] when it is not UTF-8.
pub(super) fn check_storable(text: &[u8]) -> Result<(), ControlError> {
    let bytes_max = super::versions::TEXT_BYTES_MAX;
    if text.len() > bytes_max {
        let said = format!("the configuration has {} bytes, at most {bytes_max} are accepted", text.len());
        return Err(ControlError::TooLarge(said));
    }
    if std::str::from_utf8(text).is_err() {
        return Err(ControlError::field("content", "must be UTF-8"));
    }
    Ok(())
}

/// Ids of the records that do not open, for the log.
pub(super) fn listed(ids: &[Id]) -> String {
    ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn check_that_takes_too_long_or_panics_ends_as_a_refusal() {
        let (let_go, waits) = std::sync::mpsc::channel::<()>();
        let slow = aside("chat version 3".to_owned(), Duration::ZERO, move || waits.recv().is_err()).await;
        let Err(ControlError::ConfigInvalid(refusals)) = slow else { panic!("{slow:?}") };
        assert_eq!((refusals[0].problem.code, &*refusals[0].file), (Code::TooLarge, "chat version 3"));
        drop(let_go);
        let broken = aside::<()>("chat version 3".to_owned(), CHECK_TIME_MAX, || panic!("a fault of ours")).await;
        assert!(matches!(&broken, Err(ControlError::Internal(why)) if why.contains("chat version 3")), "{broken:?}");
        assert_eq!(aside(String::new(), CHECK_TIME_MAX, || 7).await.ok(), Some(7));
    }
}
