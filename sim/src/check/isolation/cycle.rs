//! The smallest forbidden cycle of a graph of dependencies.
//!
//! Strongly connected components first: most graphs have none, and a search begins only within one. Then, from each of
//! its transactions, the shortest way back that keeps to the rule of the anomaly looked for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use super::lists::{Dependency, Edge, Graph};

/// What a cycle may be made of.
#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    /// How many rw edges; None: any number, no two in a row.
    reads: Option<usize>,
    wr: bool,
    session: bool,
}

/// The worst first; what needs a session to be wrong last.
const RULES: [Rule; 7] = [
    Rule {
        name: "G0",
        reads: Some(0),
        wr: false,
        session: false,
    },
    Rule {
        name: "G1c",
        reads: Some(0),
        wr: true,
        session: false,
    },
    Rule {
        name: "G-single",
        reads: Some(1),
        wr: true,
        session: false,
    },
    Rule {
        name: "G-nonadjacent",
        reads: None,
        wr: true,
        session: false,
    },
    Rule {
        name: "G1c-session",
        reads: Some(0),
        wr: true,
        session: true,
    },
    Rule {
        name: "G-single-session",
        reads: Some(1),
        wr: true,
        session: true,
    },
    Rule {
        name: "G-nonadjacent-session",
        reads: None,
        wr: true,
        session: true,
    },
];

/// The smallest cycle of the worst kind.
pub fn smallest(graph: &Graph) -> Option<(&'static str, Vec<Edge>)> {
    let component = components(graph);
    RULES.iter().find_map(|rule| {
        let cycles = (0..graph.edges.len()).filter_map(|start| search(graph, &component, start, *rule));
        cycles.min_by_key(Vec::len).map(|cycle| (rule.name, cycle))
    })
}

/// How far a search has come: where, how many rw edges count, whether the first and the last edge were such.
type State = (usize, usize, bool, bool);

/// The shortest cycle through `start` that keeps to the rule.
fn search(graph: &Graph, component: &[usize], start: usize, rule: Rule) -> Option<Vec<Edge>> {
    let allowed = |kind: Dependency| match kind {
        Dependency::WriteWrite | Dependency::ReadWrite => true,
        Dependency::WriteRead => rule.wr,
        Dependency::Session => rule.session,
    };
    let inside = |edge: &&Edge| component[edge.to] == component[start] && allowed(edge.kind);
    let begin: State = (start, 0, false, false);
    let mut came: BTreeMap<State, (State, Edge)> = BTreeMap::new();
    let mut queue = VecDeque::from([begin]);
    while let Some(state) = queue.pop_front() {
        let (at, reads, first, last) = state;
        for edge in graph.edges[at].iter().filter(inside) {
            let is_read = edge.kind == Dependency::ReadWrite;
            let is_first = state == begin;
            let first = if is_first { is_read } else { first };
            let reads = match rule.reads {
                Some(most) if reads + usize::from(is_read) > most => continue,
                Some(_) => reads + usize::from(is_read),
                None if is_read && last => continue,
                None => 0,
            };
            let next: State = (edge.to, reads, first, is_read);
            if edge.to == start {
                let closes = match rule.reads {
                    Some(most) => reads == most,
                    // The last and the first edge are in a row, too.
                    None => !(is_read && first),
                };
                if closes {
                    return Some(way(&came, state, edge));
                }
                continue;
            }
            if let Entry::Vacant(entry) = came.entry(next) {
                entry.insert((state, edge.clone()));
                queue.push_back(next);
            }
        }
    }
    None
}

fn way(came: &BTreeMap<State, (State, Edge)>, mut state: State, last: &Edge) -> Vec<Edge> {
    let mut edges = vec![last.clone()];
    while let Some((before, edge)) = came.get(&state) {
        edges.push(edge.clone());
        state = *before;
    }
    edges.reverse();
    edges
}

