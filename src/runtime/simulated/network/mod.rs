//! The network between simulated hosts: streams of bytes as the kernels of two machines move them.
//!
//! Plain data and an agenda of events in virtual time. Programs call in through `net.rs`; a driver task calls
//! [`Network::run_due`] whenever the next event is due. Nothing here runs code of anybody else: wakers and trace events
//! are collected as [`Effects`], for the caller to carry out after it has let go of the network.
//!
//! What a program meets, as with TCP:
//! - A connect takes a round trip. Across a cut it *hangs*, trying again after 1, 2, 4, … seconds, until its caller
//!   gives up, the link heals, or retries run out. It is refused when the host is up and nobody listens.
//! - What is written arrives in order, in pieces that say nothing about the writes; a writer waits when 256 KiB are on
//!   the way or unread.
//! - Loss and cuts delay: what was written before a cut arrives after it has healed, later by the retry's backoff.
//!   Retries run out after some fifteen minutes.
//! - Each way is closed on its own (half-close). Closing an end with something unread resets the connection.
//! - A process that is killed resets its connections, if the reset gets through; a machine without power says nothing,
//!   and once it is back it answers what comes for old connections with a reset.
//! - A paused process's kernel goes on receiving, acknowledging and queueing.
//!
//! Known difference: kernel acknowledgements are taken for granted; only the window's updates travel back. So a
//! connection whose way *back* alone is cut stalls at a full window, and does not break by itself.
//!
//! Must not know: TLS, HTTP, PostgreSQL, the simulator's scenarios.

mod accidents;
mod connection;
mod handshake;
mod keepalive;
mod link;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::entropy::Streams;
use connection::{Connection, EndState, Side};
use link::Link;

pub use link::LinkSettings;

/// Number of a host; that of the scenario itself is 0.
pub(super) type HostId = u64;
pub(super) type ConnectionId = u64;

/// What all hosts have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSettings {
    /// Most bytes written and not read yet, each way of a connection.
    pub window_bytes: usize,
    /// Most bytes in one packet.
    pub segment_bytes: usize,
    /// Most connections that wait for an accept; further attempts are ignored, and tried again by their kernels.
    pub backlog: usize,
    /// How often a connect is tried again.
    pub connect_retries: u32,
    /// How often in a row a packet is sent again before the connection breaks.
    pub retries: u32,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        NetworkSettings {
            window_bytes: 256 * 1024,
            segment_bytes: 1448,
            backlog: 1024,
            connect_retries: 6,
            retries: 15,
        }
    }
}

pub(super) struct Network {
    pub now: Duration,
    pub effects: Effects,
    settings: NetworkSettings,
    default_link: LinkSettings,
    streams: Streams,
    hosts: BTreeMap<HostId, Host>,
    aliases: BTreeMap<String, HostId>,
    links: BTreeMap<(HostId, HostId), Link>,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: ConnectionId,
    agenda: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
}

struct Host {
    name: Arc<str>,
    address: IpAddr,
    powered: bool,
    listeners: BTreeMap<u16, Listening>,
    next_port: u16,
    /// How often its address has changed.
    moves: u8,
    /// Until then its name leads to the address it had, where nobody is.
    name_lags_until: Duration,
}

struct Listening {
    /// Tells this listener from an earlier one at the same port.
    number: u64,
    ready: VecDeque<ConnectionId>,
    waiting: Vec<Waker>,
}

/// What is due at some time. Each checks by itself whether it still matters.
enum Event {
    /// The kernel of `side` sends what it has to send.
    Send(ConnectionId, Side),
    /// Something sent by `side` arrives.
    Arrive(ConnectionId, Side),
    /// The reader's kernel tells `side` that so many bytes were read.
    Room(ConnectionId, Side, usize),
    /// A reset sent by `side` arrives.
    Reset(ConnectionId, Side),
    /// The first packet is sent, for the nth time.
    Connect(ConnectionId, u32),
    ConnectArrives(ConnectionId),
    AcceptArrives(ConnectionId),
    /// The third packet of the handshake is sent.
    Confirm(ConnectionId),
    ConfirmArrives(ConnectionId),
    /// The kernel of `side` asks whether the other is still there, for the nth time in a row.
    Probe(ConnectionId, Side, u32),
}

/// What is left to do once nobody holds the network.
#[derive(Default)]
pub(super) struct Effects {
    pub wake: Vec<Waker>,
    /// Wakers that others have replaced: the last waker of a task takes the task along.
    pub retired: Vec<Waker>,
    pub trace: Vec<Trace>,
    pub tracing: bool,
}

/// Something that happened: when, where, what.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Since the run began.
    pub time: Duration,
    /// The host it happened at.
    pub node: Arc<str>,
    /// One word.
    pub kind: &'static str,
    /// Details as text, the same in every run of a seed.
    pub detail: String,
    /// The bytes concerned, if any.
    pub payload: Bytes,
}

