//! Linearizability of registers: every operation takes effect at one moment between its call and its answer.
//!
//! A checker of our own, after Wing and Gong with Lowe's memory of states. Of the Rust crates that have one, todc-utils
//! takes no operation without an answer, which is what an unknown outcome is, and stateright's search remembers no
//! states and comes with a web server.
//!
//! Registers are independent, so each is judged alone. What certainly failed is left out; what is unknown may take effect
//! at any time after its call, or never; if nobody can have seen its value, never is as good. A search that has seen too many
//! states finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{ArgKind, Check, Finding, Judge, Needs, Section};
use crate::history::{History, Outcome};
use crate::units::{Micros, show_moment};
use crate::workload::register::{self, GET, SET, SWAP};

pub const LINEARIZABLE: Check = Check {
    name: "linearizable",
    about: "Reads, writes and swaps of each register are as if each had happened at one moment between its call and its answer.",
    needs: Needs::Workload(&[register::KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| judge(history)),
};

/// What every register starts with.
const START: i64 = 0;
const STATES_MAX: usize = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get(i64),
    Set(i64),
    /// Expected, new, and whether it was, if that is known.
    Swap(i64, i64, Option<bool>),
}

#[derive(Debug, Clone)]
struct Call<'a> {
    op: u64,
    client: &'a str,
    called: Micros,
    /// None: it may never have happened.
    answered: Option<Micros>,
    kind: Kind,
}

impl Kind {
    /// The value after it, if it can happen now.
    fn apply(self, value: i64) -> Option<i64> {
        match self {
            Kind::Get(seen) => (seen == value).then_some(value),
            Kind::Set(new) => Some(new),
            Kind::Swap(expected, new, done) => match (expected == value, done) {
                (true, None | Some(true)) => Some(new),
                (false, None | Some(false)) => Some(value),
                _ => None,
            },
        }
    }

    /// The value it needs to find.
    fn needs(self) -> Option<i64> {
        match self {
            Kind::Get(value) | Kind::Swap(value, _, Some(true)) => Some(value),
            Kind::Set(_) | Kind::Swap(..) => None,
        }
    }

    /// The value it may leave.
    fn leaves(self) -> Option<i64> {
        match self {
            Kind::Set(value) | Kind::Swap(_, value, _) => Some(value),
            Kind::Get(_) => None,
        }
    }
}

fn judge(history: &History) -> Finding {
    let operations = history.operations();
    let mut registers: BTreeMap<(&str, i64), Vec<Call<'_>>> = BTreeMap::new();
    for op in &operations {
        if ![GET, SET, SWAP].contains(&op.invoke.action) || op.failed() {
            continue;
        }
        let (answered, seen) = match op.returned {
            Some((at, Outcome::Ok { reads })) => {
                (Some(at), reads.first().and_then(|read| read.values.first().copied()))
            }
            _ => (None, None),
        };
        let kind = match (op.invoke.action, &op.invoke.asked[..], seen) {
            (GET, [_], Some(seen)) => Kind::Get(seen),
            (SET, [asked], _) => Kind::Set(asked.value),
            (SWAP, [expected, new], seen) => Kind::Swap(expected.value, new.value, seen.map(|done| done == 1)),
            // A read that nobody heard the answer of says nothing.
            _ => continue,
        };
        let register = (op.invoke.asked[0].table.as_str(), op.invoke.asked[0].key);
        registers.entry(register).or_default().push(Call {
            op: op.invoke.op,
            client: op.client,
            called: op.invoked_at,
            answered,
            kind,
        });
    }
    registers
        .into_iter()
        .find_map(|((table, key), calls)| judge_one(&format!("{table}[{key}]"), calls))
}

fn judge_one(name: &str, calls: Vec<Call<'_>>) -> Finding {
    let needed: BTreeSet<i64> = calls.iter().filter_map(|call| call.kind.needs()).collect();
    let (mut sure, mut maybe): (Vec<Call<'_>>, Vec<Call<'_>>) =
        calls.into_iter().partition(|call| call.answered.is_some());
    // A swap that found something else may have found any value.
    let any_value = sure
        .iter()
        .any(|call| matches!(call.kind, Kind::Swap(_, _, Some(false))));
    maybe.retain(|call| any_value || call.kind.leaves().is_some_and(|value| needed.contains(&value)));
    sure.sort_by_key(|call| call.called);
    Search { sure, maybe }.run(name)
}

struct Search<'a> {
    /// Those that happened, by the moment of their call.
    sure: Vec<Call<'a>>,
    maybe: Vec<Call<'a>>,
}

