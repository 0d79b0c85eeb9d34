//! Lanes, and what is so for a while on one of them: roles, death, pauses, cuts, bad disks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::event::Line;
use crate::units::Micros;

/// The world's own node carries out the steps; what it logs belongs to the operator, too.
const OPERATOR: &str = "operator";
const OPERATOR_ALIASES: [&str; 2] = ["scenario", ""];

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lane {
    pub name: String,
    pub kind: &'static str,
}

pub struct Lanes {
    lanes: Vec<Lane>,
    by_name: BTreeMap<String, usize>,
    /// IP address -> lane.
    addresses: BTreeMap<String, usize>,
}

impl Lanes {
    /// The operator, the servers, the clients, each in order of appearance.
    pub fn of(events: &[Line<'_>]) -> Lanes {
        let mut names: Vec<&str> = Vec::new();
        let mut known = BTreeSet::new();
        for line in events {
            let name = if OPERATOR_ALIASES.contains(&line.node) {
                OPERATOR
            } else {
                line.node
            };
            if known.insert(name) {
                names.push(name);
            }
        }
        // A client is called after its workload and its number.
        let kind_of = |name: &str| match name {
            OPERATOR => "operator",
            name if name.contains('.') => "client",
            _ => "server",
        };
        let mut lanes = Vec::new();
        for kind in ["operator", "server", "client"] {
            let of_kind = names.iter().filter(|name| kind_of(name) == kind);
            lanes.extend(of_kind.map(|name| Lane {
                name: (*name).to_owned(),
                kind,
            }));
        }
        let by_name = (0..)
            .zip(&lanes)
            .map(|(index, lane)| (lane.name.clone(), index))
            .collect();
        let mut lanes = Lanes {
            lanes,
            by_name,
            addresses: BTreeMap::new(),
        };
        for line in events {
            let own = match line.kind {
                "connect" => line.field("from"),
                "listen" => line.field("at"),
                _ => None,
            };
            if let Some((ip, _)) = own.and_then(|address| address.rsplit_once(':')) {
                let lane = lanes.of_node(line.node);
                lanes.addresses.insert(ip.to_owned(), lane);
            }
        }
        lanes
    }

    pub fn of_node(&self, node: &str) -> usize {
        let name = if OPERATOR_ALIASES.contains(&node) {
            OPERATOR
        } else {
            node
        };
        self.by_name.get(name).copied().unwrap_or(0)
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn of_address(&self, address: &str) -> Option<usize> {
        let (ip, _) = address.rsplit_once(':')?;
        self.addresses.get(ip).copied()
    }

    pub fn is_server(&self, lane: usize) -> bool {
        self.lanes[lane].kind == "server"
    }

    pub fn finish(self) -> Vec<Lane> {
        self.lanes
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Band {
    pub lane: usize,
    pub from: Micros,
    pub to: Micros,
    /// `primary`, `standby`, `detected_broken_config`, `up`, `down`, `paused`, `cut`, `disk`.
    pub kind: &'static str,
    pub text: String,
}

/// Which of the bands of one lane can be open at a time: one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strip {
    Role,
    Down,
    Paused,
    Cut,
    Disk,
}

#[derive(Default)]
pub struct Bands {
    open: BTreeMap<(usize, Strip), Band>,
    done: Vec<Band>,
    /// lane -> whom it cannot send to.
    cuts: BTreeMap<usize, BTreeSet<String>>,
}

impl Bands {
    pub fn observe(&mut self, line: &Line<'_>, lane: usize, lanes: &Lanes) {
        match line.kind {
            "role" | "ready" if lanes.is_server(lane) => {
                let role = line.details.split('@').next().unwrap_or_default();
                let kind = match role {
                    "primary" => "primary",
                    "standby" => "standby",
                    "detected_broken_config" => "detected_broken_config",
                    _ => "up",
                };
                let text = if line.details.is_empty() { "up" } else { line.details };
                self.begin(lane, Strip::Role, line.at, kind, text);
            }
            "opened" => {
                self.end(lane, Strip::Down, line.at);
                self.begin(lane, Strip::Role, line.at, "up", "open");
            }
            "ended" | "replaced" => self.end(lane, Strip::Role, line.at),
            "kill" | "power off" | "down" if lanes.is_server(lane) => {
                self.end(lane, Strip::Role, line.at);
                self.end(lane, Strip::Paused, line.at);
                let text = match line.kind {
                    "down" => line.details,
                    "kill" => "killed",
                    _ => "without power",
                };
                match self.open.get_mut(&(lane, Strip::Down)) {
                    Some(band) => text.clone_into(&mut band.text),
                    None => self.begin(lane, Strip::Down, line.at, "down", text),
                }
            }
            "start" | "restart" => self.end(lane, Strip::Down, line.at),
            "pause" => self.begin(lane, Strip::Paused, line.at, "paused", "paused"),
            "resume" => self.end(lane, Strip::Paused, line.at),
            "cut" | "heal" => {
                let Some(to) = line.field("to") else { return };
                let cuts = self.cuts.entry(lane).or_default();
                let changed = if line.kind == "cut" {
                    cuts.insert(to.to_owned())
                } else {
                    cuts.remove(to)
                };
                if !changed {
                    return;
                }
                let cuts: Vec<String> = cuts.iter().cloned().collect();
                if cuts.is_empty() {
                    self.end(lane, Strip::Cut, line.at);
                } else {
                    let text = format!("cannot send to {}", cuts.join(", "));
                    self.begin(lane, Strip::Cut, line.at, "cut", &text);
                }
            }
            "done" => {
                let Some((_, rest)) = line.details.split_once(": disk of ") else {
                    return;
                };
                let Some((name, settings)) = rest.split_once(": ") else {
                    return;
                };
                if let Some(lane) = lanes.find(name) {
                    self.begin(lane, Strip::Disk, line.at, "disk", &format!("disk: {settings}"));
                }
            }
            "quiet" => {
                let disks = self.open.keys().filter(|(_, strip)| *strip == Strip::Disk);
                for (lane, strip) in disks.copied().collect::<Vec<_>>() {
                    self.end(lane, strip, line.at);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, lane: usize, strip: Strip, at: Micros, kind: &'static str, text: &str) {
        if let Some(open) = self.open.get(&(lane, strip))
            && (open.kind, open.text.as_str()) == (kind, text)
        {
            return;
        }
        self.end(lane, strip, at);
        self.open.insert(
            (lane, strip),
            Band {
                lane,
                from: at,
                to: at,
                kind,
                text: text.to_owned(),
            },
        );
    }

    fn end(&mut self, lane: usize, strip: Strip, at: Micros) {
        if let Some(mut band) = self.open.remove(&(lane, strip)) {
            band.to = at;
            // What is replaced in the same moment has not been.
            if band.to > band.from {
                self.done.push(band);
            }
        }
    }

    pub fn finish(mut self, end: Micros) -> Vec<Band> {
        for (lane, strip) in self.open.keys().copied().collect::<Vec<_>>() {
            self.end(lane, strip, end);
        }
        self.done.sort_by_key(|band| (band.from, band.lane));
        self.done
    }
}
