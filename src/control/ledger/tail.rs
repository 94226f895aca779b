//! Requests as they end, for whoever looks on.
//!
//! Fed by the pump with the records that it has in hands anyway: while nobody looks on, a record costs one load. A tail is
//! bounded and loses what does not fit; what it lost is counted, for itself and for `/metrics`.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::error::ControlError;
use super::{
    batch::project_of,
    group::{Group, class_name, class_of},
};
use crate::{
    store::{AttemptRow, DetailsRow, RequestFilter, RequestRow},
    usage::{Record, Texts},
};

/// Tails of one process at the same time.
const TAILS_MAX: usize = 16;
/// Rows that wait for one reader.
const WAITING_MAX: usize = 1_024;

/// All open tails. One in a process.
#[derive(Default)]
pub struct Tails {
    count: AtomicUsize,
    lost: AtomicU64,
    lines: Mutex<Vec<Line>>,
}

/// Where the rows of one tail go.
struct Line {
    number: u64,
    filter: RequestFilter,
    rows: Sender<RequestRow>,
    lost: Arc<AtomicU64>,
}

/// The reading end of a tail; dropping it ends it.
pub struct Tail {
    tails: Arc<Tails>,
    number: u64,
    /// What it shows; project and member are those of its reader.
    pub filter: RequestFilter,
    rows: Receiver<RequestRow>,
    lost: Arc<AtomicU64>,
}

impl Tails {
    /// Opens a tail of what the filter lets through from now on.
    ///
    /// # Errors
    /// [`ControlError::LimitReached`] when there are too many.
    pub(in crate::control) fn open(self: &Arc<Self>, filter: RequestFilter) -> Result<Tail, ControlError> {
        let mut lines = self.lines();
        if lines.len() >= TAILS_MAX {
            return Err(ControlError::LimitReached(format!(
                "{TAILS_MAX} of {TAILS_MAX} tails are open; end one of them"
            )));
        }
        let number = lines.last().map_or(0, |line| line.number + 1);
        let (sender, rows) = channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        lines.push(Line { number, filter: filter.clone(), rows: sender, lost: Arc::clone(&lost) });
        self.count.store(lines.len(), Ordering::Relaxed);
        drop(lines);
        Ok(Tail { tails: Arc::clone(self), number, filter, rows, lost })
    }

