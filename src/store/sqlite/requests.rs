//! Rows of single requests in SQLite.

use std::time::Duration;

use rusqlite::params;

use super::{
    attempts::{attempts_json, attempts_of},
    columns::{Columns, only},
    decisions::{costs_json, costs_of, phases_json, phases_of, refusal_json, refusal_of},
    ledger::signed,
    rollups::dimension,
    select::{By, Select},
    tx::SqliteTx,
};
use crate::{
    base::{Id, NanoUsd},
    store::{
        query::{Page, PageRequest},
        record::{Corrected, DetailsRow, RequestFilter, RequestRow},
        tx::Outcome,
        usage_tx::Requests,
    },
    usage::{Decided, Details, Record, Texts},
};

pub(super) const CANCELLED: u8 = 1;
const ESTIMATED: u8 = 2;
const SUSPECT: u8 = 4;
const UNPRICED: u8 = 8;
const FALLBACK: u8 = 16;

const ROW: &str = "SELECT requests.id, at, request_id, trace_id, generation, version, requests.status, client_ip, \
    duration_us, ttft_us, overhead_us, upstream_us, attempts, input, output, cache_read, cache_write, cache_write_1h, \
    reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, bytes_in, bytes_out, requests.cost, fee, \
    requests.price_source, requests.price_date, flags, tags, metadata, tried, finish, decided, first_byte_us, requested_model, user_agent, refused_by, costs, phases, \
    reprice, corrected.cost, corrected.price_source, corrected.price_date, organization, \
    dimensions.project, route, key, member, \"group\", provider, model, target, endpoint, dimensions.status, error, stream, \
    credential FROM requests JOIN dimensions ON dimensions.id = dimension \
    LEFT JOIN request_corrections AS corrected ON corrected.request = requests.id";

impl Requests for SqliteTx<'_> {
    fn insert_request(&mut self, project: &str, dimension: i64, record: &Record) -> Outcome<()> {
        let tokens = &record.tokens;
        let annotations = record.annotations.as_deref();
        let details = record.details.as_deref();
        let text = |text: fn(&Details) -> &str| details.map(text).filter(|text| !text.is_empty());
        self.change(
            "INSERT INTO requests (at, project, dimension, request_id, trace_id, generation, version, status, client_ip, \
             duration_us, ttft_us, overhead_us, upstream_us, attempts, input, output, cache_read, cache_write, \
             cache_write_1h, reasoning, audio_input, audio_output, image_input, image_output, images, searches, audio_ms, bytes_in, \
             bytes_out, cost, fee, price_source, price_date, flags, tags, metadata, tried, finish, decided, first_byte_us, requested_model, user_agent, refused_by, \
             costs, phases) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                record.at,
                project,
                dimension,
                record.request_id.as_str(),
                (record.trace_id != [0; 16]).then_some(record.trace_id),
                signed(record.generation),
                record.config_version.map(signed),
                record.status,
                record.client_ip.map(|ip| ip.to_string()),
                micros(record.duration),
                record.ttft.map(micros),
                micros(record.overhead),
                micros(record.upstream_time),
                record.attempts,
                signed(tokens.input),
                signed(tokens.output),
                signed(tokens.cache_read),
                signed(tokens.cache_write),
                signed(tokens.cache_write_1h),
                signed(tokens.reasoning),
                signed(tokens.audio_input),
                signed(tokens.audio_output),
                signed(tokens.image_input),
                signed(tokens.image_output),
                tokens.images,
                tokens.searches,
                signed(tokens.audio_millis),
                signed(record.bytes_in),
                signed(record.bytes_out),
                record.cost.map(|cost| cost.0),
                record.fee.0,
                record.price.map_or("", |price| price.source.as_str()),
                record.price.and_then(|price| price.date()),
                flags(record),
                annotations.and_then(|annotations| json(&annotations.tags)),
                annotations.and_then(|annotations| json(&annotations.metadata)),
                attempts_json(record.tried.as_deref()),
                record.finish.as_str(),
                record.decided.code(),
                details.and_then(|details| details.first_byte).map(micros),
                text(|details| &details.requested_model),
                text(|details| &details.user_agent),
                details.and_then(|details| refusal_json(details.refused_by.as_ref())),
                details.and_then(|details| costs_json(details.costs)),
                details.and_then(|details| phases_json(details.phases)),
            ],
        )
    }

    fn requests(&self, filter: &RequestFilter, page: &PageRequest) -> Outcome<Page<RequestRow>> {
        let mut select = Select::from(ROW.to_owned());
        select.with("requests.project = ?", &filter.project);
        select.with_some("key = ?", &filter.key);
        select.with_some("member = ?", &filter.member);
        select.with_some("route = ?", &filter.route);
        select.with_some("provider = ?", &filter.provider);
        select.with_some("model = ?", &filter.model);
        select.with_some("requests.status = ?", &filter.status);
        select.with_some("dimensions.status = ?", &filter.status_class);
        select.with_some("error = ?", &filter.error);
        select.with_some("finish = ?", &filter.finish);
        select.with_some("EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.key = ?)", &filter.tag_name);
        // Names of tags hold no `=`.
        let pair = "EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.key || '=' || json_each.value = ?)";
        select.with_some(pair, &filter.tag);
        select.with_some("instr(request_id, ?) > 0", &filter.text);
        select.with_some("at >= ?", &filter.since);
        select.with_some("at < ?", &filter.until);
        select.page(By::TimeAndId("at", "requests.id"), page);
        self.page(&select, page, row)
    }

    fn request(&self, project: &str, request_id: &str) -> Outcome<Option<RequestRow>> {
        let sql =
            format!("{ROW} WHERE request_id = ? AND requests.project = ? ORDER BY at DESC, requests.id DESC LIMIT 1");
        self.first(&sql, [request_id, project], row)
    }

    fn forget_requests(&mut self, project: &str, before: crate::base::UnixTime, count: u32) -> Outcome<bool> {
        let sql = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE project = ? AND at < ? LIMIT ?)";
        let gone = self.run(sql, params![project, before, count])?;
        Ok(u32::try_from(gone).is_ok_and(|gone| gone >= count))
    }

    fn retentions(&self) -> Outcome<Vec<(Id, u32)>> {
        let sql = "SELECT projects.id, coalesce(retention_days, default_retention_days) FROM projects \
             JOIN organizations ON organizations.id = projects.organization ORDER BY projects.id";
        self.all(sql, [], |columns| Ok((columns.take()?, columns.take()?)))
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn flags(record: &Record) -> u8 {
    let all = [
        (record.cancelled, CANCELLED),
        (record.estimated, ESTIMATED),
        (record.usage_suspect, SUSPECT),
        (record.is_unpriced(), UNPRICED),
        (record.fallback, FALLBACK),
    ];
    all.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag)
}

