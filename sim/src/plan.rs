//! A plan: scenario and seed with every choice made, before anything runs.
//!
//! The plan is what a failure is reduced to, so it holds plain values only and prints completely. Each part draws from
//! a stream of its own, named by what it is: leaving out one step, client or link leaves all other draws as they were.
//!
//! Must not know: the simulator's runtime.

use std::collections::BTreeMap;
use std::fmt;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use understudy::runtime::sites::SITES;

use crate::check::CheckUse;
use crate::draw::{self, Draw};
use crate::scenario::cluster::{LinkSpec, MemberSpec};
use crate::scenario::disk::DiskSettings;
use crate::scenario::knobs::Knobs;
use crate::scenario::step::{Action, Trigger};
use crate::scenario::{Buggify, Scenario};
use crate::storage::plan::StoragePlan;
use crate::units::{Micros, show_micros};
use crate::workload::{WorkloadSpec, client_name};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// What `run` is given to make this plan of the seed: a name or a path, and what was set.
    pub scenario: String,
    pub seed: u64,
    pub time_limit: Micros,
    /// The run is ended here, which is no failure, if the time limit has not come by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// The sites of the server that may fire: see `understudy::runtime::sites`.
    #[serde(default)]
    pub buggify: Vec<String>,
    /// The bug that this run has on purpose: see `mutants.rs`.
    #[serde(default)]
    pub mutant: Option<String>,
    /// A storage engine on its own: then there are no servers, clients or steps.
    pub storage: Option<StoragePlan>,
    /// Whether servers have SQL, and a port for it; without, workloads work in the engine.
    #[serde(default = "with_sql")]
    pub sql: bool,
    pub servers: Vec<PlannedServer>,
    /// (from, to), both servers.
    #[serde(with = "arrows")]
    pub links: BTreeMap<(String, String), Link>,
    /// Between clients and servers.
    pub client_link: Link,
    /// Bytes that fit a connection each way; None is the usual.
    #[serde(default)]
    pub window: Option<u64>,
    /// How large nodes of trees are, about; None is the usual.
    #[serde(default)]
    pub nodes: Option<u64>,
    /// What the swarm chose for this seed, for people.
    #[serde(default)]
    pub swarm: Vec<String>,
    pub workload: Vec<PlannedWorkload>,
    pub steps: Vec<PlannedStep>,
    pub always: Vec<CheckUse>,
    pub finally: Vec<CheckUse>,
    pub sometimes: Vec<CheckUse>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedServer {
    pub name: String,
    pub member: Option<MemberSpec>,
    pub clock_offset: i64,
    pub clock_drift_ppm: i64,
    /// Every so often it jumps by so much.
    #[serde(default)]
    pub clock_jump: Option<(Micros, i64)>,
    pub disk: DiskSettings,
    #[serde(default)]
    pub knobs: Knobs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub latency: Micros,
    pub jitter: Micros,
    pub loss_ppm: u32,
    /// Bytes per second; None is without limit.
    pub bandwidth: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedWorkload {
    pub spec: WorkloadSpec,
    pub clients: u32,
    /// Between the operations of one client.
    pub pause: Micros,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its mark, or its line in the file.
    pub label: String,
    pub mark: Option<String>,
    pub trigger: Trigger<Micros>,
    pub action: Action,
}

impl Plan {
    pub fn new(scenario: &Scenario, seed: u64) -> Plan {
        let servers = scenario.servers.iter().map(|server| {
            let one = |what: &str| draw::stream(seed, &format!("plan/server/{}/{what}", server.name));
            PlannedServer {
                name: server.name.clone(),
                member: server.member.clone(),
                clock_offset: server.clock_offset.draw(&mut one("offset")),
                clock_drift_ppm: server.clock_drift_ppm.draw(&mut one("drift")),
                clock_jump: server
                    .clock_jump
                    .as_ref()
                    .map(|(every, by)| (every.draw(&mut one("jump/every")), by.draw(&mut one("jump/by")))),
                knobs: server.knobs.draw(|knob| one(&format!("knob/{knob}"))),
                disk: server
                    .disk
                    .draw(|word| one(if word == "latency" { "sync" } else { word })),
            }
        });
        let mut links = BTreeMap::new();
        for from in &scenario.servers {
            for to in scenario.servers.iter().filter(|to| to.name != from.name) {
                let special = scenario
                    .network
                    .links
                    .iter()
                    .find(|(a, b, _)| *a == from.name && *b == to.name);
                let special = special.map(|(_, _, link)| link.clone()).unwrap_or_default();
                let link = draw_link(
                    &special,
                    &scenario.network.all,
                    seed,
                    &format!("{}->{}", from.name, to.name),
                );
                links.insert((from.name.clone(), to.name.clone()), link);
            }
        }
        let workload = scenario.workload.iter().map(|spec| {
            let mut rng = draw::stream(seed, &format!("plan/workload/{}", spec.name));
            let clients = spec.clients.draw(&mut rng);
            let pause = spec.pace.pause(clients, &mut rng);
            PlannedWorkload {
                spec: spec.clone(),
                clients,
                pause,
            }
        });
        let mut twins: BTreeMap<&str, u32> = BTreeMap::new();
        let steps = scenario.steps.iter().map(|step| {
            let twin = twins.entry(&step.canonical).or_default();
            *twin += 1;
            let one = |what: &str| draw::stream(seed, &format!("plan/step/{}/{twin}/{what}", step.canonical));
            let mut action = step.choices[draw::pick(step.choices.len(), &mut one("action"))].clone();
            action.draw(one);
            PlannedStep {
                label: step.name.clone().unwrap_or_else(|| format!("line-{}", step.line)),
                mark: step.name.clone(),
                trigger: draw_trigger(&step.trigger, &mut |draw: &Draw<Micros>| draw.draw(&mut one("time"))),
                action,
            }
        });
        let (window, nodes) = (scenario.network.window.as_ref(), scenario.nodes.as_ref());
        let mut plan = Plan {
            scenario: scenario.name.clone(),
            seed,
            time_limit: scenario.time_limit,
            until: None,
            buggify: armed(scenario, seed),
            mutant: None,
            storage: scenario.storage.as_ref().map(|spec| StoragePlan::new(spec, seed)),
            sql: scenario.sql,
            servers: servers.collect(),
            links,
            window: window.map(|window| window.draw(&mut draw::stream(seed, "plan/window"))),
            nodes: nodes.map(|nodes| nodes.draw(&mut draw::stream(seed, "plan/nodes"))),
            swarm: Vec::new(),
            client_link: draw_link(&LinkSpec::default(), &scenario.network.all, seed, "clients"),
            workload: workload.collect(),
            steps: steps.collect(),
            always: scenario.always.clone(),
            finally: scenario.finally.clone(),
            sometimes: scenario.sometimes.clone(),
        };
        scenario.swarm.add_to(&mut plan);
        plan
    }

    /// How long a sync takes on the slowest disk when no fault makes one slower.
    pub fn slowest_sync(&self) -> Micros {
        let latencies = self.servers.iter().map(|server| server.disk.latency());
        latencies.max().unwrap_or(0)
    }

    /// Takes a server out, from links and configurations too; who has no standby left is on its own.
    pub fn forget_server(&mut self, name: &str) {
        self.servers.retain(|server| server.name != name);
        self.links.retain(|(from, to), _| from != name && to != name);
        for server in &mut self.servers {
            if let Some(member) = &mut server.member {
                member.standbys.retain(|standby| standby != name);
                if member.standbys.is_empty() {
                    server.member = None;
                }
            }
        }
    }

    /// Those of a partition's side: a workload stands for all its clients.
    pub fn nodes_of(&self, side: &[String]) -> Vec<String> {
        let mut nodes = Vec::new();
        for name in side {
            match self.workload.iter().find(|workload| workload.spec.name == *name) {
                Some(workload) => nodes.extend(workload.client_names()),
                None => nodes.push(name.clone()),
            }
        }
        nodes
    }
}

impl PlannedWorkload {
    pub fn client_names(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.clients).map(|number| client_name(&self.spec.name, number))
    }
}

