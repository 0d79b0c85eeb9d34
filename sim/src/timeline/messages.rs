//! Messages: a segment and its delivery are one arrow; a segment that never arrived is one that ends in a cross.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::event::Line;
use super::lanes::Lanes;
use crate::units::Micros;

/// The port that servers replicate through; its messages are the cluster's own.
const CLUSTER_PORT: &str = "50051";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub sent: Micros,
    pub arrived: Micros,
    /// `cluster`, `sql`, or `lost`.
    pub class: &'static str,
    /// How many messages are drawn as this one.
    pub count: u64,
    pub bytes: u64,
    pub connection: u64,
    /// The line of the first one's delivery, if lines of packets are kept.
    pub line: Option<usize>,
}

/// A segment on its way.
struct Sent {
    at: Micros,
    bytes: u64,
    digest: String,
    line: Option<usize>,
}

#[derive(Default)]
pub struct Messages {
    /// connection -> the lane that connected, the other one, and what is spoken.
    connections: BTreeMap<u64, (usize, Option<usize>, &'static str)>,
    /// (connection, side) -> segments that have not arrived.
    on_the_way: BTreeMap<(u64, u64), VecDeque<Sent>>,
    arrows: Vec<Arrow>,
}

impl Messages {
    pub fn observe(&mut self, line: &Line<'_>, lane: usize, lanes: &Lanes, index: Option<usize>) {
        let Some(connection) = line.number("connection") else {
            return;
        };
        match line.kind {
            "connect" => {
                let to = line.field("to").unwrap_or_default();
                let class = if to.ends_with(&format!(":{CLUSTER_PORT}")) {
                    "cluster"
                } else {
                    "sql"
                };
                self.connections.insert(connection, (lane, lanes.of_address(to), class));
            }
            "accept" => {
                if let Some(ends) = self.connections.get_mut(&connection) {
                    ends.1 = Some(lane);
                }
            }
            "segment" | "deliver" | "drop" => {
                // The end of a stream is sent as a segment without bytes, and arrives as `fin`.
                let is_end = line.details.ends_with(" fin");
                let bytes = if is_end { Some(0) } else { line.number("bytes") };
                if let (Some(side), Some(bytes)) = (line.number("side"), bytes) {
                    let digest = match bytes {
                        0 => "",
                        _ => line.details.rsplit(' ').next().unwrap_or_default(),
                    };
                    let sent = Sent {
                        at: line.at,
                        bytes,
                        digest: digest.to_owned(),
                        line: index,
                    };
                    self.packet(line.kind, connection, side, sent, lane);
                }
            }
            _ => {}
        }
    }

    fn packet(&mut self, kind: &str, connection: u64, side: u64, packet: Sent, lane: usize) {
        match kind {
            "segment" => self.on_the_way.entry((connection, side)).or_default().push_back(packet),
            "drop" => self.lost(connection, side, &packet),
            _ => {
                let queue = self.on_the_way.entry((connection, side)).or_default();
                let same = |sent: &Sent| (sent.bytes, &sent.digest) == (packet.bytes, &packet.digest);
                let Some(place) = queue.iter().position(same) else {
                    return;
                };
                let before: Vec<Sent> = queue.drain(..place).collect();
                let sent = queue.pop_front().expect("it was found");
                for lost in before {
                    self.lost(connection, side, &lost);
                }
                let from = self.sender(connection, side).unwrap_or(lane);
                let class = self.connections.get(&connection).map_or("sql", |ends| ends.2);
                self.arrows.push(Arrow {
                    from,
                    to: lane,
                    sent: sent.at,
                    arrived: packet.at,
                    class,
                    count: 1,
                    bytes: packet.bytes,
                    connection,
                    line: packet.line,
                });
            }
        }
    }

    fn sender(&self, connection: u64, side: u64) -> Option<usize> {
        let (client, server, _) = self.connections.get(&connection)?;
        if side == 0 { Some(*client) } else { *server }
    }

    fn lost(&mut self, connection: u64, side: u64, packet: &Sent) {
        // The end of a stream that the other side had closed already is not told of when it arrives.
        if packet.bytes == 0 {
            return;
        }
        if let (Some(from), Some(to)) = (self.sender(connection, side), self.sender(connection, 1 - side.min(1))) {
            self.arrows.push(Arrow {
                from,
                to,
                sent: packet.at,
                arrived: packet.at,
                class: "lost",
                count: 1,
                bytes: packet.bytes,
                connection,
                line: packet.line,
            });
        }
    }

    /// At most `most` arrows, and how close together messages have to be to become one.
    pub fn finish(mut self, end: Micros, most: usize) -> (Vec<Arrow>, Micros) {
        for ((connection, side), queue) in std::mem::take(&mut self.on_the_way) {
            for mut packet in queue {
                packet.at = packet.at.min(end);
                self.lost(connection, side, &packet);
            }
        }
        self.arrows.sort_by_key(|arrow| (arrow.sent, arrow.connection));
        let mut within = 0;
        loop {
            let merged = merge(&self.arrows, within);
            if merged.len() <= most || within > end {
                return (merged, within);
            }
            within = (within * 4).max(1_000);
        }
    }
}

/// Draws together what goes the same way on one connection, at most `within` after the first.
fn merge(arrows: &[Arrow], within: Micros) -> Vec<Arrow> {
    let mut merged: Vec<Arrow> = Vec::new();
    let mut last: BTreeMap<(u64, usize, &str), usize> = BTreeMap::new();
    for arrow in arrows {
        let key = (arrow.connection, arrow.from, arrow.class);
        if within > 0
            && let Some(first) = last.get(&key).map(|index| &mut merged[*index])
            && arrow.sent <= first.sent + within
        {
            first.count += arrow.count;
            first.bytes += arrow.bytes;
            first.arrived = first.arrived.max(arrow.arrived);
            continue;
        }
        last.insert(key, merged.len());
        merged.push(arrow.clone());
    }
    merged
}