fn json(texts: &Texts) -> Option<String> {
    if texts.is_empty() { None } else { serde_json::to_string(texts).ok() }
}

fn duration(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Duration> {
    columns.take().map(Duration::from_micros)
}

/// Columns of the last correction, which are null without one.
fn corrected(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Corrected>> {
    let reprice: Option<String> = columns.take()?;
    let (cost, source) = (columns.take::<Option<NanoUsd>>()?, columns.take::<Option<String>>()?);
    let price_date = columns.take()?;
    Ok(reprice.map(|reprice| Corrected {
        reprice,
        cost: cost.unwrap_or_default(),
        price_source: source.unwrap_or_default(),
        price_date,
    }))
}

fn row(columns: &mut Columns<'_, '_>) -> rusqlite::Result<RequestRow> {
    let mut row = RequestRow {
        id: columns.take()?,
        at: columns.take()?,
        request_id: columns.take()?,
        trace_id: columns.take()?,
        generation: columns.take()?,
        version: columns.take()?,
        status: columns.take()?,
        client_ip: columns.take()?,
        duration: duration(columns)?,
        ttft: columns.take::<Option<u64>>()?.map(Duration::from_micros),
        overhead: duration(columns)?,
        upstream_time: duration(columns)?,
        attempts: columns.take()?,
        tried: None,
        tokens: columns.tokens()?,
        bytes_in: columns.take()?,
        bytes_out: columns.take()?,
        cost: columns.take()?,
        fee: columns.take()?,
        price_source: columns.take()?,
        price_date: columns.take()?,
        corrected: None,
        cancelled: false,
        estimated: false,
        usage_suspect: false,
        unpriced: false,
        fallback: false,
        tags: None,
        metadata: None,
        details: DetailsRow::default(),
        dimension: crate::store::record::Dimension::default(),
    };
    let flags: u8 = only(columns)?;
    let is_set = |flag| flags & flag != 0;
    (row.cancelled, row.estimated) = (is_set(CANCELLED), is_set(ESTIMATED));
    (row.usage_suspect, row.unpriced) = (is_set(SUSPECT), is_set(UNPRICED));
    row.fallback = is_set(FALLBACK);
    row.tags = columns.take()?;
    row.metadata = columns.take()?;
    row.tried = columns.take::<Option<String>>()?.map(|tried| attempts_of(&tried));
    row.details.finish = columns.take()?;
    row.details.decided = Decided::of_code(columns.take()?);
    row.details.first_byte = columns.take::<Option<u64>>()?.map(Duration::from_micros);
    row.details.requested_model = columns.take::<Option<String>>()?.unwrap_or_default();
    row.details.user_agent = columns.take::<Option<String>>()?.unwrap_or_default();
    row.details.refused_by = columns.take::<Option<String>>()?.and_then(|json| refusal_of(&json));
    row.details.costs = columns.take::<Option<String>>()?.and_then(|json| costs_of(&json));
    row.details.phases = columns.take::<Option<String>>()?.and_then(|json| phases_of(&json));
    row.corrected = corrected(columns)?;
    row.dimension = dimension(columns)?;
    Ok(row)
}
