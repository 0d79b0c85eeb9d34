//! Scans of a table as a transaction sees it: the snapshot's rows and the transaction's edits, merged by key.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::EngineError;
use super::edits::RowEdits;
use crate::chunk::ChunkStore;
use crate::prolly::{Cursor, Map};
use crate::version::{Row, TableSchema, decode_tuple};

/// Edits are copied out of their persistent map this many at a time.
const EDITS_AT_ONCE: usize = 64;

/// Encoded rows with their keys, in key order. Owns what it reads and sees the transaction as it was when the scan
/// began. After an error it yields nothing more.
pub struct TupleScan {
    committed: Option<Peekable<Cursor<ChunkStore>>>,
    edits: EditCursor,
}

/// Rows with their keys, in key order; see [`TupleScan`].
pub struct RowScan {
    schema: Arc<TableSchema>,
    tuples: TupleScan,
}

/// Walks a persistent map without borrowing it.
struct EditCursor {
    edits: RowEdits,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    ready: VecDeque<(Vec<u8>, Option<Bytes>)>,
}

impl TupleScan {
    pub(super) fn new(
        store: ChunkStore,
        committed: Option<Map>,
        edits: RowEdits,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<TupleScan, EngineError> {
        let cursor = committed.map(|rows| rows.range(store, bounds.clone())).transpose()?;
        let edits = EditCursor {
            edits,
            from: bounds.0,
            to: bounds.1,
            ready: VecDeque::new(),
        };
        Ok(TupleScan {
            committed: cursor.map(Iterator::peekable),
            edits,
        })
    }

    fn next_committed(&mut self) -> Option<Result<(Bytes, Bytes), EngineError>> {
        let entry = self.committed.as_mut()?.next()?;
        Some(entry.map_err(|error| {
            self.committed = None;
            self.edits.ready.clear();
            self.edits.edits = RowEdits::new();
            error.into()
        }))
    }
}

impl Iterator for TupleScan {
    type Item = Result<(Vec<u8>, Bytes), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let committed = match self.committed.as_mut().and_then(Peekable::peek) {
                Some(Ok((key, _))) => Some(key.as_ref()),
                Some(Err(_)) => {
                    return self
                        .next_committed()
                        .map(|error| error.map(|(key, row)| (key.to_vec(), row)));
                }
                None => None,
            };
            let order = match (committed, self.edits.peek()) {
                (None, None) => return None,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(committed), Some(edited)) => committed.cmp(edited),
            };
            if order.is_lt() {
                return self
                    .next_committed()
                    .map(|entry| entry.map(|(key, row)| (key.to_vec(), row)));
            }
            if order.is_eq() {
                // The edit replaces the committed row.
                self.next_committed();
            }
            if let Some((key, Some(row))) = self.edits.next() {
                return Some(Ok((key, row)));
            }
        }
    }
}

impl RowScan {
    pub(super) fn new(schema: Arc<TableSchema>, tuples: TupleScan) -> RowScan {
        RowScan { schema, tuples }
    }

    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }
}

impl Iterator for RowScan {
    type Item = Result<(Vec<u8>, Row), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.tuples.next()?;
        Some(entry.and_then(|(key, tuple)| Ok((key, decode_tuple(&self.schema, &tuple)?))))
    }
}

impl EditCursor {
    fn peek(&mut self) -> Option<&[u8]> {
        if self.ready.is_empty() && !self.edits.is_empty() && !is_empty_range(&self.from, &self.to) {
            let range = self.edits.range((self.from.clone(), self.to.clone()));
            self.ready = range
                .take(EDITS_AT_ONCE)
                .map(|(key, row)| (key.clone(), row.clone()))
                .collect();
            match self.ready.back() {
                Some((last, _)) => self.from = Bound::Excluded(last.clone()),
                None => self.edits = RowEdits::new(),
            }
        }
        self.ready.front().map(|(key, _)| key.as_slice())
    }

    fn next(&mut self) -> Option<(Vec<u8>, Option<Bytes>)> {
        self.peek()?;
        self.ready.pop_front()
    }
}

/// Ordered maps panic when asked for a range that ends before it begins.
fn is_empty_range(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
    }
}
