//! Runs that price usage again, over a store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    super::{
        Actor, Control, ControlError, Keeper, Payment, keep,
        tests::{Rig, actor, kind, member, page},
    },
    *,
};
use crate::{
    base::{Caller, Id, Labels, NanoUsd, RequestId, TokenCounts, UnixTime, unix_time},
    limit::Meters,
    store::{
        AuditFilter, LedgerFilter, LedgerKind, Order, OrganizationRole, PageRequest, ProjectRole, RepriceState,
        RequestFilter, Span, Tx,
    },
    usage::{Annotations, Credential, Record},
};

/// A model at an address of its own, of which no table knows a price.
const UNPRICED: &str = "chat_models: [{model_id: m, model: openai/own, credentials: {base_url: \"https://models.example.com/v1\"}}]\n\
                        routes: {chat: {chat_models: [m]}}\n";

/// The same with a price: USD per million tokens in and out, and each request.
fn priced(input: &str, output: &str, each: &str) -> String {
    format!("{UNPRICED}prices: [{{model: openai/own, input: {input}, output: {output}, per_request: {each}}}]\n")
}

/// Some requests of one model, which ended a while ago.
struct Used {
    rig: Rig,
    project: Id,
    labels: Arc<Labels>,
    caller: Arc<Caller>,
}

impl Used {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let project = rig.project_id("chat").await;
        let labels = Labels {
            organization: rig.organization.as_str().into(),
            project: "chat".into(),
            route: "chat".into(),
            provider: "openai".into(),
            model: "own".into(),
            target: "m".into(),
        };
        let caller = Caller { project: Some(project.as_str().into()), ..Caller::of_key("key_a") };
        Self { rig, project, labels: Arc::new(labels), caller: Arc::new(caller) }
    }

    /// A request that ended so long ago.
    fn record(&self, number: u128, ago: Duration, (input, output): (u64, u64)) -> Record {
        Record {
            status: 200,
            attempts: 1,
            labels: Some(Arc::clone(&self.labels)),
            caller: Some(Arc::clone(&self.caller)),
            credential: Credential::Own,
            tokens: TokenCounts { input, output, ..TokenCounts::default() },
            is_sampled: true,
            ..Record::begun(UnixTime(unix_time().0.saturating_sub(ago)), RequestId::made(number), "chat")
        }
    }

    async fn store(&self, records: Vec<Record>) {
        let keeper = self.keeper().await;
        records.into_iter().for_each(|record| keeper.note(record));
        let (stop, stopped) = watch::channel(true);
        keep(keeper, stopped).await;
        drop(stop);
    }

    async fn keeper(&self) -> Arc<Keeper> {
        let meters = Arc::new(Meters::in_memory());
        Arc::new(Keeper::open(self.rig.control.store().clone(), meters).await.unwrap())
    }

    /// Served by this text from now on; returns its version.
    async fn serve(&self, text: &str) -> u32 {
        self.rig.serve(&self.project, text).await
    }

    async fn reprice(&self, prices: PriceChoice, operation: &str) -> Repriced {
        let order = RepriceOrder { dry_run: false, ..order(prices) };
        self.rig.control.reprice(&self.rig.owner, &self.project, order, operation.to_owned()).await.unwrap()
    }

    async fn dry(&self, prices: PriceChoice) -> RepriceFigures {
        let done = self.rig.control.reprice(&self.rig.owner, &self.project, order(prices), "dry".to_owned()).await;
        let done = done.unwrap();
        assert_eq!(done.run, None);
        done.report.total
    }

    /// Everything that repricing may change: sums of all spans, tags, accounts, costs of rows.
    async fn books(&self) -> Books {
        assert_eq!(self.keeper().await.compare().await.unwrap(), 0, "the books are apart");
        books(&self.rig.control, self.project.as_str()).await
    }
}

type Books = BTreeMap<String, i64>;

