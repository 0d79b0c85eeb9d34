//! Whether clients may write, and who is still writing.
//!
//! Invariants
//! - A commit enters inside its commit turn and leaves when its root is published or has failed; a replicated root
//!   likewise.
//! - After `close` and then `drain`, nothing that entered before can finish later.
//! - A transaction that began before a closing does not enter after it, though the gate be open again: what it read may
//!   belong to a history that is no longer this server's.
//!
//! Must not know: roles. It is told to close, and why.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::runtime::sometimes;

/// Why clients may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadOnlyReason {
    /// The server is a standby.
    Standby,
    /// The server is in role detected_broken_config.
    BrokenConfig,
    /// The server is leaving the role of primary.
    Demoting,
    /// `behavior.read_only`.
    Configured,
}

/// The door every commit passes.
#[derive(Debug, Clone)]
pub struct WriteGate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    door: Mutex<Door>,
    /// How many have entered and not left.
    inside: watch::Sender<usize>,
}

#[derive(Debug)]
struct Door {
    /// Present while it is closed.
    reason: Option<ReadOnlyReason>,
    /// How often it was closed after it had been open.
    closings: u64,
}

/// Held by a commit from its check to the publication of its root.
#[derive(Debug)]
pub struct GateTicket {
    shared: Arc<Shared>,
}

impl WriteGate {
    pub(super) fn new(reason: Option<ReadOnlyReason>) -> WriteGate {
        WriteGate {
            shared: Arc::new(Shared {
                door: Mutex::new(Door { reason, closings: 0 }),
                inside: watch::Sender::new(0),
            }),
        }
    }

    /// From here on no commit enters. Commits that entered before may still be unfinished: see [`drain`](Self::drain).
    pub fn close(&self, reason: ReadOnlyReason) {
        let mut door = self.shared.door.lock();
        if door.reason.replace(reason).is_none() {
            door.closings += 1;
        }
    }

    /// Lets commits in.
    pub fn open(&self) {
        self.shared.door.lock().reason = None;
    }

    /// Why the gate is closed; `None` when it is open.
    pub fn reason(&self) -> Option<ReadOnlyReason> {
        self.shared.door.lock().reason
    }

    /// How often the gate was closed so far: what a transaction remembers from its beginning.
    pub(super) fn closings(&self) -> u64 {
        self.shared.door.lock().closings
    }

    /// Waits until nobody who entered is unfinished: commits of clients, and roots being applied by replication.
    ///
    /// With the gate open this waits for a moment without writers, which may never come.
    pub async fn drain(&self) {
        let mut inside = self.shared.inside.subscribe();
        inside
            .wait_for(|inside| *inside == 0)
            .await
            .expect("the gate holds the sender");
    }

    /// How many have entered and are unfinished.
    pub fn unfinished(&self) -> usize {
        *self.shared.inside.borrow()
    }

    /// Lets in the commit of a transaction that began after so many closings, or says why not.
    pub(super) fn enter(&self, closings: u64) -> Result<GateTicket, ReadOnlyReason> {
        // Counted under the lock: whoever closes the gate afterwards sees this entry when it drains.
        let door = self.shared.door.lock();
        match door.reason {
            Some(reason) => Err(reason),
            None if door.closings != closings => {
                sometimes!("engine.commit_after_closing");
                Err(ReadOnlyReason::Demoting)
            }
            None => Ok(self.count()),
        }
    }

    /// Lets a replicated root in: it is for the role machine to permit, whether clients may write or not.
    pub(super) fn enter_replicated(&self) -> GateTicket {
        let _door = self.shared.door.lock();
        self.count()
    }

    fn count(&self) -> GateTicket {
        self.shared.inside.send_modify(|inside| *inside += 1);
        GateTicket {
            shared: self.shared.clone(),
        }
    }
}

impl Drop for GateTicket {
    fn drop(&mut self) {
        self.shared.inside.send_modify(|inside| *inside -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_says_why() {
        let gate = WriteGate::new(Some(ReadOnlyReason::Standby));
        assert_eq!(gate.enter(gate.closings()).unwrap_err(), ReadOnlyReason::Standby);
        gate.open();
        assert!(gate.enter(gate.closings()).is_ok());
        gate.close(ReadOnlyReason::Demoting);
        assert_eq!(gate.enter(gate.closings()).unwrap_err(), ReadOnlyReason::Demoting);
        assert_eq!(gate.unfinished(), 0);
    }

    #[test]
    fn what_began_before_a_closing_stays_out_when_the_gate_is_open_again() {
        let gate = WriteGate::new(None);
        let before = gate.closings();
        gate.close(ReadOnlyReason::Demoting);
        gate.close(ReadOnlyReason::Standby);
        let between = gate.closings();
        gate.open();
        assert_eq!(gate.enter(before).unwrap_err(), ReadOnlyReason::Demoting);
        assert!(gate.enter(between).is_ok());
    }

    #[test]
    fn draining_waits_for_everyone_inside() {
        let gate = WriteGate::new(None);
        let commit = gate.enter(gate.closings()).unwrap();
        let replicated = gate.enter_replicated();
        gate.close(ReadOnlyReason::Demoting);
        let mut drain = Box::pin(gate.drain());
        assert!((&mut drain).now_or_never().is_none());
        drop(commit);
        assert!((&mut drain).now_or_never().is_none());
        drop(replicated);
        assert!(drain.now_or_never().is_some());
    }
}
