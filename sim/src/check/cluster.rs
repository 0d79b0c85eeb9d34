//! Checks of roles and epochs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Arg, ArgKind, Check, Judge, Needs, Section, Watch, role_of};
use crate::history::{Event, Origin, WIPED, What};
use crate::scenario::cluster::Role;

pub const ONE_WRITABLE_PRIMARY_PER_EPOCH: Check = Check {
    name: "one_writable_primary_per_epoch",
    about: "In each epoch at most one server publishes commits of its own, unless the operator ordered two to be primary in it.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(OneWriter::default())),
};

#[derive(Default)]
struct OneWriter {
    orders: Orders,
    writers: BTreeMap<u64, String>,
    /// Servers that were started and have not said their role: they serve nobody, and what they commit is the content
    /// every new server starts with.
    booting: BTreeSet<String>,
}

impl Watch for OneWriter {
    fn observe(&mut self, event: &Event) -> Option<String> {
        self.orders.observe(event);
        match &event.what {
            What::Start => drop(self.booting.insert(event.node.clone())),
            What::Role { .. } | What::Ready { .. } => drop(self.booting.remove(&event.node)),
            _ => {}
        }
        let What::Root(root) = &event.what else { return None };
        if !root.is_own() || self.booting.contains(&event.node) || self.orders.contest(root.epoch) {
            return None;
        }
        let writer = self.writers.entry(root.epoch).or_insert_with(|| event.node.clone());
        (*writer != event.node).then(|| {
            format!(
                "{} committed root {} of {} in epoch {}, in which {writer} commits",
                event.node, root.sequence, root.database, root.epoch
            )
        })
    }
}

/// Whom the operator has ordered to be primary, and who did not say no. Who orders two to be it at one epoch has two.
/// Epoch -> server -> orders that were not declined: one that is takes none of those before it back.
#[derive(Default)]
pub(super) struct Orders(BTreeMap<u64, BTreeMap<String, u32>>);

