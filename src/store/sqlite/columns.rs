//! Between columns and the values of records.

use std::time::Duration;

use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    base::{Id, TokenCounts, UnixTime},
    iam::RuleType,
    store::record::{
        ActivationKind, ActorKind, AlertEvent, AlertScope, AlertState, ChannelKind, DeliveryState, InvitationStatus,
        KeyStatus, LedgerKind, Lifecycle, LimitAlgorithm, LimitKind, LimitMode, Mode, OrganizationRole,
        OrganizationStatus, ProjectGrant, ProjectRole, RepriceState, RuleStatus, VersionState,
    },
};

/// Columns of a row, taken in the order of the statement.
pub(super) struct Columns<'row, 'statement> {
    row: &'row Row<'statement>,
    at: usize,
}

impl<'row, 'statement> Columns<'row, 'statement> {
    pub(super) fn of(row: &'row Row<'statement>) -> Self {
        Self { row, at: 0 }
    }

    /// Takes the next column.
    pub(super) fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.at);
        self.at += 1;
        value
    }

    /// Takes a column that holds a list as JSON.
    pub(super) fn list<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        self.take::<Json<T>>().map(|json| json.0)
    }

    /// Takes what a request used, one column a count.
    pub(super) fn tokens(&mut self) -> rusqlite::Result<TokenCounts> {
        Ok(TokenCounts {
            input: self.take()?,
            output: self.take()?,
            cache_read: self.take()?,
            cache_write: self.take()?,
            cache_write_1h: self.take()?,
            reasoning: self.take()?,
            audio_input: self.take()?,
            audio_output: self.take()?,
            image_input: self.take()?,
            image_output: self.take()?,
            images: self.take()?,
            searches: self.take()?,
            audio_millis: self.take()?,
        })
    }

    /// Takes roles in projects.
    pub(super) fn grants(&mut self) -> rusqlite::Result<Vec<ProjectGrant>> {
        let pairs: Vec<(String, Word)> = self.list()?;
        Ok(pairs
            .into_iter()
            .map(|(project, Word(role))| ProjectGrant { project: Id::stored(&project), role })
            .collect())
    }
}

/// Decodes a row of one column.
pub(super) fn only<T: FromSql>(columns: &mut Columns<'_, '_>) -> rusqlite::Result<T> {
    columns.take()
}

/// A short list, kept as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

/// Roles in projects, to be kept as pairs.
pub(super) fn grants_json(grants: &[ProjectGrant]) -> Json<Vec<(&str, &'static str)>> {
    Json(grants.iter().map(|grant| (grant.project.as_str(), grant.role.as_str())).collect())
}

/// Ids, to be kept as a list.
pub(super) fn ids_json(ids: &[Id]) -> Json<Vec<&str>> {
    Json(ids.iter().map(Id::as_str).collect())
}

/// A role in a project as its word.
struct Word(ProjectRole);

impl<'de> serde::Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ProjectRole::parse(&text).map(Word).ok_or_else(|| serde::de::Error::custom("unknown role in a project"))
    }
}

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_str()))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(Self::stored)
    }
}

impl ToSql for UnixTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for UnixTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let milliseconds = value.as_i64()?;
        let milliseconds = u64::try_from(milliseconds).map_err(|_| FromSqlError::OutOfRange(milliseconds))?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// A word that is none of its set.
#[derive(Debug, thiserror::Error)]
#[error("unknown {0}")]
struct UnknownWord(&'static str);

/// Columns that hold a word of a closed set.
macro_rules! words {
    ($($name:ident),+) => { $(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let word = Self::parse(value.as_str()?);
                word.ok_or_else(|| FromSqlError::Other(Box::new(UnknownWord(stringify!($name)))))
            }
        }
    )+ };
}

words!(
    ActivationKind,
    ActorKind,
    AlertEvent,
    AlertScope,
    AlertState,
    ChannelKind,
    DeliveryState,
    InvitationStatus,
    KeyStatus,
    LedgerKind,
    Lifecycle,
    LimitAlgorithm,
    LimitKind,
    LimitMode,
    Mode,
    OrganizationRole,
    OrganizationStatus,
    RepriceState,
    RuleStatus,
    RuleType,
    VersionState
);
