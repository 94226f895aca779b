//! The watch: looks at every rule once a second.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    deliver::deliver_alerts,
    evaluate::Watched,
    mail::Mail,
    money::{credits, spent},
    notice::{self, Told},
    providers::Providers,
    step::{Change, step},
    world::World,
};
use crate::{
    base::{
        Id, UnixTime,
        log::{Level, Value, emit},
        unix_time,
    },
    control::{
        error::ControlError,
        instance::Control,
        ledger::{Keeper, Watching},
    },
    store::{Alert, AlertEvent, AlertMark, AuditFilter, ExpiringKey, Order, Owner, PageRequest, Tx},
};

const PERIOD: Duration = Duration::from_secs(1);
/// Seconds after which rules and projects are read again although nobody has said that they changed.
const RELOAD: u64 = 30;
/// Seconds between two looks at limits in money: each walks over all keys.
const SPENT: u64 = 2;
/// Seconds between two looks at keys that expire.
const EXPIRING: u64 = 60;
/// Keys of one rule that are told at most.
const KEYS_MAX: u32 = 1_000;
/// Events of the audit log that one look takes.
const EVENTS_MAX: u32 = 100;
/// The last event of the audit log that was looked at.
const AUDIT_NOTE: &str = "alerts_audit";

/// What those who change rules and those who follow them share.
#[derive(Default)]
pub struct Alerting {
    changes: AtomicU64,
    deliveries: Notify,
    mail: Option<Mail>,
}

impl Alerting {
    pub(in crate::control) fn with_mail(mail: Option<Mail>) -> Self {
        Self { mail, ..Self::default() }
    }

    pub(super) fn mail(&self) -> Option<&Mail> {
        self.mail.as_ref()
    }

    pub(super) fn rules_changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets deliveries be looked for at once.
    pub(super) fn ring(&self) {
        self.deliveries.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.deliveries.notified().await;
    }
}

/// Looks at rules and delivers notices until `shutdown` says so. What is under way then is tried again after the start.
pub async fn watch_alerts(control: Arc<Control>, keeper: Arc<Keeper>, mut shutdown: watch::Receiver<bool>) {
    tokio::spawn(deliver_alerts(Arc::clone(&control), shutdown.clone()));
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(control, keeper);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let outcome = watch.turn(unix_time()).await;
        if let Err(error) = &outcome
            && !failing
        {
            let text = error.to_string();
            emit(Level::Warn, "alert rules are not looked at now", &[("reason", Value::Text(&text))]);
        }
        failing = outcome.is_err();
    }
}

/// What is known from one look to the next.
pub(super) struct Watch {
    control: Arc<Control>,
    keeper: Arc<Keeper>,
    watched: Vec<Watched>,
    marks: HashMap<Id, HashMap<String, AlertMark>>,
    organizations: Arc<HashMap<String, Id>>,
    providers: Providers,
    /// The count of changes and the second of the last load.
    loaded: Option<(u64, u64)>,
    spent_at: u64,
    expiring_at: u64,
    audited: Option<u64>,
}

/// What a load reads.
struct Loaded {
    rules: Vec<Alert>,
    marks: Vec<AlertMark>,
    organizations: HashMap<String, Id>,
    audited: u64,
}

impl Watch {
    pub(super) fn new(control: Arc<Control>, keeper: Arc<Keeper>) -> Self {
        Self {
            control,
            keeper,
            watched: Vec::new(),
            marks: HashMap::new(),
            organizations: Arc::default(),
            providers: Providers::default(),
            loaded: None,
            spent_at: 0,
            expiring_at: 0,
            audited: None,
        }
    }

    /// One look at every rule.
    ///
    /// # Errors
    /// The store's; the next look says again what could not be stored.
    pub(super) async fn turn(&mut self, now: UnixTime) -> Result<(), ControlError> {
        self.load(now).await?;
        if self.watched.is_empty() {
            self.keeper.observations().take(Watching::No);
            return Ok(());
        }
        let world = self.world(now).await?;
        let mut changes = Vec::new();
        let nothing = HashMap::new();
        for watched in &mut self.watched {
            let looked = watched.look(&world);
            let marks = self.marks.get(&watched.rule.id).unwrap_or(&nothing);
            let of_rule = step((&watched.rule.id, watched.rule.event), marks, looked, now);
            changes.extend(of_rule.into_iter().map(|change| (watched.rule.clone(), change)));
        }
        let audited = world.events.last().map(|entry| entry.sequence);
        if changes.is_empty() && audited.is_none() {
            return Ok(());
        }
        self.store(changes, audited, now).await
    }

    /// Reads rules when they changed, and now and then in any case.
    async fn load(&mut self, now: UnixTime) -> Result<(), ControlError> {
        let changes = self.control.alerting().changes.load(Ordering::Relaxed);
        let is_young = |(seen, at): (u64, u64)| seen == changes && now.seconds().saturating_sub(at) < RELOAD;
        if self.loaded.is_some_and(is_young) {
            return Ok(());
        }
        let loaded = self.control.store().read(load).await?;
        let mut before: HashMap<Id, Watched> =
            self.watched.drain(..).map(|watched| (watched.rule.id.clone(), watched)).collect();
        for rule in loaded.rules {
            let kept = before.remove(&rule.id).filter(|watched| watched.rule.revision == rule.revision);
            self.watched.push(kept.unwrap_or_else(|| Watched::new(rule, now)));
        }
        self.marks.clear();
        for mark in loaded.marks {
            self.marks.entry(mark.alert.clone()).or_default().insert(mark.subject.clone(), mark);
        }
        self.organizations = Arc::new(loaded.organizations);
        if !self.rules_of(&[AlertEvent::Serve, AlertEvent::Rollback]).is_empty() {
            self.audited.get_or_insert(loaded.audited);
        } else {
            self.audited = Some(loaded.audited);
        }
        if self.loaded.is_none_or(|(seen, _)| seen != changes) {
            (self.spent_at, self.expiring_at) = (0, 0);
        }
        self.loaded = Some((changes, now.seconds()));
        Ok(())
    }

