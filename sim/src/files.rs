//! The simulator's own files: scenarios in, traces out. The simulated servers never get here.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the simulator's tool reads and writes real files, outside any simulated run"
)]

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The repository that cargo runs this from, else the one that it was built from: clones may share a target folder.
fn repository_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().unwrap_or(Path::new(".")).to_owned()
}

/// The same; nothing, if that is where we are, so that what is printed can be pasted.
fn root() -> PathBuf {
    let root = repository_root();
    match std::env::current_dir() {
        Ok(here) if here == root => PathBuf::new(),
        _ => root,
    }
}

/// Where the repository keeps its scenarios.
pub fn scenario_folder() -> PathBuf {
    root().join("scenarios")
}

/// The names of all scenarios of the repository, sorted.
pub fn scenario_names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(scenario_folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The file of a scenario given by name or by path: how to call it in complaints, and its text.
pub fn read_scenario(name: &str) -> Result<(String, String), String> {
    let is_path = name.ends_with(".yaml");
    let path = if is_path {
        PathBuf::from(name)
    } else {
        scenario_folder().join(format!("{name}.yaml"))
    };
    let shown = if is_path {
        name.to_owned()
    } else {
        format!("scenarios/{name}.yaml")
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((shown, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_path => {
            let names = scenario_names().unwrap_or_default().join(", ");
            Err(format!(
                "no scenario is called {name:?}; there are: {names} (or give the path of a .yaml file)"
            ))
        }
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// A file to write a trace to.
pub fn create(path: &Path) -> Result<Box<dyn Write + Send>, String> {
    let file = std::fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a whole file; a reader sees the old or the new one.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let complain = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(complain)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    std::fs::write(&new, text).map_err(complain)?;
    std::fs::rename(&new, path).map_err(complain)
}

/// What was written there, if anything.
pub fn read_if_any(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Where failures are kept if nobody says.
pub fn failure_folder() -> PathBuf {
    root().join("target/sim-failures")
}

/// Where the repository keeps failures that must not come back.
pub fn regression_folder() -> PathBuf {
    scenario_folder().join("regressions")
}

/// What a suite writes beside the failures it keeps: what it has done.
pub const PROGRESS: &str = "suite-progress.json";

/// The kept failures and scenarios of a folder, sorted. A folder that does not exist holds none.
pub fn kept(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let complain = |error: io::Error| format!("{}: {error}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(complain)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(complain)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "yaml")
            && path.file_name().is_none_or(|name| name != PROGRESS)
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// A name in the system's folder for what lives as long as this process.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("understudy-sim-{}-{name}", std::process::id()))
}

pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// The repository as an absolute path.
pub fn repository() -> Result<PathBuf, String> {
    absolute(&repository_root())
}

pub fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The bugs on purpose: names, and the patches that make them, sorted.
pub fn patches() -> Result<Vec<(String, PathBuf)>, String> {
    let folder = root().join("sim/mutants");
    let complain = |error: io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(complain)? {
        let path = entry.map_err(complain)?.path();
        if path.extension().is_some_and(|extension| extension == "patch")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            found.push((stem.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// A file that is gone is passed over.
pub fn copy_if_there(from: &Path, to: &Path) -> Result<(), String> {
    match std::fs::read(from) {
        Ok(bytes) => write_bytes(to, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", from.display())),
    }
}

/// Leaves a file that holds the same already, and its time, alone.
pub fn copy_if_other(from: &Path, to: &Path) -> Result<(), String> {
    if exists(from) && std::fs::read(from).ok() == std::fs::read(to).ok() {
        return Ok(());
    }
    copy_if_there(from, to)
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let complain = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(complain)?;
    }
    std::fs::write(path, bytes).map_err(complain)
}

/// Takes a program's place at once: who runs the old one goes on.
pub fn replace(from: &Path, to: &Path) -> Result<(), String> {
    let complain = |error: io::Error| format!("{}: {error}", to.display());
    let new = to.with_extension("new");
    std::fs::copy(from, &new).map_err(complain)?;
    std::fs::rename(&new, to).map_err(complain)
}

pub fn remove_folder(path: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

/// Removes what lies in `folder` and is none of `names`, which are paths within it.
pub fn remove_all_but(folder: &Path, names: &[String]) -> Result<(), String> {
    let keep: std::collections::BTreeSet<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        let complain = |error: io::Error| format!("{}: {error}", at.display());
        for entry in std::fs::read_dir(&at).map_err(complain)? {
            let path = entry.map_err(complain)?.path();
            if path.is_dir() {
                open.push(path);
            } else if !keep.contains(&path) {
                std::fs::remove_file(&path).map_err(complain)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, the folder of a suite cannot be given to the next one.
    #[test]
    fn what_a_suite_has_done_is_no_failure_that_it_kept() {
        let folder = scratch("kept");
        for name in ["b.json", "a.yaml", PROGRESS, "a.trace"] {
            write(&folder.join(name), "{}").unwrap();
        }
        let found = kept(&folder).unwrap();
        remove_folder(&folder).unwrap();
        assert_eq!(found, [folder.join("a.yaml"), folder.join("b.json")]);
    }
}
