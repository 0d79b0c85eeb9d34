//! The storage engine on its own: no SQL, no network, one disk, many lives.
//!
//! A scenario with a `storage:` section becomes a plan of *lives*: the engine is opened, works through operations, and
//! ends by being closed, killed, or losing power, perhaps in the middle of a sync; then the next life begins on the same
//! disk. The driver does what the plan says and records what it learned; the checks (`check/storage.rs`) hold the model
//! of what must be there. Segments and caches are tiny, so that a few dozen commits rotate, evict and recover.
//!
//! The driver needs nothing of the simulator but a disk and a clock: `cargo sim` runs it in virtual time, one process
//! per seed like every scenario, and `cargo test` runs the same plans in an ordinary build.
//!
//! Where things are added: an operation is a variant of [`plan::Operation`] and its deed in `drive.rs`. Upkeep of a
//! store (`collect_garbage`, `fsck`, `backup`) has its place there: [`plan::Upkeep`].
//!
//! Must not know: files of a store, SQL, the simulator's runtime.

pub mod drive;
pub mod event;
pub mod plan;
mod rows;
pub mod spec;
#[cfg(all(test, not(madsim)))]
mod tests;