/// The number of each node's strongly connected component (Tarjan, without recursion).
fn components(graph: &Graph) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let count = graph.edges.len();
    let (mut index, mut low, mut component) = (vec![NEW; count], vec![0; count], vec![NEW; count]);
    let (mut next, mut found) = (0, 0);
    let mut stack = Vec::new();
    for root in 0..count {
        if index[root] != NEW {
            continue;
        }
        // (node, how many of its edges were looked at)
        let mut calls = vec![(root, 0)];
        while let Some((node, looked)) = calls.last_mut() {
            let node = *node;
            if *looked == 0 && index[node] == NEW {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            }
            if let Some(edge) = graph.edges[node].get(*looked) {
                *looked += 1;
                let to = edge.to;
                if index[to] == NEW {
                    calls.push((to, 0));
                } else if component[to] == NEW {
                    low[node] = low[node].min(index[to]);
                }
                continue;
            }
            calls.pop();
            if let Some((parent, _)) = calls.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = found;
                    if member == node {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(count: usize, edges: &[(usize, usize, Dependency)]) -> Graph {
        let mut graph = Graph {
            edges: vec![Vec::new(); count],
        };
        for (from, to, kind) in edges {
            graph.edges[*from].push(Edge {
                from: *from,
                to: *to,
                kind: *kind,
                list: Some(("t".into(), 0)),
            });
        }
        graph
    }

    fn found(count: usize, edges: &[(usize, usize, Dependency)]) -> Option<(&'static str, usize)> {
        smallest(&graph(count, edges)).map(|(name, cycle)| (name, cycle.len()))
    }

    const WW: Dependency = Dependency::WriteWrite;
    const WR: Dependency = Dependency::WriteRead;
    const RW: Dependency = Dependency::ReadWrite;

    #[test]
    fn each_kind_of_cycle_has_its_name() {
        assert_eq!(found(3, &[(0, 1, WW), (1, 2, WR), (0, 2, RW)]), None);
        assert_eq!(found(2, &[(0, 1, WW), (1, 0, WW)]), Some(("G0", 2)));
        assert_eq!(found(2, &[(0, 1, WW), (1, 0, WR)]), Some(("G1c", 2)));
        assert_eq!(found(3, &[(0, 1, WW), (1, 2, WR), (2, 0, RW)]), Some(("G-single", 3)));
        let apart = [(0, 1, RW), (1, 2, WR), (2, 3, RW), (3, 0, WW)];
        assert_eq!(found(4, &apart), Some(("G-nonadjacent", 4)));
    }

    #[test]
    fn what_only_a_session_makes_wrong_has_its_name() {
        let session = Dependency::Session;
        assert_eq!(found(2, &[(0, 1, session), (1, 0, WW)]), Some(("G1c-session", 2)));
        assert_eq!(found(2, &[(0, 1, session), (1, 0, RW)]), Some(("G-single-session", 2)));
        let apart = [(0, 1, RW), (1, 2, session), (2, 3, RW), (3, 0, session)];
        assert_eq!(found(4, &apart), Some(("G-nonadjacent-session", 4)));
        // Who is in a skew with the first may well be seen by the second.
        assert_eq!(found(3, &[(0, 1, RW), (1, 0, RW), (0, 2, session), (1, 2, WR)]), None);
        // What is wrong without it is called so.
        let both = [(0, 1, WR), (1, 2, WR), (2, 0, RW), (0, 2, session)];
        assert_eq!(found(3, &both), Some(("G-single", 3)));
    }

    #[test]
    fn write_skew_is_what_snapshots_allow() {
        assert_eq!(found(2, &[(0, 1, RW), (1, 0, RW)]), None);
        assert_eq!(found(3, &[(0, 1, RW), (1, 2, RW), (2, 0, WW)]), None);
        // The last and the first edge are in a row.
        assert_eq!(found(3, &[(0, 1, RW), (1, 2, WW), (2, 0, RW)]), None);
    }

    #[test]
    fn the_smallest_of_several_is_shown_and_the_worst_first() {
        let long = [(0, 1, WR), (1, 2, WR), (2, 3, WR), (3, 0, RW), (4, 5, WW), (5, 4, RW)];
        assert_eq!(found(6, &long), Some(("G-single", 2)));
        let worse = [&long[..], &[(2, 0, WW)]].concat();
        assert_eq!(found(6, &worse), Some(("G1c", 3)));
    }

    #[test]
    fn components_are_those_that_reach_each_other() {
        let graph = graph(
            6,
            &[(0, 1, WW), (1, 2, WW), (2, 0, WW), (2, 3, WW), (3, 4, WW), (4, 3, WW)],
        );
        let component = components(&graph);
        assert!(component[0] == component[1] && component[1] == component[2]);
        assert!(component[3] == component[4] && component[3] != component[0]);
        assert!(component[5] != component[0] && component[5] != component[3]);
    }
}
