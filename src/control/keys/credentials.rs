//! Last use of credentials, and what providers say to them.
//!
//! Workers count attempts by outcome for each target in any case, so nothing is added to the data path: every ten seconds,
//! and when somebody asks, the counts are compared with those of before. Two targets of one route with the same provider
//! and model share their counts; if their credentials differ, both are shown as the counts say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};

use super::super::{error::ControlError, instance::Control};
use crate::{
    base::{
        Id, UnixTime,
        log::{Level, Value, emit},
        unix_time,
    },
    metrics::{Outcome, Series},
    snapshot::{Reach, Snapshot, Target},
};

/// How often counts are compared.
const PERIOD: Duration = Duration::from_secs(10);
/// Looks between two writes: uses are kept to the minute, and written as often.
const LOOKS_A_WRITE: u64 = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// How long a credential counts as cooling after a 429 behind which nothing was accepted.
const COOLING_FOR: Duration = Duration::from_secs(60);
/// Most credentials, and most series, of which the state is kept.
const KEPT_MAX: usize = 100_000;

/// What providers say to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CredentialHealth {
    /// Nothing against it.
    #[default]
    Ok,
    /// The provider answered 401 or 403 and has accepted nothing since.
    Refused,
    /// The provider answered 429 within the last minute and has accepted nothing since.
    Cooling,
}

/// How stored credentials fare, by the id of their record.
#[derive(Default)]
pub(in crate::control) struct Credentials(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Counts at the last look, by the place of their series in memory, which stays while the series is held here.
    seen: HashMap<usize, (Arc<Series>, Counts)>,
    states: HashMap<Arc<str>, State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    last_used: Option<UnixTime>,
    /// Not in the store yet.
    unwritten: bool,
    refused: bool,
    limited_at: Option<UnixTime>,
}

/// Attempts, by what they tell about their credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    sent: u64,
    accepted: u64,
    refused: u64,
    limited: u64,
}

impl Counts {
    fn of(series: &Series) -> Self {
        let counts = series.attempts();
        let count = |outcome: Outcome| counts.get(usize::from(outcome as u8)).copied().unwrap_or(0);
        Self {
            // Without a connection nothing was sent.
            sent: counts.iter().sum::<u64>().saturating_sub(count(Outcome::Connect)),
            accepted: count(Outcome::Success) + count(Outcome::Rejected) + count(Outcome::Truncated),
            refused: count(Outcome::Auth),
            limited: count(Outcome::RateLimited),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            accepted: self.accepted.saturating_sub(before.accepted),
            refused: self.refused.saturating_sub(before.refused),
            limited: self.limited.saturating_sub(before.limited),
        }
    }
}

impl State {
    fn note(&mut self, new: Counts, now: UnixTime) {
        if new.sent == 0 {
            return;
        }
        let minute = UnixTime(Duration::from_secs(now.seconds() / MINUTE.as_secs() * MINUTE.as_secs()));
        self.unwritten |= self.last_used < Some(minute);
        self.last_used = self.last_used.max(Some(minute));
        if new.accepted > 0 {
            (self.refused, self.limited_at) = (false, None);
        }
        // Which came last is not known when both happened between two looks: the next look knows more.
        self.refused |= new.refused > 0;
        if new.limited > 0 && new.accepted == 0 {
            self.limited_at = Some(now);
        }
    }

    fn health(&self, now: UnixTime) -> CredentialHealth {
        let is_cooling = |at: UnixTime| now.0.saturating_sub(at.0) < COOLING_FOR;
        match self.limited_at {
            _ if self.refused => CredentialHealth::Refused,
            Some(at) if is_cooling(at) => CredentialHealth::Cooling,
            _ => CredentialHealth::Ok,
        }
    }
}

impl Credentials {
    /// Compares the counts of every live target that sends a stored credential with those of the last look.
    pub(super) fn observe(&self, snapshot: &Snapshot, now: UnixTime) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked_at: HashMap<usize, Counts> = HashMap::new();
        let routes = snapshot.projects().flat_map(|(_, part)| part.routes());
        for target in routes.flat_map(|route| [&route.chat, &route.embedding]).flatten() {
            if let Some(credential) = credential_of(target) {
                let new = *looked_at
                    .entry(Arc::as_ptr(&target.series).addr())
                    .or_insert_with(|| inner.counted_since(&target.series));
                inner.note(credential, new, now);
            }
        }
    }

    /// When a credential was last used since the start, and what providers say to it.
    pub(super) fn of(&self, id: &Id, now: UnixTime) -> (Option<UnixTime>, CredentialHealth) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = inner.states.get(id.as_str()).copied().unwrap_or_default();
        (state.last_used, state.health(now))
    }

    /// Forgets what was said to a value that another one has replaced.
    pub(super) fn renewed(&self, id: &Id) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = inner.states.get_mut(id.as_str()) {
            (state.refused, state.limited_at) = (false, None);
        }
    }

    fn unwritten(&self) -> Vec<(Id, UnixTime)> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = inner.states.iter().filter(|(_, state)| state.unwritten);
        due.filter_map(|(id, state)| Some((Id::stored(id), state.last_used?))).collect()
    }

    fn written(&self, rows: &[(Id, UnixTime)]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in rows {
            if let Some(state) = inner.states.get_mut(id.as_str()) {
                state.unwritten &= state.last_used != Some(*at);
            }
        }
    }
}

