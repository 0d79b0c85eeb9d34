//! Bugs on purpose, each of which some seed of its scenario must find: the test of the tests.
//!
//! A mutant is a patch under `sim/mutants/`, headed by what it breaks, the check and the scenarios that must catch it, and
//! within how many seeds. The patches are applied together to a copy of the sources, and each of their bugs asks whether it is the
//! one of this run: so one build carries all of them, and the sources themselves carry none.
//!
//! A mutant counts as caught by a seed that fails with it, by a check that it names, and passes without it, in the same
//! build.
//!
//! Must not know: what the bugs are.

mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use crate::check::{ALWAYS_ON, CHECKS, STEP, Section};
use crate::children::Crew;
use crate::files;
use crate::report::{Verdict, exit};

pub use tree::{build, built};

/// Whether this build carries the bugs.
pub const IN_THIS_BUILD: bool = option_env!("UNDERSTUDY_MUTANTS").is_some();

/// A run that has lost its way is no catch worth waiting for.
const WALL_LIMIT_SECS: &str = "120";

/// The head of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    pub name: String,
    pub breaks: String,
    /// The checks that are due: only these count as catching it.
    pub checks: Vec<&'static str>,
    /// Of the check `step`, only this one, by its label.
    step: Option<String>,
    /// A run that makes no progress for want of this step counts, too; one that ends without a report.
    hangs: Option<String>,
    dies: bool,
    pub scenarios: Vec<String>,
    /// Of each scenario, from 1.
    pub seeds: u64,
}

impl Mutant {
    /// Reads the lines above the first difference: `breaks:`, `check:`, `scenarios:` and `seeds:`, and `step: LABEL`,
    /// `hangs: LABEL` and `dies: yes` if they are there.
    fn parse(name: &str, text: &str) -> Result<Mutant, String> {
        let mut mutant = Mutant {
            name: name.to_owned(),
            breaks: String::new(),
            checks: Vec::new(),
            step: None,
            hangs: None,
            dies: false,
            scenarios: Vec::new(),
            seeds: 0,
        };
        for line in text.lines().take_while(|line| !line.starts_with("diff ")) {
            let Some((key, value)) = line.split_once(": ") else {
                return Err(format!("{line:?} is not KEY: VALUE"));
            };
            match key {
                "breaks" => value.clone_into(&mut mutant.breaks),
                "check" => mutant.checks = value.split(", ").map(check_named).collect::<Result<_, _>>()?,
                "step" => mutant.step = Some(value.to_owned()),
                "hangs" => mutant.hangs = Some(value.to_owned()),
                "dies" if value == "yes" => mutant.dies = true,
                "scenarios" => mutant.scenarios = value.split(", ").map(str::to_owned).collect(),
                "seeds" => mutant.seeds = value.parse().map_err(|_| format!("{value:?} is not a number"))?,
                _ => {
                    return Err(format!(
                        "{key:?} is none of breaks, check, step, scenarios, seeds, hangs, dies: yes"
                    ));
                }
            }
        }
        if mutant.breaks.is_empty() || mutant.scenarios.is_empty() || mutant.seeds == 0 {
            return Err("breaks, scenarios and seeds are due above the first difference".to_owned());
        }
        if mutant.checks.is_empty() && mutant.hangs.is_none() && !mutant.dies {
            return Err("the check that must catch it is due above the first difference".to_owned());
        }
        if mutant.checks.contains(&STEP) != mutant.step.is_some() {
            return Err("the check step and the label of the step go together".to_owned());
        }
        let asks = format!("mutant(\"{name}\")");
        if !text.lines().any(|line| line.starts_with('+') && line.contains(&asks)) {
            return Err(format!("nothing it adds asks for {asks}"));
        }
        Ok(mutant)
    }

