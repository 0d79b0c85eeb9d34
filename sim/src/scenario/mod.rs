//! A scenario: what a file under `scenarios/` says, before a seed has drawn anything.
//!
//! The grammar is that of `docs/simulator.md`. Reading is strict: a word that is not listed there is an error with
//! file, line and the allowed words, so that a scenario never silently tests less than it says.
//!
//! Where things are added: a kind of workload in `workload/`, an action (fault) in `scenario/step.rs` and
//! `runner/faults.rs`, a check in `check/`.
//!
//! Must not know: seeds, the simulator's runtime.

pub mod cluster;
pub mod disk;
pub mod fault;
pub mod knobs;
pub mod quiet;
pub mod sides;
pub mod step;
mod survivable;
pub mod write;

use std::path::Path;

use understudy::prolly::NODE_SCALE_BITS;
use understudy::runtime::sites::SITES;

use crate::check::needs::Subject;
use crate::check::{self, CheckUse};
use crate::draw::{Draw, parse_number};
use crate::storage::spec::StorageSpec;
use crate::swarm::{Level, SwarmSpec};
use crate::units::{self, Micros};
use crate::workload::{self, WorkloadSpec};
use crate::yaml::{Complaint, Node};
use cluster::{ClusterSpec, NetworkSpec, ServerSpec};
use step::StepSpec;

/// Everything a scenario file says.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    /// One sentence a reader can check the run against.
    pub about: String,
    /// The seed to run it with if nobody names one: of a scenario that was made from a failure.
    pub seed: Option<u64>,
    /// What each seed adds by itself.
    pub swarm: SwarmSpec,
    /// Virtual time after which the run counts as stuck.
    pub time_limit: Micros,
    /// The groups that `cargo sim suite` runs it with, of [`SUITES`]; [`EVERYTHING`] besides.
    pub suites: Vec<&'static str>,
    pub buggify: Buggify,
    /// How large nodes of trees are, about, in bytes.
    pub nodes: Option<Draw<u64>>,
    /// A storage engine on its own, instead of servers and what happens to them.
    pub storage: Option<StorageSpec>,
    /// Whether servers have SQL.
    pub sql: bool,
    pub servers: Vec<ServerSpec>,
    pub network: NetworkSpec,
    pub workload: Vec<WorkloadSpec>,
    pub steps: Vec<StepSpec>,
    /// Evaluated as events arrive.
    pub always: Vec<CheckUse>,
    /// Evaluated once, when faults are over and everybody was given time to settle.
    pub finally: Vec<CheckUse>,
    /// Must happen in some seed of a suite.
    pub sometimes: Vec<CheckUse>,
}

/// The names that other parts of a file may refer to.
#[derive(Debug, Default, Clone)]
pub struct Names {
    pub servers: Vec<String>,
    pub workloads: Vec<String>,
    pub marks: Vec<String>,
}

impl Names {
    /// `word` if it names a server.
    pub fn server(&self, what: &str, node: &Node) -> Result<String, Complaint> {
        let servers: Vec<&str> = self.servers.iter().map(String::as_str).collect();
        node.word(what, &servers).map(str::to_owned)
    }
}

/// Which sites of the server (`understudy::runtime::sites`) may fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buggify {
    /// Each but these is armed in a quarter of the seeds.
    DrawnBut(Vec<&'static str>),
    /// These, in every seed.
    Sites(Vec<&'static str>),
}

/// The suite that every scenario belongs to.
pub const EVERYTHING: &str = "chaos";

/// Groups of scenarios, with what they would catch.
pub const SUITES: &[(&str, &str)] = &[
    (
        "failover",
        "a role that moves: what was acknowledged and is lost, two writers in one epoch, a demotion that does not wait, a \
         standby that acknowledges what it has not got",
    ),
    (
        "split-brain",
        "two who take themselves for primary: who is not fenced, goes on writing, or forgets at a restart what it knew",
    ),
    (
        "storage",
        "disks that lose power, fill up, fail to sync and lie: a commit that is gone or half there, a wrong row, damage \
         that is not named, garbage that was none",
    ),
    (
        "versioning",
        "version commits beside ordinary ones: history that is lost, torn from its rows, or collected",
    ),
    (
        "security",
        "strangers at the ports and clocks that are off: members that are kept out, tokens that are taken out of their time",
    ),
    (
        "remotes",
        "push and pull between servers and a remote that fails: no scenario yet, since there are no remotes",
    ),
    (
        "upgrade",
        "an old format or protocol beside the new one: no scenario yet, since there is one of each",
    ),
    (
        EVERYTHING,
        "every scenario there is; only such a suite can miss what the server says must happen",
    ),
];

/// What a scenario of the storage engine cannot say: there are no servers.
const CLUSTER_KEYS: [&str; 6] = ["swarm", "survivable", "cluster", "network", "workload", "steps"];

const WITHOUT_SQL: &str = "which `cluster: { sql: off }` leaves out";

const KEYS: &[&str] = &[
    "scenario",
    "about",
    "suite",
    "seed",
    "swarm",
    "time_limit",
    "survivable",
    "buggify",
    "nodes",
    "storage",
    "cluster",
    "network",
    "workload",
    "steps",
    "check",
];

impl Buggify {
    /// `on`, `off`, the sites that may fire, or `{ without: [...] }`.
    fn parse(node: &Node) -> Result<Buggify, Complaint> {
        match node.text("buggify") {
            Ok("on") => return Ok(Buggify::DrawnBut(Vec::new())),
            Ok("off") => return Ok(Buggify::Sites(Vec::new())),
            _ => {}
        }
        if node.entries("buggify").is_ok() {
            let without = node.fields("buggify", &["without"])?.require("without")?;
            return Buggify::sites(without).map(Buggify::DrawnBut);
        }
        Buggify::sites(node).map(Buggify::Sites)
    }

    fn sites(node: &Node) -> Result<Vec<&'static str>, Complaint> {
        let words: Vec<&'static str> = SITES.iter().map(|site| site.name).collect();
        let sites: Result<Vec<&'static str>, Complaint> = node
            .list()
            .iter()
            .map(|node| {
                let known = words
                    .iter()
                    .find(|word| node.text("buggify").is_ok_and(|text| text == **word));
                known.copied().ok_or_else(|| {
                    node.complain("buggify: on, off or a list of sites is due, or a list under `without`; `cargo sim list --buggify` names them")
                })
            })
            .collect();
        sites
    }
}

