//! The real binary, spoken to with psql, tokio-postgres and psycopg: one server, a cluster of two, and bad input.
//!
//! Every server gets a folder and ports of its own. Nothing sleeps for a fixed time: each wait is for a condition, with a
//! limit after which the server's log is printed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "black-box tests live outside src/runtime"
)]

mod bad_input;
mod cluster;
mod cluster_sql;
mod drivers;
mod durability;
mod failover;
mod harness;
mod psql;
mod start;
mod upkeep;
