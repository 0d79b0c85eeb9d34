//! The layers of `docs/architecture.md`, checked: which module may name which.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the source tree reads it from the disk"
)]

use std::collections::BTreeSet;
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
    ("config", &["engine"]),
    ("sql", &["engine", "version", "chunk", "runtime"]),
    ("replication", &["config", "engine", "chunk", "runtime"]),
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

/// How many modules deep a file is: `src/sql/plan/mod.rs` and `src/sql/plan.rs` are two deep.
fn depth(file: &Path, src: &Path) -> usize {
    let below = file.strip_prefix(src).unwrap().components().count();
    below - usize::from(file.ends_with("mod.rs"))
}

/// The text without comments and without items for tests, every line still at its number.
///
/// The formatter ends an item at the indentation it began with, and nothing else is needed here of Rust's grammar.
fn shipped(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.split("//").next().unwrap();
        if code.trim() != "#[cfg(test)]" {
            out.push_str(code);
            out.push('\n');
            continue;
        }
        out.push('\n');
        let indent = code.len() - code.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        for line in lines.by_ref() {
            out.push('\n');
            let at_its_level = line.len() - line.trim_start().len() == indent;
            let is_attribute = line.trim_start().starts_with("#[");
            if line.starts_with(&end) || (at_its_level && !is_attribute && line.trim_end().ends_with([';', '}'])) {
                break;
            }
        }
    }
    out
}

/// Names at the root of the crate that are used in a module `depth` deep, with their line: what follows `crate::` or enough
/// `super::`, also in groups over several lines: `use crate::{chunk::Hash, runtime}`.
fn named(code: &str, depth: usize) -> Vec<(usize, String)> {
    let up = "super::".repeat(depth);
    let mut names = Vec::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':')) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + prefix.len()..];
            for part in group(rest) {
                let name: String = part
                    .trim()
                    .chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect();
                if !name.is_empty() {
                    names.push((line, name));
                }
            }
        }
    }
    names.sort();
    names
}

/// The parts of `{a, b::{c, d}}`, or the text itself.
fn group(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![text.to_owned()];
    };
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

#[test]
fn arrows_between_layers_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    let mut offending = Vec::new();
    let mut unused: BTreeSet<(&str, &str)> = ALLOWED
        .iter()
        .flat_map(|(layer, allowed)| allowed.iter().map(|below| (*layer, *below)))
        .collect();
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
        // Unit tests may assemble a server from above: the arrow counts for what ships.
        if is_of_tests(&file) {
            continue;
        }
        let code = shipped(&fs::read_to_string(&file).unwrap());
        for (line, name) in named(&code, depth(&file, &src)) {
            unused.retain(|arrow| *arrow != (layer.as_str(), name.as_str()));
            let known = ALLOWED.iter().any(|(module, _)| *module == name);
            if known && name != layer && !allowed.contains(&name.as_str()) {
                offending.push(format!("{}:{line}: {layer} must not know {name}", file.display()));
            }
        }
    }
    assert!(offending.is_empty(), "\n{}", offending.join("\n"));
    assert!(unused.is_empty(), "allowed, and nothing that ships uses it: {unused:?}");
}

/// Files whose module is declared for tests alone: `tests.rs`, `more_tests.rs`, and all in a folder `tests`.
fn is_of_tests(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests")
        || file
            .file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

#[test]
fn the_page_has_the_same_arrows() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md")).unwrap();
    for (layer, allowed) in ALLOWED {
        let row = format!("| {layer} | {} |", allowed.join(", "));
        assert!(page.contains(&row), "docs/architecture.md lacks the row {row:?}");
    }
}

#[test]
fn the_check_sees_an_arrow_that_points_up() {
    let names = |code: &str, depth| -> Vec<String> { named(code, depth).into_iter().map(|(_, name)| name).collect() };
    assert_eq!(
        names("use crate::{chunk::{Hash, Store}, sql::Session};", 1),
        ["chunk", "sql"]
    );
    assert_eq!(names("let x = crate::pg::encode(crate::sql::Value);", 1), ["pg", "sql"]);
    assert_eq!(
        named(
            "use crate::{\n    chunk::Hash,\n    pg::{\n        encode,\n    },\n};",
            1
        ),
        [(1, "chunk".to_owned()), (1, "pg".to_owned())]
    );
    assert_eq!(names("use super::super::pg::encode;", 2), ["pg"]);
    assert_eq!(names("use super::types;", 2), [""; 0]);
    assert_eq!(depth(Path::new("src/sql/plan/mod.rs"), Path::new("src")), 2);
    assert_eq!(depth(Path::new("src/sql/plan/scan.rs"), Path::new("src")), 3);
}

#[test]
fn the_check_sees_what_stands_behind_tests() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nuse crate::pg;\n#[cfg(test)]\nmod more {\n    use crate::server;\n}\n\
                impl X {\n    #[cfg(test)]\n    #[must_use]\n    fn f() {\n        crate::server::g();\n    }\n\n    fn h() {\n        \
                crate::sql::i(); // crate::server\n    }\n}\n";
    let found = named(&shipped(text), 1);
    assert_eq!(found, [(4, "pg".to_owned()), (17, "sql".to_owned())]);
}
