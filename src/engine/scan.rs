//! Scans of a table as a transaction sees it: the snapshot's rows and the transaction's edits, merged by key.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::EngineError;
use super::edits::RowEdits;
use crate::chunk::ChunkStore;
use crate::prolly::{Cursor, Map, ProllyError};
use crate::version::{EncodedTuple, Row, TableSchema, decode_columns, decode_tuple};

/// Edits are copied out of their persistent map this many at a time.
const EDITS_AT_ONCE: usize = 64;

/// Encoded rows with their keys, in key order. Owns what it reads and sees the transaction as it was when the scan
/// began. After an error it yields nothing more.
pub struct TupleScan {
    committed: Option<Committed>,
    edits: EditCursor,
}

/// Rows with their keys, in key order; see [`TupleScan`].
pub struct RowScan {
    schema: Arc<TableSchema>,
    store: ChunkStore,
    tuples: TupleScan,
    /// Which columns are decoded; all when `None`.
    wanted: Option<Vec<bool>>,
}

/// The snapshot's rows in the range, with one looked at ahead.
struct Committed {
    rows: Map,
    store: ChunkStore,
    cursor: Cursor<ChunkStore>,
    next: Option<(Bytes, Bytes)>,
}

/// Walks a persistent map without borrowing it.
struct EditCursor {
    edits: RowEdits,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    ready: VecDeque<(Vec<u8>, Option<EncodedTuple>)>,
}

impl TupleScan {
    pub(super) fn new(
        store: ChunkStore,
        committed: Option<Map>,
        edits: RowEdits,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<TupleScan, EngineError> {
        let committed = match committed {
            Some(rows) => Some(Committed {
                rows,
                store: store.clone(),
                cursor: rows.range(store, bounds.clone())?,
                next: None,
            }),
            None => None,
        };
        let edits = EditCursor {
            edits,
            from: bounds.0,
            to: bounds.1,
            ready: VecDeque::new(),
        };
        Ok(TupleScan { committed, edits })
    }

    /// Passes over the next `count` rows, or all there are, and gives how many they were.
    ///
    /// Costs a few paths through the tree for each edit that it passes, however many rows they are. After an error the
    /// scan yields nothing more.
    pub fn advance(&mut self, count: u64) -> Result<u64, EngineError> {
        let passed = self.pass(count);
        if passed.is_err() {
            self.stop();
        }
        passed
    }

    fn pass(&mut self, count: u64) -> Result<u64, EngineError> {
        let mut rest = count;
        while rest > 0 {
            let before = match (&mut self.committed, self.edits.peek()) {
                (Some(committed), Some(edited)) => committed.count_before(edited)?.min(rest),
                (Some(_), None) => rest,
                (None, _) => 0,
            };
            if before > 0
                && let Some(committed) = &mut self.committed
            {
                rest -= committed.advance(before)?;
            }
            // Past the rows before the next edit comes what it makes of its own.
            if rest > 0 {
                match self.step()? {
                    Some(_) => rest -= 1,
                    None => break,
                }
            }
        }
        Ok(count - rest)
    }

    fn step(&mut self) -> Result<Option<(Vec<u8>, EncodedTuple)>, EngineError> {
        loop {
            let committed = match &mut self.committed {
                Some(committed) => committed.peek()?,
                None => None,
            };
            let order = match (committed, self.edits.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(committed), Some(edited)) => committed.cmp(edited),
            };
            if order.is_le()
                && let Some((key, row)) = self.committed.as_mut().and_then(|committed| committed.next.take())
                && order.is_lt()
            {
                return Ok(Some((key.to_vec(), EncodedTuple::stored(row))));
            }
            // The edit replaces the committed row.
            if let Some((key, Some(row))) = self.edits.next() {
                return Ok(Some((key, row)));
            }
        }
    }

    fn stop(&mut self) {
        self.committed = None;
        self.edits.ready.clear();
        self.edits.edits = RowEdits::new();
    }
}

impl Iterator for TupleScan {
    type Item = Result<(Vec<u8>, EncodedTuple), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stop();
        }
        step.transpose()
    }

    /// Cheap, see [`advance`](TupleScan::advance); and so is `skip`.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        match self.advance(n as u64) {
            Ok(_) => self.next(),
            Err(error) => Some(Err(error)),
        }
    }
}

impl RowScan {
    pub(super) fn new(
        schema: Arc<TableSchema>,
        store: ChunkStore,
        tuples: TupleScan,
        wanted: Option<Vec<bool>>,
    ) -> RowScan {
        RowScan {
            schema,
            store,
            tuples,
            wanted,
        }
    }

    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// See [`TupleScan::advance`].
    pub fn advance(&mut self, count: u64) -> Result<u64, EngineError> {
        self.tuples.advance(count)
    }

    fn decode(&self, tuple: &EncodedTuple) -> Result<Row, EngineError> {
        let chunks = tuple.over(&self.store);
        Ok(match &self.wanted {
            None => decode_tuple(&self.schema, &tuple.bytes, &chunks)?,
            Some(wanted) => decode_columns(&self.schema, &tuple.bytes, &chunks, wanted)?,
        })
    }
}

impl Iterator for RowScan {
    type Item = Result<(Vec<u8>, Row), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.tuples.next()?;
        Some(entry.and_then(|(key, tuple)| Ok((key, self.decode(&tuple)?))))
    }

    /// Cheap, see [`advance`](RowScan::advance); and so is `skip`.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let entry = self.tuples.nth(n)?;
        Some(entry.and_then(|(key, tuple)| Ok((key, self.decode(&tuple)?))))
    }
}

impl Committed {
    fn peek(&mut self) -> Result<Option<&[u8]>, ProllyError> {
        if self.next.is_none() {
            self.next = self.cursor.next().transpose()?;
        }
        Ok(self.next.as_ref().map(|(key, _)| key.as_ref()))
    }

    /// How many rows come before `key`, which is in the range.
    fn count_before(&mut self, key: &[u8]) -> Result<u64, ProllyError> {
        let (rows, store) = (self.rows, self.store.clone());
        match self.peek()? {
            Some(next) if next < key => {
                let here = rows.rank(&store, next)?;
                Ok(rows.rank(&store, key)?.saturating_sub(here))
            }
            _ => Ok(0),
        }
    }

    fn advance(&mut self, count: u64) -> Result<u64, ProllyError> {
        match self.next.take() {
            Some(_) if count > 0 => Ok(1 + self.cursor.advance(count - 1)?),
            next => {
                self.next = next;
                self.cursor.advance(count)
            }
        }
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

    fn next(&mut self) -> Option<(Vec<u8>, Option<EncodedTuple>)> {
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
