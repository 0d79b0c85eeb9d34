//! Roots: who published which, and what follows from what.
//!
//! The primary of an epoch publishes a sequence of roots per database. The first of them stands on a root of an
//! earlier epoch.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Orders, is_wiped, role_in};
use super::{ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{Acknowledged, Event, Origin, WIPED, What};
use crate::scenario::cluster::Role;

pub const STANDBY_IS_PREFIX: Check = Check {
    name: "standby_is_prefix",
    about: "Every root a server received was published before by the primary of that epoch, and they come in its order; a server that starts again goes back behind nothing it acknowledged, and commits to what it has.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(Prefix::default())),
};

#[derive(Default)]
struct Prefix {
    /// (database, epoch) -> the roots that the primary of that epoch committed, in order.
    committed: BTreeMap<(String, u64), Vec<String>>,
    /// (server, database) -> epoch and how many of that epoch's roots it has.
    position: BTreeMap<(String, String), (u64, usize)>,
    /// The same, of what it acknowledged: a power cut may take the rest.
    acknowledged: BTreeMap<(String, String), (u64, usize)>,
    contested: Contested,
    highest: u64,
    /// (server, database) -> its newest root.
    held: BTreeMap<(String, String), String>,
    /// The same, since the server's last start.
    newest: BTreeMap<(String, String), String>,
    /// (database, root): what a server held when it became primary at an epoch of its own. All others may be led back to
    /// it: what they had beyond is displaced.
    bases: BTreeSet<(String, String)>,
}

/// Epochs in which two servers are primary because somebody wants it so: the operator by his orders, or whoever wrote
/// their configuration. There is no order of roots to keep to.
#[derive(Default)]
struct Contested {
    orders: Orders,
    /// Servers that have said a role since their disk was empty: what they say now is not from the configuration.
    known: BTreeSet<String>,
    /// Epoch -> who was configured as its primary.
    configured: BTreeMap<u64, BTreeSet<String>>,
}

impl Contested {
    fn observe(&mut self, event: &Event) {
        self.orders.observe(event);
        if is_wiped(event) {
            self.known.remove(&event.node);
        }
        let Some((role, epoch)) = role_in(event) else { return };
        if self.known.insert(event.node.clone()) && role == Role::Primary {
            self.configured.entry(epoch).or_default().insert(event.node.clone());
        }
    }

    fn contains(&self, epoch: u64) -> bool {
        let configured = self.configured.get(&epoch);
        self.orders.contest(epoch) || configured.is_some_and(|servers| servers.len() > 1)
    }
}

impl Prefix {
    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        let place = (acknowledged.by.clone(), acknowledged.database.clone());
        let Some((epoch, have)) = self.position.get(&place).copied() else {
            return;
        };
        let committed = self.committed.get(&(acknowledged.database.clone(), epoch));
        let known = committed.map(|roots| &roots[..have]).unwrap_or_default();
        if let Some(index) = known.iter().position(|known| *known == acknowledged.root) {
            self.acknowledged.insert(place, (epoch, index + 1));
        }
    }

    fn on_primary(&mut self, server: &str, epoch: u64) {
        // At the same epoch too: an operator who makes two primary has two whom others may follow.
        if epoch >= self.highest {
            self.highest = epoch;
            let held = self.held.iter().filter(|((name, _), _)| name == server);
            let bases = held.map(|((_, database), root)| (database.clone(), root.clone()));
            self.bases.extend(bases);
        }
    }

    fn on_start(&mut self, server: &str) {
        // What was not synced may be gone with the power.
        self.newest.retain(|(name, _), _| name != server);
        let positions = self.position.iter_mut().filter(|((name, _), _)| name == server);
        for (place, (epoch, have)) in positions {
            *have = match self.acknowledged.get(place) {
                Some((of, acknowledged)) if of == epoch => *acknowledged,
                _ => 0,
            };
        }
    }
}