impl Inner {
    fn counted_since(&mut self, series: &Arc<Series>) -> Counts {
        let now = Counts::of(series);
        if self.seen.len() >= KEPT_MAX {
            self.seen.clear();
        }
        let before = self.seen.insert(Arc::as_ptr(series).addr(), (Arc::clone(series), now));
        now.since(before.map_or_else(Counts::default, |(_, counts)| counts))
    }

    fn note(&mut self, credential: &Arc<str>, new: Counts, now: UnixTime) {
        if let Some(state) = self.states.get_mut(credential) {
            state.note(new, now);
        } else if new.sent > 0 && self.states.len() < KEPT_MAX {
            self.states.entry(Arc::clone(credential)).or_default().note(new, now);
        }
    }
}

/// The credential of a target that has counts of its own.
fn credential_of(target: &Target) -> Option<&Arc<str>> {
    let Reach::Http(reach) = &target.reach else { return None };
    // Beyond the most series that are kept, all others share one, which tells nothing.
    let (counted, own) = (target.series.labels(), &target.labels);
    let is_own = counted.project == own.project && counted.route == own.route;
    reach.credential.as_ref().filter(|_| is_own)
}

impl Control {
    /// Forgets what providers said to the value of before.
    pub(in crate::control) fn renew_credential(&self, id: &Id) {
        // What the old value still met belongs to it.
        self.credentials().observe(&self.served(), unix_time());
        self.credentials().renewed(id);
    }

    /// Writes when credentials were last used. What cannot be written now is written the next time.
    pub async fn write_credential_use(&self) {
        self.credentials().observe(&self.served(), unix_time());
        let rows = self.credentials().unwritten();
        if rows.is_empty() {
            return;
        }
        let written = rows.clone();
        let outcome = self.store().write(move |tx| Ok::<_, ControlError>(tx.touch_credentials(&written)?)).await;
        match outcome {
            Ok(()) => self.credentials().written(&rows),
            Err(error) => {
                let text = error.to_string();
                emit(Level::Warn, "the last use of credentials is not stored yet", &[("reason", Value::Text(&text))]);
            }
        }
    }
}

/// Looks every ten seconds and writes once a minute, until `shutdown` says so. Whoever ends the pump writes the rest.
pub async fn keep_credentials(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    let mut looks = tokio::time::interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 1u64.. {
        tokio::select! {
            _ = looks.tick() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        if look % LOOKS_A_WRITE == 0 {
            control.write_credential_use().await;
        } else {
            control.credentials().observe(&control.served(), unix_time());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_follows_what_was_said_last() {
        let at = |seconds| UnixTime(Duration::from_secs(seconds));
        let counts =
            |accepted, refused, limited| Counts { sent: accepted + refused + limited, accepted, refused, limited };
        use CredentialHealth::{Cooling, Ok, Refused};
        let mut state = State::default();
        for (name, new, seconds, want) in [
            ("never used", counts(0, 0, 0), 0, Ok),
            ("accepted", counts(3, 0, 0), 10, Ok),
            ("refused", counts(0, 1, 0), 20, Refused),
            ("quiet", counts(0, 0, 0), 500, Refused),
            ("accepted and refused", counts(1, 1, 0), 510, Refused),
            ("accepted again", counts(1, 0, 0), 520, Ok),
            ("too many", counts(0, 0, 2), 530, Cooling),
            ("some pass", counts(5, 0, 2), 540, Ok),
            ("too many again", counts(0, 0, 1), 550, Cooling),
            ("a minute later", counts(0, 0, 0), 610, Ok),
        ] {
            state.note(new, at(seconds));
            assert_eq!(state.health(at(seconds)), want, "{name}");
        }
        assert_eq!(state.last_used, Some(at(540)), "to the minute");
    }
}
