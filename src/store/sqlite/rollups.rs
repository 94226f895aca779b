//! Roll-ups in SQLite.
//!
//! Each commit adds to minutes; a minute that is over is folded into its hour and its day once. Readers take hours and days
//! as far as they are folded, and minutes behind that.

use rusqlite::{
    params,
    types::{FromSql, FromSqlError, FromSqlResult, ValueRef},
};

use super::{
    columns::Columns,
    folding::{Folded, UnderWay},
    ledger::signed,
    tx::SqliteTx,
};
use crate::{
    base::{NanoUsd, TokenCounts, UnixTime},
    store::{
        record::{Dimension, Rollup, Span, TagPlace, TagTally},
        tx::Outcome,
        usage_tx::Rollups,
    },
    usage::{Distribution, Tally},
};

/// Name and value of a tag that stand for all that are too many. No client can send it: control characters are refused.
pub const OTHER_TAG: &str = "\u{1}";
/// Values of tags that are counted apart for one project and hour.
const TAG_VALUES_MAX: u64 = 1_000;
/// Seconds of minutes that are folded in one transaction at most.
const FOLD_SECONDS: u64 = 3_600;

/// The columns of a roll-up, and the statements over them; the three tables differ in their names only.
macro_rules! tables {
    ($name:ident, $table:literal) => {
        const $name: Table = Table {
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (project, bucket, dimension, requests, cancelled, estimated, unpriced, attempts, input, output, \
                 cache_read, cache_write, reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, cost, \
                 fee, saved, duration, ttft, overhead) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                 requests = excluded.requests, cancelled = excluded.cancelled, estimated = excluded.estimated, \
                 unpriced = excluded.unpriced, attempts = excluded.attempts, input = excluded.input, \
                 output = excluded.output, cache_read = excluded.cache_read, cache_write = excluded.cache_write, \
                 reasoning = excluded.reasoning, audio_input = excluded.audio_input, \
                 audio_output = excluded.audio_output, image_input = excluded.image_input, \
                 image_output = excluded.image_output, images = excluded.images, searches = excluded.searches, audio_ms = excluded.audio_ms, \
                 cost = excluded.cost, fee = excluded.fee, saved = excluded.saved, duration = excluded.duration, ttft = excluded.ttft, \
                 overhead = excluded.overhead"
            ),
            one: concat!(
                "SELECT bucket, dimension, requests, cancelled, estimated, unpriced, attempts, input, output, cache_read, \
                 cache_write, reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, cost, fee, saved, \
                 duration, ttft, overhead FROM ",
                $table,
                " WHERE project = ? AND bucket = ? AND dimension = ?"
            ),
            between: concat!(
                "SELECT bucket, dimension, requests, cancelled, estimated, unpriced, attempts, input, output, cache_read, \
                 cache_write, reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, cost, fee, saved, \
                 duration, ttft, overhead FROM ",
                $table,
                " WHERE project = ? AND bucket >= ? AND bucket < ?"
            ),
            forget: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (project, bucket, dimension) IN (SELECT project, bucket, dimension FROM ",
                $table,
                " WHERE project = ? AND bucket < ? LIMIT ?)"
            ),
        };
    };
}

struct Table {
    insert: &'static str,
    one: &'static str,
    between: &'static str,
    forget: &'static str,
}

tables!(MINUTE, "rollups_minute");
tables!(HOUR, "rollups_hour");
tables!(DAY, "rollups_day");

/// As `MINUTE.between`, behind a mark.
const UNFOLDED: &str = "SELECT bucket, dimension, requests, cancelled, estimated, unpriced, attempts, input, output, cache_read, \
    cache_write, reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, cost, fee, saved, \
    duration, ttft, overhead FROM rollups_minute \
    WHERE project = ? AND (bucket, dimension) > (?, ?) AND bucket < ? ORDER BY bucket, dimension LIMIT ?";

fn table(span: Span) -> &'static Table {
    match span {
        Span::Minute => &MINUTE,
        Span::Hour => &HOUR,
        Span::Day => &DAY,
    }
}

