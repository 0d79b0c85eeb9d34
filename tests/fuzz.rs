//! The corpus that fuzzing has kept: every input is fed to its target on every change.

#![expect(clippy::disallowed_methods, reason = "reads the corpus from the source tree")]

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;

use targets::TARGETS;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn no_input_of_the_corpus_does_harm() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 3, "the corpus of {name} has {} inputs", inputs.len());
        for (path, input) in inputs {
            println!("{path}");
            target(&input);
        }
    }
}

/// Every input once more with one byte changed, in a few places: so that a target that stopped looking is noticed by time
/// and coverage, and a new weakness early.
#[test]
fn no_input_with_a_changed_byte_does_harm() {
    for (name, target) in TARGETS {
        for (_, input) in corpus(name) {
            let step = (input.len() / 16).max(1);
            for at in (0..input.len()).step_by(step) {
                let mut changed = input.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
                target(&changed[..at]);
            }
        }
    }
}

/// Whether to write what is kept anew: UNDERSTUDY_WRITE_CORPUS is `store`, and then, in another build, `inputs`. Run both
/// after the format has changed.
fn writes(what: &str) -> bool {
    std::env::var_os("UNDERSTUDY_WRITE_CORPUS").is_some_and(|word| word == what)
}

/// The first inputs of each corpus are what the store and the maps themselves make.
#[test]
fn the_corpus_holds_what_is_valid() {
    let fresh = valid_inputs();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, name, input) in fresh {
        let path = folder.join(target).join(name);
        if writes("inputs") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &input).unwrap();
        }
        assert_eq!(
            std::fs::read(&path).ok().as_ref(),
            Some(&input),
            "{}: the format has changed; write the corpus again",
            path.display()
        );
    }
}

/// The store that inputs are put into is one that is made today, but for its id; and its checksums are those that the
/// target would give it.
#[test]
fn the_kept_store_is_of_todays_format() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let disk = runtime.unwrap().block_on(targets::make_small_store());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/store");
    let made: Vec<_> = disk.list("s").unwrap().into_iter().map(|entry| entry.name).collect();
    if writes("store") {
        std::fs::create_dir_all(&folder).unwrap();
        for name in &made {
            let bytes = disk.read(&format!("s/{name}")).unwrap();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    assert_eq!(made, targets::SMALL_STORE.map(|(name, _)| name));
    for (name, bytes) in targets::SMALL_STORE {
        let fresh = disk.read(&format!("s/{name}")).unwrap();
        assert_eq!(fresh.len(), bytes.len(), "{name}");
        assert_eq!(targets::with_checksums(name, bytes), bytes, "{name}");
        if name.ends_with(".seg") {
            // What it holds; ids and checksums differ.
            assert_eq!(fresh[28..88], bytes[28..88], "{name}");
        }
    }
}

fn valid_inputs() -> Vec<(&'static str, String, Vec<u8>)> {
    use understudy::chunk::{ChunkBatch, Hash, NoChunks, ReadChunks};
    use understudy::prolly::Map;
    use understudy::version::{Commit, Person, RootValue, Value, encode_tuple};

    let mut inputs = Vec::new();
    for (number, (name, bytes)) in targets::SMALL_STORE.into_iter().enumerate() {
        let mut input = vec![number as u8];
        input.extend_from_slice(bytes);
        inputs.push(("store", name.to_owned(), input));
    }
    let mut batch = ChunkBatch::new(&NoChunks);
    let entries = (0..2000u32).map(|i| (i.to_be_bytes().to_vec(), vec![i as u8 & 0x7f; 20]));
    let map = Map::build(&mut batch, entries).unwrap();
    let leaf = understudy::prolly::references(&batch.get(&map.root()).unwrap()).unwrap()[0];
    inputs.push(("node", "interior".to_owned(), batch.get(&map.root()).unwrap().to_vec()));
    inputs.push(("node", "leaf".to_owned(), batch.get(&leaf).unwrap().to_vec()));
    let empty = Map::empty(&mut batch);
    inputs.push(("node", "empty".to_owned(), batch.get(&empty.root()).unwrap().to_vec()));
    let person = Person {
        name: "a".to_owned(),
        email: "a@b".to_owned(),
        time: understudy::runtime::WallTime::from_micros(1_000_000),
    };
    let commit = Commit {
        root: Hash::of(b"root"),
        parents: vec![Hash::of(b"parent")],
        height: 2,
        author: person.clone(),
        committer: person,
        message: "message".to_owned(),
    };
    let commit = commit.store(&mut batch);
    let root = RootValue::new(&mut batch, &["public"]).unwrap().store(&mut batch);
    for (name, hash) in [("commit", commit), ("root_value", root)] {
        inputs.push(("object", name.to_owned(), batch.get(&hash).unwrap().to_vec()));
    }
    inputs.push(("object", "empty".to_owned(), Vec::new()));
    let row = vec![
        Value::Bool(true),
        Value::Bytea(vec![1, 2]),
        Value::Text("text".to_owned()),
        Value::Null,
    ];
    for which in 0..3u8 {
        let mut input = vec![which];
        input.extend_from_slice(&encode_tuple(&row).bytes);
        inputs.push(("tuple", format!("row{which}"), input));
    }
    inputs
}
