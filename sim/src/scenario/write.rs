//! A plan as a scenario file: the way back from what was drawn to something a person can read and change.
//!
//! Invariant: what this writes is read back as the same plan, whatever the seed draws elsewhere; only steps without a
//! name are called by other lines.
//!
//! Must not know: why somebody wants the file.

use std::fmt::Write as _;

use super::step::{Action, Condition, Expect, Restart, Trigger};
use super::{fault, sides, survivable};
use crate::check::CheckUse;
use crate::draw::Draw;
use crate::plan::{Link, Plan, PlannedServer, PlannedStep, PlannedWorkload};
use crate::units::{Micros, show_micros};

/// The scenario `name`, of which every seed makes this plan. A store on its own has no such form: its plan is a list of
/// operations that no file can say.
pub fn scenario_file(plan: &Plan, name: &str, about: &str) -> Option<String> {
    if plan.storage.is_some() {
        return None;
    }
    let mut text = format!(
        "scenario: {name}\nabout: {}\nseed: {}\ntime_limit: {}\n{}buggify: {}\n{}cluster:\n{}  servers:\n",
        quoted(about),
        plan.seed,
        time(plan.time_limit),
        if survivable::is_so(plan) {
            ""
        } else {
            "survivable: false\n"
        },
        written_sites(&plan.buggify),
        plan.nodes.map(|bytes| format!("nodes: {bytes}\n")).unwrap_or_default(),
        if plan.sql { "" } else { "  sql: off\n" }
    );
    for server in &plan.servers {
        let _ = writeln!(text, "    {}: {}", server.name, written_server(server));
    }
    let _ = write!(text, "network: {{ {}", written_link(&plan.client_link));
    if let Some(window) = plan.window {
        let _ = write!(text, ", window: {window}");
    }
    let special: Vec<String> = plan
        .links
        .iter()
        .filter(|(_, link)| **link != plan.client_link)
        .map(|((from, to), link)| format!("{from}->{to}: {{ {} }}", written_link(link)))
        .collect();
    if !special.is_empty() {
        let _ = write!(text, ", links: {{ {} }}", special.join(", "));
    }
    text.push_str(" }\n");
    if !plan.workload.is_empty() {
        text.push_str("workload:\n");
        for workload in &plan.workload {
            let _ = writeln!(text, "  - {}", written_workload(workload));
        }
    }
    if plan.steps.is_empty() {
        text.push_str("steps: []\n");
    } else {
        text.push_str("steps:\n");
        for step in &plan.steps {
            let _ = writeln!(text, "  - {{ {} }}", written_step(step));
        }
    }
    text.push_str("check:\n");
    for (section, checks) in [
        ("always", &plan.always),
        ("finally", &plan.finally),
        ("sometimes", &plan.sometimes),
    ] {
        if !checks.is_empty() {
            let checks: Vec<String> = checks.iter().map(CheckUse::to_string).collect();
            let _ = writeln!(text, "  {section}: [{}]", checks.join(", "));
        }
    }
    Some(text)
}

fn written_sites(sites: &[String]) -> String {
    match sites {
        [] => "off".to_owned(),
        sites => format!("[{}]", sites.join(", ")),
    }
}

/// JSON's quoting is understood by YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn time(micros: Micros) -> String {
    show_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

fn written_server(server: &PlannedServer) -> String {
    let mut parts = Vec::new();
    if let Some(member) = &server.member {
        parts.push(format!(
            "role: {}, epoch: {}, standbys: [{}]",
            member.role.word(),
            member.epoch,
            member.standbys.join(", ")
        ));
    }
    if (server.clock_offset, server.clock_drift_ppm, server.clock_jump) != (0, 0, None) {
        let jump = server
            .clock_jump
            .map(|(every, by)| format!(", jump: {{ every: {}, by: {} }}", time(every), show_micros(by)));
        parts.push(format!(
            "clock: {{ offset: {}, drift: {}{} }}",
            show_micros(server.clock_offset),
            server.clock_drift_ppm,
            jump.unwrap_or_default()
        ));
    }
    if !server.knobs.is_empty() {
        parts.push(format!("knobs: {}", server.knobs));
    }
    parts.push(format!("disk: {}", server.disk.written()));
    format!("{{ {} }}", parts.join(", "))
}

fn written_link(link: &Link) -> String {
    let mut text = format!(
        "latency: {}, jitter: {}, loss: {}.{:06}",
        time(link.latency),
        time(link.jitter),
        link.loss_ppm / 1_000_000,
        link.loss_ppm % 1_000_000
    );
    if let Some(bandwidth) = link.bandwidth {
        let _ = write!(text, ", bandwidth: {bandwidth}B/s");
    }
    text
}

