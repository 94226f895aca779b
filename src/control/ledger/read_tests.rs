//! What is read is what was noted, by whom it concerns only.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    super::{Actor, ControlError, tests::Rig},
    tests::{Book, run},
    *,
};
use crate::{
    base::{Caller, Id, Labels, NanoUsd, RequestId, TokenCounts, UnixTime, unix_time},
    store::{
        Health, Order, OrganizationRole, PageRequest, ProjectGrant, ProjectRole, RequestFilter, Rollup, Span,
        StoreError, Tx,
    },
    usage::{Annotations, Record, Tally},
};

/// What a test says about a request.
#[derive(Debug, Clone)]
struct Told {
    second: u64,
    route: u8,
    status: u16,
    cost: u32,
    fee: u32,
    ms: u64,
}

fn told() -> impl Strategy<Value = Told> {
    let status = prop_oneof![Just(200u16), Just(429), Just(502), Just(0)];
    (0..40_000u64, 0..3u8, status, any::<u32>(), 0..5u32, 0..100_000u64)
        .prop_map(|(second, route, status, cost, fee, ms)| Told { second, route, status, cost, fee, ms })
}

fn labels(route: u8) -> Arc<Labels> {
    Arc::new(Labels { organization: "org_a".into(), route: route.to_string().into(), ..Labels::default() })
}

/// The same names each time: in a process they are shared.
fn caller() -> Arc<Caller> {
    caller_in("prj_a")
}

fn caller_in(project: &str) -> Arc<Caller> {
    Arc::new(Caller { project: Some(project.into()), ..Caller::of_key("key_a") })
}

/// Ten hours before now, to the day: no bucket of the test may be too old to be asked for.
fn base_second() -> u64 {
    unix_time().seconds() / 86_400 * 86_400 - 86_400
}

fn record(told: &Told, number: usize, (labels, caller): (&Arc<Labels>, &Arc<Caller>)) -> Record {
    let at = UnixTime(Duration::from_secs(base_second() + told.second));
    Record {
        status: told.status,
        error_code: if told.status >= 400 { "upstream_error" } else { "" },
        labels: Some(Arc::clone(labels)),
        caller: Some(Arc::clone(caller)),
        cost: Some(NanoUsd(i64::from(told.cost))),
        fee: NanoUsd(i64::from(told.fee)),
        duration: Duration::from_millis(told.ms),
        tokens: TokenCounts { input: u64::from(told.cost), output: 1, ..TokenCounts::default() },
        is_sampled: true,
        ..Record::begun(at, RequestId::made(u128::try_from(number).unwrap()), "chat")
    }
}

type Sums = BTreeMap<(u64, String, String), Tally>;

async fn stored(book: &Book, span: Span) -> Sums {
    stored_in("prj_a", book, span).await
}

async fn stored_in(project: &'static str, book: &Book, span: Span) -> Sums {
    let read = move |tx: &dyn Tx| {
        let dimensions: BTreeMap<_, _> = tx.dimensions(project)?.into_iter().collect();
        let mut sums = Sums::new();
        tx.rollups(project, span, (0, u64::MAX), &mut |Rollup { bucket, dimension, tally }| {
            let of = &dimensions[&dimension];
            sums.entry((bucket, of.route.clone(), of.status.clone())).or_default().merge(&tally);
        })?;
        Ok::<_, StoreError>(sums)
    };
    book.store.read(read).await.unwrap()
}

fn naive(records: &[Record], span: Span) -> Sums {
    let mut sums = Sums::new();
    for record in records {
        let ended = (record.at.0 + record.duration).as_secs();
        let class = match record.status / 100 {
            0 => "none".to_owned(),
            class => format!("{class}xx"),
        };
        let route = record.labels.as_ref().unwrap().route.to_string();
        sums.entry((span.part_of(ended), route, class)).or_default().add(record);
    }
    sums
}

