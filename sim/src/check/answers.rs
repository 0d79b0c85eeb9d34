//! What clients are told, and how soon.

use std::collections::BTreeMap;

use super::{ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{Event, Outcome, What};
use crate::units::{Micros, show_micros};
use crate::workload::strangers::INTRUDE;

pub const NO_INTERNAL_ERROR: Check = Check {
    name: "no_internal_error",
    about: "No client is told of an internal error, XX000.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(NoInternalError)),
};

const INTERNAL: &str = "XX000";

struct NoInternalError;

impl Watch for NoInternalError {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Return {
                op,
                outcome: Outcome::Failed { sqlstate },
            } if sqlstate == INTERNAL => Some(format!("#{op} of {} failed with {INTERNAL}", event.node)),
            What::Return {
                op,
                outcome: Outcome::Unknown { why },
            } if why.starts_with(INTERNAL) => Some(format!("#{op} of {} ended with {INTERNAL}", event.node)),
            _ => None,
        }
    }
}

pub const ANSWERS_ARE_KNOWN: Check = Check {
    name: "answers_are_known",
    about: "A client that is refused is told one of the codes that a program has to expect, and never that what it sent is wrong.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(AnswersAreKnown)),
};

/// What an operation of a workload may be refused with, and when. All workloads write what the server understands, so that
/// codes of syntax, types and limits of statements are not among these.
const EXPECTED: &[(&[&str], &str)] = &[
    (
        &["08006"],
        "the client's own word: the connection was lost before it sent COMMIT",
    ),
    (&["25006", "57P01"], "the server is no primary, or becomes none"),
    (&["57P03"], "the server starts or stops"),
    (&["40001", "40003"], "another transaction came first; nobody knows"),
    (&["53100", "58030"], "the disk is full, or fails"),
    (&["XX001"], "the disk holds damage, as `damage_is_named` judges"),
    (&["23505"], "the key is taken"),
    (&["55000"], "there is nothing to make a version of"),
    (
        &["42P01", "3D000"],
        "what was to be used or dropped is gone, or not there yet",
    ),
];

struct AnswersAreKnown;

impl Watch for AnswersAreKnown {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let What::Return { op, outcome } = &event.what else {
            return None;
        };
        let code = match outcome {
            Outcome::Ok { .. } => return None,
            Outcome::Failed { sqlstate } => sqlstate,
            Outcome::Unknown { why } if is_code(why) => why,
            // What the client says itself: the connection is gone, no answer came in time.
            Outcome::Unknown { .. } => return None,
        };
        let known = EXPECTED.iter().any(|(codes, _)| codes.contains(&code.as_str()));
        (!known).then(|| format!("#{op} of {} was refused with {code}", event.node))
    }
}

fn is_code(why: &str) -> bool {
    why.len() == 5
        && why
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// So long after the last disturbance nothing is an excuse any more.
pub const CALM_AFTER: Micros = 10_000_000;
/// The longest that an operation may take then, of a few statements and as many syncs.
const ANSWER_MAX: Micros = 5_000_000;

pub const ANSWERS_COME_SOON: Check = Check {
    name: "answers_come_soon",
    about: "Ten seconds after quiet, and after the last start, stop or step, every operation but those of strangers returns within five seconds.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::<AnswersComeSoon>::default()),
};

#[derive(Default)]
struct AnswersComeSoon {
    /// Since when nothing has disturbed anybody; None: it is not quiet.
    calm_since: Option<Micros>,
    asked: BTreeMap<u64, Micros>,
}

impl Watch for AnswersComeSoon {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Quiet => self.calm_since = Some(event.at),
            What::Start
            | What::Ready { .. }
            | What::Down { .. }
            | What::Damaged
            | What::Mended
            | What::StepBegins { .. }
            | What::StepDone { .. }
            | What::Ordered { .. }
            | What::Role { .. } => {
                self.asked.clear();
                if let Some(since) = &mut self.calm_since {
                    *since = event.at;
                }
            }
            What::Invoke(invoke) => {
                let is_calm = self.calm_since.is_some_and(|since| event.at >= since + CALM_AFTER);
                if is_calm && invoke.action != INTRUDE {
                    self.asked.insert(invoke.op, event.at);
                }
            }
            What::Return { op, .. } => {
                let took = event.at - self.asked.remove(op)?;
                let show = |micros: Micros| show_micros(i64::try_from(micros).unwrap_or(i64::MAX));
                return (took > ANSWER_MAX)
                    .then(|| format!("#{op} of {} took {} when all was calm", event.node, show(took)));
            }
            _ => {}
        }
        None
    }
}
