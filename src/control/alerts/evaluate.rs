//! One rule against one moment.

use super::{
    money::{usd, usd_to_nano},
    step::{Finding, Looked},
    window::{Counted, Window},
    world::World,
};
use crate::{
    base::{NanoUsd, UnixTime},
    store::{Alert, AlertEvent, AlertScope, AuditEntry},
};

/// A rule that is looked at, with its sums.
pub(super) struct Watched {
    pub(super) rule: Alert,
    window: Option<Window>,
}

impl Watched {
    /// Begins to look at a rule.
    pub(super) fn new(rule: Alert, now: UnixTime) -> Self {
        let window = rule.condition.window_seconds.map(|seconds| Window::new(seconds, now.seconds()));
        Self { rule, window }
    }

    /// Takes what happened in its scope, and says what it sees.
    pub(super) fn look(&mut self, world: &World) -> Looked {
        let now = world.now.seconds();
        if let Some(window) = &mut self.window {
            for observed in &world.observed {
                let place = Place { project: &observed.project, route: &observed.route, key: &observed.key };
                if is_inside(&self.rule, &place, world) {
                    window.add(now, &Counted::of(observed));
                }
            }
            for attempted in &world.attempted {
                let place = Place { project: &attempted.project, route: &attempted.route, key: "" };
                if is_inside(&self.rule, &place, world) {
                    window.add(now, &attempted.counted);
                }
            }
            let (sum, whole) = (window.sum(now), window.is_whole(now));
            return over_time(&self.rule, &sum, whole);
        }
        match self.rule.event {
            AlertEvent::SpendThreshold => match &world.spent {
                Some(spent) => Looked::Firing(spent.get(&self.rule.id).cloned().unwrap_or_default()),
                None => Looked::Unknown,
            },
            AlertEvent::CreditsLow => credits_low(&self.rule, world),
            AlertEvent::KeyExpiring => expiring(&self.rule, world),
            AlertEvent::ConfigError => broken(&self.rule, world),
            AlertEvent::LedgerMismatch => mismatch(world),
            AlertEvent::Serve | AlertEvent::Rollback => went_live(&self.rule, world),
            _ => Looked::Unknown,
        }
    }
}

struct Place<'a> {
    project: &'a str,
    route: &'a str,
    key: &'a str,
}

fn is_inside(rule: &Alert, place: &Place<'_>, world: &World) -> bool {
    let in_project = rule.project.as_ref().is_some_and(|project| project.as_str() == place.project);
    let target = rule.target.as_deref();
    match rule.scope {
        AlertScope::Organization => world.is_in(place.project, &rule.organization),
        AlertScope::Project => in_project,
        AlertScope::Route => in_project && target == Some(place.route),
        AlertScope::Key => in_project && target == Some(place.key),
    }
}

/// Decides about sums. A window that is not whole yet lets things fire, but recovers nothing.
fn over_time(rule: &Alert, sum: &Counted, whole: bool) -> Looked {
    let (threshold, minimum) =
        (rule.condition.threshold.unwrap_or(1), rule.condition.minimum_requests.unwrap_or_default());
    let over = rule.condition.window_seconds.unwrap_or_default();
    let of = match rule.event {
        AlertEvent::UpstreamDown | AlertEvent::CredentialRefused => sum.attempts,
        _ => sum.requests,
    };
    let quiet = if whole { Looked::Firing(Vec::new()) } else { Looked::Unknown };
    if of < minimum {
        // Nothing at all is an answer; too few are none.
        return if of == 0 { quiet } else { Looked::Unknown };
    }
    let share =
        |part: u64| (u128::from(part) * 100 >= u128::from(of) * u128::from(threshold)).then(|| percent(part, of));
    let count = |part: u64| (part >= threshold).then(|| part.to_string());
    let (value, what) = match rule.event {
        AlertEvent::ErrorRate => (share(sum.failed), format!("{} of {of} requests failed or were refused", sum.failed)),
        AlertEvent::UpstreamDown => (share(sum.broken), format!("{} of {of} attempts at providers failed", sum.broken)),
        AlertEvent::LatencyP95 => {
            let p95 = sum.duration.percentile(95).unwrap_or_default().as_millis();
            let value = (p95 >= u128::from(threshold)).then(|| format!("{p95} ms"));
            (value, format!("95 % of {of} requests took up to {p95} ms"))
        }
        AlertEvent::LimitReached => (count(sum.limited), format!("limits refused {} of {of} requests", sum.limited)),
        AlertEvent::CredentialRefused => (
            count(sum.unauthorized),
            format!("providers refused the credential of {} of {of} attempts", sum.unauthorized),
        ),
        AlertEvent::Unpriced => (count(sum.unpriced), format!("{} of {of} requests have no price", sum.unpriced)),
        AlertEvent::UsageSuspect => {
            (count(sum.suspects), format!("{} of {of} requests have figures that cannot be true", sum.suspects))
        }
        AlertEvent::Fallback => (
            count(sum.fallbacks),
            format!(
                "{} of {of} requests were served by the platform's credential: the own one was refused",
                sum.fallbacks
            ),
        ),
        _ => (None, String::new()),
    };
    let Some(value) = value else { return quiet };
    let detail = format!("{what} in {over} seconds");
    Looked::Firing(vec![Finding { subject: String::new(), level: 1, value, detail }])
}