    /// Shows a record to all tails that want it. Never waits.
    pub fn note(&self, record: &Record) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for line in self.lines().iter().filter(|line| admits(&line.filter, record)) {
            match line.rows.try_reserve() {
                Ok(place) => place.send(row_of(record)),
                Err(_) => {
                    line.lost.fetch_add(1, Ordering::Relaxed);
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Rows that all tails together have lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Takes up to `rows_max` rows that wait.
    pub fn take(&mut self, rows_max: usize) -> Vec<RequestRow> {
        let mut rows = Vec::new();
        while rows.len() < rows_max
            && let Ok(row) = self.rows.try_recv()
        {
            rows.push(row);
        }
        rows
    }

    /// Rows that it has lost since it was opened.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut lines = self.tails.lines();
        lines.retain(|line| line.number != self.number);
        self.tails.count.store(lines.len(), Ordering::Relaxed);
    }
}

/// Whether the list of stored requests would show a record under this filter.
fn admits(filter: &RequestFilter, record: &Record) -> bool {
    let (caller, labels) = (record.caller.as_deref(), record.labels.as_deref());
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let tags = record.annotations.as_deref().map(|annotations| &annotations.tags);
    let tagged =
        |fits: &dyn Fn(&str, &str) -> bool| tags.is_some_and(|tags| tags.iter().any(|(name, value)| fits(name, value)));
    project_of(caller, labels) == filter.project
        && is(&filter.key, caller.map_or("", |caller| &caller.key))
        && is(&filter.member, caller.and_then(|caller| caller.member.as_deref()).unwrap_or_default())
        && is(&filter.route, labels.map_or("", |labels| &labels.route))
        && is(&filter.provider, labels.map_or("", |labels| &labels.provider))
        && is(&filter.model, labels.map_or("", |labels| &labels.model))
        && is(&filter.status_class, class_name(class_of(record.status)))
        && is(&filter.error, record.error_code)
        && is(&filter.finish, record.finish.as_str())
        && filter.status.is_none_or(|status| status == record.status)
        && filter.tag_name.as_deref().is_none_or(|wanted| tagged(&|name, _| name == wanted))
        && filter
            .tag
            .as_deref()
            .is_none_or(|wanted| tagged(&|name, value| wanted.split_once('=') == Some((name, value))))
        && filter.text.as_deref().is_none_or(|text| record.request_id.as_str().contains(text))
        && filter.since.is_none_or(|since| record.at >= since)
        && filter.until.is_none_or(|until| record.at < until)
}

/// A record as its row would be read; it has no number, since it may never be stored.
fn row_of(record: &Record) -> RequestRow {
    let annotations = record.annotations.as_deref();
    let json = |texts: &Texts| if texts.is_empty() { None } else { serde_json::to_string(texts).ok() };
    RequestRow {
        id: 0,
        at: record.at,
        request_id: record.request_id.as_str().to_owned(),
        trace_id: (record.trace_id != [0; 16]).then_some(record.trace_id),
        generation: record.generation,
        version: record.config_version,
        status: record.status,
        client_ip: record.client_ip.map(|ip| ip.to_string()),
        duration: record.duration,
        ttft: record.ttft,
        overhead: record.overhead,
        upstream_time: record.upstream_time,
        attempts: record.attempts,
        tried: record.tried.as_deref().map(|tried| tried.iter().map(AttemptRow::from).collect()),
        tokens: record.tokens,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        cost: record.cost,
        fee: record.fee,
        price_source: record.price.map_or("", |price| price.source.as_str()).to_owned(),
        price_date: record.price.and_then(|price| price.date()),
        corrected: None,
        cancelled: record.cancelled,
        estimated: record.estimated,
        usage_suspect: record.usage_suspect,
        unpriced: record.is_unpriced(),
        fallback: record.fallback,
        tags: annotations.and_then(|annotations| json(&annotations.tags)),
        metadata: annotations.and_then(|annotations| json(&annotations.metadata)),
        details: DetailsRow::of(record),
        dimension: Group::of(record).dimension(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{super::tests::Rig, tests::spent};
    use super::*;
    use crate::{
        base::{RequestId, unix_time},
        store::{Order, PageRequest},
        usage::Annotations,
    };

    fn filter() -> RequestFilter {
        RequestFilter { project: "prj_a".to_owned(), ..RequestFilter::default() }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// What the list of stored rows says about the same records is what is expected.
    #[tokio::test]
    async fn tail_lets_through_what_the_list_would_show_and_as_it_would() {
        let rig = Rig::new().await;
        let tags = |line: &[u8]| Annotations::parse([line].into_iter(), None).unwrap();
        let records = [
            spent(1, "a", 5),
            Record { status: 429, error_code: "rate_limited", ..spent(2, "a", 0) },
            Record { annotations: tags(b"team=red,env=a"), ..spent(3, "a", 0) },
            Record { annotations: tags(b"team=blue"), status: 0, ..spent(4, "a", 0) },
            Record { caller: None, ..spent(5, "a", 0) },
        ];
        let rows = records.clone();
        let write = move |tx: &mut dyn crate::store::Tx| {
            for record in &rows {
                let dimension = tx.dimension(&Group::of(record).dimension())?;
                let project = project_of(record.caller.as_deref(), record.labels.as_deref());
                tx.insert_request(project, dimension, record)?;
            }
            Ok::<_, crate::store::StoreError>(())
        };
        rig.control.store().write(write).await.unwrap();
        let at = records[0].at;
        for (name, filter) in [
            ("all", filter()),
            ("other project", RequestFilter { project: "prj_b".to_owned(), ..filter() }),
            ("key", RequestFilter { key: some("key_a"), ..filter() }),
            ("other key", RequestFilter { key: some("key_b"), ..filter() }),
            ("member", RequestFilter { member: some("usr_a"), ..filter() }),
            ("route", RequestFilter { route: some("chat"), ..filter() }),
            ("provider", RequestFilter { provider: some("openai"), ..filter() }),
            ("model", RequestFilter { model: some(""), ..filter() }),
            ("status", RequestFilter { status: Some(429), ..filter() }),
            ("class", RequestFilter { status_class: some("none"), ..filter() }),
            ("error", RequestFilter { error: some("rate_limited"), ..filter() }),
            ("finish", RequestFilter { finish: some("client_error"), ..filter() }),
            ("tag name", RequestFilter { tag_name: some("team"), ..filter() }),
            ("tag", RequestFilter { tag: some("team=red"), ..filter() }),
            ("no such tag", RequestFilter { tag: some("env=red"), ..filter() }),
            ("text", RequestFilter { text: some(&records[1].request_id.as_str()[10..]), ..filter() }),
            ("since", RequestFilter { since: Some(at), ..filter() }),
            ("later", RequestFilter { since: Some(unix_time()), ..filter() }),
            ("until", RequestFilter { until: Some(at), ..filter() }),
        ] {
            let tails = Arc::new(Tails::default());
            let mut tail = tails.open(filter.clone()).unwrap();
            records.iter().for_each(|record| tails.note(record));
            let page = PageRequest { limit: 100, after: None, order: Order::Ascending };
            let listed = rig.control.store().read(move |tx| tx.requests(&filter, &page)).await.unwrap().rows;
            let listed: Vec<_> = listed.into_iter().map(|row| RequestRow { id: 0, ..row }).collect();
            assert_eq!(tail.take(100), listed, "{name}");
        }
    }

    #[test]
    fn tail_without_a_reader_is_bounded_and_what_it_loses_is_counted() {
        let tails = Arc::new(Tails::default());
        tails.note(&spent(0, "a", 0));
        let mut slow = tails.open(filter()).unwrap();
        let other = tails.open(RequestFilter { project: "prj_b".to_owned(), ..filter() }).unwrap();
        for number in 0..2_000 {
            tails.note(&spent(number, "a", 0));
        }
        assert_eq!((slow.lost(), other.lost(), tails.lost()), (976, 0, 976));
        let rows = slow.take(4_000);
        assert_eq!((rows.len(), rows[0].request_id.as_str()), (1_024, RequestId::made(0).as_str()), "the oldest stay");
        tails.note(&spent(3_000, "a", 0));
        assert_eq!((slow.take(1).len(), slow.lost()), (1, 976));
        drop(slow);
        assert_eq!(tails.count(), 1);
    }

    #[test]
    fn number_of_tails_is_bounded() {
        let tails = Arc::new(Tails::default());
        let mut open: Vec<_> = (0..TAILS_MAX).map(|_| tails.open(filter()).unwrap()).collect();
        assert!(matches!(tails.open(filter()), Err(ControlError::LimitReached(_))));
        open.remove(3);
        assert!(tails.open(filter()).is_ok());
    }
}
