//! Clients that are left some of their turns.

use std::collections::BTreeMap;

use crate::{sim, text};

/// (client, turn) -> what it asked for, without the number of the operation.
fn asked(trace: &str) -> BTreeMap<(String, String), String> {
    let invokes = trace.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (client, kind) = (words.next()?, words.next()?);
        let words: Vec<&str> = words.filter(|word| !word.starts_with('#')).collect();
        let turn = words.iter().find_map(|word| word.strip_prefix("turn="))?;
        (kind == "invoke").then(|| ((client.to_owned(), turn.to_owned()), words.join(" ")))
    });
    invokes.collect()
}

/// If this fails, the minimiser looks for a failure among statements that were never made.
#[test]
fn who_is_left_some_turns_does_in_them_what_it_did_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let traced = |name: &str, only: Option<&str>| {
        let file = folder.path().join(name).to_str().unwrap().to_owned();
        let mut arguments = vec!["run", "orderly-failover", "--seed", "3", "--trace", &file];
        let set = only.map(|only| format!("workload.append.only={only}"));
        if let Some(set) = &set {
            arguments.extend(["--set", set]);
        }
        let output = sim(&arguments);
        assert!(text(&output).contains("\ntrace hash: "), "{}", text(&output));
        std::fs::read_to_string(file).unwrap()
    };
    let of_workload = |trace: &str| -> BTreeMap<(String, String), String> {
        let all = asked(trace).into_iter();
        // What gets on at the end is another client's, and is not asked.
        all.filter(|((client, _), _)| client.starts_with("append.") && !client.ends_with(".last"))
            .collect()
    };
    let all = of_workload(&traced("all", None));
    let some = of_workload(&traced("some", Some("[1/3, 1/5..7, 2/4]")));
    assert!(all.len() > 20, "{all:?}");
    let wanted = [("1", "3"), ("1", "5"), ("1", "6"), ("1", "7"), ("2", "4")];
    let wanted: Vec<(String, String)> = wanted
        .iter()
        .map(|(client, turn)| (format!("append.{client}"), (*turn).to_owned()))
        .collect();
    assert_eq!(some.keys().cloned().collect::<Vec<_>>(), wanted);
    for (turn, words) in &some {
        assert_eq!(Some(words), all.get(turn), "{turn:?}");
    }
}
