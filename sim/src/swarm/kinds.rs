//! The kinds of fault that a swarm draws, and what one strike of each is.

use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::log_uniform;
use crate::draw::{self, Draw};
use crate::plan::Plan;
use crate::scenario::cluster::{MemberSpec, Role};
use crate::scenario::disk::{DAMAGING, DiskSettings, DiskSpec, NONE};
use crate::scenario::fault::{Fault, LinkChange, Noticed, Operation};
use crate::scenario::sides::Sides;
use crate::scenario::step::{Action, Direction, Restart};
use crate::units::Micros;

pub struct Kind {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it only makes things late, so that a light swarm has it, too.
    pub gentle: bool,
    pub strike: fn(&mut Strike<'_>),
}

/// One strike, while it is drawn.
pub struct Strike<'a> {
    pub plan: &'a Plan,
    pub rng: &'a mut ChaCha8Rng,
    pub at: Micros,
    /// How long it lasts at most.
    pub longest: Micros,
    pub actions: Vec<(Micros, Action)>,
}

/// The kind after which a disk no longer holds what it should.
pub const DAMAGE: &str = "damage";
/// The kind after which a server has nothing.
pub const WIPE: &str = "wipe";

pub const KINDS: &[Kind] = &[
    Kind {
        name: "kill",
        about: "a server's process dies and is started again",
        gentle: false,
        strike: |strike| strike.away(Action::Kill),
    },
    Kind {
        name: "power_off",
        about: "a server loses power and gets it back",
        gentle: false,
        strike: |strike| strike.away(Action::PowerOff),
    },
    Kind {
        name: "pause",
        about: "a server stops, and goes on believing what it believed",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            strike.now(Action::Pause(server.clone()));
            strike.then(Action::Resume(server));
        },
    },
    Kind {
        name: "stall",
        about: "a server gets a small share of its processor",
        gentle: true,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let share = Draw::One(strike.rng.random_range(500_000..=990_000));
            let lasts = strike.lasts();
            strike.now(Action::Fault(Fault::Stall { server, share, lasts }));
        },
    },
    Kind {
        name: "partition",
        about: "links are cut: both ways, one way or flapping",
        gentle: false,
        strike: |strike| {
            let Some(sides) = strike.sides() else { return };
            let direction = strike.direction(&sides);
            let lasts = Some(strike.lasts());
            strike.now(Action::Partition {
                sides,
                direction,
                lasts,
            });
        },
    },
    Kind {
        name: "bridge",
        about: "some servers reach all others, who fall into two halves or reach their two neighbours alone",
        gentle: false,
        strike: |strike| {
            let mut others = strike.servers();
            if others.len() < 3 {
                return;
            }
            let lasts = Some(strike.lasts());
            if others.len() > 3 && strike.rng.random_bool(0.3) {
                strike.now(Action::Fault(Fault::Ring { lasts }));
                return;
            }
            others.shuffle(strike.rng);
            others.pop();
            let second = others.split_off(strike.rng.random_range(1..others.len()));
            strike.now(Action::Partition {
                sides: vec![others, second],
                direction: Direction::Both,
                lasts,
            });
        },
    },
    Kind {
        name: "swizzle",
        about: "servers are cut off one after the other and come back in another order",
        gentle: false,
        strike: |strike| {
            let mut cut = strike.servers();
            if cut.len() < 2 {
                return;
            }
            cut.shuffle(strike.rng);
            let mut heal = cut.clone();
            heal.shuffle(strike.rng);
            let each = strike.lasts();
            strike.now(Action::Fault(Fault::Swizzle { cut, heal, each }));
        },
    },
    Kind {
        name: "clog",
        about: "what is sent waits and comes all at once",
        gentle: true,
        strike: |strike| {
            let Some(sides) = strike.sides() else { return };
            let direction = strike.steady_direction(&sides);
            let lasts = strike.lasts();
            strike.now(Action::Fault(Fault::Clog {
                sides,
                direction,
                lasts,
            }));
        },
    },
    Kind {
        name: "slow",
        about: "links get far, uneven, lossy or narrow, one way or both",
        gentle: true,
        strike: |strike| {
            let Some(sides) = strike.sides() else { return };
            let mut change = LinkChange::default();
            match strike.rng.random_range(0..4) {
                0 => change.latency = Some(Draw::One(log_uniform(strike.rng, 10_000, 1_000_000))),
                1 => change.loss_ppm = Some(Draw::One(strike.rng.random_range(10_000..=300_000))),
                2 => change.jitter = Some(Draw::One(log_uniform(strike.rng, 10_000, 1_000_000))),
                _ => change.bandwidth = Some(Draw::One(log_uniform(strike.rng, 2_000, 200_000))),
            }
            let direction = strike.steady_direction(&sides);
            let lasts = Some(strike.lasts());
            strike.now(Action::Fault(Fault::Slow {
                sides,
                direction,
                change,
                lasts,
            }));
        },
    },
    Kind {
        name: "drop_connections",
        about: "connections between two servers end, and one, both or neither is told",
        gentle: true,
        strike: |strike| {
            let Some((first, second)) = strike.pair() else { return };
            let noticed = *Noticed::ALL.choose(strike.rng).expect("there are some");
            strike.now(Action::Fault(Fault::DropConnections {
                between: (first, second),
                noticed,
            }));
        },
    },
    Kind {
        name: "drop_clients",
        about: "the clients of a workload vanish in the middle of what they do",
        gentle: true,
        strike: |strike| {
            let names: Vec<String> = strike
                .plan
                .workload
                .iter()
                .map(|workload| workload.spec.name.clone())
                .collect();
            let Some(name) = names.choose(strike.rng).cloned() else {
                return;
            };
            let silent = strike.rng.random_bool(0.1);
            strike.now(Action::Fault(Fault::DropClients {
                workloads: vec![name],
                silent,
            }));
        },
    },
    Kind {
        name: "duplicate",
        about: "a middlebox sends what comes for a server twice",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let lasts = Some(strike.lasts());
            strike.now(Action::Fault(Fault::Duplicate { server, lasts }));
        },
    },
    Kind {
        name: "move",
        about: "a server gets another address",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let lag = Draw::One(strike.rng.random_range(0..=5_000_000));
            strike.now(Action::Fault(Fault::Move { server, lag }));
        },
    },
    Kind {
        name: "clock",
        about: "a server's clock jumps or drifts",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let far = i64::try_from(log_uniform(strike.rng, 10_000, 120_000_000)).expect("two minutes fit");
            let far = if strike.rng.random_bool(0.5) { far } else { -far };
            let drift = strike.rng.random_range(-1_000..=1_000);
            let (jump, drift) = match strike.rng.random_bool(0.7) {
                true => (Some(Draw::One(far)), None),
                false => (None, Some(Draw::One(drift))),
            };
            strike.now(Action::Fault(Fault::Clock {
                server,
                offset: None,
                jump,
                drift,
            }));
        },
    },
    Kind {
        name: "slow_disk",
        about: "syncs take long, or now and then very long",
        gentle: true,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let before = strike.plan.servers.iter().find(|planned| planned.name == server);
            let usual = before.and_then(|planned| planned.disk.get("latency")).unwrap_or(200);
            let latency = log_uniform(strike.rng, 1_000, 1_000_000);
            strike.disk_for_a_while(&server, "latency", latency, usual);
        },
    },
    Kind {
        name: "full_disk",
        about: "a server's disk takes little more for a while",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let fits = log_uniform(strike.rng, 1, 100_000);
            strike.disk_for_a_while(&server, "full_after", fits, NONE);
        },
    },
    Kind {
        name: "failing_sync",
        about: "syncs of a server's disk fail; the operator restarts it then",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let share = log_uniform(strike.rng, 1_000, 1_000_000);
            let over = strike.disk_for_a_while(&server, "sync_fails", share, 0);
            strike.actions.push((over, Action::Restart(Restart::Server(server))));
        },
    },
    Kind {
        name: "stuck_disk",
        about: "now and then a sync takes seconds",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let share = log_uniform(strike.rng, 10_000, 500_000);
            // One that is stuck when all becomes quiet must not be taken for a slow server ten seconds later.
            let stuck_for = log_uniform(strike.rng, 500_000, 9_000_000);
            strike.now(disk(&server, "stuck_for", stuck_for));
            strike.disk_for_a_while(&server, "stuck", share, 0);
        },
    },
    Kind {
        name: "misread",
        about: "reads of a server's disk see a flipped bit; what lies on it is right",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let share = log_uniform(strike.rng, 1_000, 100_000);
            strike.disk_for_a_while(&server, "misread", share, 0);
        },
    },
    Kind {
        name: DAMAGE,
        about: "one server's disk, a standby's at first, loses, misdirects or corrupts what it is given, or rots",
        gentle: false,
        strike: |strike| {
            // Always the same one of a seed: then everything that is damaged there is right elsewhere.
            let Some(server) = strike.damaged() else { return };
            match DAMAGING.get(strike.rng.random_range(0..=DAMAGING.len())) {
                Some(word) => {
                    let share = log_uniform(strike.rng, 1_000, 100_000);
                    strike.disk_for_a_while(&server, word, share, 0);
                }
                None => strike.now(Action::Rot(server)),
            }
        },
    },
    Kind {
        name: "reconfigure",
        about: "the operator takes a standby out of a server's configuration, and later back in",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.server() else { return };
            let all = strike.standbys_of(&server);
            // None at all is another kind of server.
            if all.len() < 2 {
                return;
            }
            let out = all.choose(strike.rng).cloned();
            let fewer = all.iter().filter(|name| Some(*name) != out.as_ref()).cloned().collect();
            strike.now(Action::Fault(Fault::Reconfigure {
                server: server.clone(),
                standbys: fewer,
            }));
            strike.then(Action::Fault(Fault::Reconfigure { server, standbys: all }));
        },
    },
    Kind {
        name: "operator",
        about: "the operator moves the primary role, orderly or by force",
        gentle: false,
        strike: |strike| {
            let Some((first, second)) = strike.pair() else { return };
            let operation = match strike.rng.random_bool(0.5) {
                true => Operation::HandOver(first, second),
                false => Operation::Promote(first),
            };
            strike.now(Action::Fault(Fault::Operator(operation)));
        },
    },
    Kind {
        name: "blunder",
        about: "the operator promotes twice, both, or at an epoch that is over",
        gentle: false,
        strike: |strike| {
            let Some((first, second)) = strike.pair() else { return };
            let operation = match strike.rng.random_range(0..3) {
                0 => Operation::Twice(first),
                1 => Operation::Both(first, second),
                _ => Operation::OldEpoch(first),
            };
            strike.now(Action::Fault(Fault::Operator(operation)));
        },
    },
    Kind {
        name: WIPE,
        about: "a server that was set up as a standby loses its disk and starts anew",
        gentle: false,
        strike: |strike| {
            let Some(server) = strike.standbys().choose(strike.rng).cloned() else {
                return;
            };
            strike.now(Action::Fault(Fault::Wipe(server.clone())));
            strike.then(Action::Restart(Restart::Server(server)));
        },
    },
];

