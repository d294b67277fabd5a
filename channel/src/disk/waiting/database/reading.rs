//! Rows and notes as they are read back, a few at a time.

use redb::{ReadableDatabase, ReadableTable, TableError};

use super::{Database, NOTES, Stored, dues_of, rows_of};

impl Database {
    /// Goes through the rows of a trigger that are due by `due_max`, in order of their due time,
    /// until `visit` has enough. Returns when the first row after that is due.
    pub(in crate::disk) fn by_due(
        &self,
        trigger: &str,
        due_max: u64,
        mut visit: impl FnMut(
            u64,
            u64,
            &dyn Fn() -> Result<Option<Stored>, redb::Error>,
        ) -> Result<bool, redb::Error>,
    ) -> Result<Option<u64>, redb::Error> {
        let read = self.db.begin_read()?;
        let (rows, dues) = (format!("rows:{trigger}"), format!("dues:{trigger}"));
        let (rows, dues) = match (read.open_table(rows_of(&rows)), read.open_table(dues_of(&dues)))
        {
            (Err(TableError::TableDoesNotExist(_)), _)
            | (_, Err(TableError::TableDoesNotExist(_))) => return Ok(None),
            (rows, dues) => (rows?, dues?),
        };
        for entry in dues.iter()? {
            let (due, sequence) = entry?.0.value();
            if due > due_max {
                return Ok(Some(due));
            }
            let row = || Ok(rows.get(sequence)?);
            if !visit(due, sequence, &row)? {
                return Ok(Some(due));
            }
        }
        Ok(None)
    }

    /// Goes through the rows of a trigger from `first` on, in the order in which they were put, until
    /// `visit` has enough. Returns the sequence from which on there may be more.
    pub(in crate::disk) fn by_sequence(
        &self,
        trigger: &str,
        first: u64,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<u64, redb::Error> {
        let read = self.db.begin_read()?;
        let name = format!("rows:{trigger}");
        let rows = match read.open_table(rows_of(&name)) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(self.next),
            rows => rows?,
        };
        for entry in rows.range(first..)? {
            let (sequence, row) = entry?;
            if !visit(sequence.value(), row.value()) {
                return Ok(sequence.value());
            }
        }
        Ok(self.next)
    }

    /// Notes after a key, until `visit` has enough; returns whether these were the last.
    pub(in crate::disk) fn notes(
        &self,
        after: Option<&str>,
        mut visit: impl FnMut(&str, &[u8]) -> bool,
    ) -> Result<bool, redb::Error> {
        let read = self.db.begin_read()?;
        let notes = match read.open_table(NOTES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(true),
            notes => notes?,
        };
        for entry in notes.range(after.unwrap_or_default()..)? {
            let (key, value) = entry?;
            if Some(key.value()) != after && !visit(key.value(), value.value()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
