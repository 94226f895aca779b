//! Rules from their making to what they tell.

use std::{sync::Arc, time::Duration};

use super::{super::tests::Rig, watch::Watch, *};
use crate::{
    base::{Caller, Id, Labels, NanoUsd, RequestId, Secret, UnixTime, unix_time},
    control::{Actor, ControlError, Keeper, NewEgressRule, keep},
    limit::{Claim, Held, Kinds, Meters},
    store::{
        AlertCondition, AlertEvent, AlertScope, AlertState, ChannelKind, DeliveryState, Order, Owner, PageRequest,
    },
    usage::Record,
};

const USD: i64 = 1_000_000_000;
const SECRET: &str = "0123456789abcdef";

/// Rules of one project over a book.
struct Scene {
    rig: Rig,
    project: Id,
    keeper: Arc<Keeper>,
    watch: Watch,
    began: UnixTime,
    /// Whether requests are served by the platform after the own credential was refused.
    fallback: bool,
}

impl Scene {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let project = rig.project_id("chat").await;
        rig.serve(&project, super::super::tests::GOOD).await;
        let store = rig.control.store().clone();
        let keeper = Keeper::open(store, Arc::new(Meters::in_memory())).await.unwrap();
        let keeper = Arc::new(keeper);
        let watch = Watch::new(Arc::clone(&rig.control), Arc::clone(&keeper));
        Self { rig, project, keeper, watch, began: unix_time(), fallback: false }
    }

    async fn make(&self, new: NewAlert) -> Result<ShownAlert, ControlError> {
        self.rig.control.create_alert(&self.rig.owner, &Owner::Project(self.project.clone()), new).await
    }

    /// Looks so many seconds after the beginning.
    async fn look(&mut self, seconds: u64) {
        self.watch.turn(UnixTime(self.began.0 + Duration::from_secs(seconds))).await.unwrap();
    }

    /// Lets requests of the route end with this status, and stores them.
    async fn requests(&mut self, count: u128, status: u16) {
        let labels = Labels { organization: "org".into(), route: "chat".into(), ..Labels::default() };
        let caller = Caller { project: Some(self.project.as_str().into()), ..Caller::of_key("key_a") };
        let (labels, caller) = (Arc::new(labels), Arc::new(caller));
        for number in 0..count {
            self.keeper.note(Record {
                status,
                error_code: if status == 200 { "" } else { "upstream_error" },
                fallback: self.fallback,
                labels: Some(Arc::clone(&labels)),
                caller: Some(Arc::clone(&caller)),
                ..Record::begun(self.began, RequestId::made(number), "chat")
            });
        }
        let (stop, stopped) = tokio::sync::watch::channel(true);
        keep(Arc::clone(&self.keeper), stopped).await;
        drop(stop);
    }

    /// States and values of what a rule noticed, oldest first.
    async fn told(&self, id: &Id) -> Vec<(AlertState, String)> {
        let rows = self.rig.control.alert_history(&self.rig.owner, id, page()).await.unwrap().rows;
        rows.into_iter().map(|row| (row.notice.state, row.notice.value)).collect()
    }
}

fn page() -> PageRequest {
    PageRequest { limit: 100, after: None, order: Order::Ascending }
}

fn dashboard() -> Channel {
    Channel { kind: ChannelKind::Dashboard, url: None, secret: None, to: Vec::new() }
}

fn webhook(url: &str, secret: Option<&str>) -> Channel {
    let secret = secret.map(|secret| Secret::new(secret.to_owned()));
    Channel { kind: ChannelKind::Webhook, url: Some(url.to_owned()), secret, to: Vec::new() }
}

fn new(event: AlertEvent) -> NewAlert {
    NewAlert {
        name: "rule".to_owned(),
        description: String::new(),
        enabled: true,
        scope: None,
        target: None,
        event,
        condition: AlertCondition::default(),
        channels: vec![dashboard()],
    }
}

