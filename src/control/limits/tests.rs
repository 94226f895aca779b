//! Limits on a store: permissions, views, workers.

use std::sync::Arc;

use super::super::{
    Actor, ControlError, KeyPatch, MemberPatch, NewKey, PolicySite,
    tests::{Rig, World, kind, make_key, person},
};
use super::{FieldPatch, LimitPatch, NewLimit, PeriodKind, PeriodLimit};
use crate::{
    base::{Id, Secret},
    limit::{CalendarUnit, Claim, Held, Kinds, LimitSet, Scope, Window},
    snapshot::Grant,
    store::{ApiKey, LimitAlgorithm, LimitKind, LimitMode, OrganizationRole, PolicyPlace, ProjectGrant, ProjectRole},
};

const USD: u64 = 1_000_000_000;

fn requests(amount: u64) -> NewLimit {
    let window = Some("1 day".to_owned());
    NewLimit { kind: LimitKind::Requests, amount, window, algorithm: None, mode: LimitMode::Enforce }
}

const SCOPES: [Scope; 4] = [Scope::Organization, Scope::Project, Scope::Member, Scope::Key];

impl World {
    async fn patch(&self, by: &Actor, limits: FieldPatch) -> Result<ApiKey, ControlError> {
        let at = (&self.project, &self.key.id);
        let revision = self.rig.control.key(&self.maker, at.0, at.1).await.unwrap().revision;
        self.rig.control.change_key(by, at, revision, KeyPatch { limits, ..KeyPatch::default() }).await
    }

    async fn fields(&self) -> super::LimitFields {
        let place = PolicyPlace::Key(self.key.id.clone());
        self.rig.control.limit_fields(vec![place]).await.unwrap().pop().unwrap()
    }
}

async fn make_limited_key(
    rig: &Rig,
    maker: &Actor,
    project: &Id,
    limits: FieldPatch,
) -> Result<(ApiKey, Secret), ControlError> {
    let new = NewKey { description: "test".to_owned(), limits, ..NewKey::default() };
    rig.control.create_key(maker, project, new).await
}

/// What workers know of a key.
fn grant(rig: &Rig, text: &Secret) -> Arc<Grant> {
    Arc::clone(rig.served().grant(text.reveal().as_bytes()).unwrap())
}

fn shapes(limits: &LimitSet) -> Vec<(Scope, u64)> {
    limits.limits().iter().map(|limit| (limit.scope, limit.terms.max)).collect()
}

/// One request of a key, as workers take it.
fn take(rig: &Rig, text: &Secret) -> Result<(), Scope> {
    let at = rig.control.meters().now();
    let taken = grant(rig, text).limits.take(Kinds::ARRIVAL, &Claim::request(), at, &mut Held::default());
    taken.map_err(|refused| refused.scope)
}

#[tokio::test]
async fn limit_holds_from_its_call_to_its_end_at_each_place() {
    let world = World::new().await;
    let (rig, maker) = (&world.rig, &world.maker);
    for (scope, site) in SCOPES.into_iter().zip(world.sites()) {
        let made = rig.control.create_limit(maker, site.clone(), requests(1)).await.unwrap();
        assert_eq!(take(rig, &world.text), Ok(()), "{scope:?}");
        assert_eq!(take(rig, &world.text), Err(scope));
        assert_eq!(kind(&rig.control.create_limit(maker, site.clone(), requests(5)).await), "name_taken");
        let at = || (site.clone(), made.limit.id.clone());
        let raised = LimitPatch { amount: Some(2), ..LimitPatch::default() };
        let changed = rig.control.change_limit(maker, at(), 1, raised.clone()).await.unwrap();
        assert_eq!((changed.limit.revision, changed.state.unwrap().posted), (2, 1), "what was used stays used");
        assert_eq!((take(rig, &world.text), take(rig, &world.text)), (Ok(()), Err(scope)));
        assert_eq!(kind(&rig.control.change_limit(maker, at(), 1, raised).await), "stale");
        let shadow = LimitPatch { mode: Some(LimitMode::Shadow), ..LimitPatch::default() };
        rig.control.change_limit(maker, at(), 2, shadow).await.unwrap();
        assert_eq!(take(rig, &world.text), Ok(()), "{scope:?}");
        rig.control.delete_limit(maker, at(), 3).await.unwrap();
        assert_eq!(kind(&rig.control.limit(maker, site.clone(), made.limit.id.clone()).await), "not_found");
        assert!(grant(rig, &world.text).limits.is_empty(), "{scope:?}");
    }
}

