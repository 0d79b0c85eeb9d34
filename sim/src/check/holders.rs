//! Who certainly holds which acknowledged write: what a forced failover may not lose.
//!
//! A server holds what it acknowledged to a client, and what it acknowledged to a primary that held it. It no longer
//! has to hold what the primary does not hold whose root it receives: that history replaced its own. A primary follows
//! nobody, so a root that one received takes nothing off it.
//!
//! A server that lost its disk owes nothing. Nor does one whose disk was damaged, until it was mended: a write that never
//! reached the medium may be the newest, and then nothing is missed.
//!
//! Nothing here looks at what a server has in the end: a server that loses what it acknowledged still owes it.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Roles;
use crate::history::{Acknowledged, History, Origin, Outcome, Root, WIPED, What};

/// Operations by number.
#[derive(Default)]
struct Server {
    /// Roots seen so far, of either origin.
    roots: usize,
    /// Sequence in the server's log -> which of its roots that is, and its hash. A number comes again when a power cut
    /// took the root that had it.
    by_sequence: BTreeMap<u64, (usize, String)>,
    /// Operation -> with which of the server's roots at the latest.
    holds: BTreeMap<u64, usize>,
    damaged: bool,
}

/// The numbers of the operations that `server` has to hold at the end, of those that `database` keeps.
pub fn owed(history: &History, server: &str, database: &str) -> Vec<u64> {
    let mut servers: BTreeMap<String, Server> = BTreeMap::new();
    // Root -> who committed it last, and which of its roots that was.
    let mut committer: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut asked: BTreeMap<u64, String> = BTreeMap::new();
    let mut roles = Roles::default();
    for event in &history.events {
        roles.observe(event);
        match &event.what {
            What::Invoke(invoke) => {
                asked.insert(invoke.op, invoke.server.clone());
            }
            What::Return {
                op,
                outcome: Outcome::Ok { .. },
            } => {
                let Some(name) = asked.get(op) else { continue };
                let server = servers.entry(name.clone()).or_default();
                // Its own root was appended before it was acknowledged; which one it was is not told.
                server.hold(*op);
            }
            What::Root(root) if root.database == database => {
                if root.origin != Origin::Received {
                    let index = servers.get(&event.node).map_or(0, |server| server.roots) + 1;
                    committer.insert(root.root.clone(), (event.node.clone(), index));
                } else if !roles.is_primary(&event.node) {
                    // What the primary had acknowledged by then is in that root; a root that comes again, after the
                    // operator has made somebody primary who had no more, has no more either.
                    let theirs = committer.get(&root.root).and_then(|(name, index)| {
                        let holds = servers.get(name)?.holds.iter();
                        let held = holds.filter(|(_, since)| *since <= index).map(|(op, _)| *op);
                        Some(held.collect::<BTreeSet<u64>>())
                    });
                    let ours = servers.entry(event.node.clone()).or_default();
                    ours.holds
                        .retain(|op, _| theirs.as_ref().is_some_and(|theirs| theirs.contains(op)));
                }
                servers.entry(event.node.clone()).or_default().appended(root);
            }
            What::Down { how } if how == WIPED => drop(servers.remove(&event.node)),
            What::Damaged => {
                let server = servers.entry(event.node.clone()).or_default();
                server.damaged = true;
                server.holds.clear();
            }
            What::Mended => servers.entry(event.node.clone()).or_default().damaged = false,
            What::Acknowledged(acknowledged) if acknowledged.database == database => {
                acknowledge(&mut servers, &event.node, acknowledged);
            }
            _ => {}
        }
    }
    let server = servers.remove(server).unwrap_or_default();
    server.holds.into_keys().collect()
}

impl Server {
    fn hold(&mut self, op: u64) {
        if !self.damaged {
            self.holds.entry(op).or_insert(self.roots);
        }
    }

    fn appended(&mut self, root: &Root) {
        self.roots += 1;
        self.by_sequence.insert(root.sequence, (self.roots, root.root.clone()));
    }
}

/// A standby told `primary` that it holds one of the primary's roots.
fn acknowledge(servers: &mut BTreeMap<String, Server>, primary: &str, acknowledged: &Acknowledged) {
    let Some(primary) = servers.get(primary) else { return };
    let index = match primary.by_sequence.get(&acknowledged.sequence) {
        Some((index, root)) if *root == acknowledged.root => *index,
        _ => return,
    };
    let contained = primary.holds.iter().filter(|(_, since)| **since <= index);
    let contained: Vec<u64> = contained.map(|(op, _)| *op).collect();
    let standby = servers.entry(acknowledged.by.clone()).or_default();
    for op in contained {
        standby.hold(op);
    }
}
