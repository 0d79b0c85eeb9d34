//! Role machines alone: a handful of servers that send each other what real ones send, with operators who do whatever
//! they like, links that are cut, disks that fail and crashes, a thousand schedules in the time of one simulated server.
//!
//! What the rest of the server does is left out: an automatic change happens at once, a drain succeeds or does not.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const SCHEDULES: u64 = 10_000;
const STEPS: usize = 150;
/// Rounds of everybody asking everybody, after which nothing changes any more.
const ROUNDS: usize = 8;

struct Node {
    machine: RoleMachine,
    /// What a restart finds.
    stored: Standing,
    gate_is_open: bool,
    /// Reports that are due to the machine.
    due: Vec<Due>,
}

#[derive(Clone, Copy, PartialEq)]
enum Due {
    Preflight,
    Drain,
    Retry,
}

struct Packet {
    from: usize,
    to: usize,
    event: Event,
}

struct Model {
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
    flight: Vec<Packet>,
    /// Nothing gets from the first to the second.
    cut: BTreeSet<(usize, usize)>,
    /// Primaries of one epoch of which one has heard from the other.
    met: BTreeSet<(Epoch, usize, usize)>,
    disks_fail: bool,
    /// What happened, for whoever reads a failure.
    story: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(2..=4);
        let nodes = (0..count).map(|index| {
            let role = if index == 0 || rng.random_bool(0.2) {
                Role::Primary
            } else {
                Role::Standby
            };
            let server = ServerId([u8::try_from(index).expect("a handful"); 16]);
            let epoch = Epoch::new(rng.random_range(0..3)).expect("small");
            let accepted = (role == Role::Primary).then_some(AcceptedPrimary { epoch, server });
            let stored = Standing {
                server,
                role,
                epoch,
                accepted,
            };
            Node {
                machine: RoleMachine::new(stored),
                stored,
                gate_is_open: role == Role::Primary,
                due: Vec::new(),
            }
        });
        let nodes = nodes.collect();
        Model {
            nodes,
            flight: Vec::new(),
            cut: BTreeSet::new(),
            met: BTreeSet::new(),
            disks_fail: rng.random_bool(0.3),
            story: Vec::new(),
            rng,
        }
    }

    fn accepts_writes(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.gate_is_open && node.machine.role() == Role::Primary && !node.machine.is_stuck()
    }

    /// One thing that may happen.
    fn happen(&mut self) {
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..20) {
            0..6 => self.ask_all(node),
            6..14 => self.deliver(),
            14 => {
                let other = self.rng.random_range(0..self.nodes.len());
                if !self.cut.remove(&(node, other)) {
                    self.cut.insert((node, other));
                }
            }
            15 | 16 => {
                let highest = self.nodes.iter().map(|node| node.machine.epoch().as_i64()).max();
                let epoch = highest.unwrap_or_default() + self.rng.random_range(-1..=2);
                let role = *["primary", "standby", "detected_broken_config", "boss"]
                    .choose_weighted(&mut self.rng, |role| if role.len() == 7 { 10 } else { 1 })
                    .expect("there are roles");
                let event = Event::Assume {
                    role: role.to_owned(),
                    epoch,
                };
                self.tell(node, &event);
            }
            17 | 18 => self.report(node),
            _ => {
                let index = node;
                let node = &mut self.nodes[index];
                if node.machine.is_stuck() {
                    // It never got to write down what it had heard, and has to hear it again.
                    self.met
                        .retain(|(_, first, second)| *first != index && *second != index);
                }
                node.machine = RoleMachine::new(node.stored);
                node.gate_is_open = node.stored.role == Role::Primary;
                node.due.clear();
                self.story.push(format!("{:?} restarts", node.stored));
            }
        }
    }

    /// A primary sends to every peer; the others have nothing to say.
    fn ask_all(&mut self, from: usize) {
        let standing = *self.nodes[from].machine.standing();
        if standing.role != Role::Primary {
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let event = Event::Request {
                peer: standing.server,
                role: Some(standing.role),
                epoch: Some(standing.epoch),
            };
            self.flight.push(Packet { from, to, event });
        }
    }

    /// Any packet, since connections are many; it is lost if the way is cut by now.
    fn deliver(&mut self) {
        if self.flight.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.flight.len());
        let Packet { from, to, event } = self.flight.swap_remove(index);
        if self.cut.contains(&(from, to)) {
            return;
        }
        if let Event::Request {
            role: Some(Role::Primary),
            epoch: Some(epoch),
            ..
        } = &event
        {
            let receiver = self.nodes[to].machine.standing();
            if receiver.role == Role::Primary && receiver.epoch == *epoch && !self.nodes[to].machine.is_stuck() {
                self.met.insert((*epoch, from.min(to), from.max(to)));
            }
        }
        let effects = self.tell(to, &event);
        let answers = |effect: &Effect| matches!(effect, Effect::Serve | Effect::Refuse(_));
        if effects.iter().any(answers) {
            let standing = *self.nodes[to].machine.standing();
            let event = Event::Response(Response::Member {
                peer: standing.server,
                role: standing.role,
                epoch: standing.epoch,
                accepted: standing.accepted,
            });
            self.flight.push(Packet {
                from: to,
                to: from,
                event,
            });
        }
    }

    fn report(&mut self, node: usize) {
        let Some(due) = self.nodes[node].due.pop() else { return };
        let good = self.rng.random_bool(0.7);
        let event = match due {
            Due::Preflight => Event::PreflightEnded { confirmed: good },
            Due::Drain => Event::DrainEnded { caught_up: good },
            Due::Retry => Event::RetryStore,
        };
        self.tell(node, &event);
    }

    /// Tells a machine, carries out what it asks for, and looks at what came of it.
    fn tell(&mut self, index: usize, event: &Event) -> Vec<Effect> {
        let fails = self.disks_fail && self.rng.random_bool(0.2);
        let node = &mut self.nodes[index];
        let before = *node.machine.standing();
        let (after, effects) = node.machine.step(event);
        let mut after = Some(after);
        if !effects.iter().any(|effect| matches!(effect, Effect::Store { .. })) {
            node.machine = after.take().expect("it was made above");
        }
        let mut done = Vec::new();
        for effect in effects {
            match &effect {
                Effect::Preflight => node.due.push(Due::Preflight),
                Effect::Drain => node.due.push(Due::Drain),
                Effect::CloseWriters => node.gate_is_open = false,
                Effect::OpenWriters => node.gate_is_open = true,
                Effect::Store { standing, on_failure } if fails => {
                    if *on_failure == OnStoreFailure::StayClosed {
                        node.machine = node.machine.step(&Event::StoreFailed { wanted: *standing }).0;
                        node.due.push(Due::Retry);
                    }
                    break;
                }
                Effect::Store { standing, .. } => {
                    node.stored = *standing;
                    node.machine = after.take().expect("a step stores once");
                }
                Effect::Enter { role, .. } if *role != Role::Primary => node.gate_is_open = false,
                _ => {}
            }
            done.push(effect);
        }
        self.story.push(format!(
            "{index} hears {event:?}: {:?}",
            self.nodes[index].machine.standing()
        ));
        self.look(index, &before, event);
        done
    }

    fn look(&self, index: usize, before: &Standing, event: &Event) {
        let node = &self.nodes[index];
        let (now, stored) = (node.machine.standing(), &node.stored);
        let story = || self.story.join("\n");
        assert!(now.epoch >= before.epoch, "the epoch of {index} decreased\n{}", story());
        assert!(
            stored.epoch >= now.epoch,
            "{index} shows what it has not stored\n{}",
            story()
        );
        if now.role == Role::Primary && before.role != Role::Primary {
            assert!(
                matches!(event, Event::Assume { .. }),
                "{index} became primary by itself\n{}",
                story()
            );
        }
        if now.epoch == before.epoch && now.role != before.role {
            assert_eq!(
                now.role,
                Role::DetectedBrokenConfig,
                "{index} changed within its epoch\n{}",
                story()
            );
        }
        let known = |standing: &Standing| standing.accepted.map(|primary| primary.epoch);
        assert!(known(now) >= known(before), "{index} forgot a primary\n{}", story());
        assert!(
            known(now) <= Some(now.epoch),
            "{index} is behind its primary\n{}",
            story()
        );
        for &(epoch, first, second) in &self.met {
            let writes = |node: usize| self.accepts_writes(node) && self.nodes[node].machine.epoch() == epoch;
            assert!(
                !(writes(first) && writes(second)),
                "{first} and {second} have met and both accept writes at {epoch:?}\n{}",
                story()
            );
        }
    }

    /// Operators rest, links and disks work: everybody hears of everybody until nothing changes.
    fn settle(&mut self) {
        self.cut.clear();
        self.disks_fail = false;
        for _ in 0..ROUNDS {
            for node in 0..self.nodes.len() {
                while !self.nodes[node].due.is_empty() {
                    self.report(node);
                }
                self.ask_all(node);
            }
            while !self.flight.is_empty() {
                self.deliver();
            }
        }
        let writers: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.accepts_writes(*node))
            .collect();
        assert!(
            writers.len() <= 1,
            "{writers:?} accept writes in the end\n{}",
            self.story.join("\n")
        );
    }
}

/// After first contact at most one server accepts writes at an epoch; epochs never decrease; nobody becomes primary by
/// itself; and once everybody hears everybody, at most one accepts writes at all.
#[test]
fn c_109_at_most_one_server_accepts_writes_at_an_epoch_once_they_have_met() {
    let (mut met, mut broken, mut writers) = (0, 0, BTreeMap::<usize, u64>::new());
    for seed in 0..SCHEDULES {
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.happen();
        }
        met += u64::from(!model.met.is_empty());
        let is_broken = |node: &Node| node.machine.role() == Role::DetectedBrokenConfig;
        broken += u64::from(model.nodes.iter().any(is_broken));
        let writing = (0..model.nodes.len())
            .filter(|node| model.accepts_writes(*node))
            .count();
        *writers.entry(writing).or_default() += 1;
        model.settle();
    }
    // What is looked at does happen: contacts, broken servers, and several writers before they meet.
    assert!(met > 500 && broken > 500, "{met} {broken}");
    assert!(writers.len() >= 3, "{writers:?}");
}
