//! Faults beyond cuts and deaths: slow and clogged links, connections and clients that vanish, clocks, lost disks, and
//! operators who do the wrong thing.
//!
//! A new one is a variant of [`Fault`] with its line in `written` and in `draw`, a word in [`WORDS`], and its deed in
//! `runner/faults.rs`. What is printed is what a scenario file would say.

use std::fmt;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Names;
use super::sides::{self, Sides, parse_direction, parse_sides};
use super::step::{Action, Direction, ParseAction};
use crate::draw::Draw;
use crate::units::{self, Micros, show_micros};
use crate::yaml::{Complaint, Node};

/// How long something goes on; None: until it is healed.
pub type Lasts = Option<Draw<Micros>>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Everybody reaches only their two neighbours, so that each sees a majority and no two see the same.
    Ring { lasts: Lasts },
    /// Servers are cut off one after the other, and come back in another order.
    Swizzle {
        cut: Vec<String>,
        /// Drawn when empty; then the order of `cut` is, too.
        heal: Vec<String>,
        each: Draw<Micros>,
    },
    /// Links become worse than the plan says.
    Slow {
        sides: Sides,
        direction: Direction,
        change: LinkChange,
        lasts: Lasts,
    },
    /// What is sent waits, loses nothing, and comes all at once.
    Clog {
        sides: Sides,
        direction: Direction,
        lasts: Draw<Micros>,
    },
    /// All connections between two end; who is not told keeps its end.
    DropConnections {
        between: (String, String),
        noticed: Noticed,
    },
    /// Clients vanish in the middle of what they do, and come back as others of the same name.
    DropClients { workloads: Vec<String>, silent: bool },
    /// A middlebox sends what comes for a server on two connections.
    Duplicate { server: String, lasts: Lasts },
    /// A server has another address, and for a while its name leads nowhere.
    Move { server: String, lag: Draw<Micros> },
    /// A server gets only so much of its processor.
    Stall {
        server: String,
        /// What it does not get, in parts per million.
        share: Draw<u32>,
        lasts: Draw<Micros>,
    },
    /// A server loses its disk.
    Wipe(String),
    /// The operator restarts the server with other standbys.
    Reconfigure { server: String, standbys: Vec<String> },
    /// A server's wall clock goes wrong.
    Clock {
        server: String,
        offset: Option<Draw<i64>>,
        jump: Option<Draw<i64>>,
        drift: Option<Draw<i64>>,
    },
    /// What the operator runs, right or wrong.
    Operator(Operation),
    /// The operator sees to it that there is one primary.
    Repair,
    /// The operator makes disks whole again.
    Mend,
}

/// What changes of a link; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkChange {
    pub latency: Option<Draw<Micros>>,
    pub jitter: Option<Draw<Micros>>,
    pub loss_ppm: Option<Draw<u32>>,
    pub bandwidth: Option<Draw<u64>>,
}

/// Whose kernel says at once that a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noticed {
    Both,
    First,
    Second,
    Neither,
}

impl Noticed {
    pub const ALL: [Noticed; 4] = [Noticed::Both, Noticed::First, Noticed::Second, Noticed::Neither];

    pub fn word(self) -> &'static str {
        match self {
            Noticed::Both => "both",
            Noticed::First => "first",
            Noticed::Second => "second",
            Noticed::Neither => "neither",
        }
    }

    pub fn sides(self) -> [bool; 2] {
        [
            matches!(self, Noticed::Both | Noticed::First),
            matches!(self, Noticed::Both | Noticed::Second),
        ]
    }
}

/// Statements of the operator whose epochs follow what the servers have said so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Primary at the next epoch.
    Promote(String),
    /// The first becomes a standby at the next epoch, then the second its primary.
    HandOver(String, String),
    /// Promotes at the next epoch, and again at the one after it.
    Twice(String),
    /// Promotes both at the same next epoch.
    Both(String, String),
    /// Promotes at an epoch that is over.
    OldEpoch(String),
}

const OPERATIONS: [&str; 5] = ["promote", "hand_over", "twice", "both", "old_epoch"];

