//! Runs a storage engine on its own: the driver, in virtual time, with its log lines in the trace.

use std::sync::Arc;
use std::time::Duration;

use understudy::runtime;

use super::Trouble;
use super::World;
use super::observer::NodeNames;
use crate::history::FinalState;
use crate::plan::Plan;
use crate::record::Recorder;
use crate::storage::drive::{NODE, drive};

pub async fn play(
    plan: Arc<Plan>,
    world: World,
    recorder: Recorder,
    names: NodeNames,
) -> (FinalState, Option<Trouble>) {
    // All of it runs as one node: what a dead process has left behind fails at its dead disk.
    names.enter(NODE);
    let storage = plan.storage.as_ref().expect("the plan is one for storage");
    let trouble = tokio::select! {
        biased;
        () = recorder.violated() => None,
        () = drive(storage, plan.seed, &recorder, || world.arm_sites(&[])) => None,
        () = runtime::sleep(Duration::from_micros(plan.ends_at())) => {
            Some(Trouble::TimeIsUp("the newest events say what it waits for".to_owned()))
        }
    };
    (FinalState::default(), trouble)
}
