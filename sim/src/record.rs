//! The recorder: everything that happens passes through here once, into history, trace and running checks.
//!
//! Invariant: one order for all. What a check judges, what the hash covers and what a person reads is the same list.
//!
//! Must not know: which checks there are, what a run is made of.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::check::{Monitor, Violation};
use crate::history::{Event, FinalState, History, What};
use crate::trace::{Trace, Weight};
use crate::units::{Micros, Moment};

/// Most details fit.
const DETAIL_BYTES: usize = 160;

/// A handle; all clones record into the same run.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
    clock: fn() -> Micros,
    violated: watch::Sender<bool>,
    remember: fn(&str),
}

struct Inner {
    history: History,
    trace: Trace,
    monitors: Vec<Monitor>,
    violation: Option<Violation>,
    ops: u64,
    /// After the run, what dying servers still do is no part of it.
    closed: bool,
}

impl Recorder {
    /// `clock` gives the simulator's time, the same for all nodes; `remember` is told every line of the trace.
    pub fn new(clock: fn() -> Micros, trace: Trace, monitors: Vec<Monitor>, remember: fn(&str)) -> Recorder {
        let inner = Inner {
            history: History::default(),
            trace,
            monitors,
            violation: None,
            ops: 0,
            closed: false,
        };
        Recorder {
            inner: Arc::new(Mutex::new(inner)),
            clock,
            violated: watch::Sender::new(false),
            remember,
        }
    }

    pub fn record(&self, node: &str, what: What) {
        let event = Event {
            at: (self.clock)(),
            node: node.to_owned(),
            what,
        };
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        self.trace(&mut inner, event.to_string(), Weight::Event);
        if inner.violation.is_none() {
            let found = inner.monitors.iter_mut().find_map(|monitor| monitor.observe(&event));
            if found.is_some() {
                inner.violation = found;
                self.violated.send_replace(true);
            }
        }
        inner.history.events.push(event);
    }

    /// A line that only the trace wants: a message on the network, a detail of a server's log.
    pub fn detail(&self, node: &str, kind: &'static str, text: impl fmt::Display) {
        self.detail_at((self.clock)(), node, kind, text);
    }

    /// As [`Recorder::detail`], of somebody who knows the time.
    pub fn detail_at(&self, at: Micros, node: &str, kind: &'static str, text: impl fmt::Display) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            let mut line = String::with_capacity(DETAIL_BYTES);
            write!(line, "{} {node} {kind} {text}", Moment(at)).expect("a string takes everything");
            self.trace(&mut inner, line, Weight::Detail);
        }
    }

    fn trace(&self, inner: &mut Inner, line: String, weight: Weight) {
        let line = one_line(line);
        (self.remember)(&line);
        inner.trace.add(line, weight);
    }

    pub fn next_op(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.ops += 1;
        inner.ops
    }

    /// Resolves once a running check has failed.
    pub async fn violated(&self) {
        let mut receiver = self.violated.subscribe();
        receiver
            .wait_for(|violated| *violated)
            .await
            .expect("the recorder holds the sender");
    }

    /// Looks at the history so far.
    pub fn look<T>(&self, see: impl FnOnce(&History) -> T) -> T {
        see(&self.inner.lock().history)
    }

    /// Ends the recording.
    pub fn finish(&self, end: FinalState) -> (History, Trace, Option<Violation>) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.history.end = end;
        (
            std::mem::take(&mut inner.history),
            std::mem::take(&mut inner.trace),
            inner.violation.take(),
        )
    }
}

fn one_line(text: String) -> String {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        text.replace(['\n', '\r'], " ")
    } else {
        text
    }
}
