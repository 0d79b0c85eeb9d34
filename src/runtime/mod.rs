//! The one door to the outside world: tasks, clock, network, disk, entropy.
//!
//! Two implementations with one face: `production` over tokio, and `simulated` over the seeded simulator, chosen at
//! build time by `cfg(madsim)`. The disk is a value rather than ambient, so that a server is handed the disk of its
//! node and ordinary tests can hand it one that loses power.
//!
//! Invariants
//! - Nothing else in this crate names tokio's net, time, fs or spawn, `std::fs`, `std::net` sockets, `std::thread`,
//!   `std::time::{Instant, SystemTime}` or an entropy source. `clippy.toml` enforces it.
//! - `tokio::sync`, `tokio::select!` and the `tokio::io` traits need no runtime and are fine everywhere.
//!
//! Must not know: chunks, SQL, roles.
