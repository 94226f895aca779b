//! What rows of requests cost the disk.

use rusqlite::Connection;

use super::fixture::{Fixture, at};
use crate::{base::RequestId, usage::Record};

/// Rows of one transaction.
const ROWS: u64 = 100;

impl Fixture {
    /// Stores rows of requests that began a millisecond apart; `named` makes their ids.
    fn store_rows(&self, from: u64, named: fn(u64, u128) -> RequestId) {
        let rows = move |tx: &mut dyn crate::store::Tx| {
            let mut random = fastrand::Rng::with_seed(from);
            (from..from + ROWS).try_for_each(|ms| {
                let record = Record::begun(at(ms), named(ms, random.u128(..)), "chat");
                tx.insert_request("prj_a", 1, &record)
            })
        };
        self.write(rows).unwrap();
    }

    /// Pages that one more transaction of rows writes, among 10,000 that are there.
    fn pages_written(&self, named: fn(u64, u128) -> RequestId) -> u64 {
        (0..100).for_each(|turn| self.store_rows(turn * ROWS, named));
        let beside = Connection::open(self.path()).unwrap();
        let log = |sql| beside.query_row(sql, [], |row| row.get::<_, u64>(1)).unwrap();
        log("PRAGMA wal_checkpoint(TRUNCATE)");
        self.store_rows(100 * ROWS, named);
        log("PRAGMA wal_checkpoint(NOOP)")
    }
}

#[test]
fn rows_of_one_moment_lie_together() {
    let ordered = Fixture::new().pages_written(|ms, draw| RequestId::begun(at(ms), draw));
    assert!((5..20).contains(&ordered), "{ordered} pages for {ROWS} rows");
    // What clients name themselves is found all the same; each such name changes a page of the index.
    let scattered = Fixture::new().pages_written(|_, draw| RequestId::made(draw));
    assert!(scattered > 3 * ordered, "{scattered} pages, {ordered} in order");
}