impl Rollups for SqliteTx<'_> {
    fn dimension(&mut self, of: &Dimension) -> Outcome<i64> {
        let values = params![
            of.organization,
            of.project,
            of.route,
            of.key,
            of.member,
            of.group,
            of.provider,
            of.model,
            of.target,
            of.endpoint,
            of.status,
            of.error,
            of.stream,
            of.credential
        ];
        let find = "SELECT id FROM dimensions WHERE organization = ? AND project = ? AND route = ? AND key = ? AND \
             member = ? AND \"group\" = ? AND provider = ? AND model = ? AND target = ? AND endpoint = ? AND status = ? \
             AND error = ? AND stream = ? AND credential = ?";
        if let Some(found) = self.first(find, values, |columns| columns.take())? {
            return Ok(found);
        }
        let sql = "INSERT INTO dimensions (organization, project, route, key, member, \"group\", provider, model, target, \
             endpoint, status, error, stream, credential) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.change(sql, values)?;
        Ok(self.first(find, values, |columns| columns.take())?.unwrap_or_default())
    }

    fn add_rollup(&mut self, project: &str, rollup: &Rollup) -> Outcome<()> {
        self.add(Span::Minute, project, rollup)?;
        if (rollup.bucket, rollup.dimension) <= self.folded()?.mark(project) {
            self.add_to_wider(project, rollup)?;
        }
        Ok(())
    }

    fn fold_rollups(&mut self, before: UnixTime, count: u32) -> Outcome<bool> {
        let until = Span::Minute.bucket_of(before.seconds());
        let mut folded = self.folded()?;
        if folded.done == 0 {
            // What came before the first fold is folded from its first minute on.
            folded.done = self.first_minute()?.unwrap_or(until);
        }
        let target = match &folded.under_way {
            Some(under_way) => under_way.target,
            None => until.min(folded.done.saturating_add(FOLD_SECONDS)),
        };
        if folded.done >= target {
            return self.put_folded(&folded).map(|()| false);
        }
        let mut left = count;
        for project in self.counted_projects(None)? {
            let minutes = self.unfolded(&project, (&folded, target), left)?;
            for rollup in &minutes {
                self.add_to_wider(&project, rollup)?;
            }
            left = left.saturating_sub(u32::try_from(minutes.len()).unwrap_or(u32::MAX));
            if let Some(last) = minutes.last() {
                let mark = (last.bucket, last.dimension);
                folded.under_way = Some(UnderWay { target, project, mark });
            }
            if left == 0 {
                return self.put_folded(&folded).map(|()| true);
            }
        }
        self.put_folded(&Folded::up_to(target))?;
        Ok(target < until)
    }

    fn add_tag(&mut self, organization: &str, place: &TagPlace, tally: &TagTally) -> Outcome<()> {
        if self.update_tag(place, (&place.name, &place.value), tally)? {
            return Ok(());
        }
        let sql = "SELECT count(*) FROM (SELECT 1 FROM rollups_tag WHERE project = ? AND bucket = ? LIMIT ?)";
        let count = self.count(sql, params![place.project, signed(place.bucket), signed(TAG_VALUES_MAX)])?;
        // Names can be many as well.
        let is_other = count >= TAG_VALUES_MAX;
        let (name, value) = if is_other { (OTHER_TAG, OTHER_TAG) } else { (&*place.name, &*place.value) };
        if is_other && self.update_tag(place, (name, value), tally)? {
            return Ok(());
        }
        self.change(
            "INSERT INTO rollups_tag (project, bucket, name, value, organization, requests, errors, input, output, cost, \
             fee) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                place.project,
                signed(place.bucket),
                name,
                value,
                organization,
                signed(tally.requests),
                signed(tally.errors),
                signed(tally.input),
                signed(tally.output),
                tally.cost.0,
                tally.fee.0
            ],
        )
    }

    fn rollups(&self, project: &str, span: Span, between: (u64, u64), each: &mut dyn FnMut(Rollup)) -> Outcome<()> {
        if span == Span::Minute {
            return self.between(span, project, between, each);
        }
        let mark = self.folded()?.mark(project);
        self.between(span, project, between, each)?;
        self.between(Span::Minute, project, (between.0.max(mark.0), between.1), &mut |mut rollup| {
            if (rollup.bucket, rollup.dimension) > mark {
                rollup.bucket = span.part_of(rollup.bucket);
                each(rollup);
            }
        })
    }

    fn hour_cuts(&self) -> Outcome<Vec<(u64, u64)>> {
        let sql = "SELECT minute, since FROM hour_cuts ORDER BY minute";
        self.all(sql, [], |columns| Ok((columns.take::<i64>()?.unsigned_abs(), columns.take::<i64>()?.unsigned_abs())))
    }

    fn tags(&self, project: &str, between: (u64, u64), each: &mut dyn FnMut(TagPlace, TagTally)) -> Outcome<()> {
        let sql = "SELECT project, bucket, name, value, requests, errors, input, output, cost, fee FROM rollups_tag \
             WHERE project = ? AND bucket >= ? AND bucket < ?";
        let values = params![project, signed(between.0), signed(between.1)];
        self.each(sql, values, tag, &mut |(place, tally)| each(place, tally))
    }

    fn dimensions(&self, project: &str) -> Outcome<Vec<(i64, Dimension)>> {
        let sql = "SELECT id, organization, project, route, key, member, \"group\", provider, model, target, endpoint, \
             status, error, stream, credential FROM dimensions WHERE project = ?";
        self.all(sql, [project], |columns| Ok((columns.take()?, dimension(columns)?)))
    }

    fn counted_projects(&self, organization: Option<&str>) -> Outcome<Vec<String>> {
        match organization {
            Some(organization) => {
                let sql = "SELECT DISTINCT project FROM dimensions WHERE organization = ? ORDER BY project";
                self.all(sql, [organization], |columns| columns.take())
            }
            None => {
                let sql = "SELECT DISTINCT project FROM dimensions ORDER BY project";
                self.all(sql, [], |columns| columns.take())
            }
        }
    }

    fn rolled_up(&self, project: &str) -> Outcome<(i64, i64)> {
        let days = "SELECT coalesce(sum(cost), 0), coalesce(sum(fee), 0) FROM rollups_day WHERE project = ?";
        let minutes = "SELECT coalesce(sum(cost), 0), coalesce(sum(fee), 0) FROM rollups_minute WHERE project = ? \
             AND (bucket, dimension) > (?, ?)";
        let sums = |columns: &mut Columns<'_, '_>| Ok((columns.take::<i64>()?, columns.take::<i64>()?));
        let (cost, fee) = self.first(days, [project], sums)?.unwrap_or_default();
        let (bucket, dimension) = self.folded()?.mark(project);
        let behind = params![project, signed(bucket), dimension];
        let (more_cost, more_fee) = self.first(minutes, behind, sums)?.unwrap_or_default();
        Ok((cost.saturating_add(more_cost), fee.saturating_add(more_fee)))
    }

    fn forget_rollups(&mut self, project: &str, span: Span, before: UnixTime, count: u32) -> Outcome<bool> {
        // What is in no hour yet is never forgotten, however old.
        let before = before.seconds().min(self.folded()?.mark(project).0);
        let gone = self.run(table(span).forget, params![project, signed(before), count])?;
        Ok(u32::try_from(gone).is_ok_and(|gone| gone >= count))
    }
}

