//! Workloads: SQL clients that do something whose outcome can be judged.
//!
//! A kind of workload is one file here and one line in [`KINDS`]: its parameters, its tables, and one operation. The
//! client (`client.rs`) finds a server, reconnects, and records what was asked and what was learned; the kind only
//! says which statements and what they promise.
//!
//! Must not know: faults, checks, the simulator's runtime.

pub mod append;
pub mod audit;
pub mod bank;
pub mod client;
pub mod counter;
pub mod ddl;
pub mod direct;
mod known;
pub mod large;
pub mod register;
pub mod session;
pub mod strangers;
pub mod turns;
pub mod unique;
pub mod version;
pub mod watch;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::{Draw, parse_number};
use crate::scenario::Names;
use crate::scenario::cluster::check_party;
use crate::units::{self, Micros};
use crate::yaml::{Complaint, Node, unknown};
use client::Client;
use session::Failure;
use turns::Turns;

/// Where servers listen for each other.
pub const CLUSTER_PORT: u16 = 50051;

/// A kind of workload.
pub struct Kind {
    pub name: &'static str,
    pub about: &'static str,
    pub params: &'static [Param],
    /// The kind whose tables it reads, and the name of the workload that makes them.
    pub looks_at: Option<&'static str>,
    pub make: fn(&WorkloadSpec) -> Box<dyn Workload>,
}

/// A number a scenario may set; ranges are drawn again for every operation.
pub struct Param {
    pub name: &'static str,
    pub about: &'static str,
    pub default: (u64, u64),
    pub max: u64,
}

/// Every kind of workload.
pub const KINDS: &[&Kind] = &[
    &append::KIND,
    &bank::KIND,
    &counter::KIND,
    &audit::KIND,
    &watch::KIND,
    &strangers::KIND,
    &register::KIND,
    &unique::KIND,
    &large::KIND,
    &version::KIND,
    &ddl::KIND,
];

/// What one kind does. Each client has its own.
#[async_trait]
pub trait Workload: Send {
    /// Statements that make the tables; run in one transaction on every server that accepts writes at the start.
    fn setup(&self) -> Vec<String>;

    /// One operation. An error ends the session; the client reconnects.
    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure>;

    /// (table, query of key and comma-separated values): what the workload holds, for the comparison at the end.
    fn contents(&self) -> Vec<(String, String)>;

    /// The table of lists and how many it has, of a workload that knows how to do without SQL.
    fn lists(&self) -> Option<(String, u64)> {
        None
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkloadSpec {
    #[serde(deserialize_with = "known::kind")]
    pub kind: known::Word,
    pub name: String,
    pub on: Target,
    pub clients: Draw<u32>,
    pub pace: Pace,
    pub from: Moment,
    pub until: Moment,
    #[serde(deserialize_with = "known::params")]
    pub params: BTreeMap<&'static str, Draw<u64>>,
    /// The turns in which its clients do something; None: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Turns>,
}

/// Which server a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Primary,
    Standby,
    Any,
    Server(String),
}

/// How often the clients of a workload act, all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// The pause that one client alone would make between operations at the whole rate.
    Rate(Micros),
    /// Each client, this often.
    Every(Draw<Micros>),
}

/// What a client of a workload is called, by its number from 1 on.
pub fn client_name(workload: &str, number: u32) -> String {
    format!("{workload}.{number}")
}

/// The number of a workload's client. None: it is none of those that the workload has.
pub fn client_number(workload: &str, name: &str) -> Option<u32> {
    name.strip_prefix(workload)?.strip_prefix('.')?.parse().ok()
}

/// When a workload begins or ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Moment {
    At(Micros),
    /// The node is where the file says so, for complaints; a plan has no more use for it.
    Mark(String, #[serde(skip)] Node),
}

impl Moment {
    pub fn mark(&self) -> Option<(&str, &Node)> {
        match self {
            Moment::At(_) => None,
            Moment::Mark(mark, node) => Some((mark, node)),
        }
    }
}

impl Pace {
    /// The pause of one of `clients` between two operations.
    pub fn pause(&self, clients: u32, rng: &mut ChaCha8Rng) -> Micros {
        match self {
            Pace::Rate(pause) => pause * u64::from(clients),
            Pace::Every(draw) => draw.draw(rng),
        }
    }
}

const COMMON_KEYS: [&str; 8] = ["as", "on", "clients", "rate", "every", "from", "until", "only"];
const CLIENTS_MAX: u32 = 64;

