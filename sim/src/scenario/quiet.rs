//! Faults that come when all is quiet: they do not happen, so a file that has one tests less than it says.
//!
//! Steps refer to steps above them only, so one look at each in its order is enough. What the seed decides is left to it:
//! a fault that may come before quiet is none of these.
//!
//! Must not know: what faults do.

use std::collections::BTreeSet;

use super::step::{Action, StepSpec, Trigger};
use crate::plan::PlannedStep;
use crate::units::Micros;

/// What matters of a step here.
#[derive(Debug, Clone, Copy)]
pub struct Brief<'a> {
    mark: Option<&'a str>,
    begins: Begins<'a>,
    is_quiet: bool,
    may_be_fault: bool,
}

#[derive(Debug, Clone, Copy)]
enum Begins<'a> {
    At {
        earliest: Micros,
        latest: Micros,
    },
    After(&'a str),
    /// From the very beginning.
    Every,
    /// When the step above is done, and something holds.
    Above,
}

/// When quiet is declared at the latest, if a step says so in its own time.
pub fn declared<'a>(steps: impl Iterator<Item = Brief<'a>>) -> Option<Micros> {
    let moments = steps.filter_map(|step| match step.begins {
        Begins::At { latest, .. } if step.is_quiet => Some(latest),
        _ => None,
    });
    moments.min()
}

/// The place of the first fault that certainly comes when quiet was declared.
pub fn first_too_late<'a>(steps: impl Iterator<Item = Brief<'a>> + Clone) -> Option<usize> {
    let declared = declared(steps.clone());
    let mut late_marks = BTreeSet::new();
    let mut above = false;
    for (place, step) in steps.enumerate() {
        let late = match step.begins {
            Begins::At { earliest, .. } => declared.is_some_and(|quiet| earliest >= quiet),
            Begins::After(mark) => late_marks.contains(mark),
            Begins::Every => false,
            Begins::Above => above,
        };
        if late && step.may_be_fault {
            return Some(place);
        }
        above = late || step.is_quiet;
        if above {
            late_marks.extend(step.mark);
        }
    }
    None
}

impl StepSpec {
    pub fn brief(&self) -> Brief<'_> {
        Brief {
            mark: self.name.as_deref(),
            begins: begins(&self.trigger, |draw| {
                let ends = draw.ends();
                let (earliest, latest) = (ends.iter().min(), ends.iter().max());
                Begins::At {
                    earliest: earliest.copied().unwrap_or_default(),
                    latest: latest.copied().unwrap_or_default(),
                }
            }),
            is_quiet: self.choices.iter().all(|action| *action == Action::Quiet),
            may_be_fault: self.choices.iter().any(Action::is_fault),
        }
    }
}

impl PlannedStep {
    pub fn brief(&self) -> Brief<'_> {
        Brief {
            mark: self.mark.as_deref(),
            begins: begins(&self.trigger, |at| Begins::At {
                earliest: *at,
                latest: *at,
            }),
            is_quiet: self.action == Action::Quiet,
            may_be_fault: self.action.is_fault(),
        }
    }
}

fn begins<'a, T>(trigger: &'a Trigger<T>, at: impl FnOnce(&T) -> Begins<'a>) -> Begins<'a> {
    match trigger {
        Trigger::At(moment) => at(moment),
        Trigger::After { mark, .. } => Begins::After(mark),
        Trigger::Every { .. } => Begins::Every,
        Trigger::When { .. } => Begins::Above,
    }
}
