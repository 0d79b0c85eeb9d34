//! Ordered maps over chunks, whose shape depends on content alone.
//!
//! A [`Map`] is a tree of immutable nodes named by the hash of its root. Where a node ends is decided by the keys and
//! sizes in it, so maps with equal content have equal roots whatever the order of edits, and two maps are compared by
//! skipping what has the same name.
//!
//! Invariants
//! - Equal content, equal root: [`Map::apply`] gives exactly what [`Map::build`] of the resulting content gives.
//! - An edit rewrites the nodes on its path, and sometimes a neighbour; never the rest.
//! - Bytes of a node are checked before they are used: foreign bytes are an error, never a panic.
//!
//! Must not know: what keys and values mean, where chunks are kept, who edits.

mod apply;
mod boundary;
mod build;
mod cursor;
mod diff;
mod error;
mod map;
mod node;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, LeafSpan};
pub use diff::{DiffIter, Difference};
pub use error::ProllyError;
pub use map::Map;
pub use node::{KIND_INTERIOR, KIND_LEAF, children, references, validate};

/// Longest key of a map.
pub const KEY_BYTES_MAX: usize = 8 * 1024;

/// Longest value of a map: it lies within its node, whose chunk must fit a record.
pub const VALUE_BYTES_MAX: usize = 1 << 30;