/// Random requests of two projects in random batches, folded at random moments and in parts: each sum is that of the
/// requests, books agree, and a repeated commit changes nothing (invariants I-2, I-9, I-10).
#[test]
fn roll_ups_are_the_naive_sums_however_they_are_batched_and_folded() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let batches = prop::collection::vec((prop::collection::vec(told(), 0..12), 0..50_000u64, 1..4u32, 0..9usize), 1..8);
    let check = |batches: Vec<(Vec<Told>, u64, u32, usize)>| {
        run(async {
            let book = Book::new().await;
            let (routes, callers) = ([0, 1, 2].map(labels), [caller(), caller_in("prj_b")]);
            let known = Arc::new(std::sync::Mutex::default());
            let mut records = Vec::new();
            for (sequence, (told, fold_at, count, turns)) in (1u64..).zip(&batches) {
                let mut batch = batch::Batch::default();
                for told in told {
                    for caller in &callers {
                        let record = record(told, records.len(), (&routes[usize::from(told.route)], caller));
                        batch.add(record);
                    }
                    records.push(record(told, records.len(), (&routes[usize::from(told.route)], &callers[0])));
                }
                let commit = Arc::new(commit::Commit { run: "run".into(), sequence, batch, leases: Vec::new() });
                for _ in 0..2 {
                    let (commit, known) = (Arc::clone(&commit), Arc::clone(&known));
                    book.store.write(move |tx| commit.store(tx, &known).map(drop)).await.unwrap();
                }
                let before = UnixTime(Duration::from_secs(base_second() + fold_at));
                let fold = |count| book.store.write(move |tx| tx.fold_rollups(before, count));
                for _ in 0..*turns {
                    let _ = fold(*count).await.unwrap();
                }
                // Most folds are left half-way, where the next batch finds them.
                while *turns == 0 && fold(100).await.unwrap() {}
            }
            for span in [Span::Minute, Span::Hour, Span::Day] {
                for project in ["prj_a", "prj_b"] {
                    assert_eq!(stored_in(project, &book, span).await, naive(&records, span), "{project} {span:?}");
                }
            }
            assert_eq!(book.keeper.compare().await.unwrap(), 0);
            let rows = RequestFilter { project: "prj_a".to_owned(), ..RequestFilter::default() };
            let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
            let found = book.store.read(move |tx| tx.requests(&rows, &page)).await.unwrap();
            assert_eq!(found.rows.len(), records.len());
        });
        Ok(())
    };
    runner.run(&batches, check).unwrap();
}

#[test]
fn books_that_are_apart_are_found() {
    run(async {
        let book = Book::new().await;
        book.keeper.note(tests::spent(1, "key:a", 100));
        book.close().await;
        assert_eq!(book.keeper.compare().await.unwrap(), 0);
        let more = Rollup { bucket: 60, dimension: 1, tally: Tally { cost: NanoUsd(5), ..Tally::default() } };
        book.store.write(move |tx| tx.add_rollup("prj_a", &more)).await.unwrap();
        assert_eq!(book.keeper.compare().await.unwrap(), 5);
        assert_eq!(book.keeper.apart(), 5);
    });
}

#[test]
fn old_roll_ups_and_rows_are_forgotten_and_days_stay() {
    run(async {
        let book = Book::new().await;
        let caller = caller();
        let long_ago = Told { second: 0, route: 0, status: 200, cost: 7, fee: 0, ms: 1 };
        let old = UnixTime(Duration::from_secs(unix_time().seconds() - 100 * 86_400));
        book.keeper.note(Record { at: old, ..record(&long_ago, 1, (&labels(0), &caller)) });
        book.keeper.note(record(&long_ago, 2, (&labels(0), &caller)));
        book.close().await;
        book.keeper.forget().await.unwrap();
        assert_eq!(stored(&book, Span::Minute).await.len(), 2, "what was never folded is not forgotten");
        book.keeper.fold().await.unwrap();
        book.keeper.forget().await.unwrap();
        assert_eq!(stored(&book, Span::Minute).await.len(), 1);
        assert_eq!(stored(&book, Span::Hour).await.len(), 1);
        assert_eq!(stored(&book, Span::Day).await.len(), 2);
        assert_eq!(book.store.read(|tx| tx.request("prj_a", RequestId::made(1).as_str())).await.unwrap(), None);
        assert!(book.store.read(|tx| tx.request("prj_a", RequestId::made(2).as_str())).await.unwrap().is_some());
        assert_eq!(book.keeper.compare().await.unwrap(), 0);
    });
}