async fn books(control: &Control, project: &str) -> Books {
    let project = project.to_owned();
    let read = move |tx: &dyn Tx| {
        let mut found = Books::new();
        for span in [Span::Minute, Span::Hour, Span::Day] {
            tx.rollups(&project, span, (0, u64::MAX >> 1), &mut |rollup| {
                let name = |what: &str| format!("{span:?} {} {} {what}", rollup.bucket, rollup.dimension);
                *found.entry(name("cost")).or_default() += rollup.tally.cost.0;
                *found.entry(name("unpriced")).or_default() += i64::try_from(rollup.tally.unpriced).unwrap();
            })?;
        }
        tx.tags(&project, (0, u64::MAX >> 1), &mut |place, sum| {
            found.insert(format!("tag {} {}={}", place.bucket, place.name, place.value), sum.cost.0);
        })?;
        tx.each_account(&mut |account| {
            found.insert(format!("account {}", account.account), i64::try_from(account.posted).unwrap());
        })?;
        let ever = (UnixTime(Duration::ZERO), unix_time());
        for row in tx.priced_rows(&project, ever, None, 10_000)? {
            found.insert(format!("row {}", row.id), row.cost.map_or(-1, |cost| cost.0));
        }
        Ok::<_, ControlError>(found)
    };
    control.store().read(read).await.unwrap()
}

fn order(prices: PriceChoice) -> RepriceOrder {
    let now = unix_time();
    RepriceOrder {
        from: UnixTime(now.0.saturating_sub(Duration::from_secs(2 * 86_400))),
        to: now,
        prices,
        credential: Credential::Own,
        route: None,
        provider: None,
        model: None,
        comment: "test".to_owned(),
        dry_run: true,
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn tagged(record: Record, value: &str) -> Record {
    let annotations = Annotations { tags: BTreeMap::from([("team".into(), value.into())]), ..Annotations::default() };
    Record { annotations: Some(Box::new(annotations)), ..record }
}

#[tokio::test]
async fn unpriced_requests_get_their_price_once_everywhere() {
    let used = Used::new().await;
    used.serve(UNPRICED).await;
    let records = [(1, 200, 10, 1), (2, 200, 20, 2), (3, 3, 30, 3)];
    let records = records.map(|(number, ago, input, output)| {
        let value = if number == 2 { "b" } else { "a" };
        tagged(used.record(number, minutes(ago), (input, output)), value)
    });
    used.store(records.to_vec()).await;
    used.keeper().await.fold().await.unwrap();
    let before = used.books().await;
    assert_eq!(
        used.dry(PriceChoice::Served).await,
        RepriceFigures { requests: 3, without_price: 3, ..Default::default() }
    );

    let version = used.serve(&priced("1", "10", "0.5")).await;
    let (cost, each) =
        (60 * 1_000 + 6 * 10_000 + 3 * 500_000_000, [520_000, 540_000, 560_000].map(|c| c - 500_000 + 500_000_000));
    assert_eq!(each.iter().sum::<i64>(), cost);
    let want =
        RepriceFigures { requests: 3, by_rows: 3, newly_priced: 3, new_cost: NanoUsd(cost), ..Default::default() };
    assert_eq!(used.dry(PriceChoice::Served).await, want);
    assert_eq!(used.books().await, before, "a dry run writes nothing");

    let done = used.reprice(PriceChoice::Version(version), "a").await;
    let run = done.run.unwrap();
    assert_eq!((done.report.total, run.state, run.done), (want, RepriceState::Done, run.changes));
    let after = used.books().await;
    let sum = |of: &str| after.iter().filter(|(name, _)| name.starts_with(of)).map(|(_, cost)| *cost).sum::<i64>();
    assert_eq!(after[&format!("account cost:{}", used.project)], cost);
    for span in ["Minute", "Hour", "Day"] {
        assert_eq!(sum(span), cost, "{span}: costs, and no request without a price");
    }
    assert_eq!((sum("row"), sum("tag")), (cost, cost));
    let by_tag: Vec<_> = after.iter().filter(|(name, _)| name.ends_with("team=b")).map(|(_, cost)| *cost).collect();
    assert_eq!(by_tag, [each[1]]);

    // Once more changes nothing, and has nothing to say in the ledger.
    let again = used.reprice(PriceChoice::Served, "b").await;
    assert_eq!((again.report.total.difference(), again.run.unwrap().changes), (NanoUsd::ZERO, 0));
    assert_eq!(used.books().await, after);
    let filter = LedgerFilter { kind: Some(LedgerKind::Reprice), ..LedgerFilter::default() };
    let entries = used.rig.control.store().read(move |tx| tx.ledger(&filter, &page(100))).await.unwrap().rows;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].amount, entries[0].requests, entries[0].operation.starts_with(run.id.as_str())),
        (cost, 3, true)
    );

    // The row is as it was written; what corrects it stands beside.
    let filter = RequestFilter { project: used.project.as_str().to_owned(), ..RequestFilter::default() };
    let rows = used.rig.control.store().read(move |tx| tx.requests(&filter, &page(10))).await.unwrap().rows;
    for row in rows {
        let corrected = row.corrected.unwrap();
        assert_eq!((row.cost, row.unpriced, corrected.reprice.as_str()), (None, true, run.id.as_str()));
        assert_eq!(corrected.price_source, "prices");
    }
    let logged = used.rig.control.store().read(|tx| tx.audit(&AuditFilter::default(), &page(100))).await.unwrap().rows;
    let logged: Vec<_> = logged.iter().filter(|row| row.event.action == "usage.reprice").collect();
    assert_eq!((logged.len(), logged[0].event.actor.as_str()), (2, used.rig.owner.id.as_str()));
    assert!(logged[0].event.after.contains(&NanoUsd(cost).to_string()), "{}", logged[0].event.after);
}

