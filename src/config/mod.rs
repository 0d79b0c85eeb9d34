//! What an operator may set, and how it is checked.
//!
//! Pure: text, environment and flags go in; a [`Config`] or *all* problems at once come out, each with its file, line,
//! key, value and what is allowed. Nothing is opened, created or asked. The simulator and the fuzzers call the same
//! function as `main`.
//!
//! Invariants
//! - Every value of a [`Config`] is in range: later layers do not check again.
//! - A key that would need a feature this version lacks is an error naming the key, never silence.
//! - No message and no `Debug` output contains a password.
//!
//! Must not know: files, sockets, the process's environment.

mod values;

pub use values::{
    Behavior, BootstrapRole, ClusterConfig, ClusterListener, Config, Endpoint, FirstUser, Listener, LogLevel, Secret,
    StandbyRemote, join_host_port,
};