    /// Whether that is how it must fail.
    fn is_caught_by(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Passed => false,
            // A process that is gone, or was slow, says nothing of why.
            Verdict::Died { .. } => self.dies,
            Verdict::Stuck { what } => self.hangs.as_ref().is_some_and(|label| is_about(what, label)),
            Verdict::Failed { check, what } => {
                let is_due = self.checks.iter().any(|due| check == due);
                let is_the_step = || self.step.as_ref().is_some_and(|label| is_about(what, label));
                is_due && (check != STEP || is_the_step())
            }
        }
    }

    /// What must catch it.
    pub fn due(&self) -> String {
        let checks = self.checks.iter().map(|check| match &self.step {
            Some(label) if *check == STEP => format!("{STEP} {label}"),
            _ => (*check).to_owned(),
        });
        let hangs = self.hangs.iter().map(|label| format!("no progress at {label}"));
        let dies = self.dies.then(|| "death".to_owned());
        checks.chain(hangs).chain(dies).collect::<Vec<_>>().join(", ")
    }
}

/// Whether a verdict that begins with the label of a step is about that one.
fn is_about(what: &str, label: &str) -> bool {
    what.strip_prefix(label).is_some_and(|rest| rest.starts_with(": "))
}

/// A check whose verdict can fail a run.
fn check_named(name: &str) -> Result<&'static str, String> {
    let promises = CHECKS.iter().filter(|check| check.section != Section::Sometimes);
    let names: Vec<&str> = promises
        .chain(ALWAYS_ON)
        .map(|check| check.name)
        .chain([STEP])
        .collect();
    let known = names.iter().find(|known| **known == name).copied();
    known.ok_or_else(|| format!("there is no check {name:?}; there are: {}", names.join(", ")))
}

/// All of them, by name.
pub fn all() -> Result<Vec<Mutant>, String> {
    let known = files::scenario_names().map_err(|error| format!("the scenario folder: {error}"))?;
    let mut mutants = Vec::new();
    for (name, path) in files::patches()? {
        let mutant =
            Mutant::parse(&name, &files::read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Some(unknown) = mutant.scenarios.iter().find(|name| !known.contains(name)) {
            return Err(format!("{}: there is no scenario {unknown:?}", path.display()));
        }
        mutants.push(mutant);
    }
    Ok(mutants)
}

/// Those named, or all.
pub fn choose(all: &[Mutant], names: &[String]) -> Result<Vec<Mutant>, String> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| {
        let found = all.iter().find(|mutant| mutant.name == *name).cloned();
        let known: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
        found.ok_or_else(|| format!("there is no mutant {name:?}; there are: {}", known.join(", ")))
    };
    names.iter().map(find).collect()
}

/// A run: of which scenario and seed.
type Run = (String, u64);

/// What a run with the bug came to.
fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "nothing".to_owned(),
        Verdict::Failed { check, .. } => check.clone(),
        Verdict::Stuck { .. } => "no progress".to_owned(),
        Verdict::Died { what } => what.clone(),
    }
}

/// Runs the scenarios of each mutant until a seed finds it. Returns the exit code: missing one is a failure.
pub fn hunt(program: &Path, mutants: &[Mutant], seeds: Option<u64>, jobs: usize) -> Result<u8, String> {
    let mut missed = 0;
    for mutant in mutants {
        let mut hunt = Hunt {
            program,
            mutant,
            jobs,
            runs: 0,
            others: BTreeMap::new(),
        };
        match hunt.find(seeds.unwrap_or(mutant.seeds))? {
            Some(((scenario, seed), verdict)) => println!(
                "{:<36} due {:<42} caught by {}: {scenario} --seed {seed}, after {} runs{}",
                mutant.name,
                mutant.due(),
                words(&verdict),
                hunt.runs,
                hunt.others()
            ),
            None => {
                missed += 1;
                println!(
                    "{:<36} due {:<42} MISSED in {} runs{}: {}",
                    mutant.name,
                    mutant.due(),
                    hunt.runs,
                    hunt.others(),
                    mutant.breaks
                );
            }
        }
    }
    println!("{} of {} mutants caught", mutants.len() - missed, mutants.len());
    println!(
        "to look at one: {} run SCENARIO --seed N --mutant NAME",
        program.display()
    );
    Ok(if missed == 0 { exit::PASSED } else { exit::FAILED })
}

