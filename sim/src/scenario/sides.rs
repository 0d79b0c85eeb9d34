//! Who stands where when links are cut, slowed or clogged, and which way.

use std::fmt;

use super::Names;
use super::cluster::parse_arrow;
use super::step::Direction;
use crate::yaml::{Complaint, Node};

/// Servers, and workloads for all their clients. Whoever stands on no side reaches everybody.
pub type Sides = Vec<Vec<String>>;

/// Stands for all servers and workloads that are not named.
const REST: &str = "rest";

pub fn parse_sides(node: &Node, names: &Names) -> Result<Sides, Complaint> {
    let everybody: Vec<&str> = names
        .servers
        .iter()
        .chain(&names.workloads)
        .map(String::as_str)
        .collect();
    let mut allowed = everybody.clone();
    allowed.push(REST);
    let mut sides: Sides = Vec::new();
    for side in node.strict_list("sides")? {
        let mut members = Vec::new();
        for member in side.strict_list("sides")? {
            let name = member.word("sides", &allowed)?.to_owned();
            if members.contains(&name) || sides.iter().any(|side| side.contains(&name)) {
                return Err(member.complain(format!("sides: {name:?} stands on two sides")));
            }
            members.push(name);
        }
        sides.push(members);
    }
    let named: Vec<String> = sides.iter().flatten().cloned().collect();
    let others = everybody
        .into_iter()
        .filter(|name| !named.iter().any(|known| known == name));
    let others: Vec<String> = others.map(str::to_owned).collect();
    for side in &mut sides {
        if let Some(index) = side.iter().position(|name| name == REST) {
            side.splice(index..=index, others.iter().cloned());
        }
    }
    if sides.len() < 2 || sides.iter().any(Vec::is_empty) {
        return Err(node.complain("sides: at least two sides with somebody on each are due, as in [[a], [b, c]]"));
    }
    Ok(sides)
}

/// `both` if nothing is said.
pub fn parse_direction(node: Option<&Node>, sides: &Sides, names: &Names) -> Result<Vec<Direction>, Complaint> {
    let Some(node) = node else {
        return Ok(vec![Direction::Both]);
    };
    let mut choices = Vec::new();
    for node in node.list() {
        choices.push(match node.text("direction")? {
            "both" => Direction::Both,
            "flapping" => Direction::Flapping,
            arrow => {
                let (from, to) = parse_arrow(arrow, names)
                    .map_err(|error| node.complain(format!("direction: {error}, or both, or flapping")))?;
                let side_of = |name: &String| sides.iter().position(|side| side.contains(name));
                if side_of(&from).is_none() || side_of(&to).is_none() || side_of(&from) == side_of(&to) {
                    return Err(node.complain(format!("direction: {from} and {to} must stand on different sides")));
                }
                Direction::OneWay { from, to }
            }
        });
    }
    if choices.is_empty() {
        return Err(node.complain("direction: an empty list leaves nothing to draw"));
    }
    Ok(choices)
}

pub fn written(sides: &Sides) -> String {
    let sides: Vec<String> = sides.iter().map(|side| format!("[{}]", side.join(", "))).collect();
    format!("[{}]", sides.join(", "))
}

/// Every (from, to) of nodes that a direction concerns. `nodes_of` says which nodes a side has.
pub fn ways(
    sides: &Sides,
    direction: &Direction,
    nodes_of: impl Fn(&[String]) -> Vec<String>,
) -> Vec<(String, String)> {
    let nodes: Vec<Vec<String>> = sides.iter().map(|side| nodes_of(side)).collect();
    let side_of = |name: &String| nodes.iter().position(|side| side.contains(name));
    let concerns = |from_side: usize, to_side: usize| match direction {
        Direction::Both | Direction::Flapping => from_side != to_side,
        Direction::OneWay { from, to } => side_of(from) == Some(from_side) && side_of(to) == Some(to_side),
    };
    let mut ways = Vec::new();
    for (from_side, from_nodes) in nodes.iter().enumerate() {
        for (to_side, to_nodes) in nodes
            .iter()
            .enumerate()
            .filter(|(to_side, _)| concerns(from_side, *to_side))
        {
            debug_assert_ne!(from_side, to_side, "a side reaches itself");
            for from in from_nodes {
                ways.extend(to_nodes.iter().map(|to| (from.clone(), to.clone())));
            }
        }
    }
    ways
}