#[tokio::test]
async fn any_way_to_a_price_leads_to_the_same_books() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..6 {
        let used = Used::new().await;
        let versions = [
            used.serve(&priced("1.000001", "2.5", "0")).await,
            used.serve(&priced("0.3", "0.7", "0")).await,
            used.serve(&priced("3", "0", "0.000007")).await,
        ];
        let records = (0..random.usize(1..60)).map(|number| {
            let tokens = (random.u64(0..5_000), random.u64(0..900));
            let record = used.record(number as u128 + 1, Duration::from_secs(random.u64(0..80_000)), tokens);
            let cost = (random.u8(..4) > 0).then(|| NanoUsd(random.i64(0..9_000_000)));
            let sampled = Record { cost, is_sampled: random.u8(..8) > 0, ..record };
            if random.bool() { tagged(sampled, "a") } else { sampled }
        });
        used.store(records.collect()).await;
        if random.bool() {
            used.keeper().await.fold().await.unwrap();
        }
        let mut reached: Option<Books> = None;
        // Of each pair the last one holds, where it can be exact at all; straight to it from there changes nothing.
        for (number, choice) in [0, 2, 1, 2, 1, 1].into_iter().enumerate() {
            used.reprice(PriceChoice::Version(versions[choice]), &format!("{round}.{number}")).await;
            let books = used.books().await;
            if choice == 1 {
                if let Some(reached) = &reached {
                    assert_eq!(&books, reached, "round {round}, run {number}");
                }
                reached = Some(books);
            }
        }
    }
}

#[tokio::test]
async fn sums_are_priced_where_they_tell_the_cost_and_counted_where_not() {
    let used = Used::new().await;
    used.serve(&priced("1", "10", "0")).await;
    let hidden = |number, ago| Record { is_sampled: false, ..used.record(number, minutes(ago), (100, 10)) };
    used.store(vec![hidden(1, 50), used.record(2, minutes(50), (7, 7)), hidden(3, 5)]).await;
    let found = used.dry(PriceChoice::Served).await;
    let cost = NanoUsd(207 * 1_000 + 27 * 10_000);
    assert_eq!((found.by_rows, found.by_sums, found.inexact, found.new_cost), (0, 3, 0, cost));
    // A fee for each request: which of them used nothing and is free, sums do not tell.
    used.serve(&priced("1", "10", "0.1")).await;
    let found = used.dry(PriceChoice::Served).await;
    assert_eq!((found.by_sums, found.inexact, found.newly_priced, found.new_cost), (0, 3, 0, NanoUsd::ZERO));
    let done = used.reprice(PriceChoice::Served, "a").await;
    assert_eq!(done.run.unwrap().changes, 0);
}