/// How all connections of a host end at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The program has ended: what it wrote is delivered.
    Exit,
    /// The process was killed: peers get a reset.
    Kill,
    /// No power: peers get nothing.
    PowerOff,
}

impl Network {
    pub fn new(streams: Streams) -> Network {
        Network {
            now: Duration::ZERO,
            effects: Effects::default(),
            settings: NetworkSettings::default(),
            default_link: LinkSettings::default(),
            streams,
            hosts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 1,
            agenda: BTreeMap::new(),
            next_event: 0,
        }
    }

    pub fn configure(&mut self, settings: NetworkSettings) {
        assert!(
            settings.window_bytes > 0 && settings.segment_bytes > 0,
            "a network moves at least a byte"
        );
        self.settings = settings;
    }

    // Hosts and names.

    pub fn add_host(&mut self, id: HostId, name: &str) {
        let address = IpAddr::from([10, (id >> 16) as u8, (id >> 8) as u8, id as u8]);
        let host = Host {
            name: name.into(),
            address,
            powered: true,
            listeners: BTreeMap::new(),
            next_port: 32_768,
            moves: 0,
            name_lags_until: Duration::ZERO,
        };
        self.hosts.insert(id, host);
    }

    /// Another name for a host; names move.
    pub fn alias(&mut self, name: &str, id: HostId) {
        self.aliases.insert(name.to_ascii_lowercase(), id);
    }