impl SqliteTx<'_> {
    /// Adds to one row: read, merged and written, since durations are merged by us.
    pub(super) fn add(&self, span: Span, project: &str, rollup: &Rollup) -> Outcome<()> {
        let bucket = span.part_of(rollup.bucket);
        let place = params![project, signed(bucket), rollup.dimension];
        let mut tally = self.first(table(span).one, place, read_rollup)?.map(|found| found.tally).unwrap_or_default();
        tally.merge(&rollup.tally);
        self.change(
            table(span).insert,
            params![
                project,
                signed(bucket),
                rollup.dimension,
                signed(tally.requests),
                signed(tally.cancelled),
                signed(tally.estimated),
                signed(tally.unpriced),
                signed(tally.attempts),
                signed(tally.tokens.input),
                signed(tally.tokens.output),
                signed(tally.tokens.cache_read),
                signed(tally.tokens.cache_write),
                signed(tally.tokens.reasoning),
                signed(tally.tokens.audio_input),
                signed(tally.tokens.audio_output),
                signed(tally.tokens.image_input),
                signed(tally.tokens.image_output),
                tally.tokens.images,
                tally.tokens.searches,
                signed(tally.tokens.audio_millis),
                tally.cost.0,
                tally.fee.0,
                tally.saved.0,
                tally.duration.to_bytes(),
                tally.ttft.to_bytes(),
                tally.overhead.to_bytes()
            ],
        )
    }

    pub(super) fn add_to_wider(&self, project: &str, rollup: &Rollup) -> Outcome<()> {
        self.add(Span::Hour, project, rollup)?;
        self.add(Span::Day, project, rollup)
    }

    fn between(&self, span: Span, project: &str, between: (u64, u64), each: &mut dyn FnMut(Rollup)) -> Outcome<()> {
        let values = params![project, signed(span.part_of(between.0)), signed(between.1)];
        self.each(table(span).between, values, read_rollup, each)
    }

    /// The next minutes of a project to be folded, in their order.
    fn unfolded(&self, project: &str, (folded, target): (&Folded, u64), count: u32) -> Outcome<Vec<Rollup>> {
        let (bucket, dimension) = folded.mark(project);
        self.all(UNFOLDED, params![project, signed(bucket), dimension, signed(target), count], read_rollup)
    }

    fn first_minute(&self) -> Outcome<Option<u64>> {
        let found =
            self.first("SELECT min(bucket) FROM rollups_minute", [], |columns| columns.take::<Option<u64>>())?;
        Ok(found.flatten())
    }

    fn update_tag(&self, place: &TagPlace, (name, value): (&str, &str), tally: &TagTally) -> Outcome<bool> {
        let changed = self.run(
            "UPDATE rollups_tag SET requests = requests + ?, errors = errors + ?, input = input + ?, output = output + ?, \
             cost = cost + ?, fee = fee + ? WHERE project = ? AND bucket = ? AND name = ? AND value = ?",
            params![
                signed(tally.requests),
                signed(tally.errors),
                signed(tally.input),
                signed(tally.output),
                tally.cost.0,
                tally.fee.0,
                place.project,
                signed(place.bucket),
                name,
                value
            ],
        )?;
        Ok(changed > 0)
    }
}