struct Hunt<'a> {
    program: &'a Path,
    mutant: &'a Mutant,
    jobs: usize,
    runs: u64,
    /// What else failed, and how often: it does not count.
    others: BTreeMap<String, u64>,
}

impl Hunt<'_> {
    /// The first seed that finds the mutant.
    fn find(&mut self, seeds: u64) -> Result<Option<(Run, Verdict)>, String> {
        let scenarios = &self.mutant.scenarios;
        let mut queue = (1..=seeds).flat_map(|seed| scenarios.iter().map(move |scenario| (scenario.clone(), seed)));
        let mut crew: Crew<Run> = Crew::of(self.program, self.jobs);
        loop {
            while crew.has_room() {
                let Some(run) = queue.next() else { break };
                crew.start(run.clone(), &arguments(&run, Some(&self.mutant.name)))?;
            }
            let Some((run, finished)) = crew.wait()? else {
                return Ok(None);
            };
            self.runs += 1;
            let verdict = finished.verdict();
            if self.mutant.is_caught_by(&verdict) {
                if self.passes_without(&run)? {
                    return Ok(Some((run, verdict)));
                }
            } else if verdict != Verdict::Passed {
                *self.others.entry(words(&verdict)).or_default() += 1;
            }
        }
    }

    /// In words for the end of a line.
    fn others(&self) -> String {
        let others = self.others.iter().map(|(what, count)| format!("{count} by {what}"));
        let others: Vec<String> = others.collect();
        if others.is_empty() {
            String::new()
        } else {
            format!(" (not counted: {})", others.join(", "))
        }
    }

    /// A seed that fails anyway says nothing of the mutant.
    fn passes_without(&mut self, run: &Run) -> Result<bool, String> {
        let mut crew: Crew<()> = Crew::of(self.program, 1);
        crew.start((), &arguments(run, None))?;
        let (_, finished) = crew.wait()?.expect("one was started");
        let verdict = finished.verdict();
        if verdict != Verdict::Passed {
            let (scenario, seed) = run;
            eprintln!("{scenario} --seed {seed} fails without any mutant: {}", words(&verdict));
        }
        Ok(verdict == Verdict::Passed)
    }
}

