//! Roles, epochs and log shipping between servers.

/// Direct replication from a primary to its standbys.
pub mod cluster;
