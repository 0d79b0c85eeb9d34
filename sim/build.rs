//! Says which commit this is built from, so that a failure that is kept can say so too.

use std::hash::{DefaultHasher, Hasher};
use std::process::Command;

/// What the simulator's behaviour follows from, seen from this package.
const SOURCES: [&str; 5] = ["src", "../src", "../proto", "../Cargo.lock", "../Cargo.toml"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // The second changes with every commit, the first when another branch is checked out.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={}", path.trim());
        }
    }
    println!("cargo::rustc-env=UNDERSTUDY_COMMIT={}", commit());
}

/// The commit, with a mark of what was changed since; `unknown` without a repository.
fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let commit = commit.trim();
    let mut diff = vec!["diff", "HEAD", "--"];
    diff.extend(SOURCES);
    match git(&diff) {
        Some(changes) if !changes.is_empty() => {
            let mut hasher = DefaultHasher::new();
            hasher.write(changes.as_bytes());
            format!("{commit}+{:08x}", hasher.finish() & 0xffff_ffff)
        }
        _ => commit.to_owned(),
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
