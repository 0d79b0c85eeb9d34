//! A run as a picture: one HTML file that needs nothing else.
//!
//! The trace is read into lanes (operator, servers, clients), bands (roles, and what is wrong for a while), arrows
//! (messages), spans (statements with their outcome) and marks (everything else). The page draws them, and knows no
//! kinds of events besides these.
//!
//! Invariants
//! - What is drawn is in the trace. Only a disk that is bad from the start, and the failed check, come from elsewhere.
//! - The page stays usable: messages are drawn together until there are at most [`ARROWS_MAX`] arrows, and a trace of
//!   more than [`LINES_MAX`] lines keeps only those that are no packet and no sync.
//!
//! Must not know: how a run is made.

mod event;
mod lanes;
mod messages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Plan;
use crate::report::Verdict;
use crate::units::Micros;
use event::{Group, Line};
use lanes::{Band, Bands, Lane, Lanes};
use messages::{Arrow, Messages};

pub const ARROWS_MAX: usize = 60_000;
pub const LINES_MAX: usize = 250_000;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Everything the page is told.
#[derive(Debug, Serialize)]
pub struct Timeline {
    title: String,
    /// The plan, for people.
    plan: Vec<String>,
    /// What the failed check said.
    failure: Option<String>,
    failed_at: Option<Micros>,
    end: Micros,
    lanes: Vec<Lane>,
    bands: Vec<Band>,
    arrows: Vec<Arrow>,
    /// How long messages of one connection may be apart and still be drawn together.
    arrows_within: Micros,
    spans: Vec<Span>,
    /// (line, group): what is drawn as a sign of its own.
    marks: Vec<(usize, usize)>,
    /// (time, lane, kind, details)
    lines: Vec<(Micros, usize, String, String)>,
    /// How many lines the trace has.
    all_lines: usize,
}

/// A statement, or a step: from when to when, and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    lane: usize,
    from: Micros,
    /// None: it never returned.
    to: Option<Micros>,
    outcome: String,
    line: usize,
    end_line: Option<usize>,
}

impl Timeline {
    /// Of the text of a trace file.
    ///
    /// # Errors
    /// As of [`crate::trace::events`].
    pub fn new(trace: &str) -> Result<Timeline, String> {
        let events: Vec<Line<'_>> = crate::trace::events(trace)?.filter_map(Line::parse).collect();
        let lanes = Lanes::of(&events);
        let end = events.last().map_or(0, |line| line.at);
        let is_long = events.len() > LINES_MAX;
        let mut timeline = Timeline {
            title: "a trace".to_owned(),
            plan: Vec::new(),
            failure: None,
            failed_at: None,
            end,
            bands: Vec::new(),
            arrows: Vec::new(),
            arrows_within: 0,
            spans: Vec::new(),
            marks: Vec::new(),
            lines: Vec::new(),
            all_lines: events.len(),
            lanes: Vec::new(),
        };
        let (mut bands, mut messages, mut spans) = (Bands::default(), Messages::default(), Spans::default());
        for line in &events {
            let lane = lanes.of_node(line.node);
            let is_packet = matches!(line.kind, "segment" | "deliver");
            if is_long && (is_packet || line.group() == Group::Syncs) {
                messages.observe(line, lane, &lanes, None);
                continue;
            }
            let index = timeline.lines.len();
            let details: String = line.details.chars().take(600).collect();
            timeline.lines.push((line.at, lane, line.kind.to_owned(), details));
            messages.observe(line, lane, &lanes, Some(index));
            bands.observe(line, lane, &lanes);
            if !spans.observe(line, lane, index) && !is_packet {
                timeline.marks.push((index, line.group() as usize));
            }
        }
        timeline.bands = bands.finish(end);
        (timeline.arrows, timeline.arrows_within) = messages.finish(end, ARROWS_MAX);
        timeline.spans = spans.finish();
        timeline.lanes = lanes.finish();
        Ok(timeline)
    }

    /// Adds what the trace does not say.
    pub fn of_run(mut self, plan: &Plan, verdict: &Verdict, at: Option<Micros>) -> Timeline {
        self.title = format!("{} --seed {}", plan.scenario, plan.seed);
        self.plan = plan.to_string().lines().map(str::to_owned).collect();
        self.failure = match verdict {
            Verdict::Passed => None,
            Verdict::Failed { check, what } => Some(format!("{check}: {what}")),
            Verdict::Stuck { what } => Some(format!("no progress: {what}")),
            Verdict::Died { what } => Some(what.clone()),
        };
        self.failed_at = self.failure.as_ref().map(|_| at.unwrap_or(self.end));
        for server in &plan.servers {
            let lane = self.lanes.iter().position(|lane| lane.name == server.name);
            if let (Some(lane), true) = (lane, server.disk.words().any(|word| word != "latency")) {
                let quiet = self.lines.iter().find(|(.., kind, _)| kind == "quiet");
                self.bands.push(Band {
                    lane,
                    from: 0,
                    to: quiet.map_or(self.end, |line| line.0),
                    kind: "disk",
                    text: format!("disk: {}", server.disk),
                });
            }
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.all_lines == 0
    }

    /// The whole page.
    pub fn page(&self) -> String {
        let data = serde_json::to_string(self).expect("a timeline is plain data");
        // Nothing in a trace may end the script it stands in.
        let data = data.replace('<', "\\u003c");
        PAGE.replacen("{{style}}", STYLE, 1)
            .replacen("{{script}}", SCRIPT, 1)
            .replacen("{{data}}", &data, 1)
    }
}

/// Statements under way: what begins with one line and ends with another.
#[derive(Default)]
struct Spans {
    /// (lane, what identifies it) -> where it is in `spans`.
    open: BTreeMap<(usize, String), usize>,
    spans: Vec<Span>,
}

impl Spans {
    /// Whether this line begins or ends one.
    fn observe(&mut self, line: &Line<'_>, lane: usize, index: usize) -> bool {
        let first = line.details.split(' ').next().unwrap_or_default();
        let key = match line.kind {
            // A step is told by its label; the same may be carried out again and again.
            "step" | "done" => first.to_owned(),
            // `#12`, or the number of a commit: `12`, or `12:` when it begins.
            _ => first.trim_end_matches(':').to_owned(),
        };
        match line.kind {
            "invoke" | "step" | "commit" => {
                self.open.insert((lane, key), self.spans.len());
                self.spans.push(Span {
                    lane,
                    from: line.at,
                    to: None,
                    outcome: String::new(),
                    line: index,
                    end_line: None,
                });
                true
            }
            "ok" | "failed" | "unknown" | "done" | "committed" | "refused" => {
                let Some(place) = self.open.remove(&(lane, key)) else {
                    return false;
                };
                let span = &mut self.spans[place];
                (span.to, span.end_line) = (Some(line.at), Some(index));
                line.kind.clone_into(&mut span.outcome);
                true
            }
            _ => false,
        }
    }

    fn finish(self) -> Vec<Span> {
        self.spans
    }
}
