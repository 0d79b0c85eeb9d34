//! What a cluster can get over: at most one copy of anything is damaged for good, unless the scenario says
//! `survivable: false`.
//!
//! One disk alone may be damaged then, of two servers or more: whatever is wrong there is right elsewhere, and a repair that
//! fails is a failure. Otherwise it would excuse itself with damage that nobody could have mended.
//!
//! Must not know: what servers do about damage.

use std::collections::BTreeSet;

use super::cluster::ServerSpec;
use super::disk::{DiskSettings, DiskSpec};
use super::step::{Action, StepSpec};
use crate::plan::Plan;
use crate::swarm::SwarmSpec;
use crate::yaml::{Complaint, Node};

const BECAUSE: &str = "true: the damage of one disk can be made good from another";

/// Refuses a file that damages more than it says under `survivable`, or says that it does and does not. `root` is the
/// file.
pub fn judge(
    said: Option<&Node>,
    root: &Node,
    servers: &[ServerSpec],
    steps: &[StepSpec],
    swarm: &SwarmSpec,
) -> Result<(), Complaint> {
    let survivable = match said {
        Some(node) => node.word("survivable", &["true", "false"])? == "true",
        None => true,
    };
    let by_cluster = servers.iter().filter(|server| server.disk.may_damage());
    let damaged = damaged(
        by_cluster.map(|server| server.name.as_str()),
        steps.iter().flat_map(|step| &step.choices),
        |spec, _| spec.may_damage(),
    );
    let place = said.unwrap_or(root);
    let names = || damaged.iter().copied().collect::<Vec<_>>().join(", ");
    if !survivable && damaged.is_empty() {
        return Err(place.complain("survivable: nothing in this file damages a disk, so there is nothing to get over"));
    }
    if survivable && !is_mendable(damaged.len(), servers.len()) {
        return Err(place.complain(format!(
            "survivable: false is due, for the disks that may be damaged are {}, of {} servers; {BECAUSE}",
            names(),
            servers.len()
        )));
    }
    if survivable && !damaged.is_empty() && swarm.may_damage() {
        return Err(place.complain(format!(
            "survivable: false is due, or a swarm `without: [damage]`: it may damage another disk than that of {}; {BECAUSE}",
            names()
        )));
    }
    Ok(())
}

/// Whether whatever a plan damages on one disk is right on another.
pub fn is_so(plan: &Plan) -> bool {
    let by_cluster = plan.servers.iter().filter(|server| server.disk.may_damage());
    let damaged = damaged(
        by_cluster.map(|server| server.name.as_str()),
        plan.steps.iter().map(|step| &step.action),
        |_, settings| settings.may_damage(),
    );
    is_mendable(damaged.len(), plan.servers.len())
}

/// Those whose disks are bad from the start, and those that an action makes bad: by what it says, or by what was drawn.
fn damaged<'a>(
    by_cluster: impl Iterator<Item = &'a str>,
    actions: impl Iterator<Item = &'a Action>,
    may_damage: impl Fn(&DiskSpec, &DiskSettings) -> bool,
) -> BTreeSet<&'a str> {
    let by_steps = actions.filter_map(|action| match action {
        Action::Disk { server, spec, settings } => may_damage(spec, settings).then_some(server.as_str()),
        Action::Rot(server) => Some(server.as_str()),
        _ => None,
    });
    by_cluster.chain(by_steps).collect()
}

fn is_mendable(damaged: usize, servers: usize) -> bool {
    damaged == 0 || damaged == 1 && servers > 1
}
