//! What came of a run: for people, for the suite, and for the snapshot.
//!
//! Must not know: the simulator's runtime.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use understudy::runtime::sites::Measure;

use crate::check::Violation;
use crate::history::{History, Outcome, What};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::units::Micros;
use crate::workload::client_number;
use crate::workload::turns::Turns;

/// Exit codes of `cargo sim`.
pub mod exit {
    pub const PASSED: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const NOT_DETERMINISTIC: u8 = 3;
    pub const STUCK: u8 = 4;
    pub const REFUSED: u8 = 5;
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Passed,
    /// A check failed.
    Failed {
        check: String,
        what: String,
    },
    /// The plan did not get to its end within the time limit.
    Stuck {
        what: String,
    },
    /// The process of the run ended without saying what came of it.
    Died {
        what: String,
    },
}

impl Verdict {
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Passed => exit::PASSED,
            Verdict::Failed { .. } => exit::FAILED,
            Verdict::Stuck { .. } => exit::STUCK,
            Verdict::Died { .. } => exit::FAILED,
        }
    }

    /// What two failures have in common that are the same one; None: there was none. Numbers are left out where a
    /// check's words name moments and values, which change with every step that is taken away.
    pub fn signature(&self) -> Option<String> {
        let before_colon = |what: &str| what.split(':').next().unwrap_or_default().to_owned();
        match self {
            Verdict::Passed => None,
            Verdict::Failed { check, what } => Some(match check.as_str() {
                "step" => format!("step {}", before_colon(what)),
                "clean_logs" | "no_panic" => {
                    let words = what
                        .split_whitespace()
                        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
                    format!("{check} {}", words.take(10).collect::<Vec<_>>().join(" "))
                }
                check => check.to_owned(),
            }),
            // "LABEL: when ..." or "the time limit has passed; ..."
            Verdict::Stuck { what } => Some(format!("no progress: {}", before_colon(what.split(';').next()?))),
            Verdict::Died { what } => Some(what.clone()),
        }
    }
}

/// What a run tells the suite that started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    pub seed: u64,
    /// What follows `cargo sim` to run it again.
    pub command: String,
    pub verdict: Verdict,
    /// Its simulated time was over before its steps were.
    #[serde(default)]
    pub time_is_up: bool,
    /// The moment that the failed check names.
    pub at: Option<Micros>,
    pub hash: String,
    pub lines: u64,
    pub simulated_micros: Micros,
    pub wall_micros: Micros,
    /// The `sometimes` that happened.
    pub happened: Vec<String>,
    pub missed: Vec<String>,
    /// How often each site of the server fired, and how often each fact was told.
    #[serde(default)]
    pub fired: BTreeMap<String, u64>,
    #[serde(default)]
    pub facts: BTreeMap<String, u64>,
    /// How long each queue of a server was when it was nearest to its limit.
    #[serde(default)]
    pub longest: BTreeMap<String, Measure>,
    /// When each step was done for the first time, by its label.
    pub reached: BTreeMap<String, Micros>,
    /// The turns in which clients did something, by workload, if the run did not pass.
    #[serde(default)]
    pub turns: BTreeMap<String, Turns>,
    /// The shape of the run, without what changes with every timing.
    pub summary: String,
    /// The newest lines of the trace, if the run did not pass.
    pub tail: Vec<String>,
}

impl Report {
    /// Judges a finished run. `broken` is what the running checks found, `stuck` why the plan did not end.
    pub fn new(
        plan: &Plan,
        history: &History,
        trace: &Trace,
        broken: Option<Violation>,
        stuck: Option<String>,
        wall: Micros,
    ) -> Report {
        let failed = broken.or_else(|| match stuck {
            // A run that never got to its end has no end to judge; only what must always hold counts.
            Some(_) => None,
            None => plan
                .always
                .iter()
                .chain(&plan.finally)
                .find_map(|check| check.judge(history)),
        });
        let at = failed.as_ref().and_then(|violation| violation.at);
        let verdict = match (failed, stuck) {
            (Some(violation), _) => {
                let what = violation.to_string();
                let check = violation.check.to_owned();
                let what = what.strip_prefix(&format!("{check}: ")).unwrap_or(&what).to_owned();
                Verdict::Failed { check, what }
            }
            (None, Some(what)) => Verdict::Stuck { what },
            (None, None) => Verdict::Passed,
        };
        let (mut happened, mut missed) = (Vec::new(), Vec::new());
        for sometimes in &plan.sometimes {
            let list = if sometimes.judge(history).is_none() {
                &mut happened
            } else {
                &mut missed
            };
            list.push(sometimes.name.to_owned());
        }
        let tail = if verdict == Verdict::Passed {
            Vec::new()
        } else {
            trace.tail().map(str::to_owned).collect()
        };
        Report {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            command: format!("run {} --seed {}", plan.scenario, plan.seed),
            time_is_up: false,
            at,
            reached: reached(history),
            turns: match &verdict {
                Verdict::Passed => BTreeMap::new(),
                _ => turns(history),
            },
            hash: trace.hash(),
            lines: trace.lines(),
            simulated_micros: history.events.last().map_or(0, |event| event.at),
            wall_micros: wall,
            happened,
            missed,
            fired: BTreeMap::new(),
            facts: BTreeMap::new(),
            longest: BTreeMap::new(),
            summary: summary(history, &verdict),
            tail,
            verdict,
        }
    }

