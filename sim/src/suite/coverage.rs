//! What the runs of a suite came to: rare code of the server, its sites, steps and choices of the scenarios. What none
//! came to was not tested, whatever the suite says.
//!
//! Must not know: how a suite is run.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use understudy::runtime::sites::{FACTS, Measure, QUEUES, SITES};

use crate::plan::{Plan, PlannedStep};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::scenario::disk::DiskSettings;
use crate::storage::plan::{End, Operation, StoragePlan};
use crate::swarm::kind_of;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    runs: u64,
    /// What `sometimes!` said in the server.
    facts: BTreeMap<String, Count>,
    /// In how many runs each site was armed, and in how many it fired.
    armed: BTreeMap<String, u64>,
    fired: BTreeMap<String, Count>,
    /// Each queue when it was nearest to its limit.
    #[serde(default)]
    longest: BTreeMap<String, Measure>,
    scenarios: BTreeMap<String, InScenario>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    runs: u64,
    times: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct InScenario {
    runs: u64,
    /// Everything under `sometimes`, with the runs in which it happened.
    sometimes: BTreeMap<String, u64>,
    /// Every step, with the runs that came to its end.
    steps: BTreeMap<String, u64>,
    /// What the seeds drew where they could choose.
    choices: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Coverage {
    /// Counts a run. Without a scenario nothing tells where there was a choice.
    pub fn add(&mut self, plan: &Plan, scenario: Option<&Scenario>, report: &Report) {
        self.runs += 1;
        add_counts(&mut self.facts, &report.facts);
        add_counts(&mut self.fired, &report.fired);
        for (queue, measure) in &report.longest {
            let longest = self.longest.entry(queue.clone()).or_insert(*measure);
            if measure.filled() > longest.filled() {
                *longest = *measure;
            }
        }
        for site in &plan.buggify {
            *self.armed.entry(site.clone()).or_default() += 1;
        }
        let here = self.scenarios.entry(report.scenario.clone()).or_default();
        here.runs += 1;
        for (names, one) in [(&report.happened, 1), (&report.missed, 0)] {
            for name in names {
                *here.sometimes.entry(name.clone()).or_default() += one;
            }
        }
        let mut steps: BTreeMap<String, bool> = BTreeMap::new();
        for step in &plan.steps {
            *steps.entry(shown_step(step)).or_default() |= report.reached.contains_key(&step.label);
        }
        for (step, done) in steps {
            *here.steps.entry(step).or_default() += u64::from(done);
        }
        for (what, choice) in choices(plan, scenario) {
            *here.choices.entry(what).or_default().entry(choice).or_default() += 1;
        }
    }

    /// What the server says must happen, and did not.
    pub fn required_and_never(&self) -> Vec<&'static str> {
        let required = FACTS.iter().filter(|fact| !fact.rare).map(|fact| fact.name);
        let facts = required.filter(|name| !self.facts.contains_key(*name));
        let queues = QUEUES.iter().map(|queue| queue.name);
        let sites = SITES.iter().map(|site| site.name);
        facts
            .chain(queues.filter(|name| !self.longest.contains_key(*name)))
            .chain(sites.filter(|name| !self.fired.contains_key(*name)))
            .collect()
    }

    /// The end of a suite: how much there was, and what there was not.
    pub fn brief(&self, everything: bool) -> String {
        let mut text = format!(
            "coverage: {} of {} facts of the server, {} of {} sites\n",
            self.facts.len(),
            FACTS.len(),
            self.fired.len(),
            SITES.len()
        );
        // A suite of some scenarios cannot come to all of it.
        if everything {
            let never = FACTS.iter().filter(|fact| !self.facts.contains_key(fact.name));
            for fact in never {
                let _ = writeln!(
                    text,
                    "never happened: {}{}",
                    fact.name,
                    if fact.rare { " (rare)" } else { "" }
                );
            }
            for site in SITES.iter().filter(|site| !self.fired.contains_key(site.name)) {
                let _ = writeln!(text, "never fired: {}", site.name);
            }
            for queue in QUEUES.iter().filter(|queue| !self.longest.contains_key(queue.name)) {
                let _ = writeln!(text, "never measured: {}", queue.name);
            }
        }
        for (scenario, here) in &self.scenarios {
            for (step, _) in here.steps.iter().filter(|(_, runs)| **runs == 0) {
                let _ = writeln!(text, "never done in {scenario}: {step}");
            }
        }
        text
    }
}

