//! A failure that can be carried around: the plan that was carried out, and what came of it, in one file of JSON.
//!
//! The plan is what is run again, not the scenario's draws: a scenario may change, and what the seed drew stays. The
//! text of the scenario lies beside it for whoever reads the file.
//!
//! Invariants
//! - What is printed as the plan is the plan that runs again: reading a failure gives the plan that was written.
//! - A file that somebody has edited is refused with a reason, or is a plan that can be carried out.
//!
//! Must not know: how a plan is run.

use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::plan::Plan;
use crate::report::{Report, Verdict};
use crate::scenario::step::{Action, Trigger};
use crate::units::Micros;
use crate::workload::{Moment, Target};

/// The commit that this was built from, with a mark if sources were changed since.
pub const COMMIT: &str = env!("UNDERSTUDY_COMMIT");

const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub format: u32,
    /// The line a suite prints: what was run, and what was wrong.
    pub about: String,
    pub commit: String,
    pub seed: u64,
    pub verdict: Verdict,
    /// When the failed check said so, if it can name a moment.
    pub at: Option<Micros>,
    /// Of all lines of the trace; empty if the run ended without a report.
    pub hash: String,
    /// What is run again.
    pub plan: Plan,
    /// The plan as it is printed, for people.
    pub printed: Vec<String>,
    /// The newest events.
    pub tail: Vec<String>,
    /// The scenario file, for people.
    pub scenario_text: String,
}

impl Failure {
    pub fn new(plan: &Plan, scenario_text: &str, report: &Report) -> Failure {
        Failure {
            format: FORMAT,
            about: report.reproduce(),
            commit: COMMIT.to_owned(),
            seed: plan.seed,
            verdict: report.verdict.clone(),
            at: report.at,
            hash: report.hash.clone(),
            plan: plan.clone(),
            printed: plan.to_string().lines().map(str::to_owned).collect(),
            tail: report.tail.clone(),
            scenario_text: scenario_text.to_owned(),
        }
    }

    /// Writes it into `folder`, under the names of scenario and seed.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, String> {
        let path = folder.join(format!("{}-{}.json", stem(&self.plan.scenario), self.seed));
        self.write(&path)?;
        Ok(path)
    }

    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).expect("a failure is plain data");
        text.push('\n');
        files::write(path, &text)
    }

    pub fn read(path: &Path) -> Result<Failure, String> {
        Failure::parse(&files::read(path)?).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Failure, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| format!("not a kept failure: {error}"))?;
        if head.format != FORMAT {
            return Err(format!(
                "kept in format {}, this build reads {FORMAT}; use the build of that time",
                head.format
            ));
        }
        let failure: Failure = serde_json::from_str(text).map_err(|error| {
            format!("its plan cannot be read by this build: {error}; a build of the commit named in the file can")
        })?;
        match complaint(&failure.plan) {
            Some(complaint) => Err(format!("plan: {complaint}")),
            None => Ok(failure),
        }
    }
}

/// Stands between a scenario and what was set in it, in the words that `run` takes.
pub const SET: &str = " --set '";

