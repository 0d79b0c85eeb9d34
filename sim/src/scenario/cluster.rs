//! The servers of a scenario and the links between them.

use serde::{Deserialize, Serialize};

use super::Names;
use super::disk::DiskSpec;
use super::knobs::KnobSpec;
use crate::draw::{Draw, parse_number};
use crate::units::{self, Micros};
use crate::yaml::{Complaint, Node};

/// The roles a server can have; the words are those of the cluster's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    Primary,
    Standby,
    DetectedBrokenConfig,
}

impl Role {
    pub const WORDS: &[&str] = &["primary", "standby", "detected_broken_config"];

    pub fn word(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Standby => "standby",
            Role::DetectedBrokenConfig => "detected_broken_config",
        }
    }

    pub fn from_word(word: &str) -> Option<Role> {
        [Role::Primary, Role::Standby, Role::DetectedBrokenConfig]
            .into_iter()
            .find(|role| role.word() == word)
    }
}

/// The section `cluster:`.
#[derive(Debug, Default)]
pub struct ClusterSpec {
    /// Whether the servers have SQL.
    pub sql: bool,
    pub servers: Vec<ServerSpec>,
}

/// One server of the cluster.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    pub name: String,
    /// None: a server of its own, without a `cluster:` section.
    pub member: Option<MemberSpec>,
    /// How far this server's wall clock is from the simulator's.
    pub clock_offset: Draw<i64>,
    /// How much faster its clock runs, in parts per million.
    pub clock_drift_ppm: Draw<i64>,
    /// Every so often it jumps by so much.
    pub clock_jump: Option<(Draw<Micros>, Draw<i64>)>,
    pub disk: DiskSpec,
    pub knobs: KnobSpec,
}

/// What a server is told about its cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberSpec {
    pub role: Role,
    pub epoch: u64,
    pub standbys: Vec<String>,
}

/// What all links are like, and the exceptions.
#[derive(Debug, Clone, Default)]
pub struct NetworkSpec {
    pub all: LinkSpec,
    /// (from, to): this direction only.
    pub links: Vec<(String, String, LinkSpec)>,
    /// Bytes on the way or unread in each direction of a connection, before its writer waits.
    pub window: Option<Draw<u64>>,
}

/// One direction of a link. What is not said falls back to the network's, then to a perfect link.
#[derive(Debug, Clone, Default)]
pub struct LinkSpec {
    pub latency: Option<Draw<Micros>>,
    pub jitter: Option<Draw<Micros>>,
    pub loss_ppm: Option<Draw<u32>>,
    pub bandwidth: Option<Draw<u64>>,
}

/// What a server without a `disk:` takes for a sync: a solid-state disk with a capacitor.
const SYNC_LATENCY_DEFAULT: Micros = 200;

/// What stands for others where a server or a workload may be named, or is a word of SQL.
const NO_PARTIES: [&str; 3] = ["rest", "flapping", "end"];

/// As [`check_name`], of a server or a workload.
pub fn check_party(what: &str, name: &str, node: &Node) -> Result<(), Complaint> {
    check_name(what, name, node)?;
    match NO_PARTIES.contains(&name) {
        true => Err(reserved(what, name, node)),
        false => Ok(()),
    }
}

fn reserved(what: &str, name: &str, node: &Node) -> Complaint {
    let words: Vec<&str> = RESERVED.into_iter().chain(NO_PARTIES).collect();
    node.complain(format!(
        "{what}: {name:?} means something else in a scenario; reserved are {}",
        words.join(", ")
    ))
}

const RESERVED: [&str; 8] = ["all", "any", "none", "down", "primary", "standby", "operator", "both"];