fn paths<T>(outcome: Result<T, ControlError>) -> Vec<String> {
    match outcome {
        Err(ControlError::Invalid(problems)) => problems.into_iter().map(|problem| problem.path).collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

#[tokio::test]
async fn error_rate_fires_once_and_recovers_when_the_window_is_clean() {
    let mut scene = Scene::new().await;
    let made = scene.make(new(AlertEvent::ErrorRate)).await.unwrap().alert;
    assert_eq!((made.condition.threshold, made.condition.window_seconds), (Some(5), Some(300)));
    scene.look(0).await;
    scene.requests(19, 200).await;
    scene.requests(1, 502).await;
    scene.look(1).await;
    assert_eq!(scene.told(&made.id).await, [(AlertState::Firing, "5 %".to_owned())]);
    scene.look(2).await;
    scene.requests(80, 200).await;
    scene.look(299).await;
    assert_eq!(scene.told(&made.id).await.len(), 1, "a window that is not whole recovers nothing");
    scene.look(301).await;
    scene.look(302).await;
    let told = scene.told(&made.id).await;
    assert_eq!(told.iter().map(|(state, _)| *state).collect::<Vec<_>>(), [AlertState::Firing, AlertState::Recovered]);
}

#[tokio::test]
async fn credits_are_low_once_and_again_when_they_are_used_up_and_recover_by_a_top_up() {
    let mut scene = Scene::new().await;
    let organization = scene.rig.organization.clone();
    let admin = Actor { instance_admin: true, ..scene.rig.owner.clone() };
    let control = Arc::clone(&scene.rig.control);
    let pay = async |amount: i64, operation: &str| {
        let payment = crate::control::Payment {
            amount: NanoUsd(amount * USD),
            comment: "test".to_owned(),
            operation: operation.to_owned(),
        };
        control.adjust_credits(&admin, &organization, payment).await.unwrap();
    };
    pay(12, "a").await;
    let owner = Owner::Organization(organization.clone());
    let made = control.create_alert(&scene.rig.owner, &owner, new(AlertEvent::CreditsLow)).await.unwrap().alert;
    assert_eq!((made.condition.threshold, made.condition.window_seconds), (Some(10), None));
    scene.look(0).await;
    assert!(scene.told(&made.id).await.is_empty(), "12 are not less than 10");
    let registries = control.registries();
    let terms = registries.credits.of(organization.as_str(), &registries.meters).terms();
    let hold = |nano: u64| {
        let claim = Claim { requests: 1, money_nano: nano, ..Claim::default() };
        let (mut held, at) = (Held::default(), registries.meters.now());
        terms.limits.take(Kinds::ALL, &claim, at, &mut held).unwrap();
        (held, claim, at)
    };
    let (mut held, claim, at) = hold(3 * USD.unsigned_abs());
    scene.look(1).await;
    assert!(scene.told(&made.id).await.is_empty(), "3 are reserved, not spent");
    terms.limits.settle(&mut held, &claim, at, |_| {});
    scene.look(2).await;
    let low = (AlertState::Firing, "9 USD".to_owned());
    assert_eq!(scene.told(&made.id).await, std::slice::from_ref(&low));
    pay(2, "b").await;
    let (mut held, ..) = hold(2 * USD.unsigned_abs());
    for seconds in [3, 7_300] {
        scene.look(seconds).await;
        assert_eq!(scene.told(&made.id).await.len(), 1, "while it may still be spent nothing is over, nor said again");
    }
    terms.limits.give_back(&mut held, at);
    scene.look(7_301).await;
    pay(-11, "c").await;
    scene.look(7_302).await;
    let states: Vec<_> = scene.told(&made.id).await;
    let want = [low, (AlertState::Recovered, String::new()), (AlertState::Firing, "0 USD".to_owned())];
    assert_eq!(states, want);
    pay(100, "d").await;
    scene.look(7_303).await;
    assert_eq!(scene.told(&made.id).await.len(), 4);
}

#[tokio::test]
async fn paid_fallbacks_are_counted_and_other_requests_are_not() {
    let mut scene = Scene::new().await;
    let condition = AlertCondition { threshold: Some(2), ..AlertCondition::default() };
    let id = scene.make(NewAlert { condition, ..new(AlertEvent::Fallback) }).await.unwrap().alert.id;
    scene.look(0).await;
    scene.requests(5, 200).await;
    scene.fallback = true;
    scene.requests(1, 200).await;
    scene.look(1).await;
    assert!(scene.told(&id).await.is_empty());
    scene.requests(1, 200).await;
    scene.look(2).await;
    assert_eq!(scene.told(&id).await, [(AlertState::Firing, "2".to_owned())]);
    scene.look(400).await;
    assert_eq!(scene.told(&id).await.last().map(|(state, _)| *state), Some(AlertState::Recovered));
}

#[tokio::test]
async fn too_few_requests_decide_nothing_and_other_routes_do_not_count() {
    let mut scene = Scene::new().await;
    let few = scene.make(new(AlertEvent::ErrorRate)).await.unwrap().alert.id;
    let other = NewAlert {
        scope: Some(AlertScope::Route),
        target: Some("other".to_owned()),
        condition: AlertCondition { minimum_requests: Some(1), ..AlertCondition::default() },
        ..new(AlertEvent::ErrorRate)
    };
    let other = scene.make(other).await.unwrap();
    assert!(other.orphaned, "there is no such route");
    scene.look(0).await;
    scene.requests(19, 502).await;
    scene.look(1).await;
    assert!(scene.told(&few).await.is_empty() && scene.told(&other.alert.id).await.is_empty());
    scene.requests(1, 502).await;
    scene.look(2).await;
    assert_eq!(scene.told(&few).await, [(AlertState::Firing, "100 %".to_owned())]);
    assert!(scene.told(&other.alert.id).await.is_empty());
}

#[tokio::test]
async fn what_fires_is_not_told_again_after_a_restart() {
    let mut scene = Scene::new().await;
    let id = scene.make(new(AlertEvent::ErrorRate)).await.unwrap().alert.id;
    scene.look(0).await;
    scene.requests(30, 502).await;
    scene.look(1).await;
    scene.watch = Watch::new(Arc::clone(&scene.rig.control), Arc::clone(&scene.keeper));
    scene.look(2).await;
    scene.requests(30, 502).await;
    scene.look(3).await;
    assert_eq!(scene.told(&id).await.len(), 1);
    scene.requests(30, 502).await;
    scene.look(3_700).await;
    assert_eq!(scene.told(&id).await.len(), 2, "an hour later");
}

#[tokio::test]
async fn each_serve_behind_the_rule_is_told_once() {
    let mut scene = Scene::new().await;
    let id = scene.make(new(AlertEvent::Serve)).await.unwrap().alert.id;
    scene.look(0).await;
    scene.look(1).await;
    assert!(scene.told(&id).await.is_empty(), "what was served before");
    scene.rig.serve(&scene.project, &format!("{}\n", super::super::tests::GOOD)).await;
    scene.look(2).await;
    scene.look(3).await;
    assert_eq!(scene.told(&id).await, [(AlertState::Firing, "config.serve".to_owned())]);
    scene.watch = Watch::new(Arc::clone(&scene.rig.control), Arc::clone(&scene.keeper));
    scene.look(4).await;
    assert_eq!(scene.told(&id).await.len(), 1);
}

#[tokio::test]
async fn key_that_expires_soon_is_told_once() {
    let mut scene = Scene::new().await;
    let in_days = |days: u64| Some(UnixTime(unix_time().0 + Duration::from_secs(days * 86_400)));
    for expires_at in [in_days(3), in_days(30), None] {
        let key = crate::control::NewKey {
            description: "ci".to_owned(),
            expires_at,
            group: None,
            ..crate::control::NewKey::default()
        };
        scene.rig.control.create_key(&scene.rig.owner, &scene.project, key).await.unwrap();
    }
    let id = scene.make(new(AlertEvent::KeyExpiring)).await.unwrap().alert.id;
    for seconds in [0, 1, 100, 7_200] {
        scene.look(seconds).await;
    }
    assert_eq!(scene.told(&id).await, [(AlertState::Firing, "2 days".to_owned())]);
}

#[tokio::test]
async fn fields_are_checked_and_unknown_events_refused() {
    let scene = Scene::new().await;
    let condition = |condition| NewAlert { condition, ..new(AlertEvent::ErrorRate) };
    let default = AlertCondition::default;
    for (name, new, want) in [
        ("fine", new(AlertEvent::LimitReached), &[][..]),
        ("guardrail", new(AlertEvent::Guardrail), &["event"]),
        ("cache", new(AlertEvent::Cache), &["event"]),
        ("credits are of organizations", new(AlertEvent::CreditsLow), &["event"]),
        ("fallback", new(AlertEvent::Fallback), &[]),
        ("latency needs a threshold", new(AlertEvent::LatencyP95), &["condition.threshold"]),
        ("books are of organizations", new(AlertEvent::LedgerMismatch), &["event"]),
        ("no name", NewAlert { name: " ".to_owned(), ..new(AlertEvent::Serve) }, &["name"]),
        ("no channel", NewAlert { channels: Vec::new(), ..new(AlertEvent::Serve) }, &["channels"]),
        (
            "two of a type",
            NewAlert { channels: vec![dashboard(), dashboard()], ..new(AlertEvent::Serve) },
            &["channels[1].type"],
        ),
        ("percent", condition(AlertCondition { threshold: Some(101), ..default() }), &["condition.threshold"]),
        ("window", condition(AlertCondition { window_seconds: Some(59), ..default() }), &["condition.window_seconds"]),
        ("percents", condition(AlertCondition { percents: vec![50], ..default() }), &["condition.percents"]),
        ("route", NewAlert { scope: Some(AlertScope::Route), ..new(AlertEvent::ErrorRate) }, &["target"]),
        ("scope", NewAlert { scope: Some(AlertScope::Organization), ..new(AlertEvent::Serve) }, &["scope"]),
        (
            "foreign key",
            NewAlert {
                scope: Some(AlertScope::Key),
                target: Some("key_00000000000000000001".to_owned()),
                ..new(AlertEvent::ErrorRate)
            },
            &["target"],
        ),
        (
            "no mail",
            NewAlert {
                channels: vec![Channel {
                    kind: ChannelKind::Email,
                    to: vec!["a@example.com".to_owned()],
                    ..dashboard()
                }],
                ..new(AlertEvent::Serve)
            },
            &["channels[0].to"],
        ),
    ] {
        assert_eq!(paths(scene.make(new).await), want, "{name}");
    }
}

#[tokio::test]
async fn webhook_needs_a_secret_and_an_allowed_address() {
    let scene = Scene::new().await;
    let to = |channel| NewAlert { channels: vec![channel], ..new(AlertEvent::Serve) };
    for (name, channel, want) in [
        ("fine", webhook("https://hooks.example.com/a", Some(SECRET)), &[][..]),
        ("none", webhook("https://hooks.example.com/a", None), &["channels.secret"]),
        ("empty", webhook("https://hooks.example.com/a", Some("")), &["channels[0].secret"]),
        ("blank", webhook("https://hooks.example.com/a", Some("                    ")), &["channels[0].secret"]),
        ("short", webhook("https://hooks.example.com/a", Some("0123456789abcde")), &["channels[0].secret"]),
        ("loopback", webhook("https://127.0.0.1/a", Some(SECRET)), &["channels[0].url"]),
        ("metadata", webhook("http://169.254.169.254/a", Some(SECRET)), &["channels[0].url"]),
        ("plain", webhook("http://hooks.example.com/a", Some(SECRET)), &["channels[0].url"]),
        ("file", webhook("file:///etc/passwd", Some(SECRET)), &["channels[0].url"]),
    ] {
        assert_eq!(paths(scene.make(to(channel)).await), want, "{name}");
    }
}

#[tokio::test]
async fn secret_stays_for_its_place_and_is_entered_again_for_another() {
    let scene = Scene::new().await;
    let made = NewAlert { channels: vec![webhook("https://a.example.com/x", Some(SECRET))], ..new(AlertEvent::Serve) };
    let made = scene.make(made).await.unwrap().alert;
    let sealed = made.sealed_secret.clone().unwrap();
    assert!(!sealed.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "it is sealed");
    let (control, owner) = (&scene.rig.control, &scene.rig.owner);
    let patch = |url| AlertPatch { channels: Some(vec![webhook(url, None)]), ..AlertPatch::default() };
    let kept = control.change_alert(owner, &made.id, 1, patch("https://a.example.com/y")).await.unwrap().alert;
    assert_eq!((kept.sealed_secret, kept.revision), (Some(sealed), 2));
    let moved = control.change_alert(owner, &made.id, 2, patch("https://b.example.com/y")).await;
    assert_eq!(paths(moved), ["channels.secret"]);
    let stale = control.change_alert(owner, &made.id, 1, AlertPatch::default()).await;
    assert!(matches!(stale, Err(ControlError::Stale { current: 2 })));
}

#[tokio::test]
async fn address_that_was_closed_again_is_refused_at_delivery() {
    let scene = Scene::new().await;
    let admin = Actor { instance_admin: true, ..scene.rig.owner.clone() };
    let control = &scene.rig.control;
    let opened = NewEgressRule { network: "127.0.0.1".to_owned(), ports: "any".to_owned(), comment: String::new() };
    let opened = control.create_egress_rule(&admin, opened).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let new = NewAlert { channels: vec![webhook(&url, Some(SECRET))], ..new(AlertEvent::Serve) };
    let id = scene.make(new).await.unwrap().alert.id;
    control.delete_egress_rule(&admin, opened.id).await.unwrap();
    control.test_alert(&scene.rig.owner, &id).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let delivering = tokio::spawn(deliver::deliver_alerts(Arc::clone(control), stopped));
    let delivery = loop {
        let rows = control.alert_history(&scene.rig.owner, &id, page()).await.unwrap().rows;
        let delivery = rows[0].deliveries[0].clone();
        if delivery.state != DeliveryState::Pending {
            break delivery;
        }
        tokio::task::yield_now().await;
    };
    drop(stop);
    delivering.await.unwrap();
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 1));
    assert!(delivery.error.contains("127.0.0.1"), "{}", delivery.error);
}
