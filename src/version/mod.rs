//! Commits, refs, working sets, schemas and rows: Git for tables.
//!
//! A database's whole state hangs from one chunk, its *store root*: the map of [`Refs`]. A branch ref names a
//! [`Commit`]; beside it a [`WorkingSet`] names what is not committed yet; both name a [`RootValue`], the catalog of
//! [`Table`]s, each a schema and a map of rows.
//!
//! ```text
//! Refs ── refs/heads/main ──────────────── Commit ── root ── RootValue ── catalog ── Table ── rows
//!   └──── workingsets/refs/heads/main ──── WorkingSet ── working, staged ──┘
//! ```
//!
//! Invariants
//! - Every object begins with one kind byte, so that [`references`] needs no context to tell what a chunk refers to.
//! - What lies outside its row is told by the value alone, and read only when it is wanted.
//! - Equal content has equal hashes, whatever the order of the edits that led there.
//! - Byte order of keys is SQL order (see [`encode_key_values`]).
//! - Foreign bytes, from a damaged disk or a peer, give a [`VersionError`] and never a panic.
//!
//! Must not know: SQL text, sessions, transactions, the network.

mod commit;
mod diff;
mod error;
mod key;
mod large;
mod object;
mod reachability;
mod refs;
mod root_value;
mod table;
mod tuple;
mod value;
mod working_set;

#[cfg(test)]
mod object_tests;

pub use commit::{Commit, Person};
pub use diff::{RowDifference, TableDifference, diff_catalogs, diff_rows};
pub use error::VersionError;
pub use key::{KEYLESS_HASH_BYTES, decode_key, encode_key, encode_key_values, keyless_key, prefix_end};
pub use large::{LargeValue, VALUE_BYTES_MAX};
#[cfg(test)]
pub(crate) use object::{KIND_LARGE_VALUE, KIND_PIECE};
pub use reachability::{links, references};
pub use refs::{MAIN_BRANCH, Refs};
pub use root_value::RootValue;
pub use table::Table;
pub use tuple::{EncodedTuple, decode_columns, decode_tuple, encode_tuple};
pub use value::{Column, ColumnType, Row, TableName, TableSchema, Value};
pub use working_set::WorkingSet;