/// Which calls have taken effect, and the value then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// So many of `sure` from the first on, and these behind them.
    first: usize,
    beyond: BTreeSet<usize>,
    maybe: BTreeSet<usize>,
    value: i64,
}

impl Search<'_> {
    fn run(&self, name: &str) -> Finding {
        let start = State {
            first: 0,
            beyond: BTreeSet::new(),
            maybe: BTreeSet::new(),
            value: START,
        };
        let mut seen = BTreeSet::from([start.clone()]);
        let mut open = vec![start.clone()];
        let mut furthest = start;
        while let Some(state) = open.pop() {
            if state.first == self.sure.len() {
                return None;
            }
            if state.first + state.beyond.len() > furthest.first + furthest.beyond.len() {
                furthest = state.clone();
            }
            if seen.len() > STATES_MAX {
                return None;
            }
            for next in self.next(&state) {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        let stuck = &self.sure[furthest.first];
        let answered = stuck.answered.expect("those that happened have answers");
        let what = format!(
            "{name}: after {} operations it holds {}, and #{} of {}, {}, called at {} and answered at {}, fits nowhere",
            furthest.first + furthest.beyond.len(),
            furthest.value,
            stuck.op,
            stuck.client,
            match stuck.kind {
                Kind::Get(seen) => format!("which read {seen}"),
                Kind::Set(new) => format!("which set {new}"),
                Kind::Swap(expected, new, done) => format!(
                    "which {} {new} for {expected}",
                    if done == Some(true) { "put" } else { "did not put" }
                ),
            },
            show_moment(stuck.called),
            show_moment(answered)
        );
        Some((Some(answered), what))
    }

    /// What may take effect next: whatever was called before the first answer that is still due.
    fn next(&self, state: &State) -> Vec<State> {
        let open = (state.first..self.sure.len()).filter(|index| !state.beyond.contains(index));
        let mut first_answer = Micros::MAX;
        let mut candidates = Vec::new();
        for index in open {
            let call = &self.sure[index];
            if call.called > first_answer {
                break;
            }
            first_answer = first_answer.min(call.answered.expect("those that happened have answers"));
            candidates.push(index);
        }
        let mut states = Vec::new();
        for (index, call) in self.maybe.iter().enumerate() {
            if call.called <= first_answer
                && !state.maybe.contains(&index)
                && let Some(value) = call.kind.apply(state.value)
            {
                let mut next = state.clone();
                next.maybe.insert(index);
                next.value = value;
                states.push(next);
            }
        }
        // Looked at first, as the last: what happened for certain.
        for index in candidates.into_iter().rev() {
            let call = &self.sure[index];
            if call.called <= first_answer
                && let Some(value) = call.kind.apply(state.value)
            {
                let mut next = state.clone();
                next.value = value;
                next.beyond.insert(index);
                while next.beyond.remove(&next.first) {
                    next.first += 1;
                }
                states.push(next);
            }
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::check::CheckUse;
    use crate::history::{Event, Invoke, Read, What, Write};

    /// (called, answered or not, what)
    type Told = (Micros, Option<Micros>, Kind);

    fn history(calls: &[Told]) -> History {
        let mut events = Vec::new();
        for (op, (called, answered, kind)) in (1..).zip(calls) {
            let write = |value| Write {
                table: "register".into(),
                key: 1,
                value,
            };
            let (action, asked, seen) = match *kind {
                Kind::Get(seen) => (GET, vec![write(0)], Some(seen)),
                Kind::Set(new) => (SET, vec![write(new)], None),
                Kind::Swap(expected, new, done) => (SWAP, vec![write(expected), write(new)], done.map(i64::from)),
            };
            let invoke = Invoke {
                op,
                workload: "register".into(),
                server: "a".into(),
                action,
                writes: Vec::new(),
                asked,
                only_reads: false,
            };
            let node = format!("register.{op}");
            events.push((*called, 0, node.clone(), What::Invoke(invoke)));
            if let Some(answered) = answered {
                let reads = seen.map(|value| Read {
                    table: "register".into(),
                    key: 1,
                    values: vec![value],
                });
                let outcome = Outcome::Ok {
                    reads: reads.into_iter().collect(),
                };
                events.push((*answered, 1, node, What::Return { op, outcome }));
            }
        }
        events.sort_by_key(|(at, order, ..)| (*at, *order));
        History {
            events: events
                .into_iter()
                .map(|(at, _, node, what)| Event { at, node, what })
                .collect(),
            ..History::default()
        }
    }

    fn broken(calls: &[Told]) -> Option<String> {
        let check = CheckUse {
            name: LINEARIZABLE.name,
            arg: super::super::Arg::None,
        };
        check.judge(&history(calls)).map(|violation| violation.what)
    }

    use Kind::{Get, Set, Swap};

    #[test]
    fn what_overlaps_may_be_in_either_order() {
        let set = (10, Some(30), Set(1));
        for seen in [0, 1] {
            assert_eq!(broken(&[set, (15, Some(25), Get(seen))]), None);
        }
        assert_eq!(broken(&[set, (15, Some(18), Get(1)), (20, Some(25), Get(1))]), None);
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let set = (10, Some(30), Set(1));
        let what = broken(&[set, (15, Some(18), Get(1)), (20, Some(25), Get(0))]).expect("new and then old");
        assert!(what.contains("register[1]") && what.contains("fits nowhere"), "{what}");
    }

    #[test]
    fn a_stale_read_and_a_value_nobody_wrote_are_found() {
        assert!(broken(&[(10, Some(20), Set(1)), (30, Some(40), Get(0))]).is_some());
        assert!(broken(&[(10, Some(20), Get(7))]).is_some());
        assert!(broken(&[(10, Some(20), Set(1)), (30, Some(40), Set(2)), (50, Some(60), Get(1))]).is_some());
    }

    #[test]
    fn the_unknown_may_have_happened_late_or_never() {
        let unknown = (10, None, Set(1));
        assert_eq!(broken(&[unknown, (50, Some(60), Get(0)), (70, Some(80), Get(1))]), None);
        assert_eq!(broken(&[unknown, (50, Some(60), Get(0)), (70, Some(80), Get(0))]), None);
        // But only once, and not before it was called.
        let calls = [
            unknown,
            (50, Some(60), Get(1)),
            (61, Some(62), Set(2)),
            (70, Some(80), Get(1)),
        ];
        assert!(broken(&calls).is_some());
        assert!(broken(&[(50, None, Set(1)), (10, Some(20), Get(1))]).is_some());
    }

    #[test]
    fn swaps_tell_whether_they_found_what_they_expected() {
        let swap = |at, expected, new, done| (at, Some(at + 5), Swap(expected, new, Some(done)));
        assert_eq!(
            broken(&[swap(10, 0, 1, true), swap(20, 0, 2, false), (30, Some(40), Get(1))]),
            None
        );
        assert!(broken(&[swap(10, 0, 1, true), swap(20, 0, 2, true)]).is_some());
        assert!(broken(&[swap(10, 0, 1, false)]).is_some());
        // Two that overlap: one of them.
        let both = [
            (10, Some(30), Swap(0, 1, Some(true))),
            (11, Some(29), Swap(0, 2, Some(true))),
        ];
        assert!(broken(&both).is_some());
        let unknown = [(10, None, Swap(0, 1, None)), (20, Some(30), Get(1))];
        assert_eq!(broken(&unknown), None);
        // A value that nobody read can be what a swap found instead.
        assert_eq!(broken(&[(10, None, Set(1)), swap(20, 0, 2, false)]), None);
    }

    /// Histories of a real register pass, whatever overlaps; a stale read in them is found.
    #[test]
    fn many_clients_of_a_real_register() {
        for seed in 0..10 {
            let mut rng = crate::draw::stream(seed, "linear");
            let mut value = START;
            let mut calls: Vec<Told> = Vec::new();
            for number in 1..100_i64 {
                // It takes effect at `moment`; calls and answers spread around it.
                let moment = 1_000 + u64::try_from(number).unwrap() * 10;
                let called = moment - rng.random_range(1..25);
                let answered = rng.random_bool(0.95).then(|| moment + rng.random_range(1..25));
                let kind = match rng.random_range(0..3) {
                    0 => Get(value),
                    1 => {
                        value = number;
                        Set(number)
                    }
                    _ => {
                        let expected = if rng.random_bool(0.5) { value } else { value + 1 };
                        let done = expected == value;
                        value = if done { number } else { value };
                        Swap(expected, number, answered.map(|_| done))
                    }
                };
                calls.push((called, answered, kind));
            }
            assert_eq!(broken(&calls), None, "seed {seed}");
            // What was there at the start was replaced long before the end.
            calls.push((2_000, Some(2_010), Get(START)));
            let what = broken(&calls).expect("the first value is gone");
            assert!(what.contains("which read 0"), "{what}");
        }
    }
}