    /// Finds `host:port` as seen from `from`.
    pub fn resolve(&self, from: HostId, address: &str) -> io::Result<(HostId, SocketAddr)> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is not host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let unknown = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("failed to look up host {name:?}: no such name"),
            )
        };
        let id = match name.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || ip.is_unspecified() => from,
            Ok(ip) => match self.hosts.iter().find(|(_, host)| host.address == ip) {
                Some((id, _)) => *id,
                // As on a network where nobody has this address.
                None => return Err(io::ErrorKind::HostUnreachable.into()),
            },
            Err(_) if name.eq_ignore_ascii_case("localhost") => from,
            Err(_) => {
                let named = self
                    .hosts
                    .iter()
                    .find(|(_, host)| host.name.eq_ignore_ascii_case(name))
                    .map(|(id, _)| *id);
                let found = self
                    .aliases
                    .get(&name.to_ascii_lowercase())
                    .copied()
                    .or(named)
                    .ok_or_else(unknown)?;
                if found != from && self.host(found).name_lags_until > self.now {
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
                found
            }
        };
        Ok((id, SocketAddr::new(self.host(id).address, port)))
    }

    fn host(&self, id: HostId) -> &Host {
        self.hosts
            .get(&id)
            .expect("hosts are never removed, and every task has one")
    }

    fn host_mut(&mut self, id: HostId) -> &mut Host {
        self.hosts
            .get_mut(&id)
            .expect("hosts are never removed, and every task has one")
    }

    pub fn address(&self, id: HostId) -> IpAddr {
        self.host(id).address
    }

    fn free_port(&mut self, id: HostId) -> u16 {
        let host = self.host_mut(id);
        loop {
            let port = host.next_port;
            host.next_port = if port == u16::MAX { 32_768 } else { port + 1 };
            if !host.listeners.contains_key(&port) {
                return port;
            }
        }
    }

    // Links.

    pub fn set_default_link(&mut self, settings: LinkSettings) {
        for ((from, to), link) in &mut self.links {
            if from != to {
                link.settings = settings.clone();
            }
        }
        self.default_link = settings;
    }

    pub fn set_link(&mut self, from: HostId, to: HostId, settings: LinkSettings) {
        self.link(from, to).settings = settings;
    }

    pub fn set_cut(&mut self, from: HostId, to: HostId, cut: bool) {
        if self.link(from, to).cut != cut {
            self.link(from, to).cut = cut;
            self.trace(from, if cut { "cut" } else { "heal" }, Bytes::new(), |network| {
                format!("to={}", network.host(to).name)
            });
        }
    }

    pub fn is_cut(&mut self, from: HostId, to: HostId) -> bool {
        self.link(from, to).cut
    }

    pub fn heal_all(&mut self) {
        let cut: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.cut)
            .map(|(ends, _)| *ends)
            .collect();
        for (from, to) in cut {
            self.set_cut(from, to, false);
        }
    }

    fn link(&mut self, from: HostId, to: HostId) -> &mut Link {
        let Network {
            links,
            hosts,
            streams,
            default_link,
            ..
        } = self;
        links.entry((from, to)).or_insert_with(|| {
            let settings = if from == to {
                LinkSettings::loopback()
            } else {
                default_link.clone()
            };
            let name = |id: HostId| hosts.get(&id).map_or("", |host| &host.name);
            Link::new(
                settings,
                streams.generator(name(from), &format!("link to {}", name(to)), 0),
            )
        })
    }

    // Power and processes.

    pub fn power_on(&mut self, id: HostId) {
        self.host_mut(id).powered = true;
    }

    pub fn end_process(&mut self, id: HostId, how: Ending) {
        self.host_mut(id).powered = how != Ending::PowerOff;
        let listeners = std::mem::take(&mut self.host_mut(id).listeners);
        for listening in listeners.into_values() {
            self.effects.wake.extend(listening.waiting);
            // Nobody will ever take them.
            if how != Ending::PowerOff {
                for connection in listening.ready {
                    self.forget(connection, 1, true);
                }
            }
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in ids {
            for side in [0, 1] {
                let Some(end) = self.connections.get(&connection).map(|c| &c.ends[side]) else {
                    break;
                };
                if end.host != id {
                    continue;
                }
                // What a process had closed its kernel goes on delivering, as long as there is a kernel.
                match (how, end.held) {
                    (Ending::PowerOff, _) => self.forget(connection, side, false),
                    (Ending::Kill, true) => self.forget(connection, side, true),
                    (Ending::Exit, true) => self.close(connection, side),
                    (Ending::Kill | Ending::Exit, false) => {}
                }
            }
        }
    }

    // Listening.

    pub fn listen(&mut self, id: HostId, address: &str) -> io::Result<(SocketAddr, u64)> {
        let (owner, mut at) = self.resolve(id, address)?;
        if owner != id {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if at.port() == 0 {
            at.set_port(self.free_port(id));
        }
        let number = self.next_connection;
        self.next_connection += 1;
        let listening = Listening {
            number,
            ready: VecDeque::new(),
            waiting: Vec::new(),
        };
        let host = self.host_mut(id);
        if host.listeners.contains_key(&at.port()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        host.listeners.insert(at.port(), listening);
        self.trace(id, "listen", Bytes::new(), |_| format!("at={at}"));
        Ok((at, number))
    }

    fn listening(&mut self, id: HostId, port: u16, number: u64) -> Option<&mut Listening> {
        self.host_mut(id)
            .listeners
            .get_mut(&port)
            .filter(|listening| listening.number == number)
    }

    pub fn accept(
        &mut self,
        id: HostId,
        port: u16,
        number: u64,
        waker: &Waker,
    ) -> io::Result<Option<(ConnectionId, SocketAddr)>> {
        let Some(listening) = self.listening(id, port, number) else {
            return Err(io::Error::other("this process is dead: its sockets are closed"));
        };
        let Some(connection) = listening.ready.pop_front() else {
            if !listening.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
                listening.waiting.push(waker.clone());
            }
            return Ok(None);
        };
        let ends = &mut self
            .connections
            .get_mut(&connection)
            .expect("what waits for an accept is kept")
            .ends;
        ends[1].held = true;
        let peer = ends[0].address;
        self.trace(id, "accept", Bytes::new(), |_| {
            format!("connection={connection} from={peer}")
        });
        Ok(Some((connection, peer)))
    }

    pub fn stop_listening(&mut self, id: HostId, port: u16, number: u64) {
        if self.listening(id, port, number).is_none() {
            return;
        }
        let listening = self.host_mut(id).listeners.remove(&port).expect("found just now");
        self.effects.wake.extend(listening.waiting);
        for connection in listening.ready {
            self.forget(connection, 1, true);
        }
    }

    // Events.

    pub fn next_due(&self) -> Option<Duration> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.agenda.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    pub fn run_due(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Event::Send(id, side) => self.resend(id, side),
                Event::Arrive(id, side) => self.arrive(id, side),
                Event::Room(id, side, bytes) => self.make_room(id, side, bytes),
                Event::Reset(id, side) => self.reset_arrives(id, side),
                Event::Connect(id, attempt) => self.send_connect(id, attempt),
                Event::ConnectArrives(id) => self.connect_arrives(id),
                Event::AcceptArrives(id) => self.accept_arrives(id),
                Event::Confirm(id) => self.send_confirm(id),
                Event::ConfirmArrives(id) => self.confirm_arrives(id),
                Event::Probe(id, side, unanswered) => self.probe(id, side, unanswered),
            }
        }
    }

    pub fn trace(&mut self, id: HostId, kind: &'static str, payload: Bytes, detail: impl FnOnce(&Network) -> String) {
        if self.effects.tracing {
            let event = Trace {
                time: self.now,
                node: self.host(id).name.clone(),
                kind,
                detail: detail(self),
                payload,
            };
            self.effects.trace.push(event);
        }
    }

    /// Removes a connection that neither kernel nor program knows any more, and of which nothing is on the way.
    fn tidy(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let over = |side: Side| {
            let end = &connection.ends[side];
            let quiet = connection.ways[side].flight.is_empty() && connection.ways[side].unsent.is_empty();
            end.state.is_gone() && end.state != EndState::Absent && !end.held && quiet
        };
        if over(0) && (over(1) || connection.ends[1].state == EndState::Absent) {
            let connection = self.connections.remove(&id).expect("found just now");
            let wakers = connection.ends.into_iter().flat_map(|end| [end.reader, end.writer]);
            self.effects.wake.extend(wakers.flatten());
        }
    }
}