fn written_workload(workload: &PlannedWorkload) -> String {
    let spec = &workload.spec;
    let mut text = format!("{}: {{ ", spec.kind);
    if spec.name != spec.kind {
        let _ = write!(text, "as: {}, ", spec.name);
    }
    let _ = write!(
        text,
        "on: {}, clients: {}, every: {}, from: {}, until: {}",
        spec.on,
        workload.clients,
        time(workload.pause),
        spec.from,
        spec.until
    );
    for (name, draw) in &spec.params {
        let _ = write!(text, ", {name}: {}", written_draw(draw));
    }
    if let Some(turns) = &spec.only {
        let _ = write!(text, ", only: [{turns}]");
    }
    text + " }"
}

fn written_draw(draw: &Draw<u64>) -> String {
    match draw {
        Draw::One(value) => value.to_string(),
        Draw::Range(low, high) => format!("{low}..{high}"),
        Draw::Among(choices) => format!("[{}]", choices.iter().map(written_draw).collect::<Vec<_>>().join(", ")),
    }
}

fn written_step(step: &PlannedStep) -> String {
    let mut parts = vec![match &step.trigger {
        Trigger::At(at) => format!("at: {}", time(*at)),
        Trigger::After { mark, delay: 0 } => format!("after: {mark}"),
        Trigger::After { mark, delay } => format!("after: {mark} + {}", time(*delay)),
        Trigger::Every { period, until } => format!("every: {}, until: {until}", time(*period)),
        Trigger::When { condition, within } => {
            format!("when: {}, within: {}", written_condition(condition), time(*within))
        }
    }];
    parts.extend(step.mark.as_ref().map(|mark| format!("name: {mark}")));
    parts.extend(written_action(&step.action));
    parts.join(", ")
}

fn written_condition(condition: &Condition) -> String {
    let list = |parts: &[Condition]| parts.iter().map(written_condition).collect::<Vec<_>>().join(", ");
    match condition {
        Condition::Role(wanted) => {
            let wanted: Vec<String> = wanted
                .iter()
                .map(|(name, role, epoch)| format!("{name}: {}@{epoch}", role.word()))
                .collect();
            format!("{{ role: {{ {} }} }}", wanted.join(", "))
        }
        Condition::Sql { server, run, rows } => format!(
            "{{ sql: {{ server: {server}, run: {}, rows: {} }} }}",
            quoted(run),
            serde_json::json!(rows)
        ),
        Condition::All(parts) => format!("{{ all: [{}] }}", list(parts)),
        Condition::Any(parts) => format!("{{ any: [{}] }}", list(parts)),
    }
}