#[test]
fn question_that_takes_too_long_is_stopped_and_harms_nothing() {
    run(async {
        let book = Book::new().await;
        for number in 0..5_000 {
            book.keeper.note(tests::spent(number, "key:a", 1));
        }
        book.close().await;
        let filter = || RequestFilter {
            project: "prj_a".to_owned(),
            text: Some("nowhere".to_owned()),
            ..RequestFilter::default()
        };
        let page = PageRequest { limit: 10, after: None, order: Order::Descending };
        let (slow, ask) = (filter(), page.clone());
        let stopped = book.store.read_within(Duration::ZERO, move |tx| tx.requests(&slow, &ask)).await;
        assert_eq!(stopped.unwrap_err(), StoreError::TooLong);
        assert_eq!(book.store.health(), Health::Ok);
        let whole = filter();
        assert_eq!(book.store.read(move |tx| tx.requests(&whole, &page)).await.unwrap().rows.len(), 0);
    });
}

#[test]
fn tags_beyond_the_bound_count_together() {
    run(async {
        let book = Book::new().await;
        let (labels, caller) = (labels(0), caller());
        let told = Told { second: 0, route: 0, status: 200, cost: 2, fee: 0, ms: 1 };
        for number in 0..1_500 {
            let tag = format!("n{}=v{number}", number % 7);
            let annotations = Annotations::parse([tag.as_bytes()].into_iter(), None).unwrap();
            book.keeper.note(Record { annotations, ..record(&told, number, (&labels, &caller)) });
        }
        book.close().await;
        let read = |tx: &dyn Tx| {
            let (mut rows, mut requests, mut cost) = (0, 0, 0);
            tx.tags("prj_a", (0, u64::MAX), &mut |_, tally| {
                rows += 1;
                requests += tally.requests;
                cost += tally.cost.0;
            })?;
            Ok::<_, StoreError>((rows, requests, cost))
        };
        assert_eq!(book.store.read(read).await.unwrap(), (1_001, 1_500, 3_000));
    });
}

/// Two members with a key each, in one project.
async fn shared_project() -> (Rig, Id, Actor) {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let grants = vec![ProjectGrant { project: project.clone(), role: ProjectRole::Developer }];
    let developer = crate::control::tests::person(&rig, OrganizationRole::Member, grants).await;
    let store = rig.control.store().clone();
    let keeper = Arc::new(Keeper::open(store, Arc::new(crate::limit::Meters::in_memory())).await.unwrap());
    let of = |key: &str, member: Option<&Id>| {
        Arc::new(Caller {
            project: Some(project.as_str().into()),
            member: member.map(|member| member.as_str().into()),
            ..Caller::of_key(key)
        })
    };
    let callers = [of("key_own", Some(&developer.author)), of("key_other", Some(&rig.owner.author))];
    let labels = Arc::new(Labels {
        organization: rig.organization.as_str().into(),
        route: "chat".into(),
        model: "m".into(),
        ..Labels::default()
    });
    let told = Told { second: 3_700, route: 0, status: 200, cost: 10, fee: 1, ms: 20 };
    for number in 0..10 {
        let caller = if number < 3 { &callers[0] } else { &callers[1] };
        let status = if number == 9 { 502 } else { 200 };
        let annotations = Annotations::parse([&b"team=red"[..]].into_iter(), None).unwrap();
        let told = Told { status, ..told.clone() };
        keeper.note(Record { annotations, ..record(&told, number, (&labels, caller)) });
    }
    let (_stop, stopped) = tokio::sync::watch::channel(true);
    keep(keeper, stopped).await;
    (rig, project, developer)
}

