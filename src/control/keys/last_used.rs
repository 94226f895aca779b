//! When API keys were last used, to the minute.
//!
//! The pump of usage records notes every request; once a minute what was noted goes into the store in batches. Nothing
//! here waits for the store, and a table that is full forgets rather than grows.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};

use super::super::{error::ControlError, instance::Control};
use crate::base::{
    FastMap, UnixTime,
    log::{Level, Value, emit},
};

/// How often what was noted is written.
const PERIOD: Duration = Duration::from_secs(60);
/// Most keys between two writes.
const KEYS_MAX: usize = 200_000;
/// Keys of one transaction: others get their turn between two.
const BATCH_KEYS_MAX: usize = 1_000;

/// The last use of keys since the last write, by public id.
#[derive(Default)]
pub struct KeyUse(Mutex<FastMap<Arc<str>, UnixTime>>);

impl KeyUse {
    /// Notes a use. Never waits for anything but the table itself.
    pub fn note(&self, key: &Arc<str>, at: UnixTime) {
        let minute = UnixTime(Duration::from_secs(at.seconds() / 60 * 60));
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = used.get_mut(key) {
            *last = (*last).max(minute);
        } else if used.len() < KEYS_MAX {
            used.insert(Arc::clone(key), minute);
        }
    }

    fn take(&self) -> FastMap<Arc<str>, UnixTime> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Control {
    /// Writes what was noted. What cannot be written now is kept for the next time, and the log says so.
    pub async fn write_key_use(&self) {
        let used: Vec<_> = self.key_use().take().into_iter().collect();
        let mut outcome = Ok(());
        for batch in used.chunks(BATCH_KEYS_MAX) {
            if outcome.is_ok() {
                let rows: Vec<_> = batch.iter().map(|(key, at)| (key.as_ref().to_owned(), *at)).collect();
                outcome = self.store().write(move |tx| Ok::<_, ControlError>(tx.touch_keys(&rows)?)).await;
            }
            if outcome.is_err() {
                batch.iter().for_each(|(key, at)| self.key_use().note(key, *at));
            }
        }
        if let Err(error) = outcome {
            let text = error.to_string();
            emit(Level::Warn, "the last use of keys is not stored yet", &[("reason", Value::Text(&text))]);
        }
    }
}

/// Writes once a minute until `shutdown` says so. What the last requests leave is written by whoever ends the pump.
pub async fn keep_key_use(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        control.write_key_use().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_use_is_kept_to_the_minute_and_never_goes_back() {
        let used = KeyUse::default();
        let key: Arc<str> = "mr_live_a".into();
        for seconds in [179, 61, 200, 120] {
            used.note(&key, UnixTime(Duration::from_secs(seconds)));
        }
        let taken = used.take();
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), [(key, UnixTime(Duration::from_secs(180)))]);
        assert!(used.take().is_empty());
    }

    #[test]
    fn full_table_forgets_new_keys_and_keeps_the_known_ones() {
        let used = KeyUse::default();
        for number in 0..=KEYS_MAX {
            used.note(&number.to_string().into(), UnixTime(Duration::from_secs(60)));
        }
        used.note(&"0".into(), UnixTime(Duration::from_secs(120)));
        let taken = used.take();
        assert_eq!(taken.len(), KEYS_MAX);
        assert_eq!(taken.get("0"), Some(&UnixTime(Duration::from_secs(120))));
    }
}
