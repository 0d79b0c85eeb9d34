//! The layers of `docs/architecture.md`, checked: which module may name which.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the source tree reads it from the disk"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules it may use. Listed bottom up; an arrow that is not here is a design change, and
/// `docs/architecture.md` changes with it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("runtime", &[]),
    ("chunk", &["runtime"]),
    ("prolly", &["chunk", "runtime"]),
    ("version", &["prolly", "chunk", "runtime"]),
    ("engine", &["version", "prolly", "chunk", "runtime"]),
    ("config", &[]),
    ("sql", &["engine", "version", "prolly", "chunk", "runtime"]),
    (
        "replication",
        &["config", "engine", "version", "prolly", "chunk", "runtime"],
    ),
    ("pg", &["sql", "engine", "version", "runtime"]),
    ("server", &["pg", "replication", "sql", "config", "engine", "runtime"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first path segment below `src`, without `.rs`: the layer a file belongs to.
fn layer(file: &Path, src: &Path) -> String {
    let first = file.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Names that follow `crate::` in code, also in groups: `use crate::{chunk::Hash, runtime}`.
fn named(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        let group = match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut parts = vec![String::new()];
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => parts.push(String::new()),
                        _ if depth == 0 => parts.last_mut().unwrap().push(character),
                        _ => {}
                    }
                }
                parts
            }
            None => vec![rest.to_owned()],
        };
        for part in group {
            let name: String = part
                .trim()
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[test]
fn arrows_between_layers_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    let mut offending = Vec::new();
    for file in files {
        let layer = layer(&file, &src);
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == layer) else {
            assert!(
                layer == "lib" || layer == "main",
                "{} belongs to no known layer",
                file.display()
            );
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        // Unit tests may assemble a server from above: the arrow counts for what ships.
        let code = if file.ends_with("tests.rs") {
            ""
        } else {
            text.split("\n#[cfg(test)]").next().unwrap()
        };
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            for name in named(line) {
                let known = ALLOWED.iter().any(|(module, _)| *module == name);
                if known && name != layer && !allowed.contains(&name.as_str()) {
                    offending.push(format!(
                        "{}:{}: {layer} must not know {name}",
                        file.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(offending.is_empty(), "\n{}", offending.join("\n"));
}

#[test]
fn the_check_sees_an_arrow_that_points_up() {
    assert_eq!(
        named("use crate::{chunk::{Hash, Store}, sql::Session};"),
        ["chunk", "sql"]
    );
    assert_eq!(named("let x = crate::pg::encode(crate::sql::Value);"), ["pg", "sql"]);
}
