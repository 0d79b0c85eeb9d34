//! The runner: a plan, carried out in a simulated world.

use crate::plan::Plan;
use crate::report::Report;
use crate::trace::Trace;

pub fn run(_plan: &Plan, _trace: Trace) -> Result<Report, String> {
    todo!("lands with the simulated world")
}
