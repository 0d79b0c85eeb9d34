//! Stories of three servers, in the manner of raft's test data.

use std::collections::BTreeMap;

use super::*;

/// `testdata/*.txt`, in the manner of raft's: a line is a command, what follows until an empty line is what it did.
#[test]
fn scripts() {
    for (name, script) in [
        ("failover.txt", include_str!("../../testdata/failover.txt")),
        ("split_brain.txt", include_str!("../../testdata/split_brain.txt")),
    ] {
        let replayed = replay(script);
        assert_eq!(
            replayed, script,
            "{name}; if the new behaviour is right, this is the new file:\n{replayed}"
        );
    }
}

/// Three servers A, B and C that speak to each other only when the script says so.
fn replay(script: &str) -> String {
    let ids = [("A", ME), ("B", PEER), ("C", THIRD)];
    let id = |name: &str| ids.iter().find(|(n, _)| *n == name).expect("a server of the script").1;
    let mut machines = BTreeMap::new();
    let mut out = String::new();
    for block in script.split("\n\n") {
        let mut comments = block.lines().take_while(|line| line.starts_with('#')).peekable();
        let has_comment = comments.peek().is_some();
        let comment: Vec<&str> = comments.collect();
        let Some(command) = block.lines().find(|line| !line.starts_with('#')) else {
            continue;
        };
        let words: Vec<&str> = command.split(' ').collect();
        let mut lines = Vec::new();
        let run = |name: &str, machine: RoleMachine, event: Event, lines: &mut Vec<String>| {
            let (after, effects) = machine.step(&event);
            lines.push(format!("{name}: {}", said(&effects)));
            lines.push(format!("{name} is {}@{}", after.role(), after.epoch()));
            after
        };
        match words[..] {
            [name, "starts", role, number] => {
                let (server, number) = (id(name), number.parse().unwrap());
                let role = Role::parse(role).unwrap();
                let evidence = (role == Primary).then_some(AcceptedPrimary {
                    epoch: epoch(number),
                    server,
                });
                let fresh = Standing {
                    server,
                    role,
                    epoch: epoch(number),
                    accepted: evidence,
                };
                machines.insert(name, RoleMachine::new(fresh));
                lines.push(format!("{name} is {role}@{number}"));
            }
            [name, "assumes", role, number] => {
                let event = Event::Assume {
                    role: role.to_owned(),
                    epoch: number.parse().unwrap(),
                };
                let after = run(name, machines[name].clone(), event, &mut lines);
                machines.insert(name, after);
            }
            [name, "preflight" | "drain", outcome] => {
                let good = outcome == "ok";
                let event = match words[1] {
                    "drain" => Event::DrainEnded { caught_up: good },
                    _ => Event::PreflightEnded { confirmed: good },
                };
                let after = run(name, machines[name].clone(), event, &mut lines);
                machines.insert(name, after);
            }
            [from, "pushes", "to", to] if machines[from].role() != Primary => {
                lines.push(format!("{from}: not a primary, nothing reaches {to}"));
            }
            [from, "pushes", "to", to] => {
                let (role, number) = (machines[from].role(), machines[from].epoch());
                let event = Event::Request {
                    peer: id(from),
                    role: Some(role),
                    epoch: Some(number),
                };
                let receiver = run(to, machines[to].clone(), event, &mut lines);
                let answer = Response::Member {
                    peer: id(to),
                    role: receiver.role(),
                    epoch: receiver.epoch(),
                    accepted: receiver.standing().accepted,
                };
                machines.insert(to, receiver);
                let sender = run(from, machines[from].clone(), Event::Response(answer), &mut lines);
                machines.insert(from, sender);
            }
            _ => panic!("no such command: {command}"),
        }
        if has_comment {
            out.push_str(&comment.join("\n"));
            out.push('\n');
        }
        out.push_str(command);
        out.push('\n');
        out.push_str(&lines.join("\n"));
        out.push_str("\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// With the names of the script.
fn said(effects: &[Effect]) -> String {
    match brief(effects)
        .replace(":me", ":A")
        .replace(":peer", ":B")
        .replace(":third", ":C")
    {
        nothing if nothing.is_empty() => "-".to_owned(),
        something => something,
    }
}