/// Every word with its reader.
pub const WORDS: &[(&str, ParseAction)] = &[
    ("isolate", parse_isolate),
    ("bridge", parse_bridge),
    ("ring", parse_ring),
    ("swizzle", parse_swizzle),
    ("slow", parse_slow),
    ("clog", parse_clog),
    ("drop_connections", parse_drop_connections),
    ("drop_clients", parse_drop_clients),
    ("duplicate", |node, names| {
        let fields = node.fields("duplicate", &["server", "for"])?;
        one(Fault::Duplicate {
            server: names.server("server", fields.require("server")?)?,
            lasts: parse_lasts(fields.get("for"))?,
        })
    }),
    ("move", |node, names| {
        let fields = node.fields("move", &["server", "lag"])?;
        one(Fault::Move {
            server: names.server("server", fields.require("server")?)?,
            lag: fields
                .get("lag")
                .map_or(Ok(Draw::One(0)), |node| Draw::parse("lag", node, units::parse_micros))?,
        })
    }),
    ("stall", |node, names| {
        let fields = node.fields("stall", &["server", "share", "for"])?;
        one(Fault::Stall {
            server: names.server("server", fields.require("server")?)?,
            share: Draw::parse("share", fields.require("share")?, units::parse_share_ppm)?,
            lasts: Draw::parse("for", fields.require("for")?, units::parse_micros)?,
        })
    }),
    ("reconfigure", |node, names| {
        let fields = node.fields("reconfigure", &["server", "standbys"])?;
        let server = names.server("server", fields.require("server")?)?;
        let standbys = server_list("standbys", fields.require("standbys")?, names)?;
        if standbys.contains(&server) {
            return Err(node.complain(format!("standbys: {server:?} is the server itself")));
        }
        one(Fault::Reconfigure { server, standbys })
    }),
    ("wipe", |node, names| {
        super::step::parse_targets("wipe", node, names, |name| Action::Fault(Fault::Wipe(name)))
    }),
    ("clock", parse_clock),
    ("operator", parse_operator),
    ("repair", |node, _| {
        node.word("repair", &["all"])
            .map(|_| vec![Action::Fault(Fault::Repair)])
    }),
    ("mend", |node, _| {
        node.word("mend", &["all"]).map(|_| vec![Action::Fault(Fault::Mend)])
    }),
];

fn one(fault: Fault) -> Result<Vec<Action>, Complaint> {
    Ok(vec![Action::Fault(fault)])
}

pub fn parse_lasts(node: Option<&Node>) -> Result<Lasts, Complaint> {
    node.map(|node| Draw::parse("for", node, units::parse_micros))
        .transpose()
}

