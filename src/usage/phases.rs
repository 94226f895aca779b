//! Where the time of a request went.

use std::time::Duration;

use crate::base::Instant;

/// A part of the life of a request. Waiting for its body is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the key, and what it may do.
    Auth,
    /// Checking the body.
    Parse,
    /// Finding route and target, and asking the rules.
    Route,
    /// Taking from limits, with waits for a lease or in a queue.
    Limit,
    /// Making the request ready, and finding or opening a connection.
    Connect,
    /// From the connection to the first byte of the answer.
    Upstream,
    /// From the first byte of the answer to the last.
    Write,
}

/// How long each phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases([Duration; Self::COUNT]);

impl Phases {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// The times in the order of [`Phase`].
    #[must_use]
    pub fn list(&self) -> [Duration; Self::COUNT] {
        self.0
    }

    /// Reads them in that order.
    #[must_use]
    pub fn of_list(list: [Duration; Self::COUNT]) -> Self {
        Self(list)
    }

    fn add(&mut self, phase: Phase, time: Duration) {
        if let Some(sum) = self.0.get_mut(phase as usize) {
            *sum = sum.saturating_add(time);
        }
    }
}

/// Takes the times of one request as it goes.
#[derive(Debug)]
pub struct Laps {
    since: Instant,
    phases: Phases,
}

impl Laps {
    /// Starts to count at a time.
    #[must_use]
    pub fn since(at: Instant) -> Self {
        Self { since: at, phases: Phases::default() }
    }

    /// Counts what went by since the last call for a phase.
    pub fn lap(&mut self, phase: Phase, at: Instant) {
        self.phases.add(phase, at.saturating_duration_since(self.since));
        self.since = at;
    }

    /// Counts what went by until then for nothing. What was counted stays so: a body may be here before the key is known.
    pub fn skip(&mut self, at: Instant) {
        self.since = self.since.max(at);
    }

    /// Ends with the first byte of the answer, if one was sent, and the last.
    #[must_use]
    pub fn end(mut self, first_sent: Option<Instant>, ended: Instant) -> Phases {
        let Some(sent) = first_sent else { return self.phases };
        let [.., upstream, _] = self.phases.0;
        match upstream.is_zero() {
            // An answer of our own: making it is no phase.
            true => self.skip(sent),
            false => self.lap(Phase::Upstream, sent),
        }
        self.lap(Phase::Write, ended);
        self.phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_time_and_waits_for_the_client_none() {
        let begun = crate::base::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let mut laps = Laps::since(at(10));
        laps.lap(Phase::Auth, at(11));
        laps.skip(at(50));
        laps.lap(Phase::Parse, at(52));
        laps.lap(Phase::Limit, at(55));
        laps.lap(Phase::Limit, at(56));
        laps.lap(Phase::Upstream, at(90));
        let phases = laps.end(Some(at(91)), at(100));
        assert_eq!(phases.list().map(|time| time.as_millis()), [1, 2, 0, 4, 0, 35, 9]);
        assert_eq!(Phases::of_list(phases.list()), phases);
        let mut refused = Laps::since(at(10));
        refused.lap(Phase::Auth, at(11));
        // The body was here before the key was known.
        refused.skip(at(10));
        refused.lap(Phase::Parse, at(13));
        assert_eq!(refused.end(Some(at(15)), at(16)).list().map(|time| time.as_millis()), [1, 2, 0, 0, 0, 0, 1]);
        // Nothing was sent: nothing was written.
        assert_eq!(Laps::since(at(10)).end(None, at(20)), Phases::default());
    }
}
