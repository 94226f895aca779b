//! Builds the statement of a list from its filters.

use rusqlite::ToSql;

use crate::store::query::{Order, PageRequest};

/// Rows of a page at most.
const LIMIT_MAX: u32 = 100;

/// A statement and what is bound to it. Conditions are constants with one `?` for each value.
pub(super) struct Select<'a> {
    pub(super) sql: String,
    pub(super) values: Vec<&'a dyn ToSql>,
    has_condition: bool,
}

/// What a list is ordered by.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// A column with a time and one that tells rows of one millisecond apart.
    TimeAndId(&'static str, &'static str),
    /// A column with a number that no two rows share.
    Number(&'static str),
}

impl<'a> Select<'a> {
    /// Starts with everything up to the conditions.
    pub(super) fn from(sql: String) -> Self {
        Self { sql, values: Vec::new(), has_condition: false }
    }

    /// Adds a condition without a value.
    pub(super) fn when(&mut self, condition: &str) {
        self.sql.push_str(if self.has_condition { " AND " } else { " WHERE " });
        self.sql.push_str(condition);
        self.has_condition = true;
    }

    /// Adds a condition on one value.
    pub(super) fn with(&mut self, condition: &str, value: &'a dyn ToSql) {
        self.when(condition);
        self.values.push(value);
    }

    /// Adds a condition on one value, if there is one.
    pub(super) fn with_some<T: ToSql>(&mut self, condition: &str, value: &'a Option<T>) {
        if let Some(value) = value {
            self.with(condition, value);
        }
    }

    /// Ends the statement: rows behind the page before, in order, and one more than asked for.
    pub(super) fn page(&mut self, by: By, page: &'a PageRequest) {
        let (compare, direction) = match page.order {
            Order::Ascending => (">", "ASC"),
            Order::Descending => ("<", "DESC"),
        };
        if let Some((time, id)) = &page.after {
            match by {
                By::TimeAndId(time_column, id_column) => {
                    self.with(&format!("({time_column}, {id_column}) {compare} (?, ?)"), time);
                    self.values.push(id);
                }
                // Without an affinity a text is above every number, so the text is read as a number here.
                By::Number(column) => self.with(&format!("{column} {compare} CAST(? AS INTEGER)"), id),
            }
        }
        let order = match by {
            By::TimeAndId(time_column, id_column) => format!("{time_column} {direction}, {id_column} {direction}"),
            By::Number(column) => format!("{column} {direction}"),
        };
        self.sql.push_str(&format!(" ORDER BY {order} LIMIT {}", rows(page) + 1));
    }
}

/// Rows of this page at most.
pub(super) fn rows(page: &PageRequest) -> usize {
    usize::try_from(page.limit.clamp(1, LIMIT_MAX)).unwrap_or(1)
}