impl Scenario {
    /// Reads `text`; `file` is named in complaints and must be called like the scenario.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Complaint> {
        Scenario::read(file, &Node::parse(file, text)?)
    }

    /// As [`Scenario::parse`], of a file that was read.
    pub fn read(file: &str, root: &Node) -> Result<Scenario, Complaint> {
        let fields = root.fields("scenario file", KEYS)?;
        let name_node = fields.require("scenario")?;
        let name = name_node.text("scenario")?.to_owned();
        let stem = Path::new(file)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if stem != name {
            return Err(name_node.complain(format!(
                "scenario: the file is called {stem:?}, the scenario {name:?}; they must agree"
            )));
        }
        if SUITES.iter().any(|(suite, _)| *suite == name) {
            return Err(name_node.complain(format!("scenario: {name:?} is the name of a suite; choose another")));
        }
        let about = fields.require("about")?.text("about")?.to_owned();
        let seed = fields
            .get("seed")
            .map(|node| parse_number(node.text("seed")?).map_err(|error| node.complain(format!("seed: {error}"))));
        let limit_node = fields.require("time_limit")?;
        let time_limit = units::parse_micros(limit_node.text("time_limit")?)
            .map_err(|error| limit_node.complain(format!("time_limit: {error}")))?;

        let words: Vec<&'static str> = SUITES.iter().map(|(suite, _)| *suite).collect();
        let named = fields.get("suite").map(Node::list).unwrap_or_default();
        let suites: Result<Vec<&'static str>, Complaint> =
            named.iter().map(|node| node.word("suite", &words)).collect();
        let suites = suites?;
        let buggify = fields
            .get("buggify")
            .map_or(Ok(Buggify::DrawnBut(Vec::new())), Buggify::parse)?;
        let nodes = fields.get("nodes").map(parse_nodes).transpose()?;
        let swarm = fields.get("swarm").map_or(Ok(SwarmSpec::default()), SwarmSpec::parse)?;
        let storage = fields.get("storage").map(StorageSpec::parse).transpose()?;
        if storage.is_some()
            && let Some((key, node)) = CLUSTER_KEYS.iter().find_map(|key| Some((key, fields.get(key)?)))
        {
            return Err(node.complain(format!(
                "scenario file: {key} and storage exclude each other; a scenario is about servers or about the storage \
                 engine on its own"
            )));
        }

        let ClusterSpec { sql, servers } = match storage {
            Some(_) => ClusterSpec::default(),
            None => ClusterSpec::parse(fields.require("cluster")?)?,
        };
        let mut names = Names {
            servers: servers.iter().map(|server| server.name.clone()).collect(),
            ..Names::default()
        };
        let network = cluster::parse_network(fields.get("network"), &names)?;

        let mut workload: Vec<WorkloadSpec> = Vec::new();
        let workload_nodes = fields
            .get("workload")
            .map(|node| node.strict_list("workload"))
            .transpose()?
            .unwrap_or_default();
        for node in workload_nodes {
            let spec = workload::parse(node, &names)?;
            if names.workloads.contains(&spec.name) || names.servers.contains(&spec.name) {
                return Err(node.complain(format!(
                    "workload: the name {:?} is taken; give this one another with `as:`",
                    spec.name
                )));
            }
            if !sql && spec.make().lists().is_none() {
                return Err(node.complain(format!(
                    "workload: {} needs SQL, {WITHOUT_SQL}; append does without",
                    spec.kind
                )));
            }
            names.workloads.push(spec.name.clone());
            workload.push(spec);
        }
        for (node, spec) in workload_nodes.iter().zip(&workload) {
            if let Some(missing) = spec.misses(workload.iter()) {
                return Err(node.complain(format!(
                    "workload: {} reads what the {missing} called {missing:?} writes, and there is none; allowed beside \
                     it: `- {missing}: {{ ... }}` without `as:`",
                    spec.kind
                )));
            }
        }

        let mut steps = Vec::new();
        let steps_nodes = match storage {
            Some(_) => &[][..],
            None => fields.require("steps")?.strict_list("steps")?,
        };
        for node in steps_nodes {
            let step = step::parse(node, &names)?;
            if !sql && step.needs_sql() {
                return Err(node.complain(format!("steps: this one runs SQL, {WITHOUT_SQL}")));
            }
            if let Some(mark) = &step.name {
                if names.marks.contains(mark) {
                    return Err(node.complain(format!("steps: two steps are named {mark:?}")));
                }
                names.marks.push(mark.clone());
            }
            steps.push(step);
        }
        for spec in &workload {
            for (what, mark) in [("from", &spec.from), ("until", &spec.until)] {
                if let Some((mark, node)) = mark.mark()
                    && !names.marks.iter().any(|known| known == mark)
                {
                    let marks: Vec<&str> = names.marks.iter().map(String::as_str).collect();
                    return Err(node.complain(crate::yaml::unknown(&format!("workload {what}"), mark, &marks)));
                }
            }
        }

        for step in &steps {
            if let step::Trigger::Every { until, .. } = &step.trigger
                && !names.marks.contains(until)
            {
                let marks: Vec<&str> = names.marks.iter().map(String::as_str).collect();
                return Err(Complaint {
                    file: file.to_owned(),
                    line: step.line,
                    what: crate::yaml::unknown("step until", until, &marks),
                });
            }
        }

        survivable::judge(fields.get("survivable"), root, &servers, &steps, &swarm)?;

        if let Some(place) = quiet::first_too_late(steps.iter().map(StepSpec::brief)) {
            return Err(steps_nodes[place].complain(
                "steps: all is quiet when this fault comes, so it would not happen; allowed then: sql, repair, mend, quiet, or \
                 no action",
            ));
        }

        let subject = Subject {
            storage: storage.is_some(),
            kinds: workload.iter().map(|spec| spec.kind).collect(),
        };
        let checks = fields
            .require("check")?
            .fields("check", &["always", "finally", "sometimes"])?;
        let read = |key: &str| -> Result<Vec<CheckUse>, Complaint> {
            checks
                .get(key)
                .map_or(Ok(Vec::new()), |node| check::parse(key, node, Some(&subject)))
        };
        let (always, finally, sometimes) = (read("always")?, read("finally")?, read("sometimes")?);
        if always.is_empty() && finally.is_empty() {
            return Err(checks
                .node
                .complain("check: a scenario that checks nothing cannot fail; name one under always or finally"));
        }
        if swarm.level != Level::None
            && let Some(spec) = workload.iter().find(|spec| spec.only.is_some())
        {
            return Err(fields.require("swarm")?.complain(format!(
                "swarm: it draws other clients than those whose turns `only` of {} names; `level: none` does not",
                spec.name
            )));
        }
        let scenario = Scenario {
            name,
            about,
            suites,
            buggify,
            seed: seed.transpose()?,
            swarm,
            nodes,
            storage,
            time_limit,
            sql,
            servers,
            network,
            workload,
            steps,
            always,
            finally,
            sometimes,
        };
        if let Some(kind) = scenario.swarm.said_in_vain(&scenario) {
            return Err(fields.require("swarm")?.complain(format!(
                "every: {kind}: there is nothing here that it could strike (`cargo sim list --faults` says what it does)"
            )));
        }
        Ok(scenario)
    }
}

/// How large nodes of trees are, about: a power of two, so what is between two means the lower one.
fn parse_nodes(node: &Node) -> Result<Draw<u64>, Complaint> {
    let nodes = Draw::parse("nodes", node, units::parse_bytes)?;
    let (least, usual) = (1 << NODE_SCALE_BITS.least, 1 << NODE_SCALE_BITS.usual);
    let fits = nodes.ends().iter().all(|bytes| (least..=usual).contains(bytes));
    fits.then_some(nodes)
        .ok_or_else(|| node.complain(format!("nodes: between {least} and {usual} bytes are due")))
}

#[cfg(test)]
pub(crate) mod tests;
