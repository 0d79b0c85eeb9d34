//! How bytes move once a connection stands, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::connection::{End, EndState, Segment, Side};
use super::{ConnectionId, Event, Network};

/// First wait before a packet is sent again; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(120);
/// So many packets behind a lost one tell the sender at once, as duplicate acknowledgements do.
const FAST_RETRY_BEHIND: usize = 3;
/// How soon an update of the window that could not be sent is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(500);

impl Network {
    pub(super) fn end_mut(&mut self, id: ConnectionId, side: Side) -> Option<&mut End> {
        self.connections
            .get_mut(&id)
            .map(|connection| &mut connection.ends[side])
    }

    pub fn addresses(&self, id: ConnectionId, side: Side) -> Option<(SocketAddr, SocketAddr)> {
        let ends = &self.connections.get(&id)?.ends;
        Some((ends[side].address, ends[1 - side].address))
    }

    // What programs do.

    /// Fills the buffer from what has come, across the boundaries of packets; leaves it as it is at the end.
    pub fn poll_read(
        &mut self,
        id: ConnectionId,
        side: Side,
        buf: &mut ReadBuf<'_>,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let window = self.settings.window_bytes;
        let Some(end) = self.end_mut(id, side) else {
            return Poll::Ready(Err(dead()));
        };
        if !end.inbox.is_empty() {
            while buf.remaining() > 0
                && let Some(mut piece) = end.inbox.pop_front()
            {
                if piece.len() > buf.remaining() {
                    end.inbox.push_front(piece.split_off(buf.remaining()));
                }
                buf.put_slice(&piece);
                end.unannounced += piece.len();
            }
            // An update for each read would be one event for each read.
            if end.unannounced >= (window / 4).max(1) {
                let bytes = std::mem::take(&mut end.unannounced);
                self.announce_room(id, side, bytes);
            }
            return Poll::Ready(Ok(()));
        }
        match (end.error, end.eof, end.state) {
            (Some(kind), ..) => Poll::Ready(Err(kind.into())),
            (None, true, _) => Poll::Ready(Ok(())),
            (None, false, EndState::Open) => {
                let old = end.reader.replace(waker.clone());
                self.effects.retired.extend(old);
                Poll::Pending
            }
            _ => Poll::Ready(Err(dead())),
        }
    }