fn add_counts(counts: &mut BTreeMap<String, Count>, of_run: &BTreeMap<String, u64>) {
    for (name, times) in of_run {
        let count = counts.entry(name.clone()).or_default();
        count.runs += 1;
        count.times += times;
    }
}

/// A step by its mark. Those of the swarm are numbered, and each seed has others: they count by kind.
fn shown_step(step: &PlannedStep) -> String {
    kind_of(&step.label).map_or_else(|| step.label.clone(), |kind| format!("swarm {kind}"))
}

/// What this seed chose: the action of a step that had several, the kinds of faults of disks, the operations of a store.
fn choices(plan: &Plan, scenario: Option<&Scenario>) -> Vec<(String, String)> {
    let mut choices = Vec::new();
    let specs = scenario.map(|scenario| scenario.steps.as_slice()).unwrap_or_default();
    for (spec, step) in specs.iter().zip(&plan.steps) {
        if spec.choices.len() > 1 {
            choices.push((format!("step {}", step.label), step.action.to_string()));
        }
    }
    let mut add_all = |what: &str, mut words: Vec<String>| {
        words.sort();
        words.dedup();
        if words.is_empty() {
            words.push("none".to_owned());
        }
        choices.extend(words.into_iter().map(|word| (what.to_owned(), word)));
    };
    if !plan.swarm.is_empty() {
        let servers = format!("{} servers", plan.servers.len());
        add_all("swarm: shape", vec![servers]);
        let kinds = plan.steps.iter().filter_map(|step| kind_of(&step.label));
        add_all("swarm: faults", kinds.map(str::to_owned).collect());
        add_all(
            "swarm: workloads",
            plan.workload.iter().map(|planned| planned.spec.name.clone()).collect(),
        );
    }
    let faults = |settings: &DiskSettings| -> Vec<String> { settings.faults().map(str::to_owned).collect() };
    match &plan.storage {
        Some(storage) => {
            add_all(
                "disk",
                storage.lives.iter().flat_map(|life| faults(&life.disk)).collect(),
            );
            add_all("operations", operations(storage));
            add_all(
                "end of a life",
                storage.lives.iter().map(|life| end(&life.end)).collect(),
            );
        }
        None => {
            let disks = plan.servers.iter().map(|server| &server.disk);
            add_all("disk", disks.flat_map(faults).collect());
        }
    }
    choices
}

fn operations(storage: &StoragePlan) -> Vec<String> {
    let operations = storage.lives.iter().flat_map(|life| &life.operations);
    let word = |operation: &Operation| operation.to_string().split(' ').next().map(str::to_owned);
    operations.filter_map(word).collect()
}

/// Without the numbers.
fn end(end: &End) -> String {
    match end {
        End::PowerOffDuring { .. } => "power_off_during".to_owned(),
        End::PowerOffAtSync(_) => "power_off_at_sync".to_owned(),
        end => end.to_string(),
    }
}

