//! What the lock file may not hold.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the source tree reads it from the disk"
)]

use std::fs;

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