    async fn world(&mut self, now: UnixTime) -> Result<World, ControlError> {
        let snapshot = self.control.served();
        let mut world = World {
            now,
            moment: self.control.registries().meters.now(),
            attempted: self.providers.look(&snapshot),
            snapshot,
            organizations: Arc::clone(&self.organizations),
            observed: self.keeper.observations().take(Watching::Yes),
            spent: None,
            credits: HashMap::new(),
            expiring: None,
            events: Vec::new(),
            apart: self.keeper.apart(),
        };
        let of_credits = self.rules_of(&[AlertEvent::CreditsLow]);
        world.credits = credits(&of_credits, &self.control.registries(), world.moment);
        let of_money = self.rules_of(&[AlertEvent::SpendThreshold]);
        if !of_money.is_empty() && now.seconds() >= self.spent_at {
            self.spent_at = now.seconds() + SPENT;
            world.spent = Some(spent(&of_money, &world).await);
        }
        let of_keys = self.rules_of(&[AlertEvent::KeyExpiring]);
        if !of_keys.is_empty() && now.seconds() >= self.expiring_at {
            self.expiring_at = now.seconds() + EXPIRING;
            let read = self.control.store().read(move |tx| expiring(tx, &of_keys, now));
            world.expiring = Some(read.await?);
        }
        if !self.rules_of(&[AlertEvent::Serve, AlertEvent::Rollback]).is_empty() {
            let after = self.audited.unwrap_or_default();
            world.events = self.control.store().read(move |tx| tx.audit_after(after, EVENTS_MAX)).await?;
        }
        Ok(world)
    }

    fn rules_of(&self, events: &[AlertEvent]) -> Vec<Alert> {
        let rules = self.watched.iter().map(|watched| &watched.rule);
        rules.filter(|rule| events.contains(&rule.event)).cloned().collect()
    }

    /// Stores notices and marks together, then remembers them.
    async fn store(
        &mut self,
        changes: Vec<(Alert, Change)>,
        audited: Option<u64>,
        now: UnixTime,
    ) -> Result<(), ControlError> {
        let write = self.control.store().write(move |tx| {
            let mut done = Vec::with_capacity(changes.len());
            for (rule, change) in changes {
                // Somebody may have changed or deleted the rule while it was looked at.
                if tx.alert(&rule.id)?.is_some_and(|stored| stored.revision == rule.revision) {
                    put(tx, &rule, &change, now)?;
                    done.push((rule.id, change));
                }
            }
            if let Some(audited) = audited {
                tx.put_note(AUDIT_NOTE, Some(audited.to_string().as_bytes()))?;
            }
            Ok::<_, ControlError>(done)
        });
        for (id, change) in write.await? {
            let marks = self.marks.entry(id).or_default();
            match change.mark {
                Some(mark) => marks.insert(change.subject, mark),
                None => marks.remove(&change.subject),
            };
        }
        self.audited = audited.or(self.audited);
        self.control.alerting().ring();
        Ok(())
    }
}

fn put(tx: &mut dyn Tx, rule: &Alert, change: &Change, now: UnixTime) -> Result<(), ControlError> {
    match &change.mark {
        Some(mark) => tx.put_alert_mark(mark)?,
        None => tx.delete_alert_mark(&rule.id, &change.subject)?,
    }
    if let Some(said) = &change.notice {
        notice::put(tx, rule, &Told { subject: &change.subject, said, at: now })?;
    }
    Ok(())
}

fn load(tx: &dyn Tx) -> Result<Loaded, ControlError> {
    let rules = tx.enabled_alerts()?;
    let organizations = tx.all_projects()?.into_iter();
    let noted = tx.note(AUDIT_NOTE)?.and_then(|note| String::from_utf8(note).ok()?.parse().ok());
    let newest = PageRequest { limit: 1, after: None, order: Order::Descending };
    let last = tx.audit(&AuditFilter::default(), &newest)?.rows.first().map_or(0, |entry| entry.sequence);
    let is_watched = rules.iter().any(|rule| matches!(rule.event, AlertEvent::Serve | AlertEvent::Rollback));
    Ok(Loaded {
        marks: tx.alert_marks()?,
        organizations: organizations.map(|project| (project.id.as_str().to_owned(), project.organization)).collect(),
        // Without such a rule nobody wants to know what was.
        audited: noted.filter(|_| is_watched).unwrap_or(last),
        rules,
    })
}

fn expiring(tx: &dyn Tx, rules: &[Alert], now: UnixTime) -> Result<HashMap<Id, Vec<ExpiringKey>>, ControlError> {
    let mut found = HashMap::new();
    for rule in rules {
        let owner = match &rule.project {
            Some(project) => Owner::Project(project.clone()),
            None => Owner::Organization(rule.organization.clone()),
        };
        let days = Duration::from_secs(rule.condition.threshold.unwrap_or(1).saturating_mul(86_400));
        let until = UnixTime(now.0.saturating_add(days));
        let mut keys = tx.expiring_keys(&owner, (now, until), KEYS_MAX)?;
        if let Some(target) = &rule.target {
            keys.retain(|key| key.id.as_str() == target);
        }
        found.insert(rule.id.clone(), keys);
    }
    Ok(found)
}