/// None: just wait. A new action gets its line here, or its plans cannot be written.
fn written_action(action: &Action) -> Option<String> {
    Some(match action {
        Action::Nothing => return None,
        Action::Sql { servers, run, expect } => {
            let server = match &servers[..] {
                [one] => one.as_str(),
                _ => "all",
            };
            let expect = match expect {
                Expect::Ok => "ok".to_owned(),
                Expect::Any => "any".to_owned(),
                Expect::SqlState(code) => format!("sqlstate {code}"),
                Expect::Rows(rows) => format!("{{ rows: {} }}", serde_json::json!(rows)),
            };
            format!("sql: {{ server: {server}, run: {}, expect: {expect} }}", quoted(run))
        }
        Action::Partition {
            sides,
            direction,
            lasts,
        } => {
            let lasts = lasts
                .iter()
                .map(|lasts| format!(", for: {}", lasts.written(fault::time)));
            format!(
                "partition: {{ sides: {}, direction: {direction}{} }}",
                sides::written(sides),
                lasts.collect::<String>()
            )
        }
        Action::Heal => "heal: all".to_owned(),
        Action::Kill(name) => format!("kill: {name}"),
        Action::PowerOff(name) => format!("power_off: {name}"),
        Action::Pause(name) => format!("pause: {name}"),
        Action::Resume(name) => format!("resume: {name}"),
        Action::Restart(Restart::Server(name)) => format!("restart: {name}"),
        Action::Restart(Restart::Down) => "restart: down".to_owned(),
        Action::Disk { server, settings, .. } => {
            let settings = settings.written();
            format!("disk: {{ server: {server}, {}", settings.trim_start_matches("{ "))
        }
        Action::Rot(name) => format!("rot: {name}"),
        Action::Fault(fault) => fault.written(),
        Action::Quiet => "quiet: all".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::scenario::Scenario;
    use crate::scenario::step;
    use crate::scenario::tests::parse_example;

    /// The plan without what is called by lines.
    fn without_lines(plan: &Plan) -> serde_json::Value {
        let mut plan = plan.clone();
        for step in &mut plan.steps {
            step.label = step.mark.clone().unwrap_or_default();
        }
        for workload in &mut plan.workload {
            // What is drawn is drawn: the file says the result.
            workload.spec.clients = Draw::One(workload.clients);
            workload.spec.pace = crate::workload::Pace::Every(Draw::One(workload.pause));
        }
        plan.scenario = String::new();
        plan.swarm.clear();
        serde_json::to_value(plan).unwrap()
    }

    fn check(plan: &Plan) {
        let text = scenario_file(plan, "again", "It: says \"so\".").unwrap();
        let scenario = Scenario::parse("again.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(scenario.seed, Some(plan.seed));
        // Another seed has nothing left to draw.
        let mut again = Plan::new(&scenario, plan.seed + 1);
        again.seed = plan.seed;
        assert_eq!(without_lines(&again), without_lines(plan), "{text}");
    }

    #[test]
    fn every_plan_of_the_repository_is_read_back() {
        let mut servers = 0;
        for name in files::scenario_names().unwrap() {
            let (file, text) = files::read_scenario(&name).unwrap();
            let scenario = Scenario::parse(&file, &text).unwrap();
            for seed in 0..20 {
                let plan = Plan::new(&scenario, seed);
                if plan.storage.is_some() {
                    assert_eq!(scenario_file(&plan, "again", ""), None);
                } else {
                    check(&plan);
                    servers += 1;
                }
            }
        }
        assert!(servers >= 100, "{servers}");
        for seed in 0..20 {
            let mut plan = Plan::new(&parse_example(), seed);
            check(&plan);
            let turns = [(1, 3), (1, 4), (2, 9)]
                .into_iter()
                .take(usize::try_from(seed % 4).unwrap());
            plan.workload[0].spec.only = Some(turns.collect());
            check(&plan);
        }
    }

    /// If this fails, a new action has no line above, or the list below none for it.
    #[test]
    fn every_action_is_read_back() {
        let actions = [
            (
                "sql",
                "sql: { server: all, run: \"SELECT '\\\\\\\"'\", expect: { rows: [[\"1\", \"x y\"], [\"2\", \"\"]] } }",
            ),
            ("partition", "partition: { sides: [[a], [b]], direction: a->b }"),
            ("heal", "heal: all"),
            ("kill", "kill: a"),
            ("power_off", "power_off: b"),
            ("pause", "pause: a"),
            ("resume", "resume: a"),
            ("restart", "restart: a"),
            (
                "disk",
                "disk: { server: b, latency: 2ms, lost: 1.5%, sync_fails_after: 3, full_after: 64KiB, stuck_for: 9s }",
            ),
            ("rot", "rot: a"),
            ("isolate", "isolate: b"),
            ("bridge", "bridge: c"),
            ("ring", "ring: { for: 2s }"),
            ("swizzle", "swizzle: { cut: [a, b, c], each: 100ms..2s }"),
            (
                "slow",
                "slow: { sides: [[a], [rest]], direction: [both, a->b, flapping], latency: 1ms..2s, jitter: 3ms, loss: 0..5%, bandwidth: 2kB/s, for: 1s }",
            ),
            ("clog", "clog: { sides: [[a], [rest]], direction: b->a, for: 1s..9s }"),
            (
                "drop_connections",
                "drop_connections: { between: [a, b], noticed: [both, first, second, neither] }",
            ),
            ("drop_clients", "drop_clients: { of: all, how: [killed, silent] }"),
            ("duplicate", "duplicate: { server: b }"),
            ("move", "move: { server: b, lag: 0s..5s }"),
            ("stall", "stall: { server: b, share: 50%..99%, for: 3s }"),
            ("wipe", "wipe: b"),
            ("reconfigure", "reconfigure: { server: a, standbys: [b] }"),
            ("clock", "clock: { server: b, jump: -36s..36s, drift: -200..200 }"),
            (
                "operator",
                "operator: [{ promote: a }, { hand_over: a->b }, { twice: b }, { both: [a, b] }, { old_epoch: a }]",
            ),
            ("repair", "repair: all"),
            ("mend", "mend: all"),
            ("quiet", "quiet: all"),
        ];
        for (word, _) in step::actions() {
            assert!(actions.iter().any(|(known, _)| known == word), "{word} is not tried");
        }
        let condition = "{ any: [{ role: { b: primary@2 } }, { all: [{ sql: { server: a, run: \"SELECT 1\", rows: [[\"1\"]] } }] }] }";
        for (_, action) in actions {
            let text = format!(
                "scenario: x\nabout: x\ntime_limit: 1m\ncluster: {{ servers: {{ a: {{}}, b: {{}}, c: {{}}, d: {{}} }} }}\nnetwork: {{ bandwidth: 1MB/s }}\nworkload:\n  \
                 - append: {{ on: any, every: 1s, until: m, txn: [1, 3..4] }}\nsteps:\n  - {{ at: 1.000001s, name: m, {action} }}\n  \
                 - {{ every: 7us, until: m, {action} }}\n  - {{ when: {condition}, within: 3s }}\ncheck: {{ finally: [{{ clean_logs: [\"a: b\", c] }}] }}\n"
            );
            let scenario = Scenario::parse("x.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            check(&Plan::new(&scenario, 5));
        }
    }
}