#[tokio::test]
async fn widest_scope_comes_first_and_a_restart_keeps_all() {
    let world = World::new().await;
    for (amount, site) in (1..).zip(world.sites()) {
        world.rig.control.create_limit(&world.maker, site, requests(amount)).await.unwrap();
    }
    let want = [(Scope::Organization, 1), (Scope::Project, 2), (Scope::Member, 3), (Scope::Key, 4)];
    assert_eq!(shapes(&grant(&world.rig, &world.text).limits), want);
    let rolled = world.rig.control.roll_key(&world.maker, (&world.project, &world.key.id), second()).await.unwrap();
    let (old, new) = (grant(&world.rig, &world.text), grant(&world.rig, &rolled.1));
    let pairs = old.limits.limits().iter().zip(new.limits.limits());
    assert_eq!(pairs.filter(|(old, new)| Arc::ptr_eq(&old.meter, &new.meter)).count(), 4, "both texts share counters");
    let (_, other) = make_key(&world.rig, &world.rig.owner, &world.project).await;
    assert_eq!(shapes(&grant(&world.rig, &other).limits), want[..2], "another maker, another key");
    let rig = world.rig.restarted().await;
    assert_eq!(shapes(&grant(&rig, &rolled.1).limits), want);
}

fn second() -> std::time::Duration {
    std::time::Duration::from_secs(1)
}

#[tokio::test]
async fn fields_of_a_key_are_views_of_its_limits() {
    let world = World::new().await;
    let period = PeriodLimit { amount: 5 * USD, count: 1, unit: CalendarUnit::Month, kind: PeriodKind::Rolling };
    let all = FieldPatch {
        usage_limit: Some(Some(9 * USD)),
        period_limit: Some(Some(period)),
        requests_per_minute: Some(Some(60)),
        tokens_per_minute: Some(Some(1_000)),
        max_concurrent: Some(Some(4)),
    };
    let revision = world.patch(&world.maker, all.clone()).await.unwrap().revision;
    assert_eq!(revision, world.patch(&world.maker, all).await.unwrap().revision, "nothing changed");
    let rows = world.rig.control.limits(&world.maker, world.at_key()).await.unwrap();
    // Rows of one moment stand in the order of their ids, which are drawn.
    let mut shown: Vec<_> =
        rows.iter().map(|of| (of.limit.kind, of.limit.window.as_str(), of.limit.algorithm)).collect();
    shown.sort_by_key(|(kind, window, _)| (kind.as_str(), *window));
    use LimitAlgorithm::{Calendar, Concurrent, FixedWindow, Total};
    assert_eq!(
        shown,
        [
            (LimitKind::Concurrent, "", Concurrent),
            (LimitKind::Requests, "1 minute", FixedWindow),
            (LimitKind::Tokens, "1 minute", FixedWindow),
            (LimitKind::Usd, "", Total),
            (LimitKind::Usd, "1 month", FixedWindow),
        ]
    );
    let month = Window::Fixed(30 * 24 * 3_600 * second());
    assert!(grant(&world.rig, &world.text).limits.limits().iter().any(|limit| limit.window() == month));

    let calendar = PeriodLimit { kind: PeriodKind::Calendar, amount: 0, ..period };
    let moved = FieldPatch { period_limit: Some(Some(calendar)), usage_limit: Some(None), ..FieldPatch::default() };
    world.patch(&world.maker, moved).await.unwrap();
    let fields = world.fields().await;
    assert_eq!((fields.usage_limit, fields.usage_total, fields.period_limit), (None, None, Some(calendar)));
    assert_eq!((fields.requests_per_minute, fields.max_concurrent), (Some(60), Some(4)), "absent fields stay");
    let rows = world.rig.control.limits(&world.maker, world.at_key()).await.unwrap();
    let money: Vec<_> = rows.iter().filter(|of| of.limit.kind == LimitKind::Usd).collect();
    assert!(matches!(money[..], [row] if (row.limit.algorithm, row.limit.amount) == (Calendar, 0)));
    let too_long = PeriodLimit { count: 13, ..calendar };
    let too_long = FieldPatch { period_limit: Some(Some(too_long)), ..FieldPatch::default() };
    assert_eq!(kind(&world.patch(&world.maker, too_long).await), "invalid");
}

