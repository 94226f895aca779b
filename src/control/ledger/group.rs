//! Requests that count under one dimension, told apart fast.
//!
//! Names are shared by pointer: what a configuration compiled once is one allocation, so its address tells it from another.
//! A group holds on to what its key points to; an address is not used again as long as the group is known.

use std::sync::Arc;

use super::batch::{organization_of, project_of};
use crate::{
    base::{Caller, FastMap, Labels},
    store::{Dimension, Span},
    usage::{Credential, Record, Tally},
};

/// Groups whose number is remembered at most.
const KNOWN_MAX: usize = 32_768;

/// What tells groups apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    labels: usize,
    caller: usize,
    endpoint: usize,
    error: usize,
    class: u8,
    stream: bool,
    credential: u8,
}

/// What a group's dimension is made of.
#[derive(Clone)]
pub(super) struct Group {
    labels: Option<Arc<Labels>>,
    caller: Option<Arc<Caller>>,
    endpoint: &'static str,
    error: &'static str,
    class: u8,
    stream: bool,
    credential: Credential,
}

/// The requests of one group in one minute.
pub(super) struct Share {
    pub(super) group: Group,
    pub(super) tally: Tally,
    /// Those with figures of a provider that could not be true.
    pub(super) suspects: u64,
    /// Those that the platform's credential had to serve.
    pub(super) fallbacks: u64,
}

/// Minute and group.
pub(super) type ShareKey = (u64, GroupKey);

impl GroupKey {
    pub(super) fn of(record: &Record) -> Self {
        let address_of = |text: &'static str| if text.is_empty() { 0 } else { text.as_ptr().addr() };
        Self {
            labels: record.labels.as_ref().map_or(0, |labels| Arc::as_ptr(labels).addr()),
            caller: record.caller.as_ref().map_or(0, |caller| Arc::as_ptr(caller).addr()),
            endpoint: address_of(record.endpoint),
            error: address_of(record.error_code),
            class: class_of(record.status),
            stream: record.stream,
            credential: record.credential as u8,
        }
    }
}

impl Group {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            labels: record.labels.clone(),
            caller: record.caller.clone(),
            endpoint: record.endpoint,
            error: record.error_code,
            class: class_of(record.status),
            stream: record.stream,
            credential: record.credential,
        }
    }

    pub(super) fn project(&self) -> &str {
        project_of(self.caller.as_deref(), self.labels.as_deref())
    }

    pub(super) fn labels(&self) -> Option<&Labels> {
        self.labels.as_deref()
    }

    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.as_deref()
    }

    pub(super) fn error(&self) -> &'static str {
        self.error
    }

    /// As [`Record::is_error`].
    pub(super) fn is_error(&self) -> bool {
        self.class == 0 || self.class >= 4 || !self.error.is_empty()
    }

    pub(super) fn dimension(&self) -> Dimension {
        let label = |read: fn(&Labels) -> &str| self.labels.as_deref().map(read).unwrap_or_default().to_owned();
        let caller =
            |read: fn(&Caller) -> Option<&str>| self.caller.as_deref().and_then(read).unwrap_or_default().to_owned();
        Dimension {
            organization: organization_of(self.labels.as_deref()).to_owned(),
            project: self.project().to_owned(),
            route: label(|labels| &labels.route),
            key: caller(|caller| Some(&caller.key)),
            member: caller(|caller| caller.member.as_deref()),
            group: caller(|caller| caller.group.as_deref()),
            provider: label(|labels| &labels.provider),
            model: label(|labels| &labels.model),
            target: label(|labels| &labels.target),
            endpoint: self.endpoint.to_owned(),
            status: class_name(self.class).to_owned(),
            error: self.error.to_owned(),
            stream: self.stream,
            credential: self.credential.as_str().to_owned(),
        }
    }
}

/// Numbers of dimensions that are on disk.
#[derive(Default)]
pub(super) struct Known(FastMap<GroupKey, (i64, Group)>);

impl Known {
    pub(super) fn get(&self, key: &GroupKey) -> Option<i64> {
        self.0.get(key).map(|(number, _)| *number)
    }

    /// Remembers numbers that were committed; forgets all others when there are too many.
    pub(super) fn learn(&mut self, numbers: impl Iterator<Item = (GroupKey, i64, Group)>) {
        for (key, number, group) in numbers {
            if self.0.len() >= KNOWN_MAX {
                self.0.clear();
            }
            self.0.insert(key, (number, group));
        }
    }
}

/// The minute in which a request ended, in seconds since 1970: late ones would change what was counted long ago.
pub(super) fn minute_of(record: &Record) -> u64 {
    Span::Minute.bucket_of(record.at.0.saturating_add(record.duration).as_secs())
}

pub(super) fn class_of(status: u16) -> u8 {
    u8::try_from(status / 100).unwrap_or(u8::MAX)
}

pub(super) fn class_name(class: u8) -> &'static str {
    match class {
        0 => "none",
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
