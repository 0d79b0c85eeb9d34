//! Probes of connections that say nothing, so that the end of a machine that went away without a word is noticed.
//!
//! Who has something to send does not probe: that is sent again and again, and its retries run out. A kernel answers a
//! probe whatever its program does; one that has forgotten the connection answers with a reset.
//!
//! Must not know: what streams carry.

use std::io;

use super::connection::{EndState, Side};
use super::{ConnectionId, Event, Network};
use crate::runtime::net::KEEPALIVE;

impl Network {
    /// From now on, for as long as the end is open.
    pub(super) fn keep_alive(&mut self, id: ConnectionId, side: Side) {
        let now = self.now;
        if let Some(end) = self.end_mut(id, side) {
            end.heard = now;
            self.plan(now + KEEPALIVE.idle, Event::Probe(id, side, 0));
        }
    }

    /// The nth probe in a row is due.
    pub(super) fn probe(&mut self, id: ConnectionId, side: Side, unanswered: u32) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = &mut connection.ends[side];
        if end.state != EndState::Open {
            return;
        }
        let way = &connection.ways[side];
        let sends = !way.unsent.is_empty() || !way.flight.is_empty();
        let due = if sends { self.now } else { end.heard } + KEEPALIVE.idle;
        if due > self.now {
            self.plan(due, Event::Probe(id, side, 0));
            return;
        }
        let (here, there) = (end.host, connection.ends[1 - side].host);
        let (severed, forgotten) = (connection.severed, connection.ends[1 - side].state.is_gone());
        let cut = self.link(here, there).cut || self.link(there, here).cut;
        if severed || cut || !self.host(there).powered {
            if unanswered >= KEEPALIVE.probes {
                self.break_end(id, side, io::ErrorKind::TimedOut);
                self.tidy(id);
            } else {
                self.plan(self.now + KEEPALIVE.interval, Event::Probe(id, side, unanswered + 1));
            }
        } else if forgotten {
            self.break_end(id, side, io::ErrorKind::ConnectionReset);
            self.tidy(id);
        } else {
            self.keep_alive(id, side);
        }
    }
}
