//! What the lock file may not hold, and what the manifests need not.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the source tree reads it from the disk"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Crates that go round the one door, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "draws entropy that the simulator cannot seed"),
    (
        "openssl-sys",
        "links a system library: a fresh machine has only the Rust toolchain",
    ),
    (
        "madsim-tonic",
        "replaces the RPC stack that the simulator is there to test",
    ),
];

#[test]
fn the_lock_file_holds_no_banned_crate() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    for (name, reason) in BANNED {
        assert!(
            !lock.contains(&format!("\nname = \"{name}\"\n")),
            "{name} is in the lock file: it {reason}"
        );
    }
    assert!(lock.contains("\nname = \"tokio\"\n"), "the lock file is read");
}

#[test]
fn no_dependency_is_patched() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    assert!(!manifest.contains("[patch"), "the simulator runs the crates that ship");
}

/// Named by no source file, with the reason why they are here.
const UNNAMED: &[(&str, &str)] = &[("tonic-prost", "the code that build.rs makes names it")];

/// A crate that nothing names is built, audited and updated for nothing.
#[test]
fn every_direct_dependency_is_named_in_a_source_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["src", "tests", "benches", "build.rs"].map(|path| root.join(path));
    let members = [
        (root.join("Cargo.toml"), own.to_vec()),
        (
            root.join("sim/Cargo.toml"),
            vec![root.join("sim/src"), root.join("sim/tests")],
        ),
    ];
    for (manifest, places) in members {
        let mut text = String::new();
        places.iter().for_each(|place| read_sources(place, &mut text));
        let named: BTreeSet<&str> = text
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .collect();
        let dependencies = direct_dependencies(&fs::read_to_string(&manifest).unwrap());
        assert!(dependencies.contains("tokio"), "{} is read", manifest.display());
        for name in dependencies {
            let is_excused = UNNAMED.iter().any(|(excused, _)| *excused == name);
            assert!(
                is_excused || named.contains(name.replace('-', "_").as_str()),
                "{}: no source file names {name}: remove it, or say why it is here",
                manifest.display()
            );
        }
    }
}

fn read_sources(path: &Path, into: &mut String) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            read_sources(&entry.unwrap().path(), into);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        // Comments name crates too, and use none.
        for line in fs::read_to_string(path).unwrap().lines() {
            into.push_str(line.split("//").next().unwrap_or_default());
            into.push('\n');
        }
    }
}

/// The keys of all sections of a manifest that list dependencies.
fn direct_dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lists_dependencies = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            lists_dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if let (true, Some((name, _))) = (lists_dependencies, line.split_once('=')) {
            found.insert(name.trim().to_owned());
        }
    }
    found
}