/// What failures of a scenario are kept as: its own name, and a few digits for what was set, so that none replaces another.
fn stem(scenario: &str) -> String {
    let (name, sets) = match scenario.find(SET) {
        Some(at) => scenario.split_at(at),
        None => (scenario, ""),
    };
    let stem = Path::new(name)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("run");
    if sets.is_empty() {
        return stem.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(sets.as_bytes());
    format!("{stem}-{:06x}", hasher.finish() & 0xff_ffff)
}

/// Why a plan cannot be carried out: a name in it stands for nothing.
pub fn complaint(plan: &Plan) -> Option<String> {
    if plan.storage.is_none() && plan.servers.is_empty() {
        return Some("there is neither a server nor a storage engine".to_owned());
    }
    let servers: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
    let unknown_server = |name: &str| (!servers.contains(&name)).then(|| format!("there is no server {name:?}"));
    let unknown_mark = |mark: &str| {
        let known = plan.steps.iter().any(|step| step.mark.as_deref() == Some(mark));
        (!known).then(|| format!("no step is named {mark:?}"))
    };
    let members = plan.servers.iter().filter_map(|server| server.member.as_ref());
    let mut standbys = members.flat_map(|member| &member.standbys);
    let ends = plan.links.keys().flat_map(|(from, to)| [from, to]);
    let in_workload = |workload: &crate::plan::PlannedWorkload| {
        let target = match &workload.spec.on {
            Target::Server(name) => unknown_server(name),
            _ => None,
        };
        let mut moments = [&workload.spec.from, &workload.spec.until].into_iter();
        target.or_else(|| {
            moments.find_map(|moment| match moment {
                Moment::Mark(mark, _) => unknown_mark(mark),
                Moment::At(_) => None,
            })
        })
    };
    let in_step = |step: &crate::plan::PlannedStep| {
        let trigger = match &step.trigger {
            Trigger::At(_) => None,
            Trigger::After { mark, .. } | Trigger::Every { until: mark, .. } => unknown_mark(mark),
            Trigger::When { condition, .. } => condition.servers().into_iter().find_map(unknown_server),
        };
        let action = match &step.action {
            Action::Sql { servers, .. } => servers.iter().find_map(|name| unknown_server(name)),
            _ => None,
        };
        trigger.or(action).map(|what| format!("{}: {what}", step.label))
    };
    standbys
        .find_map(|name| unknown_server(name))
        .or_else(|| ends.into_iter().find_map(|name| unknown_server(name)))
        .or_else(|| plan.workload.iter().find_map(in_workload))
        .or_else(|| plan.steps.iter().find_map(in_step))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::scenario::tests::{EXAMPLE, parse_example};

    /// A report of a run of `plan` that came out as `verdict`.
    pub(crate) fn report(plan: &Plan, verdict: Verdict) -> Report {
        Report {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            command: format!("run {} --seed {}", plan.scenario, plan.seed),
            verdict,
            time_is_up: false,
            at: Some(7),
            hash: "h".to_owned(),
            lines: 1,
            simulated_micros: 10_000_000,
            wall_micros: 1,
            happened: Vec::new(),
            missed: Vec::new(),
            fired: std::collections::BTreeMap::new(),
            facts: std::collections::BTreeMap::new(),
            longest: std::collections::BTreeMap::new(),
            reached: std::collections::BTreeMap::new(),
            turns: std::collections::BTreeMap::new(),
            summary: String::new(),
            tail: vec!["0.000007s a panic x".to_owned()],
        }
    }

    fn failed() -> Verdict {
        Verdict::Failed {
            check: "durability".to_owned(),
            what: "append, key 3 is absent".to_owned(),
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "reads the repository it is part of")]
    fn what_is_read_back_is_the_plan_that_was_written() {
        let mut kept = 0;
        for name in files::scenario_names().unwrap() {
            let (file, text) = files::read_scenario(&name).unwrap();
            let scenario = Scenario::parse(&file, &text).unwrap();
            for seed in [1, 2, 3, 40] {
                let plan = Plan::new(&scenario, seed);
                let failure = Failure::new(&plan, &text, &report(&plan, failed()));
                let folder = std::env::temp_dir().join(format!("understudy-failure-{}", std::process::id()));
                let path = failure.keep(&folder).unwrap();
                assert!(path.ends_with(format!("{name}-{seed}.json")));
                let read = Failure::read(&path).unwrap();
                std::fs::remove_dir_all(&folder).unwrap();
                assert_eq!(read.plan.to_string(), plan.to_string());
                assert_eq!(read.printed, plan.to_string().lines().collect::<Vec<_>>());
                // All of it, and not only what is printed: a second writing says the same.
                assert_eq!(
                    serde_json::to_value(&read.plan).unwrap(),
                    serde_json::to_value(&plan).unwrap()
                );
                assert_eq!((&read.plan.always, &read.plan.finally), (&plan.always, &plan.finally));
                kept += 1;
            }
        }
        assert!(kept > 40, "{kept}");
    }

    /// If this fails, a failure with other values is kept under a name of theirs, or in place of another.
    #[test]
    fn a_failure_is_named_for_its_scenario_whatever_was_set() {
        assert_eq!(stem("power-loss"), "power-loss");
        assert_eq!(stem("some/where/small.yaml"), "small");
        let fast = stem("power-loss --set 'workload.append.rate=40/s'");
        let faster = stem("power-loss --set 'workload.append.rate=41/s'");
        assert_ne!(fast, faster);
        for stem in [fast, faster] {
            let digits = stem.strip_prefix("power-loss-").expect("its own name comes first");
            assert!(
                digits.len() == 6 && digits.chars().all(|digit| digit.is_ascii_hexdigit()),
                "{stem}"
            );
        }
    }

    #[test]
    fn a_file_that_somebody_has_broken_is_refused_with_a_reason() {
        let plan = Plan::new(&parse_example(), 1);
        let failure = Failure::new(&plan, EXAMPLE, &report(&plan, failed()));
        let good = serde_json::to_string(&failure).unwrap();
        assert!(Failure::parse(&good).is_ok());
        for (before, after, reason) in [
            ("\"format\":1", "\"format\":9", "kept in format 9, this build reads 1"),
            ("\"format\":1", "\"former\":1", "not a kept failure"),
            (
                "\"kind\":\"append\"",
                "\"kind\":\"upend\"",
                "\"upend\" is no kind of workload",
            ),
            (
                "\"txn\"",
                "\"txm\"",
                "no workload of this build's has a parameter \"txm\"",
            ),
            ("\"latency\":200", "\"latentcy\":200", "disk: \"latentcy\" is no word"),
            ("\"liveness\"", "\"lifeness\"", "unknown word \"lifeness\""),
            ("\"mark\":\"cut\"", "\"mark\":\"gut\"", "no step is named"),
            (
                "\"on\":{\"Server\":\"a\"}",
                "\"on\":{\"Server\":\"z\"}",
                "there is no server \"z\"",
            ),
        ] {
            assert!(good.contains(before), "{before}");
            let error = Failure::parse(&good.replacen(before, after, 1)).unwrap_err();
            assert!(error.contains(reason), "{after}: {error}");
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            assert!(Failure::parse(&good[..length]).is_err());
        }
    }
}