impl Watch for Prefix {
    fn observe(&mut self, event: &Event) -> Option<String> {
        self.contested.observe(event);
        let root = match &event.what {
            What::Root(root) => root,
            What::Acknowledged(acknowledged) => {
                self.on_acknowledged(acknowledged);
                return None;
            }
            What::Start => {
                self.on_start(&event.node);
                return None;
            }
            What::Role {
                role: Role::Primary,
                epoch,
            } => {
                self.on_primary(&event.node, *epoch);
                return None;
            }
            What::Down { how } if how == WIPED => {
                self.position.retain(|(server, _), _| *server != event.node);
                self.acknowledged.retain(|(server, _), _| *server != event.node);
                return None;
            }
            _ => return None,
        };
        let key = (root.database.clone(), root.epoch);
        if root.origin != Origin::Received {
            self.committed.entry(key).or_default().push(root.root.clone());
            // It has gone its own way, and may be led back to where the others are.
            let place = (event.node.clone(), root.database.clone());
            self.position.remove(&place);
            self.held.insert(place.clone(), root.root.clone());
            let newest = self.newest.insert(place, root.root.clone());
            // The first of a database that was dropped and made again follows none.
            let follows_none = root.previous.bytes().all(|digit| digit == b'0');
            return newest
                .filter(|newest| *newest != root.previous && !follows_none)
                .map(|newest| {
                    format!(
                        "{} committed a root of {} after {}, and its newest was {newest}",
                        event.node, root.database, root.previous
                    )
                });
        }
        let place = (event.node.clone(), root.database.clone());
        self.held.insert(place.clone(), root.root.clone());
        self.newest.insert(place.clone(), root.root.clone());
        if self.bases.contains(&(root.database.clone(), root.root.clone())) {
            let committed = self.committed.get(&key).map(Vec::as_slice).unwrap_or_default();
            if let Some(index) = committed.iter().position(|known| *known == root.root) {
                self.position.insert(place, (root.epoch, index + 1));
                return None;
            }
        }
        let (epoch, have) = self.position.get(&place).copied().unwrap_or((0, 0));
        if root.epoch < epoch {
            return Some(format!(
                "{} took a root of {} of epoch {} after one of epoch {epoch}",
                event.node, root.database, root.epoch
            ));
        }
        if self.contested.contains(root.epoch) {
            return None;
        }
        let from = if root.epoch == epoch { have } else { 0 };
        let committed = self.committed.get(&key).map(Vec::as_slice).unwrap_or_default();
        match committed.iter().skip(from).position(|known| *known == root.root) {
            Some(skipped) => {
                self.position.insert(place, (root.epoch, from + skipped + 1));
                None
            }
            None if committed.iter().take(from).any(|known| *known == root.root) => Some(format!(
                "{} went back to an older root {} of {} in epoch {}",
                event.node, root.root, root.database, root.epoch
            )),
            None => Some(format!(
                "{} took root {} of {} in epoch {}, which no primary had committed in it",
                event.node, root.root, root.database, root.epoch
            )),
        }
    }
}

pub const LOSSLESS_FAILOVER: Check = Check {
    name: "lossless_failover",
    about: "Whenever a server becomes primary, it holds the last root that the primary before it committed.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(Lossless::default())),
};

#[derive(Default)]
struct Lossless {
    /// database -> the newest commit of any primary.
    newest: BTreeMap<String, String>,
    /// (server, database) -> its newest root.
    held: BTreeMap<(String, String), String>,
    roles: BTreeMap<String, Role>,
    /// Servers that were started and have not said their role: what they commit is the content every new one begins with.
    booting: BTreeSet<String>,
}

impl Watch for Lossless {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Root(root) => {
                self.held
                    .insert((event.node.clone(), root.database.clone()), root.root.clone());
                if root.is_own() && !self.booting.contains(&event.node) {
                    self.newest.insert(root.database.clone(), root.root.clone());
                }
                None
            }
            What::Start => {
                self.booting.insert(event.node.clone());
                None
            }
            What::Role { role, epoch } => {
                self.booting.remove(&event.node);
                let before = self.roles.insert(event.node.clone(), *role);
                if *role != Role::Primary || before.is_none() || before == Some(Role::Primary) {
                    return None;
                }
                self.newest.iter().find_map(|(database, newest)| {
                    let held = self.held.get(&(event.node.clone(), database.clone()));
                    (held != Some(newest)).then(|| {
                        let held = held.map_or("nothing", String::as_str);
                        format!(
                            "{} became primary@{epoch} holding {held} of {database}; the last commit was {newest}",
                            event.node
                        )
                    })
                })
            }
            _ => None,
        }
    }
}