    /// Of a run of `plan` that ended without one. `said` is what it printed.
    pub fn died(plan: &Plan, verdict: Verdict, said: &str) -> Report {
        let last: Vec<String> = said.lines().rev().take(15).map(str::to_owned).collect();
        Report {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            command: format!("run {} --seed {}", plan.scenario, plan.seed),
            time_is_up: false,
            at: None,
            reached: BTreeMap::new(),
            turns: BTreeMap::new(),
            hash: String::new(),
            lines: 0,
            simulated_micros: 0,
            wall_micros: 0,
            happened: Vec::new(),
            missed: Vec::new(),
            fired: BTreeMap::new(),
            facts: BTreeMap::new(),
            longest: BTreeMap::new(),
            summary: String::new(),
            tail: last.into_iter().rev().collect(),
            verdict,
        }
    }

    /// The line that runs this again.
    pub fn reproduce(&self) -> String {
        let command = format!("cargo sim {}", self.command);
        match &self.verdict {
            Verdict::Passed => command,
            Verdict::Failed { check, what } => format!("{command}   {check}: {what}"),
            Verdict::Stuck { what } => format!("{command}   no progress: {what}"),
            Verdict::Died { what } => format!("{command}   {what}"),
        }
    }

    /// Simulated seconds per wall second.
    pub fn ratio(&self) -> u64 {
        self.simulated_micros / self.wall_micros.max(1)
    }
}

fn reached(history: &History) -> BTreeMap<String, Micros> {
    let mut reached = BTreeMap::new();
    for event in &history.events {
        if let What::StepDone { step } = &event.what
            && let Some((label, _)) = step.split_once(": ")
        {
            reached.entry(label.to_owned()).or_insert(event.at);
        }
    }
    reached
}

fn turns(history: &History) -> BTreeMap<String, Turns> {
    let mut turns: BTreeMap<String, Turns> = BTreeMap::new();
    for event in &history.events {
        if let What::Invoke(invoke) = &event.what
            && let Some(number) = client_number(&invoke.workload, &event.node)
        {
            let of_workload = turns.entry(invoke.workload.clone()).or_default();
            of_workload.insert(number, invoke.turn);
        }
    }
    turns
}

/// What each server went through, what the operator got done, and how much happened to the nearest power of ten: what
/// stays the same when only timings change.
pub fn summary(history: &History, verdict: &Verdict) -> String {
    if history
        .events
        .iter()
        .any(|event| matches!(event.what, What::Storage(_)))
    {
        return storage_summary(history, verdict);
    }
    let mut servers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut steps = Vec::new();
    let (mut asked, mut done, mut roots) = (0, 0, 0);
    for event in &history.events {
        let line = match &event.what {
            What::Role { role, epoch } => format!("{}@{epoch}", role.word()),
            What::Start => "starts".to_owned(),
            What::Down { how } => how.clone(),
            What::Damaged => "is damaged".to_owned(),
            What::Mended => "is mended".to_owned(),
            other => {
                match other {
                    What::StepDone { step } => steps.push(step),
                    What::Invoke(_) => asked += 1,
                    What::Return {
                        outcome: Outcome::Ok { .. },
                        ..
                    } => done += 1,
                    What::Root(_) => roots += 1,
                    _ => {}
                }
                continue;
            }
        };
        let story = servers.entry(&event.node).or_default();
        // A role that is reported again is no news.
        if story.last() != Some(&line) {
            story.push(line);
        }
    }
    let mut text = String::new();
    for (server, story) in servers {
        let _ = writeln!(text, "{server}: {}", story.join(", "));
    }
    // By name rather than by time: two steps that are free to overtake each other will.
    steps.sort();
    for step in steps {
        let _ = writeln!(text, "done {step}");
    }
    for (what, count) in [("operations", asked), ("acknowledged", done), ("roots", roots)] {
        let _ = writeln!(text, "{what}: {}", magnitude(count));
    }
    let equal = if history.end.equal_after.is_some() {
        "equal"
    } else {
        "not equal"
    };
    let _ = writeln!(text, "roots at the end: {equal}");
    text + &verdict_line(verdict)
}

/// How often each kind of thing happened to a store, to the nearest power of ten.
fn storage_summary(history: &History, verdict: &Verdict) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &history.events {
        *counts.entry(event.what.kind()).or_default() += 1;
    }
    let lines = counts
        .into_iter()
        .map(|(kind, count)| format!("{kind}: {}\n", magnitude(count)));
    lines.collect::<String>() + &verdict_line(verdict)
}

fn verdict_line(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed\n".to_owned(),
        Verdict::Failed { check, .. } => format!("failed: {check}\n"),
        Verdict::Stuck { .. } => "stuck\n".to_owned(),
        Verdict::Died { what } => format!("died: {what}\n"),
    }
}

fn magnitude(count: u64) -> &'static str {
    match count {
        0 => "none",
        1..10 => "some",
        10..100 => "tens",
        100..1_000 => "hundreds",
        1_000..10_000 => "thousands",
        _ => "very many",
    }
}