impl FromSql for Distribution {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_bytes(value.as_blob()?).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for NanoUsd {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

fn read_rollup(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Rollup> {
    Ok(Rollup {
        bucket: columns.take()?,
        dimension: columns.take()?,
        tally: Tally {
            requests: columns.take()?,
            cancelled: columns.take()?,
            estimated: columns.take()?,
            unpriced: columns.take()?,
            attempts: columns.take()?,
            tokens: TokenCounts {
                input: columns.take()?,
                output: columns.take()?,
                cache_read: columns.take()?,
                cache_write: columns.take()?,
                reasoning: columns.take()?,
                audio_input: columns.take()?,
                audio_output: columns.take()?,
                image_input: columns.take()?,
                image_output: columns.take()?,
                images: columns.take()?,
                searches: columns.take()?,
                audio_millis: columns.take()?,
                ..TokenCounts::default()
            },
            cost: columns.take()?,
            fee: columns.take()?,
            saved: columns.take()?,
            duration: columns.take()?,
            ttft: columns.take()?,
            overhead: columns.take()?,
        },
    })
}

fn tag(columns: &mut Columns<'_, '_>) -> rusqlite::Result<(TagPlace, TagTally)> {
    let place =
        TagPlace { project: columns.take()?, bucket: columns.take()?, name: columns.take()?, value: columns.take()? };
    let tally = TagTally {
        requests: columns.take()?,
        errors: columns.take()?,
        input: columns.take()?,
        output: columns.take()?,
        cost: columns.take()?,
        fee: columns.take()?,
    };
    Ok((place, tally))
}

/// Reads the columns of a dimension behind its number.
pub(super) fn dimension(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Dimension> {
    Ok(Dimension {
        organization: columns.take()?,
        project: columns.take()?,
        route: columns.take()?,
        key: columns.take()?,
        member: columns.take()?,
        group: columns.take()?,
        provider: columns.take()?,
        model: columns.take()?,
        target: columns.take()?,
        endpoint: columns.take()?,
        status: columns.take()?,
        error: columns.take()?,
        stream: columns.take()?,
        credential: columns.take()?,
    })
}