/// `isolate: NAME`: a partition with nobody else on that side.
fn parse_isolate(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let everybody = || names.servers.iter().chain(&names.workloads);
    let mut allowed = vec!["none"];
    allowed.extend(names.servers.iter().map(String::as_str));
    let mut choices = Vec::new();
    for node in node.list() {
        choices.push(match node.word("isolate", &allowed)? {
            "none" => Action::Nothing,
            name => {
                let others: Vec<String> = everybody().filter(|other| *other != name).cloned().collect();
                if others.is_empty() {
                    return Err(node.complain("isolate: there is nobody to be cut off from"));
                }
                Action::partition(vec![vec![name.to_owned()], others], Direction::Both)
            }
        });
    }
    if choices.is_empty() {
        return Err(node.complain("isolate: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

/// `bridge: NAME`: two halves that only NAME, and the clients, reach both of.
fn parse_bridge(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let bridge = names.server("bridge", node)?;
    let others: Vec<String> = names.servers.iter().filter(|name| **name != bridge).cloned().collect();
    if others.len() < 2 {
        return Err(node.complain("bridge: three servers are due, one between two"));
    }
    let (first, second) = others.split_at(others.len() / 2);
    let sides = vec![first.to_vec(), second.to_vec()];
    Ok(vec![Action::partition(sides, Direction::Both)])
}

fn parse_ring(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("ring", &["for"])?;
    if names.servers.len() < 4 {
        return Err(node.complain("ring: four servers are due; in a ring of three each reaches all"));
    }
    one(Fault::Ring {
        lasts: parse_lasts(fields.get("for"))?,
    })
}

fn server_list(what: &'static str, node: &Node, names: &Names) -> Result<Vec<String>, Complaint> {
    let mut servers: Vec<String> = Vec::new();
    for entry in node.strict_list(what)? {
        let name = names.server(what, entry)?;
        if servers.contains(&name) {
            return Err(entry.complain(format!("{what}: {name:?} is named twice")));
        }
        servers.push(name);
    }
    if servers.is_empty() {
        return Err(node.complain(format!("{what}: an empty list; at least one server is due")));
    }
    Ok(servers)
}

fn parse_swizzle(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("swizzle", &["cut", "heal", "each"])?;
    let cut = server_list("cut", fields.require("cut")?, names)?;
    let mut heal = Vec::new();
    if let Some(node) = fields.get("heal") {
        heal = server_list("heal", node, names)?;
        if heal.len() != cut.len() || !heal.iter().all(|name| cut.contains(name)) {
            return Err(node.complain("heal: the servers of cut are due, in any order"));
        }
    }
    one(Fault::Swizzle {
        cut,
        heal,
        each: Draw::parse("each", fields.require("each")?, units::parse_micros)?,
    })
}

fn parse_slow(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let keys = ["sides", "direction", "latency", "jitter", "loss", "bandwidth", "for"];
    let fields = node.fields("slow", &keys)?;
    let sides = parse_sides(fields.require("sides")?, names)?;
    let draw = |key: &'static str| fields.get(key).map(|node| Draw::parse(key, node, units::parse_micros));
    let change = LinkChange {
        latency: draw("latency").transpose()?,
        jitter: draw("jitter").transpose()?,
        loss_ppm: fields
            .get("loss")
            .map(|node| Draw::parse("loss", node, units::parse_share_ppm))
            .transpose()?,
        bandwidth: fields
            .get("bandwidth")
            .map(|node| Draw::parse("bandwidth", node, units::parse_bandwidth))
            .transpose()?,
    };
    if change == LinkChange::default() {
        return Err(node.complain("slow: one of latency, jitter, loss, bandwidth is due, or nothing would change"));
    }
    let lasts = parse_lasts(fields.get("for"))?;
    let directions = parse_direction(fields.get("direction"), &sides, names)?;
    let slow = |direction| {
        Action::Fault(Fault::Slow {
            sides: sides.clone(),
            direction,
            change: change.clone(),
            lasts: lasts.clone(),
        })
    };
    Ok(directions.into_iter().map(slow).collect())
}

fn parse_clog(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("clog", &["sides", "direction", "for"])?;
    let sides = parse_sides(fields.require("sides")?, names)?;
    let lasts = Draw::parse("for", fields.require("for")?, units::parse_micros)?;
    let directions = parse_direction(fields.get("direction"), &sides, names)?;
    if directions
        .iter()
        .any(|direction| matches!(direction, Direction::Flapping))
    {
        return Err(node.complain("direction: a clog does not flap; allowed here: both, a->b"));
    }
    let clog = |direction| {
        Action::Fault(Fault::Clog {
            sides: sides.clone(),
            direction,
            lasts: lasts.clone(),
        })
    };
    Ok(directions.into_iter().map(clog).collect())
}

fn parse_drop_connections(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("drop_connections", &["between", "noticed"])?;
    let between = fields.require("between")?;
    let servers = server_list("between", between, names)?;
    let [first, second] = &servers[..] else {
        return Err(between.complain(format!("between: two servers are due, found {}", servers.len())));
    };
    let words = Noticed::ALL.map(Noticed::word);
    let mut choices = Vec::new();
    for node in fields.require("noticed")?.list() {
        let word = node.word("noticed", &words)?;
        let noticed = Noticed::ALL.into_iter().find(|noticed| noticed.word() == word);
        choices.push(Action::Fault(Fault::DropConnections {
            between: (first.clone(), second.clone()),
            noticed: noticed.expect("the word is one of them"),
        }));
    }
    if choices.is_empty() {
        return Err(node.complain("noticed: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

fn parse_drop_clients(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("drop_clients", &["of", "how"])?;
    let of = fields.require("of")?;
    let mut allowed: Vec<&str> = names.workloads.iter().map(String::as_str).collect();
    allowed.push("all");
    let mut workloads = Vec::new();
    for entry in of.list() {
        match entry.word("of", &allowed)? {
            "all" => workloads.extend(names.workloads.iter().cloned()),
            name => workloads.push(name.to_owned()),
        }
    }
    if workloads.is_empty() {
        return Err(of.complain("of: nobody is named"));
    }
    let mut choices = Vec::new();
    for node in fields.require("how")?.list() {
        choices.push(Action::Fault(Fault::DropClients {
            workloads: workloads.clone(),
            silent: node.word("how", &["killed", "silent"])? == "silent",
        }));
    }
    if choices.is_empty() {
        return Err(node.complain("how: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

fn parse_clock(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let fields = node.fields("clock", &["server", "offset", "jump", "drift"])?;
    let time = |key: &'static str| {
        fields
            .get(key)
            .map(|node| Draw::parse(key, node, units::parse_signed_micros))
            .transpose()
    };
    let (offset, jump) = (time("offset")?, time("jump")?);
    let drift = fields
        .get("drift")
        .map(|node| Draw::parse("drift", node, super::cluster::parse_drift))
        .transpose()?;
    match (&offset, &jump, &drift) {
        (None, None, None) => Err(node.complain("clock: one of offset, jump, drift is due, or nothing would change")),
        (Some(_), Some(_), _) => Err(node.complain("clock: offset says where to, jump how far; one of them is due")),
        _ => one(Fault::Clock {
            server: names.server("server", fields.require("server")?)?,
            offset,
            jump,
            drift,
        }),
    }
}

fn parse_operator(node: &Node, names: &Names) -> Result<Vec<Action>, Complaint> {
    let mut choices = Vec::new();
    for node in node.list() {
        let fields = node.fields("operator", &OPERATIONS)?;
        let present: Vec<&str> = OPERATIONS
            .into_iter()
            .filter(|word| fields.get(word).is_some())
            .collect();
        let [word] = present[..] else {
            return Err(node.complain(format!("operator: exactly one of {} is due", OPERATIONS.join(", "))));
        };
        let node = fields.require(word)?;
        let operation = match word {
            "promote" => Operation::Promote(names.server(word, node)?),
            "twice" => Operation::Twice(names.server(word, node)?),
            "old_epoch" => Operation::OldEpoch(names.server(word, node)?),
            "hand_over" => {
                let (from, to) = super::cluster::parse_arrow(node.text(word)?, names)
                    .map_err(|error| node.complain(format!("{word}: {error}")))?;
                Operation::HandOver(from, to)
            }
            _ => {
                let servers = server_list("both", node, names)?;
                let [first, second] = &servers[..] else {
                    return Err(node.complain(format!("both: two servers are due, found {}", servers.len())));
                };
                Operation::Both(first.clone(), second.clone())
            }
        };
        choices.push(Action::Fault(Fault::Operator(operation)));
    }
    if choices.is_empty() {
        return Err(node.complain("operator: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

impl Fault {
    /// Settles everything that is a choice. `stream` gives the random stream of a part.
    pub fn draw(&mut self, stream: impl Fn(&str) -> ChaCha8Rng) {
        fn settle<T: crate::draw::Span>(draw: &mut Option<Draw<T>>, mut rng: ChaCha8Rng) {
            if let Some(draw) = draw {
                *draw = Draw::One(draw.draw(&mut rng));
            }
        }
        let time = |draw: &mut Draw<Micros>, what: &str| *draw = Draw::One(draw.draw(&mut stream(what)));
        match self {
            Fault::Ring { lasts } | Fault::Duplicate { lasts, .. } => settle(lasts, stream("for")),
            Fault::Swizzle { cut, heal, each } => {
                time(each, "each");
                if heal.is_empty() {
                    cut.shuffle(&mut stream("cut"));
                    heal.clone_from(cut);
                    heal.shuffle(&mut stream("heal"));
                }
            }
            Fault::Slow { change, lasts, .. } => {
                settle(&mut change.latency, stream("latency"));
                settle(&mut change.jitter, stream("jitter"));
                settle(&mut change.loss_ppm, stream("loss"));
                settle(&mut change.bandwidth, stream("bandwidth"));
                settle(lasts, stream("for"));
            }
            Fault::Clog { lasts, .. } => time(lasts, "for"),
            Fault::Move { lag, .. } => time(lag, "lag"),
            Fault::Stall { share, lasts, .. } => {
                *share = Draw::One(share.draw(&mut stream("share")));
                time(lasts, "for");
            }
            Fault::Clock {
                offset, jump, drift, ..
            } => {
                settle(offset, stream("offset"));
                settle(jump, stream("jump"));
                settle(drift, stream("drift"));
            }
            Fault::DropConnections { .. }
            | Fault::DropClients { .. }
            | Fault::Wipe(_)
            | Fault::Reconfigure { .. }
            | Fault::Operator(_)
            | Fault::Repair
            | Fault::Mend => {}
        }
    }

    /// As it stands in a scenario file.
    pub fn written(&self) -> String {
        match self {
            Fault::Ring { lasts } => format!("ring: {{ {} }}", parts(vec![], lasts)),
            Fault::Swizzle { cut, heal, each } => {
                let heal = if heal.is_empty() {
                    String::new()
                } else {
                    format!("heal: [{}], ", heal.join(", "))
                };
                format!(
                    "swizzle: {{ cut: [{}], {heal}each: {} }}",
                    cut.join(", "),
                    each.written(time)
                )
            }
            Fault::Slow {
                sides,
                direction,
                change,
                lasts,
            } => {
                let mut said = vec![format!("sides: {}, direction: {direction}", sides::written(sides))];
                said.extend(change.latency.iter().map(|d| format!("latency: {}", d.written(time))));
                said.extend(change.jitter.iter().map(|d| format!("jitter: {}", d.written(time))));
                said.extend(
                    change
                        .loss_ppm
                        .iter()
                        .map(|d| format!("loss: {}", d.written(share_text))),
                );
                let speed = |bytes: u64| format!("{bytes}B/s");
                said.extend(
                    change
                        .bandwidth
                        .iter()
                        .map(|d| format!("bandwidth: {}", d.written(speed))),
                );
                format!("slow: {{ {} }}", parts(said, lasts))
            }
            Fault::Clog {
                sides,
                direction,
                lasts,
            } => format!(
                "clog: {{ sides: {}, direction: {direction}, for: {} }}",
                sides::written(sides),
                lasts.written(time)
            ),
            Fault::DropConnections { between, noticed } => format!(
                "drop_connections: {{ between: [{}, {}], noticed: {} }}",
                between.0,
                between.1,
                noticed.word()
            ),
            Fault::DropClients { workloads, silent } => format!(
                "drop_clients: {{ of: [{}], how: {} }}",
                workloads.join(", "),
                if *silent { "silent" } else { "killed" }
            ),
            Fault::Duplicate { server, lasts } => {
                format!("duplicate: {{ {} }}", parts(vec![format!("server: {server}")], lasts))
            }
            Fault::Move { server, lag } => format!("move: {{ server: {server}, lag: {} }}", lag.written(time)),
            Fault::Stall { server, share, lasts } => format!(
                "stall: {{ server: {server}, share: {}, for: {} }}",
                share.written(share_text),
                lasts.written(time)
            ),
            Fault::Wipe(server) => format!("wipe: {server}"),
            Fault::Reconfigure { server, standbys } => {
                format!(
                    "reconfigure: {{ server: {server}, standbys: [{}] }}",
                    standbys.join(", ")
                )
            }
            Fault::Clock {
                server,
                offset,
                jump,
                drift,
            } => {
                let mut said = vec![format!("server: {server}")];
                said.extend(offset.iter().map(|d| format!("offset: {}", d.written(show_micros))));
                said.extend(jump.iter().map(|d| format!("jump: {}", d.written(show_micros))));
                said.extend(
                    drift
                        .iter()
                        .map(|d| format!("drift: {}", d.written(|ppm: i64| ppm.to_string()))),
                );
                format!("clock: {{ {} }}", said.join(", "))
            }
            Fault::Operator(operation) => format!(
                "operator: {{ {} }}",
                match operation {
                    Operation::Promote(server) => format!("promote: {server}"),
                    Operation::HandOver(from, to) => format!("hand_over: {from}->{to}"),
                    Operation::Twice(server) => format!("twice: {server}"),
                    Operation::Both(first, second) => format!("both: [{first}, {second}]"),
                    Operation::OldEpoch(server) => format!("old_epoch: {server}"),
                }
            ),
            Fault::Repair => "repair: all".to_owned(),
            Fault::Mend => "mend: all".to_owned(),
        }
    }
}

fn parts(mut said: Vec<String>, lasts: &Lasts) -> String {
    said.extend(lasts.iter().map(|draw| format!("for: {}", draw.written(time))));
    said.join(", ")
}

pub fn time(micros: Micros) -> String {
    show_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

pub fn share_text(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written())
    }
}