#[tokio::test]
async fn who_administers_one_project_lowers_its_limits_and_no_more() {
    let world = World::new().await;
    let rig = &world.rig;
    let grants = |role| vec![ProjectGrant { project: world.project.clone(), role }];
    let below = person(rig, OrganizationRole::Member, grants(ProjectRole::ProjectAdmin)).await;
    let site = PolicySite::Project(world.project.clone());
    let made = rig.control.create_limit(&world.maker, site.clone(), requests(10)).await.unwrap().limit;
    let at = || (site.clone(), made.id.clone());
    let to = |amount| LimitPatch { amount: Some(amount), ..LimitPatch::default() };
    let shadow = LimitPatch { mode: Some(LimitMode::Shadow), ..LimitPatch::default() };
    for (name, revision, patch, want) in [
        ("raise", 1, to(11), "not_permitted"),
        ("report only", 1, shadow, "not_permitted"),
        ("lower", 1, to(9), "ok"),
        ("back", 2, to(10), "not_permitted"),
    ] {
        assert_eq!(kind(&rig.control.change_limit(&below, at(), revision, patch).await), want, "{name}");
    }
    assert_eq!(kind(&rig.control.delete_limit(&below, at(), 2).await), "not_permitted");
    let organization = PolicySite::Organization(rig.organization.clone());
    assert_eq!(kind(&rig.control.create_limit(&below, organization, requests(1)).await), "not_permitted");
    rig.control.create_limit(&below, world.at_key(), requests(1)).await.unwrap();
    rig.control.delete_limit(&world.maker, at(), 2).await.unwrap();
}

#[tokio::test]
async fn who_makes_own_keys_only_tightens_them_within_the_own_limit() {
    let world = World::new().await;
    let rig = &world.rig;
    let grants = vec![ProjectGrant { project: world.project.clone(), role: ProjectRole::Developer }];
    let developer = person(rig, OrganizationRole::Member, grants).await;
    let member = (rig.organization.clone(), developer.author.clone());
    let own = FieldPatch { usage_limit: Some(Some(2 * USD)), ..FieldPatch::default() };
    let revision = rig.control.member(&world.maker, member.0.clone(), member.1.clone()).await.unwrap().revision;
    let patch = MemberPatch { limits: own, ..MemberPatch::default() };
    rig.control.change_member(&world.maker, member, revision, patch).await.unwrap();

    let usage = |usd: Option<u64>| FieldPatch { usage_limit: Some(usd.map(|usd| usd * USD)), ..FieldPatch::default() };
    assert_eq!(kind(&make_limited_key(rig, &developer, &world.project, usage(Some(3))).await), "invalid");
    let (key, text) = make_limited_key(rig, &developer, &world.project, usage(Some(2))).await.unwrap();
    assert_eq!(shapes(&grant(rig, &text).limits), [(Scope::Member, 2 * USD), (Scope::Key, 2 * USD)]);
    let at = (&world.project, &key.id);
    let mut revision = key.revision;
    for (usd, want) in [(None, "not_permitted"), (Some(1), "ok"), (Some(2), "not_permitted")] {
        let patch = KeyPatch { limits: usage(usd), ..KeyPatch::default() };
        let changed = rig.control.change_key(&developer, at, revision, patch).await;
        assert_eq!(kind(&changed), want, "{usd:?}");
        revision = changed.map_or(revision, |key| key.revision);
    }
    let site = PolicySite::Key { project: world.project.clone(), key: key.id.clone() };
    assert_eq!(rig.control.limits(&developer, site.clone()).await.unwrap().len(), 1);
    assert_eq!(kind(&rig.control.create_limit(&developer, site, requests(1)).await), "not_permitted");
    assert_eq!(kind(&rig.control.limits(&developer, world.at_key()).await), "not_found", "another's key");
}
