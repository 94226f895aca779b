//! One transaction on one connection.

use std::cell::RefCell;

use rusqlite::{Connection, Params, params_from_iter};

use super::{
    columns::{Columns, only},
    fault::{is_fault, store_error},
    select::{Select, rows},
};
use crate::store::{
    error::StoreError,
    query::{Page, PageRequest},
    tx::Outcome,
};

/// Reads a record from the columns of its statement.
pub(super) type Decode<T> = fn(&mut Columns<'_, '_>) -> rusqlite::Result<T>;

/// A transaction that a job sees. Begin and end are those of the writer or reader.
pub(super) struct SqliteTx<'a> {
    connection: &'a Connection,
    /// The first fault of the database itself. A job that passes over it must not be committed.
    fault: RefCell<Option<StoreError>>,
}

impl<'a> SqliteTx<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, fault: RefCell::new(None) }
    }

    /// Takes the fault of the database, if there was one.
    pub(super) fn take_fault(&self) -> Option<StoreError> {
        self.fault.take()
    }

    /// Reads at most one row.
    pub(super) fn first<T>(&self, sql: &str, values: impl Params, decode: Decode<T>) -> Outcome<Option<T>> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            found.next()?.map(|row| decode(&mut Columns::of(row))).transpose()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Calls `each` with every row.
    pub(super) fn each<T>(
        &self,
        sql: &str,
        values: impl Params,
        decode: Decode<T>,
        each: &mut dyn FnMut(T),
    ) -> Outcome<()> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            while let Some(row) = found.next()? {
                each(decode(&mut Columns::of(row))?);
            }
            Ok(())
        };
        read().map_err(|error| self.failed(error))
    }

    /// Reads every row.
    pub(super) fn all<T>(&self, sql: &str, values: impl Params, decode: Decode<T>) -> Outcome<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, values, decode, &mut |row| found.push(row))?;
        Ok(found)
    }

    /// Reads one page; the statement asks for one row more than the page has.
    pub(super) fn page<T>(&self, select: &Select<'_>, page: &PageRequest, decode: Decode<T>) -> Outcome<Page<T>> {
        let mut found = self.all(&select.sql, params_from_iter(select.values.iter()), decode)?;
        let has_more = found.len() > rows(page);
        found.truncate(rows(page));
        Ok(Page { rows: found, has_more })
    }

    /// Reads one number.
    pub(super) fn count(&self, sql: &str, values: impl Params) -> Outcome<u64> {
        Ok(self.first(sql, values, only)?.unwrap_or(0))
    }

    /// Runs a change; returns how many rows it changed.
    pub(super) fn run(&self, sql: &str, values: impl Params) -> Outcome<usize> {
        let run = || self.connection.prepare_cached(sql)?.execute(values);
        run().map_err(|error| self.failed(error))
    }

    /// Runs a change of one row; [`StoreError::Stale`] when the row is not there as expected.
    pub(super) fn change(&self, sql: &str, values: impl Params) -> Outcome<()> {
        match self.run(sql, values)? {
            0 => Err(StoreError::Stale),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        let fault = is_fault(&error);
        let error = store_error(error);
        if fault {
            self.fault.borrow_mut().get_or_insert_with(|| error.clone());
        }
        error
    }
}
