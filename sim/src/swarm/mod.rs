//! The swarm: what each seed adds to a scenario by itself. A random subset of faults with wildly different rates, a
//! shape, small knobs, a load.
//!
//! Leaving features out at random finds more than turning everything on: often there is no fault at all, often one kind.
//!
//! Invariants
//! - Everything is drawn into the plan before the run, as ordinary steps, servers and numbers, so that it can be printed,
//!   replayed and taken away piece by piece.
//! - Each kind, knob and workload draws from streams of its own name: leaving one out reshuffles none of the others.
//!
//! Must not know: the simulator's runtime, what the kinds do to a world.

mod kinds;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::draw::{self, Draw};
use crate::plan::{Plan, PlannedStep};
use crate::scenario::step::{Action, Trigger};
use crate::scenario::{Scenario, quiet};
use crate::units::{self, Micros, show_micros};
use crate::yaml::{Complaint, Node, Value};

pub use kinds::KINDS;
use kinds::{DAMAGE, Kind, Strike, WIPE};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The scenario and nothing else.
    #[default]
    None,
    /// Load, knobs, and short faults that only make things late: the scenario's own promises hold as they stand.
    Light,
    /// Everything.
    Full,
}

const LEVELS: [&str; 3] = ["none", "light", "full"];

/// What a scenario says of its swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmSpec {
    pub level: Level,
    /// If not empty, the kinds that may be drawn.
    pub only: Vec<&'static str>,
    pub without: Vec<&'static str>,
    /// The kinds that every seed has, whatever its level, and how often: kind -> about how much time between two.
    pub every: BTreeMap<&'static str, Draw<Micros>>,
}

/// Faults begin when servers had time to start.
const FIRST: Micros = 2_000_000;
/// And end after this, if the scenario's steps do not say when.
const LAST_DEFAULT: Micros = 60_000_000;
/// Kinds whose operators choose a primary.
const MOVE_ROLES: [&str; 2] = ["operator", "blunder"];

/// The longest fault of a light swarm.
const LIGHT_LONGEST: Micros = 1_000_000;
const STRIKES_MAX: usize = 60;
/// Of a kind whose rate a scenario says, which says them no closer together than this.
const SAID_STRIKES_MAX: usize = 2_000;
const SAID_EVERY_MIN: Micros = 100_000;

impl SwarmSpec {
    /// `full`, or `{ level: full, without: [wipe], every: { kill: 5s..20s } }`.
    pub fn parse(node: &Node) -> Result<SwarmSpec, Complaint> {
        let level = |node: &Node| {
            node.word("swarm", &LEVELS).map(|word| match word {
                "light" => Level::Light,
                "full" => Level::Full,
                _ => Level::None,
            })
        };
        if let Value::Scalar(_) = &node.value {
            return Ok(SwarmSpec {
                level: level(node)?,
                ..SwarmSpec::default()
            });
        }
        let fields = node.fields("swarm", &["level", "only", "without", "every"])?;
        let level = level(fields.require("level")?)?;
        let allowed: Vec<&'static str> = KINDS
            .iter()
            .filter(|kind| kind.gentle || level == Level::Full)
            .map(|kind| kind.name)
            .collect();
        let list = |key: &'static str| -> Result<Vec<&'static str>, Complaint> {
            let Some(node) = fields.get(key) else {
                return Ok(Vec::new());
            };
            node.strict_list(key)?
                .iter()
                .map(|node| node.word(key, &allowed))
                .collect()
        };
        if let (Some(_), Some(node)) = (fields.get("only"), fields.get("without")) {
            return Err(node.complain("swarm: only and without exclude each other"));
        }
        let spec = SwarmSpec {
            level,
            only: list("only")?,
            without: list("without")?,
            every: fields.get("every").map_or(Ok(BTreeMap::new()), parse_every)?,
        };
        let clash = spec.without.iter().find(|kind| spec.every.contains_key(*kind));
        if let (Some(kind), Some(node)) = (clash, fields.get("every")) {
            return Err(node.complain(format!("every: {kind:?} is also what this swarm is without")));
        }
        Ok(spec)
    }