/// Names become host names, client names and file names.
pub fn check_name(what: &str, name: &str, node: &Node) -> Result<(), Complaint> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || !name.chars().all(good) || name.len() > 32 {
        return Err(node.complain(format!(
            "{what}: {name:?} must be 1 to 32 of a-z, 0-9, _ and -, starting with a letter"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(reserved(what, name, node));
    }
    Ok(())
}

impl ClusterSpec {
    pub fn parse(node: &Node) -> Result<ClusterSpec, Complaint> {
        let fields = node.fields("cluster", &["sql", "servers"])?;
        let sql = match fields.get("sql") {
            Some(node) => node.word("sql", &["on", "off"])? == "on",
            None => true,
        };
        let servers = parse_servers(fields.require("servers")?)?;
        Ok(ClusterSpec { sql, servers })
    }
}

fn parse_servers(servers_node: &Node) -> Result<Vec<ServerSpec>, Complaint> {
    let entries = servers_node.entries("servers")?;
    if entries.is_empty() || entries.len() > 5 {
        return Err(servers_node.complain(format!("servers: one to five servers are due, found {}", entries.len())));
    }
    let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let mut servers = Vec::new();
    for (name, node) in entries {
        check_party("servers", name, node)?;
        servers.push(parse_server(name, node, &names)?);
    }
    for (server, (_, node)) in servers.iter().zip(entries) {
        for standby in server.member.iter().flat_map(|member| &member.standbys) {
            let back = servers
                .iter()
                .find(|other| other.name == *standby)
                .and_then(|other| other.member.as_ref());
            if !back.is_some_and(|member| member.standbys.contains(&server.name)) {
                return Err(node.complain(format!(
                    "servers: {0} lists {standby} as a standby and {standby} does not list {0}; a server only accepts peers it lists",
                    server.name
                )));
            }
        }
    }
    Ok(servers)
}

fn parse_server(name: &str, node: &Node, names: &[&str]) -> Result<ServerSpec, Complaint> {
    let fields = node.fields("server", &["role", "epoch", "standbys", "clock", "disk", "knobs"])?;
    let member = match fields.get("standbys") {
        Some(list) => {
            let mut standbys = Vec::new();
            for entry in list.strict_list("standbys")? {
                let standby = entry.word("standbys", names)?;
                if standby == name || standbys.iter().any(|known| known == standby) {
                    return Err(entry.complain(format!("standbys: {standby:?} is the server itself or listed twice")));
                }
                standbys.push(standby.to_owned());
            }
            if standbys.is_empty() {
                return Err(list.complain("standbys: an empty list; leave the key out for a server of its own"));
            }
            let role = fields.require("role")?.word("role", &Role::WORDS[..2])?;
            let epoch_node = fields.require("epoch")?;
            let epoch = parse_number(epoch_node.text("epoch")?)
                .map_err(|error| epoch_node.complain(format!("epoch: {error}")))?;
            Some(MemberSpec {
                role: Role::from_word(role).expect("the word is one of the roles"),
                epoch,
                standbys,
            })
        }
        None => {
            if let Some(node) = fields.get("role").or(fields.get("epoch")) {
                return Err(node.complain(format!(
                    "server {name}: role and epoch belong to a cluster; list its peers under standbys"
                )));
            }
            None
        }
    };
    let (mut clock_offset, mut clock_drift_ppm, mut clock_jump) = (Draw::One(0), Draw::One(0), None);
    if let Some(clock) = fields.get("clock") {
        let clock = clock.fields("clock", &["offset", "drift", "jump"])?;
        if let Some(node) = clock.get("offset") {
            clock_offset = Draw::parse("offset", node, units::parse_signed_micros)?;
        }
        if let Some(node) = clock.get("drift") {
            clock_drift_ppm = Draw::parse("drift", node, parse_drift)?;
        }
        if let Some(node) = clock.get("jump") {
            let jump = node.fields("jump", &["every", "by"])?;
            let every = jump.require("every")?;
            let period = Draw::parse("every", every, units::parse_micros)?;
            if period.ends().contains(&0) {
                return Err(every.complain("every: a time above 0 is due"));
            }
            let by = Draw::parse("by", jump.require("by")?, units::parse_signed_micros)?;
            clock_jump = Some((period, by));
        }
    }
    let disk = fields.get("disk").map(DiskSpec::parse).transpose()?.unwrap_or_default();
    Ok(ServerSpec {
        name: name.to_owned(),
        member,
        clock_offset,
        clock_drift_ppm,
        clock_jump,
        knobs: fields
            .get("knobs")
            .map(KnobSpec::parse)
            .transpose()?
            .unwrap_or_default(),
        disk: disk.or("latency", SYNC_LATENCY_DEFAULT),
    })
}

pub fn parse_drift(text: &str) -> Result<i64, String> {
    let ppm: i64 = parse_number(text)?;
    let in_range = (-100_000..=100_000).contains(&ppm);
    in_range
        .then_some(ppm)
        .ok_or_else(|| format!("{ppm} is beyond 100000 parts per million, ten percent"))
}

const LINK_KEYS: [&str; 4] = ["latency", "jitter", "loss", "bandwidth"];

pub fn parse_network(node: Option<&Node>, names: &Names) -> Result<NetworkSpec, Complaint> {
    let Some(node) = node else {
        return Ok(NetworkSpec::default());
    };
    let [latency, jitter, loss, bandwidth] = LINK_KEYS;
    let fields = node.fields("network", &[latency, jitter, loss, bandwidth, "links", "window"])?;
    let all = parse_link(&|key| fields.get(key))?;
    let mut links = Vec::new();
    if let Some(node) = fields.get("links") {
        for (key, node) in node.entries("links")? {
            let (from, to) = parse_arrow(key, names).map_err(|error| node.complain(format!("links: {error}")))?;
            let fields = node.fields("link", &LINK_KEYS)?;
            links.push((from, to, parse_link(&|key| fields.get(key))?));
        }
    }
    let window = fields.get("window").map(|node| {
        let window = Draw::parse("window", node, units::parse_bytes)?;
        let roomy = window.ends().iter().all(|bytes| *bytes >= 1024);
        roomy
            .then_some(window)
            .ok_or_else(|| node.complain("window: at least 1KiB is due"))
    });
    Ok(NetworkSpec {
        all,
        links,
        window: window.transpose()?,
    })
}

fn parse_link<'a>(get: &dyn Fn(&str) -> Option<&'a Node>) -> Result<LinkSpec, Complaint> {
    Ok(LinkSpec {
        latency: get("latency")
            .map(|node| Draw::parse("latency", node, units::parse_micros))
            .transpose()?,
        jitter: get("jitter")
            .map(|node| Draw::parse("jitter", node, units::parse_micros))
            .transpose()?,
        loss_ppm: get("loss")
            .map(|node| Draw::parse("loss", node, units::parse_share_ppm))
            .transpose()?,
        bandwidth: get("bandwidth")
            .map(|node| Draw::parse("bandwidth", node, units::parse_bandwidth))
            .transpose()?,
    })
}

/// `a->b`, between two servers.
pub fn parse_arrow(text: &str, names: &Names) -> Result<(String, String), String> {
    let allowed = names.servers.join(", ");
    let (from, to) = text
        .split_once("->")
        .ok_or_else(|| format!("{text:?} is not a direction; write from->to, of {allowed}"))?;
    let (from, to) = (from.trim(), to.trim());
    for end in [from, to] {
        if !names.servers.iter().any(|name| name == end) {
            return Err(format!("{text:?}: unknown server {end:?}; allowed here: {allowed}"));
        }
    }
    if from == to {
        return Err(format!("{text:?}: a server has no link to itself"));
    }
    Ok((from.to_owned(), to.to_owned()))
}
