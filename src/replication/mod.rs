//! Roles, epochs and log shipping between servers.