fn question(group_by: &[GroupBy]) -> UsageQuestion {
    UsageQuestion {
        from: UnixTime(Duration::from_secs(base_second())),
        to: unix_time(),
        granularity: Granularity::Day,
        zone: Zone::utc(),
        group_by: group_by.to_vec(),
        only: Only::default(),
    }
}

#[test]
fn developer_sees_own_keys_only() {
    run(async {
        let (rig, project, developer) = shared_project().await;
        let page = || PageRequest { limit: 100, after: None, order: Order::Descending };
        for (name, actor, want) in [("owner", &rig.owner, 10), ("developer", &developer, 3)] {
            let scope = UsageScope::Project(project.clone());
            let usage = rig.control.usage(actor, scope, question(&[GroupBy::Key])).await.unwrap();
            assert_eq!(usage.total.tally.requests, want, "{name}");
            assert_eq!(usage.rows.len(), if want == 3 { 1 } else { 2 }, "{name}");
            let rows = rig.control.requests(actor, &project, RequestFilter::default(), page()).await.unwrap().rows;
            assert_eq!(rows.len(), usize::try_from(want).unwrap(), "{name}");
            // A filter for somebody else's does not widen it.
            let other = RequestFilter {
                member: Some(rig.owner.author.as_str().to_owned()),
                key: Some("key_other".to_owned()),
                ..RequestFilter::default()
            };
            let rows = rig.control.requests(actor, &project, other, page()).await.unwrap().rows;
            assert_eq!(rows.len(), if want == 3 { 0 } else { 7 }, "{name}");
        }
        let foreign = RequestId::made(5);
        let seen = rig.control.request(&developer, &project, foreign.as_str()).await;
        assert!(matches!(seen, Err(ControlError::NotFound)));
        assert!(rig.control.request(&rig.owner, &project, foreign.as_str()).await.is_ok());
        // Tags know no member.
        let scope = UsageScope::Project(project.clone());
        assert!(rig.control.usage(&developer, scope.clone(), question(&[GroupBy::Tag])).await.is_err());
        let tags = rig.control.usage(&rig.owner, scope, question(&[GroupBy::Tag])).await.unwrap();
        assert_eq!(tags.rows.iter().map(|row| row.tally.requests).sum::<u64>(), 10);
    });
}

