//! Ordered maps over chunks, whose shape depends on content alone.
//!
//! A [`Map`] is a tree of immutable nodes named by the hash of its root. Where a node ends is decided by the keys and
//! sizes in it, so maps with equal content have equal roots whatever the order of edits, and two maps are compared by
//! skipping what has the same name.
//!
//! Invariants
//! - Equal content, equal root: [`Map::apply`] gives exactly what [`Map::build`] of the resulting content gives.
//! - An edit rewrites the nodes on its path, and sometimes a neighbour; never the rest.
//! - What a value has [`attached`](Attached) counts as reachable from the map, and the nodes above say that it is there.
//! - Bytes of a node are checked before they are used: foreign bytes are an error, never a panic.
//!
//! Must not know: what keys and values mean, where chunks are kept, who edits.

mod apply;
mod attached;
mod boundary;
mod build;
mod cursor;
mod diff;
mod error;
#[cfg(test)]
mod foreign_tests;
mod map;
mod merge;
#[cfg(test)]
mod merge_tests;
mod node;
#[cfg(test)]
mod tests;

pub use attached::Attached;
pub use boundary::NODE_SCALE_BITS;
pub use cursor::Cursor;
pub use diff::{DiffIter, Difference};
pub use error::ProllyError;
pub use map::Map;
pub use merge::{MergeConflict, Merged, Resolution};
pub use node::{KIND_INTERIOR, KIND_LEAF, children, links, references, validate};

/// Longest key of a map.
pub const KEY_BYTES_MAX: usize = 8 * 1024;

/// Longest value of a map: it lies within its node, which is read and written as a whole. What is larger goes into chunks
/// of its own, which the value has [`attached`](Attached).
pub const VALUE_BYTES_MAX: usize = 16 << 20;
