//! Runs that price usage again, in SQLite.

use rusqlite::params;

use super::{
    columns::{Columns, Json},
    ledger::signed,
    requests::CANCELLED,
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, NanoUsd, UnixTime},
    store::{
        query::{Page, PageRequest},
        record::{PricedRow, Reprice, RepriceChange, Rollup, RowCorrection, Span, SumCorrection},
        reprice_tx::Reprices,
        tx::Outcome,
        usage_tx::Rollups,
    },
    usage::Tally,
};

const RUN: &str = "SELECT id, organization, project, operation, credential, state, changes, done, comment, report, made_by, \
    made_at FROM reprices";

const PRICED: &str = "SELECT requests.id, at, (at * 1000 + duration_us) / 1000000, dimension, flags, input, output, \
    cache_read, cache_write, cache_write_1h, reasoning, audio_input, audio_output, image_input, image_output, images, \
    searches, audio_ms, coalesce(corrected.cost, requests.cost), tags FROM requests \
    LEFT JOIN request_corrections AS corrected ON corrected.request = requests.id \
    WHERE project = ?1 AND (at, requests.id) > (?2, ?3) AND at < ?4 ORDER BY at, requests.id LIMIT ?5";

impl Reprices for SqliteTx<'_> {
    fn insert_reprice(&mut self, row: &Reprice) -> Outcome<()> {
        self.change(
            "INSERT INTO reprices (id, organization, project, operation, credential, state, changes, done, comment, \
             report, made_by, made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                row.organization,
                row.project,
                row.operation,
                row.credential,
                row.state,
                signed(row.changes),
                signed(row.done),
                row.comment,
                row.report,
                row.made_by,
                row.made_at
            ],
        )
    }

    fn update_reprice(&mut self, row: &Reprice) -> Outcome<()> {
        self.change(
            "UPDATE reprices SET state = ?, changes = ?, done = ? WHERE id = ?",
            params![row.state, signed(row.changes), signed(row.done), row.id],
        )
    }

    fn delete_reprice(&mut self, id: &Id) -> Outcome<()> {
        self.run("DELETE FROM reprice_changes WHERE reprice = ?", [id])?;
        self.run("DELETE FROM reprices WHERE id = ?", [id]).map(drop)
    }

    fn reprice_of(&self, operation: &str) -> Outcome<Option<Reprice>> {
        self.first(&format!("{RUN} WHERE operation = ?"), [operation], run)
    }

    fn reprices(&self, project: &Id, page: &PageRequest) -> Outcome<Page<Reprice>> {
        let mut select = Select::from(RUN.to_owned());
        select.with("project = ?", project);
        select.page(By::TimeAndId("made_at", "id"), page);
        self.page(&select, page, run)
    }

    fn open_reprices(&self, project: Option<&Id>) -> Outcome<Vec<Reprice>> {
        let sql = format!("{RUN} WHERE state <> 'done' AND (?1 IS NULL OR project = ?1) ORDER BY made_at, id");
        self.all(&sql, [project], run)
    }

    fn insert_changes(&mut self, reprice: &Id, first: u64, changes: &[RepriceChange]) -> Outcome<()> {
        for (number, change) in (first..).zip(changes) {
            self.change(
                "INSERT INTO reprice_changes (reprice, number, change) VALUES (?, ?, ?)",
                params![reprice, signed(number), Json(change)],
            )?;
        }
        Ok(())
    }

    fn take_changes(&mut self, reprice: &Id, count: u32) -> Outcome<Vec<RepriceChange>> {
        let sql = "SELECT number, change FROM reprice_changes WHERE reprice = ? ORDER BY number LIMIT ?";
        let found: Vec<(i64, RepriceChange)> =
            self.all(sql, params![reprice, count], |columns| Ok((columns.take()?, columns.list()?)))?;
        if let Some((last, _)) = found.last() {
            self.run("DELETE FROM reprice_changes WHERE reprice = ? AND number <= ?", params![reprice, last])?;
        }
        Ok(found.into_iter().map(|(_, change)| change).collect())
    }

    fn correct_sum(&mut self, project: &str, of: &SumCorrection) -> Outcome<()> {
        let tally = Tally { cost: NanoUsd(of.cost), ..Tally::default() };
        let rollup = Rollup { bucket: of.bucket, dimension: of.dimension, tally };
        let spans: &[Span] = match of.span {
            Span::Minute => {
                self.add_rollup(project, &rollup)?;
                let is_folded = (of.bucket, of.dimension) <= self.folded()?.mark(project);
                // A minute that is not folded takes its counts along when it is.
                if is_folded { &[Span::Minute, Span::Hour, Span::Day] } else { &[Span::Minute] }
            }
            Span::Hour => {
                self.add_to_wider(project, &rollup)?;
                &[Span::Hour, Span::Day]
            }
            Span::Day => {
                self.add(Span::Day, project, &rollup)?;
                &[Span::Day]
            }
        };
        for span in spans.iter().filter(|_| of.priced > 0) {
            let place = params![signed(of.priced), project, signed(span.part_of(of.bucket)), of.dimension];
            self.run(unpriced_less(*span), place)?;
        }
        Ok(())
    }

    fn correct_request(&mut self, reprice: &Id, of: &RowCorrection) -> Outcome<()> {
        self.run(
            "INSERT OR REPLACE INTO request_corrections (request, reprice, cost, price_source, price_date) \
             SELECT id, ?2, ?3, ?4, ?5 FROM requests WHERE id = ?1",
            params![signed(of.request), reprice, of.cost.0, of.price_source, of.price_date],
        )
        .map(drop)
    }

    fn priced_rows(
        &self,
        project: &str,
        (from, to): (UnixTime, UnixTime),
        after: Option<(UnixTime, u64)>,
        count: u32,
    ) -> Outcome<Vec<PricedRow>> {
        // Numbers of rows begin at 1.
        let (after_at, after_id) = after.unwrap_or((from, 0));
        self.all(PRICED, params![project, after_at, signed(after_id), to, count], priced_row)
    }
}

fn unpriced_less(span: Span) -> &'static str {
    match span {
        Span::Minute => {
            "UPDATE rollups_minute SET unpriced = max(0, unpriced - ?) WHERE project = ? AND bucket = ? AND dimension = ?"
        }
        Span::Hour => {
            "UPDATE rollups_hour SET unpriced = max(0, unpriced - ?) WHERE project = ? AND bucket = ? AND dimension = ?"
        }
        Span::Day => {
            "UPDATE rollups_day SET unpriced = max(0, unpriced - ?) WHERE project = ? AND bucket = ? AND dimension = ?"
        }
    }
}

fn run(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Reprice> {
    Ok(Reprice {
        id: columns.take()?,
        organization: columns.take()?,
        project: columns.take()?,
        operation: columns.take()?,
        credential: columns.take()?,
        state: columns.take()?,
        changes: columns.take()?,
        done: columns.take()?,
        comment: columns.take()?,
        report: columns.take()?,
        made_by: columns.take()?,
        made_at: columns.take()?,
    })
}

fn priced_row(columns: &mut Columns<'_, '_>) -> rusqlite::Result<PricedRow> {
    let (id, at) = (columns.take()?, columns.take()?);
    let (ended, dimension, flags): (u64, i64, u8) = (columns.take()?, columns.take()?, columns.take()?);
    Ok(PricedRow {
        id,
        at,
        minute: Span::Minute.bucket_of(ended),
        dimension,
        cancelled: flags & CANCELLED != 0,
        tokens: columns.tokens()?,
        cost: columns.take()?,
        tags: columns.take()?,
    })
}