    /// Whether some seed damages a disk.
    pub fn may_damage(&self) -> bool {
        let is_drawn = KINDS.iter().any(|kind| kind.name == DAMAGE && self.allows(kind));
        is_drawn || self.every.contains_key(DAMAGE)
    }

    /// A kind whose rate is said, and that finds nothing to strike in any of some seeds.
    pub fn said_in_vain(&self, scenario: &Scenario) -> Option<&'static str> {
        if self.every.is_empty() {
            return None;
        }
        const SEEDS: u64 = 16;
        let plans: Vec<Plan> = (0..SEEDS).map(|seed| Plan::new(scenario, seed)).collect();
        let steps = || plans.iter().flat_map(|plan| &plan.steps);
        let strikes = |kind: &str| steps().any(|step| kind_of(&step.label) == Some(kind));
        self.every.keys().copied().find(|kind| !strikes(kind))
    }

    fn allows(&self, kind: &Kind) -> bool {
        let listed = self.only.is_empty() || self.only.contains(&kind.name);
        listed && !self.without.contains(&kind.name) && (kind.gentle || self.level == Level::Full)
    }

    /// Draws this seed's swarm into the plan.
    pub fn add_to(&self, plan: &mut Plan) {
        if self.level == Level::None && self.every.is_empty() {
            return;
        }
        if self.level == Level::Full {
            load::shape(plan);
        }
        if self.level != Level::None {
            load::clients(plan);
            load::knobs(plan);
        }
        if self.level == Level::Full {
            load::links(plan);
            load::uneven_links(plan);
            load::torn_writes(plan);
        }
        let mut added = Vec::new();
        for kind in self.armed(plan.seed) {
            self.strikes(kind, plan, &mut added);
        }
        // What would end a fault after quiet has ended it.
        if let Some(quiet) = quiet::declared(plan.steps.iter().map(PlannedStep::brief)) {
            added.retain(|step| !matches!(step.trigger, Trigger::At(at) if at >= quiet && step.action.is_fault()));
        }
        if added.is_empty() {
            plan.swarm.push("no faults".to_owned());
        }
        plan.steps.extend(added);
    }

    /// The kinds of fault that this seed has: those that all have, and beside them none in a third of the seeds, one in
    /// another, else each by a share.
    fn armed(&self, seed: u64) -> Vec<&'static Kind> {
        let is_said = |kind: &&Kind| self.every.contains_key(kind.name);
        let mut armed = self.drawn(seed);
        armed.retain(|kind| !is_said(kind));
        armed.extend(KINDS.iter().filter(is_said));
        // An operator who makes a server primary that has just lost everything gives up what the others have, and then
        // nothing is owed by anybody.
        let moves = |kind: &&Kind| MOVE_ROLES.contains(&kind.name);
        if self.every.contains_key(WIPE) {
            armed.retain(|kind| !moves(kind));
        } else if armed.iter().any(moves) {
            armed.retain(|kind| kind.name != WIPE);
        }
        armed
    }

    fn drawn(&self, seed: u64) -> Vec<&'static Kind> {
        if self.level == Level::None {
            return Vec::new();
        }
        let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| self.allows(kind)).collect();
        let mut rng = draw::stream(seed, "swarm/subset");
        match rng.random_range(0..10) {
            0..3 => Vec::new(),
            // The one with the highest lot: another that is left out was not it.
            3..6 => kinds
                .into_iter()
                .max_by_key(|kind| lot(seed, kind))
                .into_iter()
                .collect(),
            _ => {
                let share = log_uniform(&mut rng, 100_000, 900_000);
                let has = |kind: &&Kind| u64::from(lot(seed, kind)) % 1_000_000 < share;
                kinds.into_iter().filter(has).collect()
            }
        }
    }

    /// All strikes of one kind.
    fn strikes(&self, kind: &Kind, plan: &mut Plan, added: &mut Vec<PlannedStep>) {
        let mut rng = draw::stream(plan.seed, &format!("swarm/kind/{}", kind.name));
        let mut period = log_uniform(&mut rng, 500_000, 40_000_000);
        let mut longest = log_uniform(&mut rng, 50_000, 20_000_000);
        let mut most = STRIKES_MAX;
        if let Some(said) = self.every.get(kind.name) {
            (period, most) = (said.draw(&mut rng), SAID_STRIKES_MAX);
        } else if self.level == Level::Light {
            longest = longest.min(LIGHT_LONGEST);
        }
        let end = end_of(plan);
        let mut at = FIRST + rng.random_range(0..period);
        let (mut count, mut struck) = (0, 0);
        while at < end && count < most {
            let mut strike = Strike {
                plan,
                rng: &mut rng,
                at,
                longest,
                actions: Vec::new(),
            };
            (kind.strike)(&mut strike);
            let actions = strike.actions;
            struck += usize::from(!actions.is_empty());
            for (part, (at, action)) in actions.into_iter().enumerate() {
                added.push(step(kind.name, count, part, at, action));
            }
            count += 1;
            at += rng.random_range(period / 4..=period + period / 2);
        }
        if struck > 0 {
            let show = |micros: Micros| show_micros(i64::try_from(micros).unwrap_or(i64::MAX));
            let times = if count == most {
                "at most ".to_owned()
            } else {
                String::new()
            };
            plan.swarm.push(format!(
                "{}, {times}{struck} times, every {} or so, up to {}",
                kind.name,
                show(period),
                show(longest)
            ));
        }
    }
}

