//! What of a plan a swarm changes beside faults: how many servers, how many clients on which keys, knobs, distances.

use std::collections::BTreeSet;

use rand::Rng as _;
use understudy::prolly::NODE_SCALE_BITS;

use super::log_uniform;
use crate::draw::{self, Draw};
use crate::plan::Plan;
use crate::scenario::knobs::KNOBS;
use crate::scenario::step::Trigger;
use crate::units::Micros;
use crate::workload::{KINDS, Pace, Target};

const CLIENTS_MAX: u32 = 12;

/// Leaves out the last servers of the file that nobody names.
pub fn shape(plan: &mut Plan) {
    let named = named(plan);
    let free: Vec<String> = plan
        .servers
        .iter()
        .map(|server| server.name.clone())
        .filter(|name| !named.contains(name))
        .collect();
    if free.is_empty() || plan.servers.len() < 2 {
        return;
    }
    let mut rng = draw::stream(plan.seed, "swarm/servers");
    let least = usize::from(named.is_empty());
    let keep = rng.random_range(least..=free.len());
    for name in free.iter().skip(keep) {
        plan.forget_server(name);
    }
    let left: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
    let line = format!("servers {}", left.join(", "));
    plan.swarm.push(line);
}

/// The servers that a step or a workload is about.
fn named(plan: &Plan) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for workload in &plan.workload {
        if let Target::Server(name) = &workload.spec.on {
            named.insert(name.clone());
        }
    }
    for step in &plan.steps {
        if let Trigger::When { condition, .. } = &step.trigger {
            named.extend(condition.servers().into_iter().map(str::to_owned));
        }
        let action = serde_json::to_value(&step.action).expect("an action is plain data");
        collect_texts(&action, &mut named);
    }
    let servers: BTreeSet<&String> = plan.servers.iter().map(|server| &server.name).collect();
    named.retain(|name| servers.contains(name));
    named
}

fn collect_texts(value: &serde_json::Value, texts: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => drop(texts.insert(text.clone())),
        serde_json::Value::Array(entries) => entries.iter().for_each(|entry| collect_texts(entry, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|entry| collect_texts(entry, texts)),
        _ => {}
    }
}

/// Few or many clients, few keys that all want or as many as the workload takes, short or long transactions.
pub fn clients(plan: &mut Plan) {
    for workload in &mut plan.workload {
        let mut rng = draw::stream(plan.seed, &format!("swarm/workload/{}", workload.spec.name));
        let clients = log_uniform(&mut rng, 1, u64::from(CLIENTS_MAX));
        workload.clients = u32::try_from(clients).expect("clients are few");
        if let Pace::Rate(pause) = workload.spec.pace {
            workload.pause = pause * clients;
        }
        let kind = KINDS.iter().find(|kind| kind.name == workload.spec.kind);
        let param = |name: &str| kind.and_then(|kind| kind.params.iter().find(|param| param.name == name));
        let keys = match rng.random_range(0..3) {
            0 => Some(rng.random_range(1..=2)),
            1 => Some(log_uniform(&mut rng, 100, 1_000)),
            _ => None,
        };
        if let (Some(keys), Some(param)) = (keys, param("keys")) {
            workload.spec.params.insert(param.name, Draw::One(keys.min(param.max)));
        }
        let txn = log_uniform(&mut rng, 1, 8);
        if let Some(param) = param("txn")
            && rng.random_bool(0.5)
        {
            workload.spec.params.insert(param.name, Draw::Range(1, txn));
        }
    }
}

/// Small segments, caches, queues, buffers and nodes of trees, each in half of the seeds.
pub fn knobs(plan: &mut Plan) {
    for server in &mut plan.servers {
        for knob in KNOBS {
            let mut rng = draw::stream(plan.seed, &format!("swarm/knob/{}/{}", server.name, knob.name));
            if rng.random_bool(0.5) {
                server
                    .knobs
                    .or(knob.name, log_uniform(&mut rng, knob.small.0, knob.small.1));
            }
        }
    }
    let mut rng = draw::stream(plan.seed, "swarm/nodes");
    if rng.random_bool(0.5) && plan.nodes.is_none() {
        let (least, usual) = (1 << NODE_SCALE_BITS.least, 1 << NODE_SCALE_BITS.usual);
        plan.nodes = Some(log_uniform(&mut rng, least, usual));
    }
    let mut rng = draw::stream(plan.seed, "swarm/window");
    if rng.random_bool(0.3) && plan.window.is_none() {
        plan.window = Some(log_uniform(&mut rng, 4 << 10, 256 << 10));
    }
}

/// In half of the seeds what is sent takes longer now and then, so that a later connection overtakes an earlier one.
pub fn uneven_links(plan: &mut Plan) {
    const UNEVEN: (Micros, Micros) = (1_000, 100_000);
    let mut rng = draw::stream(plan.seed, "swarm/uneven");
    if !rng.random_bool(0.5) {
        return;
    }
    let jitter = log_uniform(&mut rng, UNEVEN.0, UNEVEN.1);
    for link in plan.links.values_mut().chain([&mut plan.client_link]) {
        link.jitter = link.jitter.max(jitter);
    }
    plan.swarm.push("uneven links".to_owned());
}

/// In half of the seeds a loss of power leaves parts of what was on its way to the disks.
pub fn torn_writes(plan: &mut Plan) {
    let mut rng = draw::stream(plan.seed, "swarm/torn");
    if !rng.random_bool(0.5) {
        return;
    }
    let share = log_uniform(&mut rng, 10_000, 1_000_000);
    for server in &mut plan.servers {
        server.disk.or("torn", share);
    }
    plan.swarm.push("torn writes".to_owned());
}

/// In a quarter of the seeds the servers are far apart, and not equally so in both directions.
pub fn links(plan: &mut Plan) {
    const FAR: (Micros, Micros) = (10_000, 150_000);
    if !draw::stream(plan.seed, "swarm/far").random_bool(0.25) {
        return;
    }
    for ((from, to), link) in &mut plan.links {
        let mut rng = draw::stream(plan.seed, &format!("swarm/far/{from}->{to}"));
        link.latency = log_uniform(&mut rng, FAR.0, FAR.1);
    }
    plan.swarm.push("servers far apart".to_owned());
}