/// One entry of `workload:`, `- KIND: { ... }`.
pub fn parse(node: &Node, names: &Names) -> Result<WorkloadSpec, Complaint> {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let [(word, node)] = node.entries("workload")? else {
        return Err(node.complain("workload: each entry is one `- KIND: { ... }`"));
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == word) else {
        return Err(node.complain(unknown("workload", word, &kinds)));
    };
    let mut allowed = COMMON_KEYS.to_vec();
    allowed.extend(kind.params.iter().map(|param| param.name));
    let fields = node.fields("workload", &allowed)?;

    let name = fields
        .get("as")
        .map_or(Ok(kind.name), |node| node.text("as"))?
        .to_owned();
    check_party("as", &name, node)?;
    let on_node = fields.require("on")?;
    let mut targets = vec!["primary", "standby", "any"];
    targets.extend(names.servers.iter().map(String::as_str));
    let on = match on_node.word("on", &targets)? {
        "primary" => Target::Primary,
        "standby" => Target::Standby,
        "any" => Target::Any,
        server => Target::Server(server.to_owned()),
    };
    let clients = fields
        .get("clients")
        .map_or(Ok(Draw::One(1)), |node| Draw::parse("clients", node, parse_clients))?;
    let pace = match (fields.get("rate"), fields.get("every")) {
        (Some(node), None) => {
            Pace::Rate(units::parse_rate(node.text("rate")?).map_err(|error| node.complain(format!("rate: {error}")))?)
        }
        (None, Some(node)) => Pace::Every(Draw::parse("every", node, units::parse_micros)?),
        _ => return Err(node.complain("workload: one of rate and every is due")),
    };
    let moment = |key: &str| -> Result<Option<Moment>, Complaint> {
        let Some(node) = fields.get(key) else { return Ok(None) };
        let text = node.text(key)?;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let at = units::parse_micros(text).map_err(|error| node.complain(format!("{key}: {error}")))?;
            return Ok(Some(Moment::At(at)));
        }
        Ok(Some(Moment::Mark(text.to_owned(), node.clone())))
    };
    let from = moment("from")?.unwrap_or(Moment::At(0));
    let until = moment("until")?.ok_or_else(|| node.complain("workload: the key \"until\" is missing"))?;
    let most = clients.ends().into_iter().max().unwrap_or(0);
    let only = fields.get("only").map(|node| parse_only(node, most)).transpose()?;
    let mut params = BTreeMap::new();
    for param in kind.params {
        let draw = match fields.get(param.name) {
            Some(node) => {
                let draw = Draw::parse(param.name, node, parse_number::<u64>)?;
                if !within(&draw, param.max) {
                    return Err(node.complain(format!("{}: from 0 to {} is allowed", param.name, param.max)));
                }
                draw
            }
            None => Draw::Range(param.default.0, param.default.1),
        };
        params.insert(param.name, draw);
    }
    Ok(WorkloadSpec {
        kind: kind.name,
        name,
        on,
        clients,
        pace,
        from,
        until,
        params,
        only,
    })
}

fn parse_only(node: &Node, clients: u32) -> Result<Turns, Complaint> {
    let mut turns = Turns::default();
    for entry in node.list() {
        let added = turns.add(entry.text("only")?);
        added.map_err(|error| entry.complain(format!("only: {error}")))?;
        if turns.clients() > clients {
            return Err(entry.complain(format!("only: there is no client {}, of {clients}", turns.clients())));
        }
    }
    Ok(turns)
}

fn parse_clients(text: &str) -> Result<u32, String> {
    let count: u32 = parse_number(text)?;
    let good = (1..=CLIENTS_MAX).contains(&count);
    good.then_some(count)
        .ok_or_else(|| format!("{count} clients; 1 to {CLIENTS_MAX} are allowed"))
}

fn within(draw: &Draw<u64>, max: u64) -> bool {
    match draw {
        Draw::One(value) | Draw::Range(_, value) => *value <= max,
        Draw::Among(choices) => choices.iter().all(|choice| within(choice, max)),
    }
}

impl WorkloadSpec {
    fn kind(&self) -> &'static Kind {
        let kind = KINDS.iter().find(|kind| kind.name == self.kind);
        kind.expect("the parser took only known kinds")
    }

    pub fn make(&self) -> Box<dyn Workload> {
        (self.kind().make)(self)
    }

    /// The kind whose tables it reads and does not make, if one of `workloads` has to be there for it and is not.
    pub fn misses<'a>(&self, mut workloads: impl Iterator<Item = &'a WorkloadSpec>) -> Option<&'static str> {
        let wanted = self.kind().looks_at?;
        let found = workloads.any(|other| other.kind == wanted && other.name == wanted);
        (!found).then_some(wanted)
    }

    /// Draws a parameter for one operation.
    pub fn param(&self, name: &str, rng: &mut ChaCha8Rng) -> u64 {
        self.params
            .get(name)
            .expect("a kind asks only for its own parameters")
            .draw(rng)
    }

    /// A parameter that shapes the tables and therefore cannot vary.
    pub fn shape(&self, name: &str) -> u64 {
        match self.params.get(name).expect("a kind asks only for its own parameters") {
            Draw::One(value) | Draw::Range(_, value) => *value,
            Draw::Among(choices) => match choices.last() {
                Some(Draw::One(value) | Draw::Range(_, value)) => *value,
                _ => 1,
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Primary => "primary",
            Target::Standby => "standby",
            Target::Any => "any",
            Target::Server(name) => name,
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::At(at) => f.write_str(&units::show_micros(i64::try_from(*at).unwrap_or(i64::MAX))),
            Moment::Mark(mark, _) => f.write_str(mark),
        }
    }
}

impl fmt::Display for WorkloadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}) on {}, from {} until {}",
            self.name, self.kind, self.on, self.from, self.until
        )?;
        for (name, draw) in &self.params {
            match draw {
                Draw::One(value) => write!(f, ", {name} {value}")?,
                Draw::Range(low, high) if low == high => write!(f, ", {name} {low}")?,
                Draw::Range(low, high) => write!(f, ", {name} {low}..{high}")?,
                Draw::Among(_) => write!(f, ", {name} drawn per operation")?,
            }
        }
        match &self.only {
            Some(turns) => write!(f, ", only in turns {turns}"),
            None => Ok(()),
        }
    }
}
