//! Understudy: PostgreSQL on the wire, Git in its storage, and a hot standby that can take over.
//!
//! The modules are listed bottom up: each knows those above it in this list through their public face, and nothing
//! below it (`tests/layers.rs` checks the arrows). `docs/architecture.md` says what each promises and must not know.

/// The one door to the outside world: tasks, clock, network, disk, entropy.
pub mod runtime;

/// Content-addressed chunks in an append-only log.
pub mod chunk;

/// Ordered maps over chunks, whose shape depends on content alone.
pub mod prolly;

/// Commits, refs, working sets, schemas and rows: Git for tables.
pub mod version;

/// Databases, transactions, and the one commit path.
pub mod engine;

/// What an operator may set, and how it is checked.
pub mod config;

/// PostgreSQL's dialect: sessions, definitions, point operations, DataFusion, the `dolt_*` functions.
pub mod sql;

/// Roles, epochs and log shipping between servers.
pub mod replication;

/// PostgreSQL's wire protocol.
pub mod pg;

/// A whole server assembled from the layers above.
pub mod server;
