//! Limits as fields of keys and members, and their amounts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::words::words;
use crate::admin::rest::{ApiError, Time};
use crate::base::NanoUsd;
use crate::control::{LimitFields, PeriodKind, PeriodLimit, unit_name};
use crate::limit::CalendarUnit;
use crate::store::LimitKind;

const UNITS: [CalendarUnit; 4] = [CalendarUnit::Hour, CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month];

/// So much money in each period.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PeriodLimit)]
pub(super) struct PeriodLimitBody {
    /// USD, such as `"12.50"`; `"0"` blocks everything.
    #[schema(max_length = 32)]
    amount: String,
    /// How long a period is: 1 hour to 12 months.
    every: PeriodEvery,
    /// `rolling` begins with the first request, `calendar` with the hour, day, week or month in UTC.
    #[schema(schema_with = kind_schema)]
    kind: String,
}

/// Length of a period.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PeriodEvery {
    /// How many units.
    #[schema(minimum = 1, maximum = 8_784)]
    value: u32,
    /// The unit. A month of a rolling period has 30 days.
    #[schema(schema_with = unit_schema)]
    unit: String,
}

fn kind_schema() -> utoipa::openapi::schema::Object {
    words(&["rolling", "calendar"])
}

fn unit_schema() -> utoipa::openapi::schema::Object {
    words(&UNITS.map(unit_name))
}

impl PeriodLimitBody {
    /// The limit that it states.
    ///
    /// # Errors
    /// The first field that is not as it must be.
    pub(super) fn read(&self) -> Result<PeriodLimit, ApiError> {
        let unit = UNITS.into_iter().find(|unit| unit_name(*unit) == self.every.unit);
        let unit = unit
            .ok_or_else(|| ApiError::field("period_limit.every.unit", "expected `hour`, `day`, `week` or `month`"))?;
        let kind = match self.kind.as_str() {
            "rolling" => PeriodKind::Rolling,
            "calendar" => PeriodKind::Calendar,
            _ => return Err(ApiError::field("period_limit.kind", "expected `rolling` or `calendar`")),
        };
        let amount = usd("period_limit.amount", &self.amount)?;
        Ok(PeriodLimit { amount, count: self.every.value, unit, kind })
    }
}

impl From<PeriodLimit> for PeriodLimitBody {
    fn from(period: PeriodLimit) -> Self {
        let kind = match period.kind {
            PeriodKind::Rolling => "rolling",
            PeriodKind::Calendar => "calendar",
        };
        Self {
            amount: usd_text(period.amount),
            every: PeriodEvery { value: period.count, unit: unit_name(period.unit).to_owned() },
            kind: kind.to_owned(),
        }
    }
}

/// Limits in money, and what is used of them.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = MoneyLimits)]
pub(super) struct MoneyLimitsView {
    /// USD for all time; null is unlimited.
    usage_limit: Option<String>,
    /// USD in each period; null is unlimited.
    period_limit: Option<PeriodLimitBody>,
    /// USD spent of `usage_limit`, counted since it was set; null without one.
    usage_total: Option<String>,
    /// USD spent in the present period; null without a `period_limit`.
    usage_period: Option<String>,
    /// When the present period ends; null while nothing was spent in it.
    period_resets_at: Option<Time>,
    /// USD that requests which are open may still spend; null without a limit in money.
    reserved: Option<String>,
}

impl From<&LimitFields> for MoneyLimitsView {
    fn from(fields: &LimitFields) -> Self {
        Self {
            usage_limit: fields.usage_limit.map(usd_text),
            period_limit: fields.period_limit.map(PeriodLimitBody::from),
            usage_total: fields.usage_total.map(usd_text),
            usage_period: fields.usage_period.map(usd_text),
            period_resets_at: fields.period_resets_at.map(Time::from),
            reserved: fields.reserved.map(usd_text),
        }
    }
}

/// Reads USD as nano-USD.
///
/// # Errors
/// A field problem.
pub(super) fn usd(path: &str, text: &str) -> Result<u64, ApiError> {
    let read: Result<NanoUsd, _> = text.parse();
    let amount = read.map_err(|error| ApiError::field(path, error.to_string()))?;
    u64::try_from(amount.0).map_err(|_| ApiError::field(path, "must not be negative"))
}

/// Nano-USD as USD with nine decimals.
pub(super) fn usd_text(nano: u64) -> String {
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX)).to_string()
}

/// An amount as a limit of this kind shows it; seconds that have begun are whole ones.
pub(super) fn amount_json(kind: LimitKind, amount: u64) -> Value {
    match kind {
        LimitKind::Audio => Value::from(amount.div_ceil(1_000)),
        LimitKind::Usd | LimitKind::Credits => Value::from(usd_text(amount)),
        _ => Value::from(amount),
    }
}

/// Reads an amount of a limit of this kind.
///
/// # Errors
/// A field problem.
pub(super) fn read_amount(kind: LimitKind, amount: &Value) -> Result<u64, ApiError> {
    match (kind, amount) {
        (LimitKind::Usd | LimitKind::Credits, Value::String(text)) => usd("amount", text),
        (LimitKind::Usd | LimitKind::Credits, _) => {
            Err(ApiError::field("amount", "expected USD as a text, such as `\"12.50\"`"))
        }
        (LimitKind::Audio, amount) => {
            let millis = amount.as_u64().and_then(|seconds| seconds.checked_mul(1_000));
            millis.ok_or_else(|| ApiError::field("amount", "expected a whole number of seconds, 0 or more"))
        }
        (_, amount) => amount.as_u64().ok_or_else(|| ApiError::field("amount", "expected a whole number, 0 or more")),
    }
}

/// The schema of an amount: USD as a text, all else a whole number.
pub(super) fn amount_schema() -> Schema {
    let usd = ObjectBuilder::new().schema_type(Type::String).max_length(Some(32));
    let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let said = "USD as a decimal text for `usd`, a whole number for all else: of seconds for `audio`.";
    Schema::OneOf(OneOfBuilder::new().item(usd).item(count).description(Some(said)).build())
}