#[tokio::test]
async fn run_that_is_cut_off_goes_on_once_after_a_restart() {
    let used = Used::new().await;
    used.serve(&priced("1", "10", "0")).await;
    // A minute each, so that there are more changes than one step makes.
    let records = (0..700).map(|number| used.record(u128::from(number) + 1, minutes(number * 2), (100, 10)));
    used.store(records.collect()).await;
    let want = {
        let order = RepriceOrder { dry_run: false, ..order(PriceChoice::Served) };
        let found = used.rig.control.store().read({
            let id = used.project.clone();
            move |tx| tx.project(&id)
        });
        let project = found.await.unwrap().unwrap();
        let parts = super::period::parts(order.from, order.to, unix_time()).unwrap();
        let plan = used.rig.control.plan_reprice(&project, &order, parts).await.unwrap();
        assert!(plan.changes.len() > 1_000, "{}", plan.changes.len());
        let operation = "cut".to_owned();
        let run = used.rig.control.begin_reprice(&used.rig.owner, &project, (&order, operation), plan).await.unwrap();
        let run = used.rig.control.step_reprice(run).await.unwrap();
        assert_eq!((run.state, run.done), (RepriceState::Applying, 500));
        700 * (100 * 1_000 + 10 * 10_000)
    };
    let account = format!("account cost:{}", used.project);
    let half = used.books().await.get(&account).copied().unwrap_or_default();
    assert!(half < want, "{half}");
    let Used { rig, project, labels, caller } = used;
    let used = Used { rig: rig.restarted().await, project, labels, caller };
    let (stop, stopped) = watch::channel(false);
    finish_reprices(Arc::clone(&used.rig.control), stopped).await;
    drop(stop);
    let after = used.books().await;
    assert_eq!(after[&account], want);
    let page = PageRequest { limit: 10, after: None, order: Order::Ascending };
    let runs = used.rig.control.reprices(&used.rig.owner, &used.project, page).await.unwrap().rows;
    let run = runs[0].run.as_ref().unwrap();
    assert_eq!((runs.len(), run.state, run.done), (1, RepriceState::Done, run.changes));
    // The same operation is known, another finds nothing to do.
    let order = RepriceOrder { dry_run: false, ..order(PriceChoice::Served) };
    let again = used.rig.control.reprice(&used.rig.owner, &used.project, order, "cut".to_owned()).await;
    assert!(matches!(again, Err(ControlError::InUse(_))), "{}", kind(&again));
    assert_eq!(used.reprice(PriceChoice::Served, "other").await.run.unwrap().changes, 0);
    assert_eq!(used.books().await, after);
}

#[tokio::test]
async fn credits_follow_what_the_platform_has_paid() {
    let used = Used::new().await;
    let admin = Actor { instance_admin: true, ..used.rig.owner.clone() };
    let labels = Arc::new(Labels { model: "gpt-4o-mini".into(), ..(*used.labels).clone() });
    let record = |number, cost| Record {
        labels: Some(Arc::clone(&labels)),
        credential: Credential::Platform,
        cost: Some(NanoUsd(cost)),
        fee: NanoUsd(3),
        ..used.record(number, minutes(9), (1_000, 100))
    };
    // By the table each costs 210,000 nano-USD.
    used.store(vec![record(1, 10_000), record(2, 900_000), used.record(3, minutes(9), (5, 5))]).await;
    let platform = |dry_run| RepriceOrder { credential: Credential::Platform, dry_run, ..order(PriceChoice::Served) };
    let reprice = async |actor: &Actor, order, name: &str| {
        used.rig.control.reprice(actor, &used.project, order, name.to_owned()).await
    };
    assert_eq!(kind(&reprice(&used.rig.owner, platform(true), "a").await), "not_permitted");
    let by_version = RepriceOrder { prices: PriceChoice::Version(1), ..platform(true) };
    assert_eq!(kind(&reprice(&admin, by_version, "a").await), "invalid", "no version prices the platform");
    let payment = Payment { amount: NanoUsd(1_000_000), comment: "test".to_owned(), operation: "paid".to_owned() };
    used.rig.control.top_up(&admin, &used.rig.organization, payment).await.unwrap();
    let done = reprice(&admin, platform(false), "a").await.unwrap();
    assert_eq!((done.report.total.requests, done.report.total.difference()), (2, NanoUsd(420_000 - 910_000)));
    let paid_in = async || {
        let state = used.rig.control.credits(&used.rig.owner, &used.rig.organization).await.unwrap();
        state.paid_in.0
    };
    assert_eq!(paid_in().await, 1_490_000, "what was charged too much is back");
    reprice(&admin, platform(false), "b").await.unwrap();
    assert_eq!(paid_in().await, 1_490_000, "once");
    let books = used.books().await;
    assert_eq!(books[&format!("account fee:{}", used.project)], 6, "fees stay as they were taken");
    assert_eq!(books[&format!("account cost:{}", used.project)], 420_000);
    let Used { rig, .. } = used;
    let rig = rig.restarted().await;
    assert_eq!(rig.control.credits(&rig.owner, &rig.organization).await.unwrap().paid_in.0, 1_490_000);
}