fn disk(server: &str, word: &'static str, value: u64) -> Action {
    Action::Disk {
        server: server.to_owned(),
        spec: DiskSpec::default(),
        settings: DiskSettings::of(word, value),
    }
}

impl Strike<'_> {
    fn now(&mut self, action: Action) {
        self.actions.push((self.at, action));
    }

    /// When it has lasted; gives that moment.
    fn then(&mut self, action: Action) -> Micros {
        let over = self.at + self.lasts().settled();
        self.actions.push((over, action));
        over
    }

    /// What a disk does until it has lasted, and then as before; gives that moment.
    fn disk_for_a_while(&mut self, server: &str, word: &'static str, value: u64, usual: u64) -> Micros {
        self.now(disk(server, word, value));
        self.then(disk(server, word, usual))
    }

    fn lasts(&mut self) -> Draw<Micros> {
        Draw::One(self.rng.random_range(self.longest / 4..=self.longest).max(1))
    }

    fn servers(&self) -> Vec<String> {
        self.plan.servers.iter().map(|server| server.name.clone()).collect()
    }

    /// Those that were set up as standbys: what was set up as a primary would come back from an empty disk as one, of an
    /// epoch that others have.
    fn standbys(&self) -> Vec<String> {
        let standby = |member: &MemberSpec| member.role == Role::Standby;
        let servers = self.plan.servers.iter();
        let standbys = servers.filter(|server| server.member.as_ref().is_some_and(standby));
        standbys.map(|server| server.name.clone()).collect()
    }

    /// Those that the configuration of a server names.
    fn standbys_of(&self, server: &str) -> Vec<String> {
        let planned = self.plan.servers.iter().find(|planned| planned.name == server);
        let member = planned.and_then(|planned| planned.member.as_ref());
        member.map(|member| member.standbys.clone()).unwrap_or_default()
    }

    /// The one server of this seed whose disk may be damaged.
    fn damaged(&self) -> Option<String> {
        let mut rng = draw::stream(self.plan.seed, "swarm/damaged");
        self.standbys().choose(&mut rng).cloned()
    }

    fn server(&mut self) -> Option<String> {
        self.servers().choose(self.rng).cloned()
    }

    fn pair(&mut self) -> Option<(String, String)> {
        let mut servers = self.servers();
        servers.shuffle(self.rng);
        match &servers[..] {
            [first, second, ..] => Some((first.clone(), second.clone())),
            _ => None,
        }
    }

    fn away(&mut self, how: fn(String) -> Action) {
        let Some(server) = self.server() else { return };
        self.now(how(server.clone()));
        self.then(Action::Restart(Restart::Server(server)));
    }

    /// Two sides with a server on at least one; workloads stand on either, or reach both.
    fn sides(&mut self) -> Option<Sides> {
        let mut sides: Sides = vec![Vec::new(), Vec::new()];
        let mut servers = self.servers();
        servers.shuffle(self.rng);
        let workloads: Vec<String> = self
            .plan
            .workload
            .iter()
            .map(|workload| workload.spec.name.clone())
            .collect();
        // As often one alone as any split.
        let first = match self.rng.random_bool(0.5) {
            true => 1,
            false => self.rng.random_range(0..=servers.len()),
        };
        for (place, server) in servers.into_iter().enumerate() {
            sides[usize::from(place >= first)].push(server);
        }
        for workload in workloads {
            let side = self.rng.random_range(0..3);
            if side < 2 {
                sides[side].push(workload);
            }
        }
        (!sides.iter().any(Vec::is_empty)).then_some(sides)
    }

    /// One that does not come and go.
    fn steady_direction(&mut self, sides: &Sides) -> Direction {
        match self.direction(sides) {
            Direction::Flapping => Direction::Both,
            direction => direction,
        }
    }

    fn direction(&mut self, sides: &Sides) -> Direction {
        let servers = self.servers();
        let on = |side: &Vec<String>| side.iter().find(|name| servers.contains(name)).cloned();
        match (self.rng.random_range(0..4), on(&sides[0]), on(&sides[1])) {
            (0, ..) => Direction::Flapping,
            (1, Some(from), Some(to)) | (2, Some(to), Some(from)) => Direction::OneWay { from, to },
            _ => Direction::Both,
        }
    }
}
