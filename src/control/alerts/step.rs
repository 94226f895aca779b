//! From what is seen to what is said.

use std::{collections::HashMap, time::Duration};

use crate::{
    base::{Id, UnixTime},
    store::{AlertEvent, AlertMark, AlertState},
};

/// The least time between two notices of what goes on.
const REPEAT: Duration = Duration::from_secs(60 * 60);
/// Things of one rule that can fire at the same time; what is beyond them is not told.
const FIRING_MAX: usize = 1_000;

/// Something that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it is about; empty for the rule as a whole.
    pub(super) subject: String,
    /// How bad, 1 or more.
    pub(super) level: u32,
    /// The value, with its unit.
    pub(super) value: String,
    /// A sentence for people.
    pub(super) detail: String,
}

/// What a look at a rule gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Looked {
    /// Too little is known to say anything: what fires goes on firing.
    Unknown,
    /// All that fires; what does not stand here has recovered.
    Firing(Vec<Finding>),
    /// What happened, each for itself.
    Happened(Vec<Finding>),
}

/// What is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The subject of the mark and of the notice.
    pub(super) subject: String,
    /// The mark after it; none removes it.
    pub(super) mark: Option<AlertMark>,
    /// What is told; none if only the mark changes.
    pub(super) notice: Option<Said>,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) state: AlertState,
    pub(super) value: String,
    pub(super) detail: String,
}

/// Compares what is seen with what fired before.
pub(super) fn step(
    (alert, event): (&Id, AlertEvent),
    marks: &HashMap<String, AlertMark>,
    looked: Looked,
    now: UnixTime,
) -> Vec<Change> {
    let findings = match looked {
        Looked::Unknown => return Vec::new(),
        Looked::Happened(findings) => return findings.into_iter().map(happened).collect(),
        Looked::Firing(findings) => findings,
    };
    let mut changes = Vec::new();
    let is_over = |mark: &&AlertMark| !findings.iter().any(|finding| finding.subject == mark.subject);
    for mark in marks.values().filter(is_over) {
        let detail = format!("over after {}", whole_minutes(now.0.saturating_sub(mark.since.0)));
        let notice = Some(Said { state: AlertState::Recovered, value: String::new(), detail });
        changes.push(Change { subject: mark.subject.clone(), mark: None, notice });
    }
    let mut firing = marks.len();
    for finding in findings {
        let before = marks.get(&finding.subject);
        if before.is_none() && firing >= FIRING_MAX {
            continue;
        }
        firing += usize::from(before.is_none());
        changes.extend(fires((alert, event), before, finding, now));
    }
    changes
}

fn fires(
    (alert, event): (&Id, AlertEvent),
    before: Option<&AlertMark>,
    finding: Finding,
    now: UnixTime,
) -> Option<Change> {
    let Finding { subject, level, value, detail } = finding;
    let said = Some(Said { state: AlertState::Firing, value, detail });
    let mark = AlertMark { alert: alert.clone(), subject: subject.clone(), level, since: now, noticed_at: now };
    let Some(before) = before else {
        return Some(Change { subject, mark: Some(mark), notice: said });
    };
    if level > before.level {
        return Some(Change { subject, mark: Some(AlertMark { since: before.since, ..mark }), notice: said });
    }
    if now.0.saturating_sub(before.noticed_at.0) >= REPEAT && repeats(event) {
        let mark = AlertMark { since: before.since, level, ..mark };
        return Some(Change { subject, mark: Some(mark), notice: said });
    }
    if level < before.level {
        let mark = AlertMark { level, ..before.clone() };
        return Some(Change { subject, mark: Some(mark), notice: None });
    }
    None
}

/// A used-up limit, credits that nobody tops up and a date that comes nearer stay as they are for weeks: nobody has to hear of them each hour.
fn repeats(event: AlertEvent) -> bool {
    !matches!(event, AlertEvent::SpendThreshold | AlertEvent::CreditsLow | AlertEvent::KeyExpiring)
}

fn happened(finding: Finding) -> Change {
    let Finding { subject, value, detail, .. } = finding;
    Change { subject, mark: None, notice: Some(Said { state: AlertState::Firing, value, detail }) }
}

fn whole_minutes(time: Duration) -> String {
    match time.as_secs() / 60 {
        0 => "less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime(Duration::from_secs(1_700_000_000 + seconds))
    }

    fn finding(level: u32) -> Looked {
        let (subject, value, detail) = (String::new(), "9 %".to_owned(), "errors".to_owned());
        Looked::Firing(vec![Finding { subject, level, value, detail }])
    }

    /// Runs a story of looks; returns what was told at which second.
    fn told(event: AlertEvent, story: &[(u64, Looked)]) -> Vec<(u64, AlertState)> {
        let id = Id::stored("alr_1");
        let (mut marks, mut told) = (HashMap::new(), Vec::new());
        for (seconds, looked) in story {
            for change in step((&id, event), &marks, looked.clone(), at(*seconds)) {
                match change.mark {
                    Some(mark) => marks.insert(change.subject, mark),
                    None => marks.remove(&change.subject),
                };
                told.extend(change.notice.map(|said| (*seconds, said.state)));
            }
        }
        told
    }

    #[test]
    fn rule_fires_once_repeats_hourly_and_recovers_once() {
        use AlertState::{Firing, Recovered};
        let over = || Looked::Firing(Vec::new());
        let story = [
            (0, over()),
            (1, finding(1)),
            (2, finding(1)),
            (3_600, finding(1)),
            (3_601, finding(1)),
            (3_602, finding(1)),
            (3_700, Looked::Unknown),
            (3_701, over()),
            (3_702, over()),
            (3_703, finding(1)),
        ];
        let want = [(1, Firing), (3_601, Firing), (3_701, Recovered), (3_703, Firing)];
        assert_eq!(told(AlertEvent::ErrorRate, &story), want);
    }

    #[test]
    fn each_percentage_is_told_once_and_never_again() {
        use AlertState::{Firing, Recovered};
        let story = [
            (0, finding(1)),
            (10, finding(2)),
            (20, finding(1)),
            (9_000, finding(1)),
            (9_001, finding(2)),
            (9_002, Looked::Firing(Vec::new())),
        ];
        let want = [(0, Firing), (10, Firing), (9_001, Firing), (9_002, Recovered)];
        assert_eq!(told(AlertEvent::SpendThreshold, &story), want);
    }

    #[test]
    fn more_things_than_are_kept_are_not_told() {
        let id = Id::stored("alr_1");
        let many = (0..FIRING_MAX + 5).map(|number| Finding {
            subject: number.to_string(),
            level: 1,
            value: String::new(),
            detail: String::new(),
        });
        let changes = step((&id, AlertEvent::KeyExpiring), &HashMap::new(), Looked::Firing(many.collect()), at(0));
        assert_eq!(changes.len(), FIRING_MAX);
    }
}