/// Each site has a stream of its own, so that a new one changes no other draw.
fn armed(scenario: &Scenario, seed: u64) -> Vec<String> {
    const ARMED: f64 = 0.25;
    // Of the scenario's own: a suite of many scenarios and few seeds arms all of them somewhere.
    let stream = |site: &str| draw::stream(seed, &format!("plan/buggify/{}/{site}", scenario.name));
    let names: Vec<&str> = match &scenario.buggify {
        Buggify::Sites(names) => names.clone(),
        Buggify::DrawnBut(without) => SITES
            .iter()
            .map(|site| site.name)
            .filter(|name| !without.contains(name) && stream(name).random_bool(ARMED))
            .collect(),
    };
    names.into_iter().map(str::to_owned).collect()
}

/// Of plans that were kept before servers could be without.
fn with_sql() -> bool {
    true
}

/// Links as a list, since the keys of a JSON object are texts.
mod arrows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Link;

    pub fn serialize<S: Serializer>(
        links: &BTreeMap<(String, String), Link>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        links.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(String, String), Link>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

fn draw_link(link: &LinkSpec, all: &LinkSpec, seed: u64, name: &str) -> Link {
    let one = |what: &str| draw::stream(seed, &format!("plan/link/{name}/{what}"));
    fn of<T: draw::Span>(
        first: &Option<Draw<T>>,
        second: &Option<Draw<T>>,
        mut rng: rand_chacha::ChaCha8Rng,
    ) -> Option<T> {
        first.as_ref().or(second.as_ref()).map(|draw| draw.draw(&mut rng))
    }
    Link {
        latency: of(&link.latency, &all.latency, one("latency")).unwrap_or(0),
        jitter: of(&link.jitter, &all.jitter, one("jitter")).unwrap_or(0),
        loss_ppm: of(&link.loss_ppm, &all.loss_ppm, one("loss")).unwrap_or(0),
        bandwidth: of(&link.bandwidth, &all.bandwidth, one("bandwidth")),
    }
}

fn draw_trigger(trigger: &Trigger<Draw<Micros>>, draw: &mut dyn FnMut(&Draw<Micros>) -> Micros) -> Trigger<Micros> {
    match trigger {
        Trigger::At(at) => Trigger::At(draw(at)),
        Trigger::After { mark, delay } => Trigger::After {
            mark: mark.clone(),
            delay: draw(delay),
        },
        Trigger::Every { period, until } => Trigger::Every {
            period: draw(period),
            until: until.clone(),
        },
        Trigger::When { condition, within } => Trigger::When {
            condition: condition.clone(),
            within: *within,
        },
    }
}

fn show(micros: Micros) -> String {
    show_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

impl Plan {
    /// When its steps have to be done, or the run is ended.
    pub fn ends_at(&self) -> Micros {
        self.until.map_or(self.time_limit, |until| until.min(self.time_limit))
    }

    /// Whether it is ended on purpose, rather than for want of progress, when that time has come.
    pub fn ends_early(&self) -> bool {
        self.until.is_some_and(|until| until < self.time_limit)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latency {}", show(self.latency))?;
        if self.jitter > 0 {
            write!(f, ", jitter {}", show(self.jitter))?;
        }
        if self.loss_ppm > 0 {
            write!(f, ", loss {} per million", self.loss_ppm)?;
        }
        match self.bandwidth {
            Some(bandwidth) => write!(f, ", {bandwidth} B/s"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plan: {} --seed {}, time limit {}",
            self.scenario,
            self.seed,
            show(self.time_limit)
        )?;
        if let Some(until) = self.until {
            writeln!(f, "  until {}", show(until))?;
        }
        if !self.buggify.is_empty() {
            writeln!(f, "  buggify {}", self.buggify.join(", "))?;
        }
        if let Some(mutant) = &self.mutant {
            writeln!(f, "  mutant {mutant}")?;
        }
        if let Some(storage) = &self.storage {
            return write!(f, "{storage}");
        }
        if !self.sql {
            writeln!(f, "  servers without SQL")?;
        }
        for server in &self.servers {
            write!(f, "  server {}:", server.name)?;
            match &server.member {
                Some(member) => {
                    write!(
                        f,
                        " {}@{}, standbys {}",
                        member.role.word(),
                        member.epoch,
                        member.standbys.join(" ")
                    )?;
                }
                None => write!(f, " on its own")?,
            }
            write!(f, ", disk {}", server.disk)?;
            if server.clock_offset != 0 || server.clock_drift_ppm != 0 {
                write!(
                    f,
                    ", clock {} and {} ppm",
                    show_micros(server.clock_offset),
                    server.clock_drift_ppm
                )?;
            }
            if let Some((every, by)) = server.clock_jump {
                write!(f, ", its clock jumps by {} every {}", show_micros(by), show(every))?;
            }
            if !server.knobs.is_empty() {
                write!(f, ", knobs {}", server.knobs)?;
            }
            writeln!(f)?;
        }
        for line in &self.swarm {
            writeln!(f, "  swarm: {line}")?;
        }
        if let Some(window) = self.window {
            writeln!(f, "  window: {window} B")?;
        }
        if let Some(nodes) = self.nodes {
            writeln!(f, "  nodes: {nodes} B")?;
        }
        for ((from, to), link) in &self.links {
            writeln!(f, "  link {from}->{to}: {link}")?;
        }
        writeln!(f, "  link clients: {}", self.client_link)?;
        for workload in &self.workload {
            writeln!(
                f,
                "  workload {}, {} clients, every {}",
                workload.spec,
                workload.clients,
                show(workload.pause)
            )?;
        }
        for step in &self.steps {
            writeln!(f, "  {}: {}: {}", step.label, step.trigger, step.action)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::{EXAMPLE, parse_example};

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let scenario = parse_example();
        assert_eq!(Plan::new(&scenario, 7).to_string(), Plan::new(&scenario, 7).to_string());
        assert_ne!(Plan::new(&scenario, 7).to_string(), Plan::new(&scenario, 8).to_string());
    }

    #[test]
    fn every_site_is_armed_in_about_a_quarter_of_the_seeds() {
        let scenario = parse_example();
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::new(&scenario, seed)).collect();
        for site in SITES {
            let count = plans
                .iter()
                .filter(|plan| plan.buggify.iter().any(|name| name == site.name))
                .count();
            assert!((25..=75).contains(&count), "{} in {count} of 200", site.name);
        }
    }

    #[test]
    fn leaving_out_one_step_leaves_all_other_draws_as_they_were() {
        let scenario = parse_example();
        let index = scenario
            .steps
            .iter()
            .position(|step| step.name.is_none())
            .expect("the example has an unnamed step");
        let mut fewer = scenario.clone();
        fewer.steps.remove(index);
        let lines = |scenario: &Scenario| -> Vec<String> {
            let plan = Plan::new(scenario, 3);
            plan.steps
                .iter()
                .map(|step| format!("{}: {}", step.trigger, step.action))
                .collect()
        };
        let mut expected = lines(&scenario);
        expected.remove(index);
        assert_eq!(lines(&fewer), expected);
        assert!(EXAMPLE.contains("power_off"));
    }

    #[test]
    fn a_seed_draws_within_the_ranges_and_over_seeds_uses_every_choice() {
        let scenario = parse_example();
        let mut actions = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let plan = Plan::new(&scenario, seed);
            for link in plan.links.values() {
                assert!((1_000..=40_000).contains(&link.latency) && link.loss_ppm <= 50_000);
            }
            let Trigger::At(at) = plan.steps[0].trigger else {
                panic!("the first step has a time")
            };
            assert!((5_000_000..=10_000_000).contains(&at));
            actions.insert(plan.steps[0].action.to_string());
        }
        assert_eq!(actions.len(), 3, "both and each direction: {actions:?}");
    }
}