fn percent(part: u64, of: u64) -> String {
    format!("{} %", u128::from(part) * 100 / u128::from(of.max(1)))
}

fn expiring(rule: &Alert, world: &World) -> Looked {
    let Some(keys) = world.expiring.as_ref().and_then(|expiring| expiring.get(&rule.id)) else {
        return Looked::Unknown;
    };
    let found = keys.iter().map(|key| {
        let left = key.expires_at.0.saturating_sub(world.now.0).as_secs() / 86_400;
        Finding {
            subject: key.id.as_str().to_owned(),
            level: 1,
            value: format!("{left} days"),
            detail: format!("the key {} (`{}`) expires at {}", key.id, key.description, key.expires_at.rfc3339()),
        }
    });
    Looked::Firing(found.collect())
}

fn broken(rule: &Alert, world: &World) -> Looked {
    let found = world
        .snapshot
        .projects()
        .filter(|(project, part)| part.is_broken() && is_inside(rule, &Place { project, route: "", key: "" }, world));
    let found = found.map(|(project, part)| Finding {
        subject: project.to_string(),
        level: 1,
        value: "broken".to_owned(),
        detail: format!("the served version of `{}` does not compile; its requests are answered with 503", part.slug()),
    });
    Looked::Firing(found.collect())
}

/// What is only reserved fires nothing, and as long as it might be spent nothing is over.
fn credits_low(rule: &Alert, world: &World) -> Looked {
    let Some(credits) = world.credits.get(&rule.organization) else { return Looked::Unknown };
    let threshold = NanoUsd(rule.condition.threshold.map_or(0, usd_to_nano));
    if credits.balance >= threshold {
        return if credits.free >= threshold { Looked::Firing(Vec::new()) } else { Looked::Unknown };
    }
    let (level, what) = if credits.balance > NanoUsd::ZERO { (1, "are left") } else { (2, "are left, nothing more") };
    let value = format!("{} USD", usd(credits.balance));
    let detail = format!("{value} of the credits {what}; the rule asks for {} USD", usd(threshold));
    Looked::Firing(vec![Finding { subject: String::new(), level, value, detail }])
}

/// How far they are apart is for whoever runs the instance: it is the sum over everybody.
fn mismatch(world: &World) -> Looked {
    if world.apart == 0 {
        return Looked::Firing(Vec::new());
    }
    let detail = "accounts of usage differ from the sum of their entries; tell whoever runs the gateway".to_owned();
    Looked::Firing(vec![Finding { subject: String::new(), level: 1, value: "not 0".to_owned(), detail }])
}

fn went_live(rule: &Alert, world: &World) -> Looked {
    let action = if rule.event == AlertEvent::Serve { "config.serve" } else { "config.rollback" };
    let is_meant = |entry: &&AuditEntry| {
        let event = &entry.event;
        let project = event.project.as_ref().map(|project| project.as_str()).unwrap_or_default();
        event.action == action
            && event.at >= rule.changed_at
            && is_inside(rule, &Place { project, route: "", key: "" }, world)
    };
    let found = world.events.iter().filter(is_meant).map(|entry| Finding {
        subject: format!("audit:{}", entry.sequence),
        level: 1,
        value: action.to_owned(),
        detail: format!("{} by {} (event {} of the audit log)", entry.event.action, entry.event.actor, entry.sequence),
    });
    Looked::Happened(found.collect())
}