#[test]
fn answer_has_the_buckets_groups_and_errors_that_were_asked_for() {
    run(async {
        let (rig, project, _) = shared_project().await;
        let ask = async |question: UsageQuestion| {
            rig.control.usage(&rig.owner, UsageScope::Project(project.clone()), question).await
        };
        let day = base_second();
        for (name, granularity, zone, begins) in [
            ("minute", Granularity::Minute, "UTC", day + 3_660),
            ("hour", Granularity::Hour, "UTC", day + 3_600),
            ("hour of a zone with half hours", Granularity::Hour, "+05:30", day + 1_800),
            ("day", Granularity::Day, "UTC", day),
            ("day of an offset", Granularity::Day, "-02:00", day - 86_400 + 7_200),
            ("day of a zone", Granularity::Day, "Asia/Tokyo", day - 86_400 + 15 * 3_600),
            ("day that no hour of UTC fits into", Granularity::Day, "Asia/Kathmandu", day - 86_400 + 65_700),
        ] {
            let got =
                ask(UsageQuestion { granularity, zone: Zone::parse(zone).unwrap(), ..question(&[]) }).await.unwrap();
            let [row] = &got.rows[..] else { panic!("{name}: {} rows", got.rows.len()) };
            assert_eq!((row.begins, row.tally.requests, row.tally.cost.0), (begins, 10, 100), "{name}");
            assert_eq!(row.errors, BTreeMap::from([("upstream_error".to_owned(), 1)]), "{name}");
        }
        let only = Only { key: Some("key_own".to_owned()), ..Only::default() };
        assert_eq!(ask(UsageQuestion { only, ..question(&[]) }).await.unwrap().total.tally.requests, 3);
        let scope = UsageScope::Organization(rig.organization.clone());
        let all = rig.control.usage(&rig.owner, scope, question(&[GroupBy::Project])).await.unwrap();
        assert_eq!(all.rows[0].group, [(GroupBy::Project, project.as_str().to_owned())]);
        let ago = |days: u64| UnixTime(Duration::from_secs(unix_time().seconds() - days * 86_400));
        let (old, month_ago, kathmandu) = (ago(300), ago(30), Zone::parse("Asia/Kathmandu").unwrap());
        assert!(ask(UsageQuestion { from: month_ago, zone: kathmandu.clone(), ..question(&[]) }).await.is_ok());
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert!(ask(UsageQuestion { from: month_ago, zone: berlin, ..question(&[]) }).await.is_ok());
        for (name, says, refused) in [
            ("too long", "at most 366 days", UsageQuestion { from: UnixTime(Duration::ZERO), ..question(&[]) }),
            ("empty", "", UsageQuestion { to: question(&[]).from, ..question(&[]) }),
            (
                "minutes are gone",
                "or later: minutes are kept for 7 days; or for hours",
                UsageQuestion { from: old, granularity: Granularity::Minute, ..question(&[]) },
            ),
            (
                "hours are gone",
                "or later: hours are kept for 90 days; or for days or months in UTC",
                UsageQuestion { from: old, granularity: Granularity::Hour, ..question(&[]) },
            ),
            (
                "days of a zone are gone",
                "or later: days of a zone other than UTC are made of hours, which are kept for 90 days",
                UsageQuestion { from: old, zone: Zone::parse("+01:00").unwrap(), ..question(&[]) },
            ),
            (
                "hours made of minutes are gone",
                "made of minutes, which are kept for 7 days; or for its days or months",
                UsageQuestion { from: month_ago, zone: kathmandu, granularity: Granularity::Hour, ..question(&[]) },
            ),
            (
                "days made of minutes are gone",
                "made of minutes, which are kept for 7 days; or for those of a zone, such as `timezone=UTC`",
                UsageQuestion { from: month_ago, zone: Zone::parse("+05:17").unwrap(), ..question(&[]) },
            ),
        ] {
            let Err(ControlError::Invalid(problems)) = ask(refused).await else { panic!("{name}") };
            let said = &problems[0].message;
            assert!(said.contains(says), "{name}: {said}");
            assert!(!said.contains("or later") || said.starts_with("ask for `20"), "{name}: {said}");
        }
    });
}

