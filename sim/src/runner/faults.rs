//! What a plan does to its world. One arm per action; the words are read in `scenario/step.rs`.

use super::Stage;
use crate::history::What;
use crate::scenario::disk;
use crate::scenario::step::{Action, Direction, Restart};

/// Carries out an action that is a fault or the end of one. SQL is the operator's, in `steps.rs`.
pub fn carry_out(stage: &Stage, action: &Action) {
    let world = &stage.world;
    match action {
        Action::Nothing | Action::Sql { .. } => {}
        Action::Partition { sides, direction } => partition(stage, sides, direction),
        Action::Heal => world.heal_all(),
        Action::Kill(name) => {
            if world.is_running(name) {
                stage.servers.forget(name);
                world.kill(name);
                stage.recorder.record(
                    name,
                    What::Down {
                        how: "killed".to_owned(),
                    },
                );
            }
        }
        Action::PowerOff(name) => {
            if world.is_running(name) {
                stage.servers.forget(name);
                world.power_off(name);
                stage.recorder.record(
                    name,
                    What::Down {
                        how: "without power".to_owned(),
                    },
                );
            }
        }
        Action::Pause(name) => world.pause(name),
        Action::Resume(name) => world.resume(name),
        Action::Restart(Restart::Server(name)) => restart(stage, name),
        Action::Restart(Restart::Down) => restart_all_down(stage),
        Action::Disk { server, settings, .. } => settings.apply(&world.disk(server)),
        // The disk tells where, as it tells of every fault.
        Action::Rot(name) => drop(world.disk(name).rot()),
        Action::Quiet => quiet(stage),
    }
}

fn restart(stage: &Stage, name: &str) {
    if stage.world.is_running(name) {
        stage.servers.forget(name);
        stage.world.kill(name);
        stage.recorder.record(
            name,
            What::Down {
                how: "killed".to_owned(),
            },
        );
    }
    stage.world.restart(name);
}

fn restart_all_down(stage: &Stage) {
    for server in &stage.plan.servers {
        if !stage.world.is_running(&server.name) {
            stage.world.restart(&server.name);
        }
    }
}

/// Ends every fault.
pub fn quiet(stage: &Stage) {
    for server in &stage.plan.servers {
        stage.world.resume(&server.name);
        disk::calm(&stage.world.disk(&server.name));
    }
    stage.world.heal_all();
    restart_all_down(stage);
    stage.recorder.record("operator", What::Quiet);
}

fn partition(stage: &Stage, sides: &[Vec<String>], direction: &Direction) {
    let sides: Vec<(usize, Vec<String>)> = sides.iter().map(|side| stage.plan.nodes_of(side)).enumerate().collect();
    let side_of = |name: &String| {
        sides
            .iter()
            .find(|(_, nodes)| nodes.contains(name))
            .map(|(index, _)| *index)
    };
    for (from_side, from_nodes) in &sides {
        for (to_side, to_nodes) in &sides {
            let cut = from_side != to_side
                && match direction {
                    Direction::Both => true,
                    Direction::OneWay { from, to } => {
                        side_of(from) == Some(*from_side) && side_of(to) == Some(*to_side)
                    }
                };
            if !cut {
                continue;
            }
            for from in from_nodes {
                for to in to_nodes {
                    stage.world.cut(from, to);
                }
            }
        }
    }
}