impl Orders {
    pub fn observe(&mut self, event: &Event) {
        match &event.what {
            What::Ordered {
                server,
                role: Role::Primary,
                epoch,
                ..
            } => *self.orders(*epoch, server) += 1,
            What::Declined {
                server,
                role: Role::Primary,
                epoch,
            } => {
                let orders = self.orders(*epoch, server);
                *orders = orders.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn orders(&mut self, epoch: u64, server: &str) -> &mut u32 {
        self.0.entry(epoch).or_default().entry(server.to_owned()).or_default()
    }

    /// Whether more than one server may be primary at that epoch.
    pub fn contest(&self, epoch: u64) -> bool {
        let orders = self.0.get(&epoch).into_iter().flat_map(BTreeMap::values);
        orders.filter(|count| **count > 0).count() > 1
    }
}

pub const EPOCH_MONOTONE: Check = Check {
    name: "epoch_monotone",
    about: "A server's epoch never goes back, restarts included.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(EpochMonotone::default())),
};

#[derive(Default)]
struct EpochMonotone {
    epochs: BTreeMap<String, u64>,
}

/// A server that lost its disk remembers nothing.
pub(super) fn is_wiped(event: &Event) -> bool {
    matches!(&event.what, What::Down { how } if how == WIPED)
}

/// The role an event reports.
pub(super) fn role_in(event: &Event) -> Option<(Role, u64)> {
    match &event.what {
        What::Role { role, epoch } => Some((*role, *epoch)),
        What::Ready { role } => *role,
        _ => None,
    }
}

impl Watch for EpochMonotone {
    fn observe(&mut self, event: &Event) -> Option<String> {
        if is_wiped(event) {
            self.epochs.remove(&event.node);
        }
        let (_, epoch) = role_in(event)?;
        let before = self.epochs.insert(event.node.clone(), epoch).unwrap_or(0);
        (epoch < before).then(|| format!("{} went back from epoch {before} to {epoch}", event.node))
    }
}

pub const NO_ACKNOWLEDGED_WRITE_IN_ROLE: Check = Check {
    name: "no_acknowledged_write_in_role",
    about: "A server in the named role publishes no commit of its own.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::OneOf(Role::WORDS),
    arg_optional: false,
    judge: Judge::Running(|arg| {
        Box::new(NoWriteInRole {
            role: role_of(arg),
            roles: BTreeMap::new(),
        })
    }),
};

struct NoWriteInRole {
    role: Role,
    roles: BTreeMap<String, Role>,
}

impl Watch for NoWriteInRole {
    fn observe(&mut self, event: &Event) -> Option<String> {
        if let Some((role, _)) = role_in(event) {
            self.roles.insert(event.node.clone(), role);
        }
        let What::Root(root) = &event.what else { return None };
        let forbidden = root.is_own() && self.roles.get(&event.node) == Some(&self.role);
        forbidden.then(|| {
            format!(
                "{} committed root {} of {} while {}",
                event.node,
                root.sequence,
                root.database,
                self.role.word()
            )
        })
    }
}

pub const ROLE_SURVIVES_RESTART: Check = Check {
    name: "role_survives_restart",
    about: "A server comes back from a restart in the role and epoch it had; with an argument, only that role is looked at.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::OneOf(Role::WORDS),
    arg_optional: true,
    judge: Judge::Running(|arg| {
        let only = (*arg != Arg::None).then(|| role_of(arg));
        Box::new(RoleSurvives {
            only,
            last: BTreeMap::new(),
            awaited: BTreeMap::new(),
        })
    }),
};

struct RoleSurvives {
    only: Option<Role>,
    last: BTreeMap<String, (Role, u64)>,
    /// Servers that were started again and have not said their role yet.
    awaited: BTreeMap<String, (Role, u64)>,
}

impl Watch for RoleSurvives {
    fn observe(&mut self, event: &Event) -> Option<String> {
        if is_wiped(event) {
            self.last.remove(&event.node);
            self.awaited.remove(&event.node);
        }
        if let What::Start = event.what
            && let Some(last) = self.last.get(&event.node)
        {
            self.awaited.insert(event.node.clone(), *last);
        }
        let (role, epoch) = role_in(event)?;
        self.last.insert(event.node.clone(), (role, epoch));
        let (before, before_epoch) = self.awaited.remove(&event.node)?;
        let of_interest = self.only.is_none_or(|only| only == before);
        (of_interest && (role, epoch) != (before, before_epoch)).then(|| {
            format!(
                "{} was {}@{before_epoch} and came back as {}@{epoch}",
                event.node,
                before.word(),
                role.word()
            )
        })
    }
}

pub const PRIMARIES_FOLLOW_NOBODY: Check = Check {
    name: "primaries_follow_nobody",
    about: "A server that has said it is primary takes no root from another until it says another role.",
    needs: Needs::Servers,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(FollowsNobody::default())),
};

#[derive(Default)]
struct FollowsNobody {
    roles: Roles,
}

impl Watch for FollowsNobody {
    fn observe(&mut self, event: &Event) -> Option<String> {
        self.roles.observe(event);
        let What::Root(root) = &event.what else { return None };
        let taken = root.origin == Origin::Received && self.roles.is_primary(&event.node);
        taken.then(|| {
            format!(
                "{} took root {} of {} in epoch {} while primary",
                event.node, root.sequence, root.database, root.epoch
            )
        })
    }
}

/// What each server said last that it is. Of one that was started or is down nothing is known until it says so again.
#[derive(Default)]
pub(super) struct Roles(BTreeMap<String, Role>);

impl Roles {
    pub fn observe(&mut self, event: &Event) {
        if let What::Start | What::Down { .. } = &event.what {
            self.0.remove(&event.node);
        }
        if let Some((role, _)) = role_in(event) {
            self.0.insert(event.node.clone(), role);
        }
    }

    pub fn is_primary(&self, server: &str) -> bool {
        self.0.get(server) == Some(&Role::Primary)
    }
}
