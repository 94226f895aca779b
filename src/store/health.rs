//! Whether the store can be read and written now.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{error::StoreError, tx::Outcome};
use crate::base::{
    UnixTime,
    log::{Level, Value, emit},
    unix_time,
};

/// Whether the store works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does, as far as the last access tells.
    Ok,
    /// It does not. What is served goes on being served; changes are refused.
    Failing {
        /// Since when.
        since: UnixTime,
        /// Why not.
        why: StoreError,
    },
}

/// A part of the work that can fail while others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Changes.
    Write,
    /// Reads.
    Read,
    /// The check of the whole file. Damage does not heal, so this is never taken back.
    Check,
}

/// What is known about each part; shared by the threads of a store.
#[derive(Default)]
pub(super) struct HealthCell(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    write: Option<(UnixTime, StoreError)>,
    read: Option<(UnixTime, StoreError)>,
    check: Option<(UnixTime, StoreError)>,
}

impl HealthCell {
    /// Notes how an access ended, and logs when that is news.
    pub(super) fn note(&self, part: Part, outcome: &Outcome<()>) {
        let mut parts = self.lock();
        let slot = match part {
            Part::Write => &mut parts.write,
            Part::Read => &mut parts.read,
            Part::Check => &mut parts.check,
        };
        match outcome {
            Ok(()) if slot.is_none() => {}
            Ok(()) => {
                *slot = None;
                emit(Level::Info, "the store works again", &[]);
            }
            Err(why) => {
                let since = slot.as_ref().map_or_else(unix_time, |(since, _)| *since);
                *slot = Some((since, why.clone()));
                emit(Level::Error, "the store fails", &[("why", Value::Text(&why.to_string()))]);
            }
        }
    }

    /// Whether changes failed the last time.
    pub(super) fn write_fails(&self) -> bool {
        self.lock().write.is_some()
    }

    pub(super) fn health(&self) -> Health {
        let parts = self.lock();
        let worst = parts.check.as_ref().or(parts.write.as_ref()).or(parts.read.as_ref());
        worst.map_or(Health::Ok, |(since, why)| Health::Failing { since: *since, why: why.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_heals_its_own_part_only() {
        let cell = HealthCell::default();
        let fault = StoreError::Unavailable("disk full".to_owned());
        assert_eq!(cell.health(), Health::Ok);
        cell.note(Part::Write, &Err(fault.clone()));
        cell.note(Part::Read, &Ok(()));
        assert!(matches!(cell.health(), Health::Failing { why, .. } if why == fault));
        assert!(cell.write_fails());
        cell.note(Part::Write, &Ok(()));
        assert_eq!(cell.health(), Health::Ok);
    }

    #[test]
    fn time_is_that_of_the_first_failure() {
        let cell = HealthCell::default();
        let since = |cell: &HealthCell| match cell.health() {
            Health::Failing { since, .. } => Some(since),
            Health::Ok => None,
        };
        cell.note(Part::Write, &Err(StoreError::Unavailable("first".to_owned())));
        let first = since(&cell);
        cell.note(Part::Write, &Err(StoreError::Unavailable("second".to_owned())));
        assert_eq!(since(&cell), first);
        assert!(first.is_some());
    }
}