#[tokio::test]
async fn more_than_was_paid_in_is_never_charged_later() {
    let used = Used::new().await;
    let admin = Actor { instance_admin: true, ..used.rig.owner.clone() };
    let labels = Arc::new(Labels { model: "gpt-4o-mini".into(), ..(*used.labels).clone() });
    let record = used.record(1, minutes(9), (1_000, 100));
    used.store(vec![Record {
        labels: Some(labels),
        credential: Credential::Platform,
        cost: Some(NanoUsd(1)),
        ..record
    }])
    .await;
    let before = used.books().await;
    let order = RepriceOrder { credential: Credential::Platform, dry_run: false, ..order(PriceChoice::Served) };
    let refused = used.rig.control.reprice(&admin, &used.project, order, "a".to_owned()).await;
    assert_eq!(kind(&refused), "invalid");
    assert_eq!(used.books().await, before);
}

#[tokio::test]
async fn what_cannot_be_priced_again_is_refused() {
    let used = Used::new().await;
    let control = &used.rig.control;
    let nothing_live =
        control.reprice(&used.rig.owner, &used.project, order(PriceChoice::Served), "a".to_owned()).await;
    assert_eq!(kind(&nothing_live), "invalid");
    used.serve(&priced("1", "10", "0")).await;
    let draft = used.rig.save(&used.project, UNPRICED).await;
    let viewer = member(&used.rig.organization, &used.project, ProjectRole::Viewer);
    let administrator = member(&used.rig.organization, &used.project, ProjectRole::ProjectAdmin);
    let auditor = actor(&used.rig.organization, OrganizationRole::Auditor, Vec::new());
    let stranger = actor(&Id::random(crate::base::IdKind::Organization).unwrap(), OrganizationRole::Owner, Vec::new());
    let later = UnixTime(unix_time().0 + minutes(2));
    let plain = || order(PriceChoice::Served);
    for (name, who, order, want) in [
        ("unknown version", &used.rig.owner, order(PriceChoice::Version(99)), "invalid"),
        ("draft", &used.rig.owner, order(PriceChoice::Version(draft)), "invalid"),
        ("future", &used.rig.owner, RepriceOrder { to: later, ..plain() }, "invalid"),
        ("viewer", &viewer, plain(), "not_permitted"),
        ("project administrator", &administrator, plain(), "not_permitted"),
        ("auditor", &auditor, plain(), "not_permitted"),
        ("stranger", &stranger, plain(), "not_found"),
        ("fine", &used.rig.owner, plain(), "ok"),
    ] {
        assert_eq!(kind(&control.reprice(who, &used.project, order, "a".to_owned()).await), want, "{name}");
    }
}

#[tokio::test]
async fn cost_that_cannot_be_held_is_refused_before_anything_is_written() {
    let used = Used::new().await;
    used.serve(&priced("900000000", "1", "0")).await;
    let many = i64::MAX.unsigned_abs() / 1_000;
    used.store(vec![used.record(1, minutes(5), (many, 1)), used.record(2, minutes(5), (1, 1))]).await;
    let before = used.books().await;
    let order = RepriceOrder { dry_run: false, ..order(PriceChoice::Served) };
    let refused = used.rig.control.reprice(&used.rig.owner, &used.project, order, "a".to_owned()).await;
    assert_eq!(kind(&refused), "invalid");
    assert_eq!(used.books().await, before);
}
