//! What befalls links, connections and addresses beside cuts: clogs, drops that one end does not notice, moves.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::connection::EndState;
use super::{ConnectionId, Event, HostId, Network};

impl Network {
    /// Nothing leaves this way before `until`. Nothing is lost by it: it comes late, and all at once.
    pub fn clog(&mut self, from: HostId, to: HostId, until: Duration) {
        self.link(from, to).clog(until);
        self.trace(from, "clog", Bytes::new(), |network| {
            format!("to={} until={}us", network.host(to).name, until.as_micros())
        });
    }

    /// Links are no longer clogged or jammed: what waited before them leaves now.
    pub fn unclog_all(&mut self) {
        let now = self.now;
        let links = self.links.iter_mut();
        let free: BTreeMap<(HostId, HostId), Duration> = links
            .filter_map(|(way, link)| Some((*way, link.unclog(now)?)))
            .collect();
        let mut sooner = Vec::new();
        for (id, connection) in &mut self.connections {
            for side in [0, 1] {
                let way = (connection.ends[side].host, connection.ends[1 - side].host);
                let Some(latency) = free.get(&way) else { continue };
                let (at, way) = (now + *latency, &mut connection.ways[side]);
                for (arrival, _) in &mut way.flight {
                    *arrival = at.min(*arrival);
                }
                way.last_arrival = at.min(way.last_arrival);
                if !way.flight.is_empty() {
                    sooner.push((at, *id, side));
                }
            }
        }
        for (at, id, side) in sooner {
            self.plan(at, Event::Arrive(id, side));
        }
    }

    /// Ends every connection between two hosts. `noticed` says which kernel learns of it at once; the other learns it
    /// from the answer to what it sends next. When neither does, what they send vanishes until their retries run out.
    pub fn drop_connections(&mut self, first: HostId, second: HostId, noticed: [bool; 2]) {
        let between = |connection: &super::Connection| {
            let hosts = [connection.ends[0].host, connection.ends[1].host];
            hosts == [first, second] || hosts == [second, first]
        };
        let connections = self.connections.iter().filter(|(_, connection)| between(connection));
        let ids: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
        for id in ids {
            self.trace(first, "connection dropped", Bytes::new(), |_| {
                format!("connection={id}")
            });
            for side in [0, 1] {
                let Some(connection) = self.connections.get_mut(&id) else {
                    break;
                };
                connection.severed |= noticed == [false, false];
                let learns = noticed[usize::from(connection.ends[side].host != first)];
                if learns && connection.ends[side].state != EndState::Absent {
                    self.break_end(id, side, io::ErrorKind::ConnectionReset);
                }
            }
        }
    }

    /// Gives a host another address. Its connections hang, its listeners listen on, and for `lag` its name still leads
    /// to the old address.
    pub fn move_host(&mut self, id: HostId, lag: Duration) {
        let name_lags_until = self.now + lag;
        let host = self.host_mut(id);
        host.moves = host.moves.wrapping_add(1);
        let [_, _, high, low] = (id as u32).to_be_bytes();
        host.address = IpAddr::from([10, 100 + host.moves % 100, high, low]);
        host.name_lags_until = name_lags_until;
        let (address, ports): (_, Vec<u16>) = (host.address, host.listeners.keys().copied().collect());
        for connection in self.connections.values_mut() {
            let ends = &connection.ends;
            connection.severed |= ends[0].host != ends[1].host && ends.iter().any(|end| end.host == id);
        }
        self.trace(id, "moved", Bytes::new(), |_| format!("address={address}"));
        for port in ports {
            self.trace(id, "listen", Bytes::new(), |_| format!("at={address}:{port}"));
        }
    }

    /// How many ends of connections the programs of a host hold whose other end is still there and can be reached.
    pub fn held_by(&self, id: HostId) -> usize {
        let alive = |connection: &super::Connection, side: usize| {
            let (end, other) = (&connection.ends[side], &connection.ends[1 - side]);
            end.host == id && end.held && !other.state.is_gone() && !connection.severed
        };
        let sides = |connection: &super::Connection| (0..2).filter(|side| alive(connection, *side)).count();
        self.connections.values().map(sides).sum()
    }
}