/// `{ kill: 5s, partition: 2s..20s }`
fn parse_every(node: &Node) -> Result<BTreeMap<&'static str, Draw<Micros>>, Complaint> {
    let known: Vec<&'static str> = KINDS.iter().map(|kind| kind.name).collect();
    let fields = node.fields("every", &known)?;
    let mut every = BTreeMap::new();
    for kind in known {
        let Some(node) = fields.get(kind) else { continue };
        let draw = Draw::parse(kind, node, units::parse_micros)?;
        if draw.ends().into_iter().any(|end| end < SAID_EVERY_MIN) {
            let least = show_micros(i64::try_from(SAID_EVERY_MIN).unwrap_or(i64::MAX));
            return Err(node.complain(format!("every: {kind}: no closer together than {least}")));
        }
        every.insert(kind, draw);
    }
    if let (Some(node), true) = (fields.get(WIPE), MOVE_ROLES.iter().any(|kind| every.contains_key(kind))) {
        return Err(node.complain(
            "every: wipe: not beside operator or blunder, for who promotes a server that has lost everything gives up all there is",
        ));
    }
    Ok(every)
}

/// The kind of fault that a step of this label is one of, if the swarm added it.
pub fn kind_of(label: &str) -> Option<&'static str> {
    let (kind, _) = label.rsplit_once('-')?;
    KINDS.iter().find(|known| known.name == kind).map(|known| known.name)
}

fn step(kind: &str, count: usize, part: usize, at: Micros, action: Action) -> PlannedStep {
    let part = if part == 0 { String::new() } else { format!(".{part}") };
    PlannedStep {
        label: format!("{kind}-{count}{part}"),
        mark: None,
        trigger: Trigger::At(at),
        action,
    }
}

/// A number that belongs to a kind in this seed.
fn lot(seed: u64, kind: &Kind) -> u32 {
    draw::stream(seed, &format!("swarm/lot/{}", kind.name)).random()
}

/// When the scenario declares quiet, if it says so in its own time; what comes later than quiet does not happen anyway.
fn end_of(plan: &Plan) -> Micros {
    let quiet = quiet::declared(plan.steps.iter().map(PlannedStep::brief));
    quiet.unwrap_or_else(|| LAST_DEFAULT.min(plan.time_limit / 2))
}

/// As often between 1 and 10 as between 10 and 100.
fn log_uniform(rng: &mut ChaCha8Rng, low: u64, high: u64) -> u64 {
    assert!(0 < low && low <= high, "a range of positive numbers");
    let steps = (high / low).max(1).ilog2();
    // A power of two, then evenly up to the next.
    let base = low << rng.random_range(0..=steps);
    rng.random_range(base..=(base * 2).min(high).max(base)).min(high)
}