/// By path: the program has the scenarios of the time when it was built.
fn arguments((scenario, seed): &Run, mutant: Option<&str>) -> Vec<String> {
    let file = files::scenario_folder().join(format!("{scenario}.yaml"));
    let (file, seed) = (file.display().to_string(), seed.to_string());
    let mut words = vec!["run", &file, "--seed", &seed, "--json", "--wall-limit", WALL_LIMIT_SECS];
    if let Some(mutant) = mutant {
        words.extend(["--mutant", mutant]);
    }
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::Scenario;

    #[test]
    fn every_mutant_of_the_repository_is_read_and_they_apply_together() {
        let mutants = all().unwrap();
        assert!(mutants.len() >= 13, "{} mutants", mutants.len());
        tree::check().unwrap();
    }

    #[test]
    fn a_patch_without_its_head_or_its_question_is_refused() {
        let good =
            "breaks: x\ncheck: fsck\nscenarios: a, b\nseeds: 3\n\ndiff --git\n+ if crate::runtime::mutant(\"m\") {\n";
        let mutant = Mutant::parse("m", good).map_err(|error| assert!(error.contains("KEY"), "{error}"));
        assert!(mutant.is_err(), "an empty line is none of the head");
        let good = good.replace("\n\n", "\n");
        let mutant = Mutant::parse("m", &good).unwrap();
        assert_eq!((mutant.scenarios.len(), mutant.seeds), (2, 3));
        for (from, to) in [
            ("seeds: 3\n", ""),
            ("check: fsck\n", ""),
            ("mutant(\"m\")", "mutant(\"n\")"),
            ("breaks", "brakes"),
            ("3", "three"),
        ] {
            assert!(Mutant::parse("m", &good.replace(from, to)).is_err(), "{from}");
        }
    }

    #[test]
    fn only_the_check_that_a_patch_names_catches_it() {
        let head = "breaks: x\ncheck: fsck, no_panic\nscenarios: a\nseeds: 3\ndiff --git\n+ if crate::runtime::mutant(\"m\") {\n";
        let failed = |check: &str| Verdict::Failed {
            check: check.to_owned(),
            what: "w".to_owned(),
        };
        let stuck = Verdict::Stuck { what: "w".to_owned() };
        let died = Verdict::Died { what: "w".to_owned() };
        let two = Mutant::parse("m", head).unwrap();
        assert_eq!(two.due(), "fsck, no_panic");
        assert!(two.is_caught_by(&failed("fsck")) && two.is_caught_by(&failed("no_panic")));
        assert!(!two.is_caught_by(&failed("bounded")) && !two.is_caught_by(&Verdict::Passed));
        // Nor does one that got lost, or was too slow for the wall clock, unless that is what the bug does.
        assert!(!two.is_caught_by(&stuck) && !two.is_caught_by(&died));
        let hanging = Mutant::parse("m", &head.replace("check: fsck, no_panic", "hangs: fenced")).unwrap();
        assert_eq!(hanging.due(), "no progress at fenced");
        let at = |label: &str| Verdict::Stuck {
            what: format!("{label}: when a is standby@2"),
        };
        assert!(hanging.is_caught_by(&at("fenced")) && !hanging.is_caught_by(&at("fenced-2")));
        assert!(
            !hanging.is_caught_by(&stuck) && !hanging.is_caught_by(&died) && !hanging.is_caught_by(&failed("fsck"))
        );
        let deadly = Mutant::parse("m", &head.replace("scenarios", "dies: yes\nscenarios")).unwrap();
        assert!(deadly.is_caught_by(&died) && deadly.is_caught_by(&failed("fsck")));
        assert_eq!(deadly.due(), "fsck, no_panic, death");
        assert!(Mutant::parse("m", &head.replace("scenarios", "dies: no\nscenarios")).is_err());
        // Of steps, the one that is named.
        assert!(Mutant::parse("m", &head.replace("no_panic", "step")).is_err());
        let step = head.replace("check: fsck, no_panic", "check: step\nstep: demote");
        let step = Mutant::parse("m", &step).unwrap();
        let of = |label: &str| Verdict::Failed {
            check: STEP.to_owned(),
            what: format!("{label}: a answered 40003"),
        };
        assert!(step.is_caught_by(&of("demote")) && !step.is_caught_by(&of("promote")));
        for name in ["fsk", "unknown_outcome"] {
            let text = head.replace("no_panic", name);
            let refusal = Mutant::parse("m", &text).unwrap_err();
            assert!(refusal.contains(name) && refusal.contains("whole_values"), "{refusal}");
        }
    }

    #[test]
    fn a_scenario_of_a_mutant_judges_its_check() {
        for mutant in all().unwrap() {
            for name in &mutant.scenarios {
                let (file, text) = files::read_scenario(name).unwrap();
                let scenario = Scenario::parse(&file, &text).unwrap();
                let plan = Plan::new(&scenario, 1);
                let judged = plan.always.iter().chain(&plan.finally).map(|used| used.name);
                let always_on = ALWAYS_ON.iter().map(|known| known.name).chain([STEP]);
                let judged: Vec<&str> = judged.chain(always_on).collect();
                let is_judged = mutant.checks.is_empty() || mutant.checks.iter().any(|due| judged.contains(due));
                assert!(is_judged, "{}: {name}", mutant.name);
            }
        }
    }

    #[test]
    fn mutants_are_chosen_by_name() {
        let all = all().unwrap();
        assert_eq!(choose(&all, &[]).unwrap(), all);
        assert_eq!(
            choose(&all, std::slice::from_ref(&all[1].name)).unwrap(),
            [all[1].clone()]
        );
        assert!(choose(&all, &["none".to_owned()]).unwrap_err().contains(&all[0].name));
    }
}
