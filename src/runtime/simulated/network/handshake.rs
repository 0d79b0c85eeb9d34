//! How a connection begins: three packets, each of which may be lost.

use std::io;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::connection::{Connection, End, EndState, Side, Way};
use super::{ConnectionId, Event, HostId, Network};

/// First wait for an answer; it doubles.
const CONNECT_RETRY: Duration = Duration::from_secs(1);

impl Network {
    pub fn connect(&mut self, from: HostId, address: &str) -> io::Result<ConnectionId> {
        let (to, server) = self.resolve(from, address)?;
        let client = SocketAddr::new(self.host(from).address, self.free_port(from));
        let mut ends = [
            End::new(from, client, EndState::Opening),
            End::new(to, server, EndState::Absent),
        ];
        ends[0].held = true;
        let id = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(
            id,
            Connection {
                ends,
                ways: [Way::default(), Way::default()],
                severed: false,
            },
        );
        self.trace(from, "connect", Bytes::new(), |_| {
            format!("connection={id} from={client} to={server}")
        });
        self.plan(self.now, Event::Connect(id, 0));
        Ok(id)
    }

    /// Whether the connect has come to an end.
    pub fn poll_connected(&mut self, id: ConnectionId, waker: &Waker) -> Option<io::Result<()>> {
        let end = self.end_mut(id, 0)?;
        match (end.state, end.error) {
            (_, Some(kind)) => Some(Err(kind.into())),
            (EndState::Opening, None) => {
                let old = end.reader.replace(waker.clone());
                self.effects.retired.extend(old);
                None
            }
            (EndState::Open, None) => Some(Ok(())),
            _ => Some(Err(io::Error::other("this process is dead: its sockets are closed"))),
        }
    }

    /// Sends a packet without content from one end; `None` when it is lost.
    fn send_packet(&mut self, id: ConnectionId, side: Side, what: &'static str) -> Option<Duration> {
        let connection = self.connections.get(&id)?;
        let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
        if self.link(from, to).drops() {
            self.trace(from, "drop", Bytes::new(), |_| format!("connection={id} what={what}"));
            return None;
        }
        let now = self.now;
        let link = self.link(from, to);
        Some(link.leaves(now) + link.draw_latency())
    }

    /// Whether a packet that was sent by `side` really arrives at the other.
    pub(super) fn gets_through(&mut self, id: ConnectionId, side: Side, what: &'static str) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
        let severed = connection.severed;
        let reason = match (self.link(from, to).cut, self.host(to).powered) {
            _ if severed => "severed",
            (false, true) => return true,
            (true, _) => "cut",
            (false, false) => "no power",
        };
        self.trace(to, "drop", Bytes::new(), |_| {
            format!("connection={id} what={what} reason={reason}")
        });
        false
    }

    fn state(&self, id: ConnectionId, side: Side) -> Option<EndState> {
        self.connections.get(&id).map(|connection| connection.ends[side].state)
    }

    pub(super) fn send_connect(&mut self, id: ConnectionId, attempt: u32) {
        if self.state(id, 0) != Some(EndState::Opening) {
            return;
        }
        if attempt > self.settings.connect_retries {
            self.break_end(id, 0, io::ErrorKind::TimedOut);
            return;
        }
        if let Some(at) = self.send_packet(id, 0, "connect") {
            self.plan(at, Event::ConnectArrives(id));
        }
        self.plan(
            self.now + CONNECT_RETRY * (1 << attempt.min(16)),
            Event::Connect(id, attempt + 1),
        );
    }

    pub(super) fn connect_arrives(&mut self, id: ConnectionId) {
        if !self.gets_through(id, 0, "connect") {
            return;
        }
        let backlog = self.settings.backlog;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let server = (connection.ends[1].host, connection.ends[1].address.port());
        let listening = self.host(server.0).listeners.get(&server.1);
        match (self.state(id, 1), listening) {
            (Some(EndState::Absent), Some(listening)) if listening.ready.len() >= backlog => {
                self.trace(server.0, "drop", Bytes::new(), |_| {
                    format!("connection={id} what=connect reason=backlog")
                });
            }
            (Some(EndState::Absent | EndState::Opening), Some(_)) => {
                self.end_mut(id, 1).expect("found just now").state = EndState::Opening;
                if let Some(at) = self.send_packet(id, 1, "accept") {
                    self.plan(at, Event::AcceptArrives(id));
                }
            }
            (Some(EndState::Absent | EndState::Forgotten | EndState::Closed), _) => self.send_reset(id, 1),
            _ => {}
        }
    }

    pub(super) fn accept_arrives(&mut self, id: ConnectionId) {
        if !self.gets_through(id, 1, "accept") {
            return;
        }
        match self.state(id, 0) {
            Some(EndState::Opening) => {
                let end = self.end_mut(id, 0).expect("found just now");
                end.state = EndState::Open;
                let waker = end.reader.take();
                let host = end.host;
                self.effects.wake.extend(waker);
                self.trace(host, "connected", Bytes::new(), |_| format!("connection={id}"));
                self.keep_alive(id, 0);
                self.send_confirm(id);
            }
            Some(state) if state.is_gone() => self.send_reset(id, 0),
            _ => {}
        }
    }

    pub(super) fn send_confirm(&mut self, id: ConnectionId) {
        let waits = self.state(id, 1) == Some(EndState::Opening);
        if !waits || self.state(id, 0).is_none_or(EndState::is_gone) {
            return;
        }
        match self.send_packet(id, 0, "confirm") {
            Some(at) => {
                let way = &mut self.connections.get_mut(&id).expect("found just now").ways[0];
                way.last_arrival = way.last_arrival.max(at);
                let at = way.last_arrival;
                self.plan(at, Event::ConfirmArrives(id));
            }
            None => self.plan(self.now + CONNECT_RETRY, Event::Confirm(id)),
        }
    }

    pub(super) fn confirm_arrives(&mut self, id: ConnectionId) {
        if self.state(id, 1) != Some(EndState::Opening) {
            return;
        }
        if !self.gets_through(id, 0, "confirm") {
            self.plan(self.now + CONNECT_RETRY, Event::Confirm(id));
            return;
        }
        self.establish(id);
    }

    /// The server's end is open: it waits for its program. Data may do this when it overtakes a lost packet.
    pub(super) fn establish(&mut self, id: ConnectionId) {
        let end = self.end_mut(id, 1).expect("called for a connection that is there");
        let (host, port) = (end.host, end.address.port());
        end.state = EndState::Open;
        self.keep_alive(id, 1);
        match self.host_mut(host).listeners.get_mut(&port) {
            Some(listening) => {
                listening.ready.push_back(id);
                let waiting = std::mem::take(&mut listening.waiting);
                self.effects.wake.extend(waiting);
            }
            None => self.forget(id, 1, true),
        }
    }
}