    pub fn poll_write(&mut self, id: ConnectionId, side: Side, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let (window, segment_bytes) = (self.settings.window_bytes, self.settings.segment_bytes);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Poll::Ready(Err(dead()));
        };
        let (end, way) = (&mut connection.ends[side], &mut connection.ways[side]);
        match (end.error, end.shut, end.state) {
            (Some(kind), ..) => return Poll::Ready(Err(kind.into())),
            (None, true, _) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            (None, false, EndState::Open) => {}
            _ => return Poll::Ready(Err(dead())),
        }
        let accepted = bytes.len().min(window - way.outstanding.min(window));
        if accepted == 0 && !bytes.is_empty() {
            let old = end.writer.replace(waker.clone());
            self.effects.retired.extend(old);
            return Poll::Pending;
        }
        way.outstanding += accepted;
        let mut rest = Bytes::copy_from_slice(&bytes[..accepted]);
        while !rest.is_empty() {
            let piece = rest.split_to(segment_bytes.min(rest.len()));
            way.unsent.push_back(Segment::Data(piece));
        }
        self.send(id, side);
        Poll::Ready(Ok(accepted))
    }

    /// The program will write no more.
    pub fn shut(&mut self, id: ConnectionId, side: Side) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Err(dead());
        };
        let end = &mut connection.ends[side];
        match (end.error, end.shut, end.state) {
            (Some(_), ..) => Err(io::ErrorKind::NotConnected.into()),
            (None, true, _) => Ok(()),
            (None, false, EndState::Open | EndState::Orphan) => {
                end.shut = true;
                connection.ways[side].unsent.push_back(Segment::Fin);
                let writer = end.writer.take();
                self.effects.wake.extend(writer);
                self.send(id, side);
                Ok(())
            }
            _ => Err(dead()),
        }
    }

    /// The program lets go of its end.
    pub fn close(&mut self, id: ConnectionId, side: Side) {
        let Some(end) = self.end_mut(id, side) else { return };
        if !std::mem::replace(&mut end.held, false) {
            return;
        }
        let wakers = [end.reader.take(), end.writer.take()];
        match end.state {
            EndState::Open if end.inbox.is_empty() => {
                end.state = EndState::Orphan;
                // Fails only for an end that is broken, which needs no farewell.
                let _ = self.shut(id, side);
                self.bury_orphan(id, side);
            }
            EndState::Open => self.forget(id, side, true),
            // A connect that was given up: what comes for it is answered with a reset.
            EndState::Opening => end.state = EndState::Forgotten,
            _ => {}
        }
        self.effects.wake.extend(wakers.into_iter().flatten());
        self.tidy(id);
    }

    /// The kernel forgets an end at once, and says so to the other, or not.
    pub(super) fn forget(&mut self, id: ConnectionId, side: Side, reset: bool) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = &mut connection.ends[side];
        end.held = false;
        let wakers = [end.reader.take(), end.writer.take()];
        if !end.state.is_gone() {
            end.state = EndState::Forgotten;
            end.inbox.clear();
            connection.ways[side].unsent.clear();
            if reset {
                self.send_reset(id, side);
            }
        }
        self.effects.wake.extend(wakers.into_iter().flatten());
        self.tidy(id);
    }

    // What kernels do.

    /// Sends all there is to send, up to the first packet that is lost.
    fn send(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.ways[side].waiting || connection.ways[side].unsent.is_empty() {
            return;
        }
        let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
        let latency = self.link(from, to).draw_latency();
        let mut pause = Duration::ZERO;
        while let Some(mut segment) = self.way(id, side).and_then(|way| way.unsent.pop_front()) {
            if self.link(from, to).drops() {
                let (len, payload) = (segment.len(), segment.payload());
                self.trace(from, "drop", payload, |_| {
                    format!("connection={id} side={side} bytes={len}")
                });
                let way = self.way(id, side).expect("found just now");
                let behind = way.unsent.len();
                way.unsent.push_front(segment);
                let fast = behind >= FAST_RETRY_BEHIND && !self.link(from, to).cut;
                self.retry_later(id, side, fast.then(|| latency * 3));
                return;
            }
            // The rest of a piece that is cut in two comes a little later, so that readers meet every boundary.
            let cut = match &segment {
                Segment::Data(bytes) => self.link(from, to).cut_in_two(bytes.len()),
                Segment::Fin => None,
            };
            let mut next_pause = pause;
            if let (Some((at, longer)), Segment::Data(bytes)) = (cut, &mut segment) {
                let rest = bytes.split_off(at);
                next_pause += longer;
                self.way(id, side)
                    .expect("found just now")
                    .unsent
                    .push_front(Segment::Data(rest));
            }
            let now = self.now;
            let departure = self.link(from, to).departure(now, segment.len() + 60);
            let payload = segment.payload();
            let len = segment.len();
            let way = self.way(id, side).expect("found just now");
            let at = (departure + latency + pause).max(way.last_arrival);
            pause = next_pause;
            let first_at_this_time = way.flight.back().is_none_or(|(last, _)| *last != at);
            way.last_arrival = at;
            way.flight.push_back((at, segment));
            if first_at_this_time {
                self.plan(at, Event::Arrive(id, side));
            }
            self.trace(from, "segment", payload, |_| {
                format!("connection={id} side={side} bytes={len}")
            });
        }
    }

    fn way(&mut self, id: ConnectionId, side: Side) -> Option<&mut super::connection::Way> {
        self.connections
            .get_mut(&id)
            .map(|connection| &mut connection.ways[side])
    }

    /// Sending has failed: tries again later, or gives up. `fast` is a failure that was noticed early.
    fn retry_later(&mut self, id: ConnectionId, side: Side, fast: Option<Duration>) {
        let retries = self.settings.retries;
        let way = self.way(id, side).expect("called for a connection that is there");
        if way.failures >= retries {
            self.break_end(id, side, io::ErrorKind::TimedOut);
            return;
        }
        let backoff = RETRY_MIN.saturating_mul(1 << way.failures.min(16)).min(RETRY_MAX);
        way.failures += 1;
        if !std::mem::replace(&mut way.waiting, true) {
            self.plan(self.now + fast.unwrap_or(backoff).min(backoff), Event::Send(id, side));
        }
    }

    pub(super) fn resend(&mut self, id: ConnectionId, side: Side) {
        if let Some(way) = self.way(id, side) {
            way.waiting = false;
            self.send(id, side);
        }
    }

    pub(super) fn arrive(&mut self, id: ConnectionId, side: Side) {
        let now = self.now;
        let due = |way: &super::connection::Way| way.flight.front().is_some_and(|(at, _)| *at <= now);
        if !self.way(id, side).is_some_and(|way| due(way)) {
            return;
        }
        if !self.gets_through(id, side, "data") {
            // What was on the way is lost, all of it: what comes after a gap is of no use before the gap is filled.
            let connection = self.connections.get_mut(&id).expect("found just now");
            let way = &mut connection.ways[side];
            while let Some((_, segment)) = way.flight.pop_back() {
                way.unsent.push_front(segment);
            }
            // A kernel that has forgotten the connection sends nothing again.
            if connection.ends[side].state.is_gone() {
                way.unsent.clear();
                self.tidy(id);
            } else {
                self.retry_later(id, side, None);
            }
            return;
        }
        while let Some(way) = self.way(id, side)
            && due(way)
        {
            let (_, segment) = way.flight.pop_front().expect("something is due");
            way.failures = 0;
            self.deliver(id, side, segment);
        }
        self.bury_orphan(id, side);
        self.tidy(id);
    }

    /// A segment sent by `side` is in the hands of the other kernel.
    fn deliver(&mut self, id: ConnectionId, side: Side, segment: Segment) {
        let to = 1 - side;
        if to == 1
            && self
                .connections
                .get(&id)
                .is_some_and(|connection| connection.ends[1].state == EndState::Opening)
        {
            self.establish(id);
        }
        let now = self.now;
        let Some(end) = self.end_mut(id, to) else { return };
        let host = end.host;
        end.heard = now;
        match (end.state, &segment) {
            (EndState::Open, Segment::Data(bytes)) => {
                let bytes = bytes.clone();
                end.inbox.push_back(bytes.clone());
                let waker = end.reader.take();
                self.effects.wake.extend(waker);
                let len = bytes.len();
                self.trace(host, "deliver", bytes, |_| {
                    format!("connection={id} side={side} bytes={len}")
                });
            }
            (EndState::Open | EndState::Orphan, Segment::Fin) => {
                end.eof = true;
                let waker = end.reader.take();
                self.effects.wake.extend(waker);
                self.trace(host, "deliver", Bytes::new(), |_| {
                    format!("connection={id} side={side} fin")
                });
                self.bury_orphan(id, to);
            }
            // Nobody will ever read it.
            (EndState::Orphan, Segment::Data(_)) => self.forget(id, to, true),
            (EndState::Closed, Segment::Fin) => {}
            (EndState::Closed | EndState::Forgotten | EndState::Absent | EndState::Opening, _) => {
                self.send_reset(id, to)
            }
        }
    }

    /// An end that its program has closed, and whose last word has arrived, is over.
    fn bury_orphan(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (end, way) = (&mut connection.ends[side], &connection.ways[side]);
        if end.state == EndState::Orphan && way.unsent.is_empty() && way.flight.is_empty() {
            end.state = EndState::Closed;
        }
    }

    fn announce_room(&mut self, id: ConnectionId, side: Side, bytes: usize) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
        let now = self.now;
        let link = self.link(from, to);
        let at = link.leaves(now) + link.draw_latency();
        self.plan(at, Event::Room(id, 1 - side, bytes));
    }

    pub(super) fn make_room(&mut self, id: ConnectionId, side: Side, bytes: usize) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (reader, writer) = (connection.ends[1 - side].host, connection.ends[side].host);
        if connection.ends[side].state.is_gone() || connection.severed {
            return;
        }
        if self.link(reader, writer).cut {
            self.plan(self.now + ROOM_RETRY, Event::Room(id, side, bytes));
            return;
        }
        let connection = self.connections.get_mut(&id).expect("found just now");
        let way = &mut connection.ways[side];
        way.outstanding = way.outstanding.saturating_sub(bytes);
        let waker = connection.ends[side].writer.take();
        self.effects.wake.extend(waker);
    }

    /// Tells the other end, once, that this one knows nothing of the connection. Resets are never sent again.
    pub(super) fn send_reset(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
        if self.link(from, to).drops() {
            self.trace(from, "drop", Bytes::new(), |_| {
                format!("connection={id} side={side} reset")
            });
            return;
        }
        let now = self.now;
        let link = self.link(from, to);
        let at = (link.leaves(now) + link.draw_latency()).max(self.connections[&id].ways[side].last_arrival);
        if let Some(way) = self.way(id, side) {
            way.last_arrival = at;
        }
        self.plan(at, Event::Reset(id, side));
        self.trace(from, "reset", Bytes::new(), |_| format!("connection={id} side={side}"));
    }

    pub(super) fn reset_arrives(&mut self, id: ConnectionId, side: Side) {
        if !self.gets_through(id, side, "reset") {
            return;
        }
        let refused = self
            .end_mut(id, 1 - side)
            .is_some_and(|end| end.state == EndState::Opening);
        let kind = if refused {
            io::ErrorKind::ConnectionRefused
        } else {
            io::ErrorKind::ConnectionReset
        };
        self.break_end(id, 1 - side, kind);
    }

    /// An end learns that its connection is no more. What had arrived before can still be read.
    pub(super) fn break_end(&mut self, id: ConnectionId, side: Side, kind: io::ErrorKind) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = &mut connection.ends[side];
        if end.state.is_gone() {
            return;
        }
        let was_ready = end.state == EndState::Open && !end.held;
        end.state = EndState::Forgotten;
        end.error = Some(kind);
        connection.ways[side].unsent.clear();
        let (host, port) = (end.host, end.address.port());
        let wakers = [end.reader.take(), end.writer.take()];
        self.effects.wake.extend(wakers.into_iter().flatten());
        self.trace(host, "broken", Bytes::new(), |_| {
            format!("connection={id} side={side} why={kind:?}")
        });
        // A connection that breaks before its accept is never seen by the program.
        if was_ready
            && side == 1
            && let Some(listening) = self.host_mut(host).listeners.get_mut(&port)
        {
            listening.ready.retain(|ready| *ready != id);
        }
        self.tidy(id);
    }
}

fn dead() -> io::Error {
    io::Error::other("this process is dead: its sockets are closed")
}