/// A request a quarter of an hour for 40 days, whose minutes are gone but for the last week: days of zones off the full hour are
/// the sums of their requests, back to the first, and the sums of UTC stay what they were.
#[test]
fn days_of_zones_off_the_full_hour_are_exact_when_their_minutes_are_gone() {
    const QUARTERS: u64 = 40 * 96;
    run(async {
        let book = Book::new().await;
        let (labels, caller) = (labels(0), caller());
        let begins = unix_time().seconds() / 86_400 * 86_400 - 41 * 86_400;
        let mut ended = Vec::new();
        let mut batch = batch::Batch::default();
        for number in 0..QUARTERS {
            // Both sides of every quarter's beginning.
            let at = begins + number * 900 + if number % 2 == 0 { 0 } else { 899 };
            let told = Told { second: 0, route: 0, status: 200, cost: u32::try_from(number).unwrap(), fee: 0, ms: 0 };
            let record = record(&told, usize::try_from(number).unwrap(), (&labels, &caller));
            batch.add(Record { at: UnixTime(Duration::from_secs(at)), is_sampled: false, ..record });
            ended.push((at, number));
        }
        let commit = Arc::new(commit::Commit { run: "run".into(), sequence: 1, batch, leases: Vec::new() });
        let known = Arc::new(std::sync::Mutex::default());
        book.store.write(move |tx| commit.store(tx, &known).map(drop)).await.unwrap();
        book.keeper.fold().await.unwrap();
        book.keeper.forget().await.unwrap();
        let kept = stored(&book, Span::Minute).await.into_keys().map(|(bucket, ..)| bucket).min().unwrap();
        assert!(kept > begins + 33 * 86_400, "the minutes are gone");
        for name in ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham", "Europe/Berlin"] {
            let zone = Zone::parse(name).unwrap();
            let (from, to) = (begins + 86_400, begins + 40 * 86_400);
            let first = zone.buckets(Granularity::Day, (from, to)).begin_of(from);
            let question = UsageQuestion {
                from: UnixTime(Duration::from_secs(first)),
                to: UnixTime(Duration::from_secs(to)),
                zone: zone.clone(),
                ..question(&[])
            };
            let projects = ["prj_a".to_owned()];
            let buckets = zone.buckets(Granularity::Day, (first, to));
            let got = book.store.read(move |tx| analytics::answer(tx, &projects, &question)).await.unwrap();
            let mut want = BTreeMap::<u64, (u64, u64)>::new();
            for (at, number) in ended.iter().filter(|(at, _)| (first..to).contains(at)) {
                let day = want.entry(buckets.begin_of(*at)).or_default();
                *day = (day.0 + 1, day.1 + number);
            }
            let got: BTreeMap<u64, (u64, u64)> = got
                .rows
                .iter()
                .map(|row| (row.begins, (row.tally.requests, row.tally.cost.0.unsigned_abs())))
                .collect();
            assert_eq!(got, want, "{name}");
        }
        assert_eq!(book.keeper.compare().await.unwrap(), 0);
    });
}

#[test]
fn logs_are_filtered_by_what_was_asked_for() {
    run(async {
        let (rig, project, _) = shared_project().await;
        let text = |text: &str| Some(text.to_owned());
        for (name, filter, want) in [
            ("all", RequestFilter::default(), 10),
            ("key", RequestFilter { key: text("key_own"), ..RequestFilter::default() }, 3),
            ("status", RequestFilter { status: Some(502), ..RequestFilter::default() }, 1),
            ("class", RequestFilter { status_class: text("2xx"), ..RequestFilter::default() }, 9),
            ("error", RequestFilter { error: text("upstream_error"), ..RequestFilter::default() }, 1),
            ("tag", RequestFilter { tag: text("team=red"), ..RequestFilter::default() }, 10),
            ("other tag", RequestFilter { tag: text("team=blue"), ..RequestFilter::default() }, 0),
            ("name of a tag", RequestFilter { tag_name: text("team"), ..RequestFilter::default() }, 10),
            ("literal text", RequestFilter { text: text("%"), ..RequestFilter::default() }, 0),
            ("model", RequestFilter { model: text("m"), ..RequestFilter::default() }, 10),
            ("later", RequestFilter { since: Some(unix_time()), ..RequestFilter::default() }, 0),
        ] {
            let mut page = PageRequest { limit: 4, after: None, order: Order::Ascending };
            let mut found = 0;
            loop {
                let got = rig.control.requests(&rig.owner, &project, filter.clone(), page.clone()).await.unwrap();
                found += got.rows.len();
                let Some(last) = got.rows.last().filter(|_| got.has_more) else { break };
                page.after = Some((i64::try_from(last.at.0.as_millis()).unwrap(), last.id.to_string()));
            }
            assert_eq!(found, want, "{name}");
        }
    });
}
