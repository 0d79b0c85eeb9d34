//! PostgreSQL's wire protocol, version 3.
//!
//! From bytes to messages ([`message`]), from messages to calls of a [`crate::sql::Session`], and its results back to
//! bytes. A connection is one task that owns its stream; it reads a message, answers it, and reads the next.
//!
//! Invariants
//! - Whatever bytes arrive, the answer is a message or the end of that connection, never a panic, and no other
//!   connection notices.
//! - A client is told about a change only when the session says that it is durable.
//! - A refused log-in says the same, after the same work, whether the user exists or not.
//! - SQLSTATEs are chosen in [`sqlstate`] and nowhere else.
//!
//! Must not know: what a statement does, roles of a cluster, the configuration file.

mod client;
mod connection;
pub mod encode;
mod extended;
mod link;
mod listener;
mod message;
mod reply;
mod scram;
mod sink;
pub mod sqlstate;
mod startup;

#[cfg(all(test, not(madsim)))]
mod tests;

pub use listener::{Options, SqlListener, SqlServer};
