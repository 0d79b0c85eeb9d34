//! Roots: who published which, and what follows from what.
//!
//! The primary of an epoch publishes a sequence of roots per database. The first of them stands on a root of an
//! earlier epoch.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Orders, is_wiped, role_in};
use super::{ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{Acknowledged, Event, Origin, Root, WIPED, What};
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
            return newest
                .filter(|newest| *newest != root.previous && !follows_none(root))
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

/// The first of a database that was dropped and made again follows none.
fn follows_none(root: &Root) -> bool {
    root.previous.bytes().all(|digit| digit == b'0')
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

/// What a server held of a database when it was there last.
struct Held {
    root: String,
    own: bool,
    /// It was started since, and may have lost with the power what it had not synced.
    restarted: bool,
}

#[derive(Default)]
struct Lossless {
    /// database -> the newest commit of any primary.
    newest: BTreeMap<String, String>,
    /// (server, database) -> its newest root.
    held: BTreeMap<(String, String), Held>,
    roles: BTreeMap<String, Role>,
    /// Servers that were started and have not said their role: what they commit is the content every new one begins with.
    booting: BTreeSet<String>,
    /// (server, database) -> the root that it became primary with, until its first commit says whether it did. A power cut
    /// takes what was received and not synced, and what was not acknowledged may have been synced or not.
    taken_over: BTreeMap<(String, String), String>,
}

impl Lossless {
    fn on_root(&mut self, server: &str, root: &Root) -> Option<String> {
        let place = (server.to_owned(), root.database.clone());
        let own = root.is_own();
        let held = Held {
            root: root.root.clone(),
            own,
            restarted: false,
        };
        self.held.insert(place.clone(), held);
        if own && self.booting.contains(server) {
            return None;
        }
        let taken_over = self.taken_over.remove(&place);
        if !own {
            return None;
        }
        self.newest.insert(root.database.clone(), root.root.clone());
        taken_over
            .filter(|taken_over| *taken_over != root.previous && !follows_none(root))
            .map(|taken_over| {
                format!(
                    "{server} became primary and committed to {} after {}; the last commit before was {taken_over}",
                    root.database, root.previous
                )
            })
    }

    fn on_primary(&mut self, server: &str, epoch: u64) -> Option<String> {
        for (database, newest) in &self.newest {
            let place = (server.to_owned(), database.clone());
            let held = self.held.get(&place);
            match held {
                // Its own commit that nobody was told of.
                Some(held) if held.root == *newest && held.own && held.restarted => {}
                Some(held) if held.root == *newest => drop(self.taken_over.insert(place, newest.clone())),
                _ => {
                    let held = held.map_or("nothing", |held| held.root.as_str());
                    return Some(format!(
                        "{server} became primary@{epoch} holding {held} of {database}; the last commit was {newest}"
                    ));
                }
            }
        }
        None
    }
}

impl Watch for Lossless {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let server = event.node.as_str();
        match &event.what {
            What::Root(root) => return self.on_root(server, root),
            What::Down { how } if how == WIPED => {
                self.held.retain(|(name, _), _| name != server);
                self.taken_over.retain(|(name, _), _| name != server);
                self.roles.remove(server);
            }
            What::Start => {
                self.booting.insert(server.to_owned());
                let held = self.held.iter_mut().filter(|((name, _), _)| name == server);
                held.for_each(|(_, held)| held.restarted = true);
            }
            What::Role { role, epoch } => {
                self.booting.remove(server);
                let before = self.roles.insert(server.to_owned(), *role);
                if *role != Role::Primary {
                    self.taken_over.retain(|(name, _), _| name != server);
                } else if before.is_some_and(|before| before != Role::Primary) {
                    return self.on_primary(server, *epoch);
                }
            }
            _ => {}
        }
        None
    }
}