/// All of it.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs", self.runs)?;
        writeln!(f, "\nsometimes, of the server: runs, times")?;
        for fact in FACTS {
            let Count { runs, times } = self.facts.get(fact.name).copied().unwrap_or_default();
            let note = match (runs, fact.rare) {
                (0, true) => "  never (rare)",
                (0, false) => "  NEVER",
                _ => "",
            };
            writeln!(f, "  {:<34} {runs:>6} {times:>8}{note}", fact.name)?;
        }
        writeln!(f, "\nbuggify: runs in which it was armed, in which it fired, times")?;
        for site in SITES {
            let armed = self.armed.get(site.name).copied().unwrap_or_default();
            let Count { runs, times } = self.fired.get(site.name).copied().unwrap_or_default();
            let note = if runs == 0 { "  NEVER" } else { "" };
            writeln!(f, "  {:<34} {armed:>6} {runs:>6} {times:>8}{note}", site.name)?;
        }
        writeln!(f, "\nqueues: length when it was nearest to its limit, the limit")?;
        for queue in QUEUES {
            match self.longest.get(queue.name) {
                Some(Measure { length, limit }) => writeln!(f, "  {:<34} {length:>12} {limit:>12}", queue.name)?,
                None => writeln!(f, "  {:<34} NEVER", queue.name)?,
            }
        }
        for (scenario, here) in &self.scenarios {
            writeln!(f, "\n{scenario}: {} runs", here.runs)?;
            for (what, counts) in [("sometimes", &here.sometimes), ("step", &here.steps)] {
                for (name, runs) in counts {
                    let note = if *runs == 0 { "  NEVER" } else { "" };
                    writeln!(f, "  {:<34} {runs:>6}{note}", format!("{what} {name}"))?;
                }
            }
            for (what, drawn) in &here.choices {
                let drawn: Vec<String> = drawn.iter().map(|(choice, runs)| format!("{choice}: {runs}")).collect();
                writeln!(f, "  {what}\n    {}", drawn.join("\n    "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::tests::report;
    use crate::report::Verdict;
    use crate::scenario::tests::parse_example;

    fn covered(seeds: u64) -> Coverage {
        let scenario = parse_example();
        let mut coverage = Coverage::default();
        for seed in 0..seeds {
            let plan = Plan::new(&scenario, seed);
            let mut report = report(&plan, Verdict::Passed);
            report.facts = [("chunk.tail_cut".to_owned(), 2)].into();
            report.longest = [(
                "chunk.cache".to_owned(),
                Measure {
                    length: seed,
                    limit: 10,
                },
            )]
            .into();
            report.fired = plan.buggify.iter().map(|site| (site.clone(), 3)).collect();
            report.reached = [("cut".to_owned(), 1)].into();
            report.missed = vec!["unknown_outcome".to_owned()];
            coverage.add(&plan, Some(&scenario), &report);
        }
        coverage
    }

    #[test]
    fn what_never_happened_is_said_and_what_is_rare_is_not_demanded() {
        let coverage = covered(3);
        assert_eq!(coverage.facts["chunk.tail_cut"], Count { runs: 3, times: 6 });
        let never = coverage.required_and_never();
        assert!(!never.contains(&"chunk.tail_cut") && never.contains(&"engine.conflict"));
        assert!(!never.contains(&"chunk.read_again"), "it is rare");
        assert!(!never.contains(&"chunk.cache") && never.contains(&"chunk.backlog"));
        let names = SITES.iter().map(|site| site.name);
        let (fired, not): (Vec<&str>, Vec<&str>) = names.partition(|name| coverage.fired.contains_key(*name));
        assert!(fired.iter().all(|name| !never.contains(name)));
        assert!(!not.is_empty() && not.iter().all(|name| never.contains(name)));
        assert_eq!(coverage.longest["chunk.cache"], Measure { length: 2, limit: 10 });
        let text = coverage.to_string();
        assert!(
            text.contains("engine.conflict                         0        0  NEVER"),
            "{text}"
        );
        assert!(
            text.contains("sometimes unknown_outcome               0  NEVER"),
            "{text}"
        );
        let brief = coverage.brief(false);
        assert!(
            brief.contains("never done in example: fenced\n") && !brief.contains("cut\n"),
            "{brief}"
        );
        assert!(!brief.contains("never happened: "), "{brief}");
        assert!(coverage.brief(true).contains("never happened: engine.conflict\n"));
    }

    #[test]
    fn choices_are_counted_as_they_were_drawn() {
        let coverage = covered(40);
        let drawn = &coverage.scenarios["example"].choices["step cut"];
        assert_eq!((drawn.len(), drawn.values().sum::<u64>()), (3, 40), "{drawn:?}");
        assert_eq!(
            coverage.scenarios["example"].choices["disk"],
            [("none".to_owned(), 40)].into()
        );
        let armed: u64 = coverage.armed.values().sum();
        assert!(armed > 40, "{armed}");
        assert_eq!(coverage.fired.values().map(|count| count.runs).sum::<u64>(), armed);
    }
}
