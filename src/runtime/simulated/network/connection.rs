//! One connection: two ends and two ways. How they change is in `transfer.rs` and `handshake.rs`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::HostId;

/// Which end: the one that connected is 0.
pub(super) type Side = usize;

pub(super) struct Connection {
    pub ends: [End; 2],
    /// `ways[side]` leads from `ends[side]` to the other.
    pub ways: [Way; 2],
    /// What either end sends vanishes: an address has moved, or a middlebox has forgotten the connection.
    pub severed: bool,
}

/// What the kernel of one host knows of the connection, and what its program has to read.
pub(super) struct End {
    pub host: HostId,
    pub address: SocketAddr,
    pub state: EndState,
    /// A program holds this end.
    pub held: bool,
    pub inbox: VecDeque<Bytes>,
    /// When the other end's kernel was last heard of.
    pub heard: Duration,
    /// No more will come after the inbox.
    pub eof: bool,
    /// Why the connection broke.
    pub error: Option<io::ErrorKind>,
    /// The program has said that it will write no more.
    pub shut: bool,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    /// Bytes read since the writer was last given room for as many.
    pub unannounced: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndState {
    /// The server's end before the first packet has come.
    Absent,
    /// Waits for the handshake.
    Opening,
    /// Both sides may write.
    Open,
    /// The program has closed its end; the kernel still delivers what was written.
    Orphan,
    /// The kernel knows nothing of it any more, after a close in good order.
    Closed,
    /// The kernel knows nothing of it any more, and answers what comes with a reset.
    Forgotten,
}

impl EndState {
    pub fn is_gone(self) -> bool {
        matches!(self, EndState::Absent | EndState::Closed | EndState::Forgotten)
    }
}

impl End {
    pub fn new(host: HostId, address: SocketAddr, state: EndState) -> End {
        End {
            host,
            address,
            state,
            held: false,
            inbox: VecDeque::new(),
            heard: Duration::ZERO,
            eof: false,
            error: None,
            shut: false,
            reader: None,
            writer: None,
            unannounced: 0,
        }
    }
}

/// What travels from one end to the other.
#[derive(Default)]
pub(super) struct Way {
    /// Written, and not on the way: first in, first out.
    pub unsent: VecDeque<Segment>,
    /// On the way, with the time of arrival.
    pub flight: VecDeque<(Duration, Segment)>,
    pub last_arrival: Duration,
    /// Bytes written for which the reader has made no room yet.
    pub outstanding: usize,
    /// How often in a row sending has failed.
    pub failures: u32,
    /// A retry is on the agenda; nothing is sent before it.
    pub waiting: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Data(Bytes),
    /// Nothing more will be written.
    Fin,
}

impl Segment {
    pub fn len(&self) -> usize {
        match self {
            Segment::Data(bytes) => bytes.len(),
            Segment::Fin => 0,
        }
    }

    pub fn payload(&self) -> Bytes {
        match self {
            Segment::Data(bytes) => bytes.clone(),
            Segment::Fin => Bytes::new(),
        }
    }
}