/// In a ring of servers, the ways between those that are no neighbours.
pub fn ring_ways(servers: &[String]) -> Vec<(String, String)> {
    let count = servers.len();
    let mut ways = Vec::new();
    for (place, from) in servers.iter().enumerate() {
        for (other, to) in servers.iter().enumerate() {
            let apart = (place + count - other) % count;
            if !matches!(apart, 0 | 1) && apart != count - 1 {
                ways.push((from.clone(), to.clone()));
            }
        }
    }
    ways
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Direction::Both => f.write_str("both"),
            Direction::Flapping => f.write_str("flapping"),
            Direction::OneWay { from, to } => write!(f, "{from}->{to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(servers: &[&str], workloads: &[&str]) -> Names {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names {
            servers: own(servers),
            workloads: own(workloads),
            ..Names::default()
        }
    }

    fn sides(text: &str, names: &Names) -> Result<Sides, Complaint> {
        parse_sides(&Node::parse("f.yaml", text).unwrap(), names)
    }

    fn pairs(ways: &[(String, String)]) -> Vec<String> {
        ways.iter().map(|(from, to)| format!("{from}{to}")).collect()
    }

    #[test]
    fn rest_is_everybody_who_is_not_named() {
        let names = names(&["a", "b", "c"], &["bank"]);
        assert_eq!(written(&sides("[[b], [rest]]", &names).unwrap()), "[[b], [a, c, bank]]");
        assert_eq!(
            written(&sides("[[b], [rest], [bank]]", &names).unwrap()),
            "[[b], [a, c], [bank]]"
        );
        for (text, part) in [
            ("[[a, b, c, bank], [rest]]", "somebody on each"),
            ("[[a, rest], [rest]]", "stands on two sides"),
            ("[[d], [rest]]", "allowed here: a, b, c, bank, rest"),
            ("[[a]]", "at least two sides"),
        ] {
            let error = sides(text, &names).unwrap_err();
            assert!(error.what.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_direction_concerns_its_sides_alone() {
        let names = names(&["a", "b", "c", "d"], &[]);
        let three = sides("[[a, b], [c], [d]]", &names).unwrap();
        let both = ways(&three, &Direction::Both, <[String]>::to_vec);
        assert_eq!(
            pairs(&both),
            ["ac", "bc", "ad", "bd", "ca", "cb", "cd", "da", "db", "dc"]
        );
        let one = Direction::OneWay {
            from: "c".into(),
            to: "b".into(),
        };
        assert_eq!(pairs(&ways(&three, &one, <[String]>::to_vec)), ["ca", "cb"]);
    }

    #[test]
    fn in_a_ring_everybody_reaches_a_majority_and_no_two_the_same() {
        let servers: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let cut = pairs(&ring_ways(&servers));
        assert_eq!(cut, ["ac", "ad", "bd", "be", "ca", "ce", "da", "db", "eb", "ec"]);
        assert_eq!(pairs(&ring_ways(&servers[..4])), ["ac", "bd", "ca", "db"]);
        assert!(ring_ways(&servers[..3]).is_empty());
    }

    #[test]
    fn bad_directions_name_what_is_allowed() {
        let names = names(&["a", "b", "c"], &[]);
        let two = sides("[[a, b], [c]]", &names).unwrap();
        for (text, part) in [
            ("sideways", "or both, or flapping"),
            ("a->b", "must stand on different sides"),
            ("[]", "an empty list"),
        ] {
            let node = Node::parse("f.yaml", text).unwrap();
            let error = parse_direction(Some(&node), &two, &names).unwrap_err();
            assert!(error.what.contains(part), "{text}: {error}");
        }
    }
}
