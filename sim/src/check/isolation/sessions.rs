//! Sessions: which transactions of one client must see which others of its.
//!
//! A connection is with one process of one server. What that process acknowledged, and what it let a client read, is
//! part of what it shows that client from then on. It may lose it in one way only: it follows a primary that lacks it.
//! A restart or a demotion ends the connection.
//!
//! Must not know: what the transactions are about.

use std::collections::{BTreeMap, BTreeSet};

use super::lists::Transaction;
use crate::check::writes::WORKLOAD_DATABASE;
use crate::history::{History, Origin, Outcome, Root, What};

/// A transaction that was acknowledged on the connection a client has now.
struct Before<'a> {
    index: usize,
    server: &'a str,
    /// When it was invoked, as the number of the event.
    since: usize,
}

/// Pairs of places in `kept`, each of which follows the other in a session, as near as there is one.
pub fn edges(history: &History, kept: &[&Transaction<'_>]) -> Vec<(usize, usize)> {
    let places: BTreeMap<u64, usize> = (0..).zip(kept).map(|(index, kept)| (kept.op, index)).collect();
    let mut invoked: BTreeMap<u64, usize> = BTreeMap::new();
    let mut before: BTreeMap<&str, Before<'_>> = BTreeMap::new();
    let mut lineage = Lineage::default();
    // Server -> the event at which it gave something up.
    let mut gave_up: BTreeMap<&str, usize> = BTreeMap::new();
    let mut edges = Vec::new();
    for (number, event) in history.events.iter().enumerate() {
        match &event.what {
            What::Connected { .. } | What::Disconnected { .. } => drop(before.remove(event.node.as_str())),
            What::Invoke(invoke) => drop(invoked.insert(invoke.op, number)),
            What::Return { op, outcome } => {
                let Some(index) = places.get(op).copied() else { continue };
                let server = kept[index].server;
                let last = before.remove(event.node.as_str());
                if let Some(last) = last
                    && last.server == server
                    // Either of the two may have been under way at that moment.
                    && gave_up.get(server).is_none_or(|then| *then < last.since)
                {
                    edges.push((last.index, index));
                }
                if let (Outcome::Ok { .. }, Some(since)) = (outcome, invoked.get(op).copied()) {
                    before.insert(&event.node, Before { index, server, since });
                }
            }
            What::Root(root) if root.database == WORKLOAD_DATABASE && lineage.gives_up(&event.node, root) => {
                gave_up.insert(&event.node, number);
            }
            _ => {}
        }
    }
    edges
}

/// Which root was committed upon which.
#[derive(Default)]
struct Lineage<'a> {
    /// A root that comes again may stand on another.
    stands_on: BTreeMap<&'a str, BTreeSet<&'a str>>,
    newest: BTreeMap<&'a str, &'a str>,
}

impl<'a> Lineage<'a> {
    /// Whether `server` had something that this root, which it has from now on, does not stand on.
    fn gives_up(&mut self, server: &'a str, root: &'a Root) -> bool {
        let held = self.newest.insert(server, &root.root);
        if root.origin != Origin::Received {
            self.stands_on.entry(&root.root).or_default().insert(&root.previous);
            return false;
        }
        held.is_some_and(|held| !self.stands(&root.root, held))
    }

    fn stands(&self, root: &'a str, held: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = vec![root];
        while let Some(root) = next.pop() {
            if root == held {
                return true;
            }
            if seen.insert(root) {
                next.extend(self.stands_on.get(root).into_iter().flatten());
            }
        }
        false
    }
}
